//! Metrics: every call counts once, by method and code; rows by source and outcome; nothing by what callers make up.

use leadvault::proto::{
    intake::v1::{IngestRowsRequest, intake_service_client::IntakeServiceClient},
    vault::v1::{
        GetContactRequest, PromoteContactsRequest, vault_service_client::VaultServiceClient,
    },
};
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};
use tonic::{
    Code,
    client::Grpc,
    codegen::http::uri::PathAndQuery,
    transport::{Channel, Endpoint},
};

use super::get_nobody;
use crate::harness::{App, Lane, open, row, rows::people, until};

/// The value of a metric, by its whole name with labels.
async fn metric(app: &App, name: &str) -> Option<f64> {
    let (status, text) = app.page("/metrics").await;
    assert_eq!(status, 200);
    assert!(text.ends_with("# EOF\n"), "{text}");
    let lines = text.lines();
    let mut values = lines.filter_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    values.next().map(|value| value.parse().unwrap())
}

async fn assert_metric(app: &App, name: &str, value: f64) {
    let seen = metric(app, name).await;
    assert_eq!(seen, Some(value), "{name}");
}

fn handled(service: &str, method: &str, kind: &str, code: &str) -> String {
    format!(
        "grpc_server_handled_total{{grpc_service=\"leadvault.{service}\",grpc_method=\"{method}\",grpc_type=\"{kind}\",grpc_code=\"{code}\"}}"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_count_by_method_and_code() {
    let app = App::start().await;
    let mut vault = app.vault().await;
    for _ in 0..3 {
        let refused = vault.get_contact(get_nobody(&[])).await.unwrap_err();
        assert_eq!(refused.code(), Code::NotFound);
    }
    app.ingest_emails("b", "apollo", &["a@x.example"]).await;
    let keyless = GetContactRequest::default();
    vault.get_contact(keyless).await.unwrap_err();
    let vault_service = "vault.v1.VaultService";
    assert_metric(
        &app,
        &handled(vault_service, "GetContact", "unary", "NOT_FOUND"),
        3.0,
    )
    .await;
    let invalid = handled(vault_service, "GetContact", "unary", "INVALID_ARGUMENT");
    assert_metric(&app, &invalid, 1.0).await;
    let ok = handled("intake.v1.IntakeService", "IngestRows", "unary", "OK");
    assert_metric(&app, &ok, 1.0).await;
    let labels = "{grpc_service=\"leadvault.vault.v1.VaultService\",grpc_method=\"GetContact\",grpc_type=\"unary\"}";
    assert_metric(&app, &format!("grpc_server_in_flight{labels}"), 0.0).await;
    assert_metric(
        &app,
        &format!("grpc_server_handling_seconds_count{labels}"),
        4.0,
    )
    .await;
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_method_that_a_caller_made_up_is_other() {
    let app = App::start().await;
    for path in ["/made.up.Service/One", "/made.up.Service/Two"] {
        let mut client = Grpc::new(app.channel().await);
        client.ready().await.unwrap();
        let codec = tonic_prost::ProstCodec::<(), ()>::default();
        let path = PathAndQuery::from_static(path);
        let refused = client.unary(tonic::Request::new(()), path, codec).await;
        assert_eq!(refused.unwrap_err().code(), Code::Unimplemented);
    }
    let other = "grpc_server_handled_total{grpc_service=\"other\",grpc_method=\"other\",grpc_type=\"unary\",grpc_code=\"UNIMPLEMENTED\"}";
    assert_metric(&app, other, 2.0).await;
    let (_, text) = app.page("/metrics").await;
    assert!(!text.contains("made.up"), "{text}");
    app.stop().await;
}

/// A client whose connection ends with the task. Whoever drops a stream also ends what it says, which may be seen
/// first; a broken connection is never anything else.
async fn breakable(app: &App) -> (IntakeServiceClient<Channel>, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let here = listener.local_addr().unwrap();
    let there = app.endpoint().replace("http://", "");
    let connection = tokio::spawn(async move {
        let (mut client, _) = listener.accept().await.unwrap();
        let mut server = TcpStream::connect(there).await.unwrap();
        let _ = copy_bidirectional(&mut client, &mut server).await;
    });
    let endpoint = Endpoint::from_shared(format!("http://{here}")).unwrap();
    let channel = endpoint.connect().await.unwrap();
    (IntakeServiceClient::new(channel), connection)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_counts_once_when_it_ends() {
    let app = App::start().await;
    let labels = "{grpc_service=\"leadvault.intake.v1.IntakeService\",grpc_method=\"BulkIngest\",grpc_type=\"bidi_stream\"}";
    let (mut lane, _) = app.lane(open("b", "apollo")).await.unwrap();
    assert_metric(&app, &format!("grpc_server_in_flight{labels}"), 1.0).await;
    lane.rows(0, &people(0..3)).await.unwrap();
    lane.finish(3).await.unwrap();
    let bulk = |code| handled("intake.v1.IntakeService", "BulkIngest", "bidi_stream", code);
    // The client has the summary before the server has sent its trailers.
    until("the end of the stream", async || {
        metric(&app, &bulk("OK")).await
    })
    .await;
    assert_metric(&app, &bulk("OK"), 1.0).await;

    let (client, connection) = breakable(&app).await;
    let lane = Lane::open(client, open("c", "apollo")).await.unwrap();
    connection.abort();
    until("a client that went away", async || {
        let open = metric(&app, &format!("grpc_server_in_flight{labels}")).await;
        (open == Some(0.0)).then_some(())
    })
    .await;
    drop(lane);
    assert_metric(&app, &bulk("CANCELLED"), 1.0).await;
    let (_, text) = app.page("/metrics").await;
    let ended = text
        .lines()
        .filter(|line| line.starts_with("grpc_server_handled_total"))
        .filter(|line| line.contains("grpc_method=\"BulkIngest\""))
        .map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap());
    assert_eq!(ended.sum::<f64>(), 2.0, "{text}");
    assert_metric(&app, &bulk("OK"), 1.0).await;
    assert_metric(
        &app,
        "leadvault_chunk_seconds_count{job=\"BulkIngest\"}",
        1.0,
    )
    .await;
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_count_by_source_and_outcome_once() {
    let app = App::start().await;
    let rows = [row("a@x.example"), row("A@x.example"), "{}".to_owned()];
    app.ingest("b", "apollo", &rows).await;
    let (mut lane, _) = app.lane(open("c", "zoom")).await.unwrap();
    lane.rows(0, &people(0..5)).await.unwrap();
    // What is sent again is acked again and counts no more.
    lane.rows(0, &people(0..7)).await.unwrap();
    let repeated = IngestRowsRequest {
        batch_id: "d".to_owned(),
        source: "hub".to_owned(),
        json_rows: vec![row("z@x.example").into_bytes().into()],
        request_id: "5b2cd8b0-0f5c-4a3c-9a51-6f0d3b1d2c11".to_owned(),
        ..Default::default()
    };
    let validated = IngestRowsRequest {
        validate_only: true,
        request_id: String::new(),
        ..repeated.clone()
    };
    let mut intake = app.intake().await;
    for request in [repeated.clone(), repeated, validated] {
        intake.ingest_rows(request).await.unwrap();
    }
    for (source, outcome, count) in [
        ("apollo", "accepted", 1.0),
        ("apollo", "duplicate", 1.0),
        ("apollo", "rejected", 1.0),
        ("zoom", "accepted", 7.0),
        ("hub", "accepted", 1.0),
    ] {
        let name =
            format!("leadvault_ingested_rows_total{{source=\"{source}\",outcome=\"{outcome}\"}}");
        assert_metric(&app, &name, count).await;
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn promotion_counts_its_rows_and_chunks() {
    let app = App::start().await;
    app.ingest_emails("b", "apollo", &["a@x.example", "b@x.example"])
        .await;
    let mut vault: VaultServiceClient<_> = app.vault().await;
    let request = PromoteContactsRequest::default();
    let mut progress = vault.promote_contacts(request).await.unwrap().into_inner();
    while progress.message().await.unwrap().is_some() {}
    let promoted = "leadvault_promoted_rows_total{job=\"PromoteContacts\",outcome=\"promoted\"}";
    assert_metric(&app, promoted, 2.0).await;
    let chunks = "leadvault_chunk_seconds_count{job=\"PromoteContacts\"}";
    assert!(metric(&app, chunks).await.unwrap() >= 1.0);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sweeps_count() {
    let app = App::start_with(&["--sweep-period", "0.05"]).await;
    until("a sweep", async || {
        metric(&app, "leadvault_sweeps_total{outcome=\"ok\"}").await
    })
    .await;
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_pool_shows_who_has_its_connections_and_who_waits() {
    let app = App::start_with(&["--pool-size", "1"]).await;
    let owner = app.sql().await;
    owner
        .run("BEGIN; LOCK TABLE intake.email_claims IN ACCESS EXCLUSIVE MODE")
        .await;
    let mut calls = Vec::new();
    for batch in ["b", "c", "d"] {
        let mut intake = app.intake().await;
        let request = IngestRowsRequest {
            batch_id: batch.to_owned(),
            source: "apollo".to_owned(),
            json_rows: vec![row(&format!("{batch}@x.example")).into_bytes().into()],
            ..Default::default()
        };
        calls.push(tokio::spawn(
            async move { intake.ingest_rows(request).await },
        ));
    }
    // A scrape itself waits in the line, for the depths of the queues.
    until("two that wait", async || {
        let waiting = metric(&app, "leadvault_pool_waiting").await.unwrap();
        (waiting >= 2.0).then_some(())
    })
    .await;
    assert_metric(&app, "leadvault_pool_in_use", 1.0).await;
    assert_metric(&app, "leadvault_pool_max", 1.0).await;
    // A full pool is no database that is gone.
    assert_metric(&app, "leadvault_database_up", 1.0).await;
    owner.run("COMMIT").await;
    for call in calls {
        call.await.unwrap().unwrap();
    }
    app.stop().await;
}
