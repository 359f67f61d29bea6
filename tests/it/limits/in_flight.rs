//! One call or stream too many is refused at once, and told why.

use std::time::Duration;

use tokio::task::JoinSet;
use tonic::{Code, Status};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

use super::{get_batch, lock_batches, places::say_nothing, until_waiting};
use crate::harness::{App, Lane, Refusal, open, refusal, until};

async fn refused_third_call(flags: &[&str]) -> Refusal {
    let app = App::start_with(flags).await;
    let owner = lock_batches(&app).await;
    let two = async { tokio::join!(get_batch(&app, None), get_batch(&app, None)) };
    let third = async {
        until_waiting(&app, 2).await;
        let third = refusal(get_batch(&app, None).await);
        let mut health = HealthClient::new(app.channel().await);
        health.check(HealthCheckRequest::default()).await.unwrap();
        owner.run("COMMIT").await;
        third
    };
    let ((first, second), third) = tokio::join!(two, third);
    refusal(first).is(Code::NotFound, "NOT_FOUND");
    refusal(second).is(Code::NotFound, "NOT_FOUND");
    // Their places are free again.
    refusal(get_batch(&app, None).await).is(Code::NotFound, "NOT_FOUND");
    app.stop().await;
    third
}

#[tokio::test(flavor = "multi_thread")]
async fn one_call_too_many_is_refused_at_once() {
    let third = refused_third_call(&["--max-calls", "2"])
        .await
        .is(Code::ResourceExhausted, "TOO_MANY")
        .says("what", "calls")
        .says("limit", 2)
        .says("setting", "max-calls");
    assert!(third.retry, "{third:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_client_does_not_take_every_place() {
    let third = refused_third_call(&["--max-calls-per-client", "2"])
        .await
        .is(Code::ResourceExhausted, "TOO_MANY")
        .says("setting", "max-calls-per-client");
    assert!(third.retry, "{third:?}");
}

async fn open_lane(app: &App, batch_id: &str) -> Result<Lane, Status> {
    let mut client = app.intake().await;
    let (outbound, messages) = tokio::sync::mpsc::channel(4);
    let stream = tokio_stream::wrappers::ReceiverStream::new(messages);
    let inbound = client.bulk_ingest(stream).await?.into_inner();
    let mut lane = Lane::of(outbound, inbound);
    let open =
        leadvault::proto::intake::v1::bulk_ingest_request::Message::Open(open(batch_id, "s"));
    lane.send(open).await;
    lane.receive().await?;
    Ok(lane)
}

/// A stream counts until it ends, and calls are not in its way.
#[tokio::test(flavor = "multi_thread")]
async fn one_stream_too_many_is_refused_until_another_ends() {
    let app = App::start_with(&["--max-streams-per-client", "2", "--max-calls", "1"]).await;
    let first = open_lane(&app, "a").await.unwrap();
    let mut second = open_lane(&app, "b").await.unwrap();
    let third = refusal(open_lane(&app, "c").await)
        .is(Code::ResourceExhausted, "TOO_MANY")
        .says("what", "streams")
        .says("limit", 2)
        .says("setting", "max-streams-per-client");
    assert!(third.retry, "{third:?}");
    refusal(get_batch(&app, None).await).is(Code::NotFound, "NOT_FOUND");
    drop(first);
    let mut third = until("a place is free", async || open_lane(&app, "c").await.ok()).await;
    second.finish(0).await.unwrap();
    third.finish(0).await.unwrap();
    // A finished stream gives its place back, too.
    until("both are free", async || {
        let (d, e) = (open_lane(&app, "d").await, open_lane(&app, "e").await);
        (d.is_ok() && e.is_ok()).then_some(())
    })
    .await;
    tokio::time::timeout(Duration::from_secs(60), app.stop())
        .await
        .unwrap();
}

/// A flood of probes is refused before it takes much, and while nothing else has a place they are answered.
#[tokio::test(flavor = "multi_thread")]
async fn looks_at_the_health_have_places_of_their_own() {
    const MOST_OF_A_CLIENT: usize = 64;
    let app = App::start_with(&["--max-calls=1"]).await;
    let channel = app.channel().await;
    let mut probes = JoinSet::new();
    for _ in 0..=MOST_OF_A_CLIENT {
        let path = "/grpc.health.v1.Health/Check";
        probes.spawn(say_nothing(channel.clone(), path, None));
    }
    // The others wait for their message.
    let refused = refusal(Err::<(), _>(probes.join_next().await.unwrap().unwrap()))
        .is(Code::ResourceExhausted, "TOO_MANY")
        .says("what", "probes")
        .says("limit", MOST_OF_A_CLIENT);
    assert!(refused.retry, "{refused:?}");
    // They are in nobody else's way.
    refusal(get_batch(&app, None).await).is(Code::NotFound, "NOT_FOUND");
    probes.shutdown().await;
    let mut health = HealthClient::new(channel);
    until("the probes are gone", async || {
        health.check(HealthCheckRequest::default()).await.ok()
    })
    .await;
    app.stop().await;
}
