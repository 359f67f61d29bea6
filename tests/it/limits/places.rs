//! A client that does not say what it wants, or does not read what it is told, keeps no place from others.

use std::time::Duration;

use http::uri::PathAndQuery;
use leadvault::proto::{
    intake::v1::{
        BulkIngestRequest, bulk_ingest_request as request,
        intake_service_client::IntakeServiceClient,
    },
    vault::v1::{
        ExportContactsRequest, ExportContactsResponse, vault_service_client::VaultServiceClient,
    },
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{
    Code, Request, Status, Streaming,
    client::Grpc,
    transport::{Channel, Endpoint},
};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

use super::within;
use crate::harness::{App, Lane, open, refusal, until};

/// How much of an answer a client that does not read takes in: next to nothing, or less than a message.
pub(super) const TINY: u32 = 16;
pub(super) const SMALL: u32 = 65_535;
/// Longer than any test.
const AN_HOUR: Duration = Duration::from_secs(3_600);

/// A connection on which the server can send no more of an answer until its client reads.
pub(super) async fn narrow(app: &App, window: u32) -> Channel {
    let endpoint = Endpoint::from_shared(app.endpoint()).unwrap();
    let endpoint = endpoint.initial_stream_window_size(window);
    endpoint.connect().await.unwrap()
}

/// Opens a call whose message never comes, and waits for what the server says to it.
pub(super) async fn say_nothing(
    channel: Channel,
    call: &'static str,
    timeout: Option<Duration>,
) -> Status {
    let mut grpc = Grpc::new(channel);
    grpc.ready().await.unwrap();
    let silence = tokio_stream::pending::<ExportContactsRequest>();
    let silence = match timeout {
        Some(timeout) => within(timeout, silence),
        None => Request::new(silence),
    };
    let codec = tonic_prost::ProstCodec::<ExportContactsRequest, ExportContactsResponse>::default();
    match grpc
        .streaming(silence, PathAndQuery::from_static(call), codec)
        .await
    {
        // What is refused after its head says so in its trailers.
        Ok(mut answer) => answer.get_mut().message().await.unwrap_err(),
        Err(status) => status,
    }
}

/// An export that is begun and not read.
async fn export(
    channel: Channel,
    timeout: Duration,
) -> Result<Streaming<ExportContactsResponse>, Status> {
    let request = within(timeout, ExportContactsRequest::default());
    let export = VaultServiceClient::new(channel)
        .export_contacts(request)
        .await?;
    Ok(export.into_inner())
}

/// What a stream says last.
async fn last_word(mut stream: Streaming<ExportContactsResponse>) -> Status {
    loop {
        match stream.message().await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("it ended as if it were whole"),
            Err(status) => return status,
        }
    }
}

async fn until_there_is_a_place(app: &App) -> Streaming<ExportContactsResponse> {
    let channel = app.channel().await;
    until("there is a place", async || {
        match export(channel.clone(), AN_HOUR).await {
            Ok(stream) => Some(stream),
            Err(status) => {
                refusal(Err::<(), _>(status)).is(Code::ResourceExhausted, "TOO_MANY");
                None
            }
        }
    })
    .await
}

/// More than a connection holds on its way.
pub(super) async fn store_much(app: &App) {
    let sql = app.sql().await;
    sql.run(
        "INSERT INTO vault.contacts (email, source, custom_fields)
         SELECT 'p' || n || '@x.example', 'apollo', jsonb_build_object('note', repeat('x', 100000))
         FROM generate_series(1, 200) AS n",
    )
    .await;
}

/// More than a little, and less than HTTP/2 takes at once from who has no room for it.
pub(super) async fn store_some(app: &App) {
    let sql = app.sql().await;
    sql.run(
        "INSERT INTO vault.contacts (email, source, custom_fields)
         VALUES ('p1@x.example', 'apollo', jsonb_build_object('note', repeat('x', 4000)))",
    )
    .await;
}

