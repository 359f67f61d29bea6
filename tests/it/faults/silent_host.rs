//! Several hosts, of which one takes connections and says nothing: a machine that hangs, or a server that was stopped.

use leadvault::proto::intake::v1::ListRawLoadsRequest;
use tokio::net::TcpListener;
use tonic::transport::Endpoint;
use tonic_health::pb::health_check_response::ServingStatus;

use super::{health, until_health};
use crate::harness::{App, Network, Proxy, Service, fresh_database, leadvault, until};

/// A URL with one more host before its own.
fn with_first_host(url: &str, host: &str) -> String {
    let url = url.replacen('@', &format!("@{host},"), 1);
    format!("{url}?target_session_attrs=read-write&sslmode=disable")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_service_starts_where_the_first_host_is_silent() {
    // The system takes its connections; nobody ever reads of them.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = Proxy::before(&fresh_database().await).await;
    let host = silent.local_addr().unwrap().to_string();
    let mut command = leadvault(&["serve", "--listen", "127.0.0.1:0"]);
    command.env("DATABASE_URL", with_first_host(&proxy.url, &host));
    let service = Service::start(command).await;

    let all = ListRawLoadsRequest::default();
    service.intake().await.list_raw_loads(all).await.unwrap();
    let endpoint = Endpoint::from_shared(service.endpoint()).unwrap();
    let channel = endpoint.connect().await.unwrap();
    assert_eq!(health(&channel).await, ServingStatus::Serving);
    assert_eq!(service.stop().await.0.code(), Some(0));
}

/// The host that all connections go to falls silent, and takes new ones: pool, point reads and health go to the next
/// one, without a restart.
#[tokio::test(flavor = "multi_thread")]
async fn the_service_goes_on_where_its_host_falls_silent() {
    let url = fresh_database().await;
    let (first, second) = (Proxy::before(&url).await, Proxy::before(&url).await);
    let (_, first_host) = first.url.split_once('@').unwrap();
    let (first_host, _) = first_host.split_once('/').unwrap();
    let app = App::start_on(
        with_first_host(&second.url, first_host),
        &["--pool-timeout=0.5"],
    )
    .await;
    let list = async || {
        let all = ListRawLoadsRequest::default();
        app.intake().await.list_raw_loads(all).await
    };
    list().await.unwrap();

    first.turn(Network::Stalled);
    until("lists succeed", async || list().await.ok()).await;
    let channel = app.channel().await;
    until("it is ready", async || {
        (app.page("/readyz").await.0 == 200).then_some(())
    })
    .await;
    until_health(&channel, ServingStatus::Serving).await;
    second.turn(Network::Cut);
    list().await.unwrap_err();
    app.stop().await;
}
