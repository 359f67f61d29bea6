//! Two streams on one lane: the newer one has it.

use std::time::Duration;

use leadvault::proto::intake::v1::bulk_ingest_request::Open;
use tonic::Code;

use crate::harness::{App, evidence, open, refusal, rows::people};

#[tokio::test(flavor = "multi_thread")]
async fn a_newer_stream_fences_the_older_one_and_goes_on() {
    let app = App::start().await;
    let (mut older, _) = app.lane(open("b", "apollo")).await.unwrap();
    older.rows(0, &people(0..3)).await.unwrap();
    let (mut newer, opened) = app.lane(open("b", "apollo")).await.unwrap();
    assert_eq!(opened.next_offset, 3);
    let fenced = refusal(older.rows(3, &people(3..6)).await);
    assert!(
        !fenced
            .is(Code::Aborted, "LANE_FENCED")
            .says("lane", 0)
            .retry
    );
    let ack = newer.rows(3, &people(3..6)).await.unwrap();
    assert_eq!((ack.accepted, ack.replayed), (3, 0));
    newer.finish(6).await.unwrap();
    evidence::assert_conserved(&app).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fenced_stream_cannot_finish() {
    let app = App::start().await;
    let (mut older, _) = app.lane(open("b", "apollo")).await.unwrap();
    let (mut newer, _) = app.lane(open("b", "apollo")).await.unwrap();
    refusal(older.finish(0).await).is(Code::Aborted, "LANE_FENCED");
    newer.rows(0, &people(0..3)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn lanes_do_not_fence_one_another() {
    let app = App::start().await;
    let lane = |lane, batch_id| Open {
        lane,
        lane_count: 2,
        ..open(batch_id, "apollo")
    };
    let (mut first, _) = app.lane(lane(0, "b")).await.unwrap();
    app.lane(lane(1, "b")).await.unwrap();
    app.lane(lane(0, "c")).await.unwrap();
    first.rows(0, &people(0..3)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_open_fences_nobody() {
    let app = App::start().await;
    let (mut lane, _) = app.lane(open("b", "apollo")).await.unwrap();
    refusal(app.lane(open("b", "apify")).await).is(Code::FailedPrecondition, "BATCH_MISMATCH");
    lane.rows(0, &people(0..3)).await.unwrap();
}

/// The server must not hold on to a stream that it has ended, however long its client does.
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_lost_its_lane_is_let_go_of() {
    let app = App::start().await;
    let (mut older, _) = app.lane(open("b", "apollo")).await.unwrap();
    app.lane(open("b", "apollo")).await.unwrap();
    refusal(older.rows(0, &people(0..3)).await).is(Code::Aborted, "LANE_FENCED");
    // The idle timeout is a minute; the stream is over long before.
    tokio::time::timeout(Duration::from_secs(20), older.let_go())
        .await
        .expect("the server still reads a stream that it refused");
}