/// So little that it does not count where it is unread.
async fn store_one(app: &App) {
    let sql = app.sql().await;
    sql.run("INSERT INTO vault.contacts (email, source) VALUES ('a@x.example', 'apollo')")
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_opens_a_stream_and_says_nothing_loses_its_place() {
    const EXPORT: &str = "/leadvault.vault.v1.VaultService/ExportContacts";
    let app = App::start_with(&["--max-streams=2", "--default-deadline=12"]).await;
    let channel = app.channel().await;
    let silent = async {
        tokio::join!(
            say_nothing(channel.clone(), EXPORT, None),
            // It would wait for much longer.
            say_nothing(channel.clone(), EXPORT, Some(AN_HOUR)),
        )
    };
    let third = async {
        let in_flight = "grpc_server_in_flight{grpc_service=\"leadvault.vault.v1.VaultService\",\
                         grpc_method=\"ExportContacts\",grpc_type=\"server_stream\"} 2";
        until("both places are taken", async || {
            let (_, page) = app.page("/metrics").await;
            page.contains(in_flight).then_some(())
        })
        .await;
        export(app.channel().await, AN_HOUR).await
    };
    let ((first, second), third) = tokio::join!(silent, third);
    refusal(third).is(Code::ResourceExhausted, "TOO_MANY");
    for refused in [first, second] {
        refusal(Err::<(), _>(refused))
            .is(Code::DeadlineExceeded, "DEADLINE_EXCEEDED")
            .says("setting", "default-deadline");
    }
    let mut stream = export(channel, AN_HOUR).await.unwrap();
    assert!(stream.message().await.unwrap().is_none());
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_begins_a_call_and_says_nothing_does_not_choose_for_how_long() {
    let app = App::start_with(&["--default-deadline=1"]).await;
    let call = "/leadvault.vault.v1.VaultService/GetContact";
    let refused = say_nothing(app.channel().await, call, Some(AN_HOUR)).await;
    refusal(Err::<(), _>(refused))
        .is(Code::DeadlineExceeded, "DEADLINE_EXCEEDED")
        .says("setting", "default-deadline");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_read_keeps_no_place_past_the_idle_timeout() {
    let app = App::start_with(&["--max-streams=1", "--stream-idle-timeout=1"]).await;
    store_much(&app).await;
    let unread = export(narrow(&app, SMALL).await, AN_HOUR).await.unwrap();
    drop(until_there_is_a_place(&app).await);
    // It is told all the same.
    refusal(Err::<(), _>(last_word(unread).await)).is(Code::DeadlineExceeded, "STREAM_IDLE");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_read_keeps_no_place_past_its_deadline() {
    let app = App::start_with(&["--max-streams=1", "--stream-idle-timeout=3600"]).await;
    store_much(&app).await;
    let seconds = Duration::from_secs(5);
    let unread = export(narrow(&app, SMALL).await, seconds).await.unwrap();
    drop(until_there_is_a_place(&app).await);
    refusal(Err::<(), _>(last_word(unread).await))
        .is(Code::DeadlineExceeded, "DEADLINE_EXCEEDED")
        .says("deadline_seconds", 5);
    app.stop().await;
}

/// All of the work is done, and no timeout has passed.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_not_read_takes_no_place_of_work() {
    let app = App::start_with(&["--max-streams=1", "--max-streams-per-client=1"]).await;
    store_one(&app).await;
    let channel = narrow(&app, TINY).await;
    let mut first = export(channel.clone(), AN_HOUR).await.unwrap();
    let second = until("the first is done", async || {
        export(channel.clone(), AN_HOUR).await.ok()
    })
    .await;
    assert_eq!(first.message().await.unwrap().unwrap().contacts.len(), 1);
    assert!(first.message().await.unwrap().is_none());
    drop(until_there_is_a_place(&app).await);
    drop(second);
    app.stop().await;
}

/// Jobs that have ended leave answers behind, and a client cannot pile them up.
#[tokio::test(flavor = "multi_thread")]
async fn who_reads_nothing_leaves_twice_its_streams_unread() {
    let flags = ["--max-streams-per-client=1", "--stream-idle-timeout=1"];
    let app = App::start_with(&flags).await;
    store_much(&app).await;
    let channel = narrow(&app, SMALL).await;
    let first = export(channel.clone(), AN_HOUR).await.unwrap();
    let second = until("the first job has ended", async || {
        export(channel.clone(), AN_HOUR).await.ok()
    })
    .await;
    let refused = until("the second job has ended", async || {
        let refused = refusal(export(channel.clone(), AN_HOUR).await);
        (refused.metadata["limit"] != "1").then_some(refused)
    })
    .await;
    refused
        .is(Code::ResourceExhausted, "TOO_MANY")
        .says("limit", 2);
    drop((first, second));
    drop(until_there_is_a_place(&app).await);
    app.stop().await;
}

/// The answers of streams count over all, too, whoever they are for.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_leaves_more_unread_than_twice_the_streams_over_all() {
    let app = App::start_with(&["--max-streams=1"]).await;
    store_some(&app).await;
    let channel = narrow(&app, TINY).await;
    let mut unread = Vec::new();
    for _ in 0..2 {
        let export = until("the one before is done", async || {
            export(channel.clone(), AN_HOUR).await.ok()
        });
        unread.push(export.await);
    }
    let refused = until("the second is done", async || {
        let refused = refusal(export(channel.clone(), AN_HOUR).await);
        (refused.metadata["limit"] != "1").then_some(refused)
    });
    let refused = refused.await.is(Code::ResourceExhausted, "TOO_MANY");
    assert!(refused.retry, "{refused:?}");
    refused.says("limit", 2).says("setting", "max-streams");
    unread.clear();
    drop(until_there_is_a_place(&app).await);
    app.stop().await;
}

/// And not for ever: here a client that is there, and only does not read.
#[tokio::test(flavor = "multi_thread")]
async fn the_unread_answer_of_a_stream_that_ended_is_dropped_in_the_end() {
    let flags = [
        "--max-streams=1",
        "--default-deadline=5",
        "--stream-idle-timeout=5",
    ];
    let app = App::start_with(&flags).await;
    store_some(&app).await;
    let channel = narrow(&app, TINY).await;
    let first = export(channel.clone(), AN_HOUR).await.unwrap();
    let second = until("the first is done", async || {
        export(channel.clone(), AN_HOUR).await.ok()
    })
    .await;
    let third = until_there_is_a_place(&app).await;
    // Whose connection it was hears of it.
    for unread in [first, second] {
        last_word(unread).await;
    }
    drop(third);
    app.stop().await;
}

/// Also of a bulk stream the last word is there for who reads late.
#[tokio::test(flavor = "multi_thread")]
async fn a_loader_that_takes_no_acks_loses_its_place_and_is_told() {
    let app = App::start_with(&["--max-streams=1", "--stream-idle-timeout=5"]).await;
    let (outbound, messages) = tokio::sync::mpsc::channel(4);
    let mut client = IntakeServiceClient::new(narrow(&app, TINY).await);
    let inbound = client
        .bulk_ingest(ReceiverStream::new(messages))
        .await
        .unwrap();
    let mut lane = Lane::of(outbound.clone(), inbound.into_inner());
    lane.send(request::Message::Open(open("b", "apollo"))).await;
    let heartbeats = tokio::spawn(async move {
        let heartbeat = BulkIngestRequest {
            message: Some(request::Message::Rows(request::Rows::default())),
        };
        // Not as fast as can be: HTTP/2 itself ends a connection that is flooded with little.
        while outbound.send(heartbeat.clone()).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    drop(until_there_is_a_place(&app).await);
    let ended = loop {
        match lane.receive().await {
            Ok(_) => {}
            Err(status) => break status,
        }
    };
    let refused = refusal(Err::<(), _>(ended)).is(Code::DeadlineExceeded, "STREAM_IDLE");
    assert!(
        refused.message.contains("no answer was taken"),
        "{refused:?}"
    );
    drop(lane);
    heartbeats.await.unwrap();
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_watches_the_health_is_counted_and_who_looks_at_it_is_not() {
    let app = App::start_with(&["--max-streams-per-client=2"]).await;
    let mut health = HealthClient::new(app.channel().await);
    let mut watches = Vec::new();
    for _ in 0..2 {
        watches.push(health.watch(HealthCheckRequest::default()).await.unwrap());
    }
    refusal(health.watch(HealthCheckRequest::default()).await)
        .is(Code::ResourceExhausted, "TOO_MANY");
    health.check(HealthCheckRequest::default()).await.unwrap();
    // They take no place of the service's clients.
    drop(until_there_is_a_place(&app).await);
    watches.clear();
    let watch = until("a place is free", async || {
        health.watch(HealthCheckRequest::default()).await.ok()
    });
    drop(watch.await);
    app.stop().await;
}
