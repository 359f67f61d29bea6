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
