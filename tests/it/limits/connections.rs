//! Connections of nobody in particular: those that say nothing, and too many of them.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tonic::{Code, transport::Channel};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

use super::get_batch;
use crate::harness::{App, refusal, until};

/// Longer than a silent connection has.
const PATIENCE: Duration = Duration::from_secs(60);

async fn connect(app: &App) -> TcpStream {
    let address = app.endpoint();
    let address = address.trim_start_matches("http://");
    TcpStream::connect(address).await.unwrap()
}

/// Waits until the server has closed a connection.
async fn until_closed(mut connection: TcpStream) {
    let mut said = Vec::new();
    let closed = tokio::time::timeout(PATIENCE, connection.read_to_end(&mut said)).await;
    // One that is cut with something unread is reset.
    let _ = closed.expect("it is still open");
}

async fn metric(app: &App, name: &str) -> f64 {
    let (_, page) = app.page("/metrics").await;
    let line = page.lines().find(|line| line.starts_with(name)).unwrap();
    line.rsplit_once(' ').unwrap().1.parse().unwrap()
}

async fn until_open(app: &App, count: f64) {
    until("as many connections are open", async || {
        (metric(app, "leadvault_connections_open ").await == count).then_some(())
    })
    .await;
}

async fn check(channel: Channel) -> Result<(), tonic::Status> {
    let mut health = HealthClient::new(channel);
    health.check(HealthCheckRequest::default()).await.map(drop)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_says_nothing_is_closed() {
    let app = App::start().await;
    // It said what there is to say at the beginning, and may then be silent.
    let idle = app.channel().await;
    let silent = connect(&app).await;
    let mut halting = connect(&app).await;
    halting
        .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n")
        .await
        .unwrap();
    until_open(&app, 3.0).await;
    tokio::join!(until_closed(silent), until_closed(halting));
    until_open(&app, 1.0).await;
    check(idle).await.unwrap();
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_connection_too_many_is_closed_at_once() {
    let app = App::start_with(&["--max-connections=2"]).await;
    let first = app.channel().await;
    let second = app.channel().await;
    until_open(&app, 2.0).await;
    until_closed(connect(&app).await).await;
    assert_eq!(
        metric(&app, "leadvault_connections_refused_total").await,
        1.0
    );
    // Those that were there are served.
    check(first).await.unwrap();
    check(second.clone()).await.unwrap();
    until_open(&app, 1.0).await;
    refusal(get_batch(&app, None).await).is(Code::NotFound, "NOT_FOUND");
    drop(second);
    until_open(&app, 0.0).await;
    app.stop().await;
}

/// What one connection may have at the same time, as its first words say.
async fn most_calls_of_a_connection(app: &App) -> u32 {
    const FRAME_HEAD: usize = 9;
    const MAX_CONCURRENT_STREAMS: [u8; 2] = [0, 3];
    let mut connection = connect(app).await;
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    let no_settings = [0, 0, 0, 4, 0, 0, 0, 0, 0];
    connection.write_all(preface).await.unwrap();
    connection.write_all(&no_settings).await.unwrap();
    let mut head = [0; FRAME_HEAD];
    connection.read_exact(&mut head).await.unwrap();
    let length = usize::from(head[1]) * 256 + usize::from(head[2]);
    let mut settings = vec![0; length];
    connection.read_exact(&mut settings).await.unwrap();
    let mut settings = settings.chunks_exact(6);
    let most = settings.find(|setting| setting[..2] == MAX_CONCURRENT_STREAMS);
    u32::from_be_bytes(most.unwrap()[2..].try_into().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn one_connection_has_what_one_client_may_and_room_for_refusals() {
    let flags = ["--max-calls-per-client=10", "--max-streams-per-client=5"];
    let app = App::start_with(&flags).await;
    // Calls; streams, with as many unread; those who watch; probes; refusals.
    let most = 10 + 2 * 5 + 5 + 64 + 256;
    assert_eq!(most_calls_of_a_connection(&app).await, most);
    app.stop().await;
}

/// They are all let go in the end, and who came after them is answered.
#[tokio::test(flavor = "multi_thread")]
async fn who_says_nothing_to_the_port_for_operators_holds_nothing_for_ever() {
    let app = App::start().await;
    let mut silent = Vec::new();
    for number in 0..64 {
        let mut connection = TcpStream::connect(app.ops_address()).await.unwrap();
        if number % 2 == 0 {
            let beginning = b"GET /healthz HTTP/1.1\r\nHost: local";
            connection.write_all(beginning).await.unwrap();
        }
        silent.push(connection);
    }
    let (status, said) = tokio::time::timeout(PATIENCE, app.page("/healthz"))
        .await
        .expect("nobody is let in");
    assert_eq!((status, said.as_str()), (200, "ok\n"));
    for connection in silent {
        until_closed(connection).await;
    }
    app.stop().await;
}
