//! The end must be said: `finish`, its absence, its repetition; batches that end otherwise; a server that
//! goes away.

use leadvault::proto::intake::v1::{
    AbandonBatchRequest, BatchState, LaneState,
    bulk_ingest_request::{Finish, Message, Open},
};
use tonic::Code;

use crate::harness::{App, ack, evidence, open, refusal, rows::people};

fn lane_of(lane: i32, lane_count: i32) -> Open {
    Open {
        lane,
        lane_count,
        ..open("b", "apollo")
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn finish_sums_the_lane_up() {
    let app = App::start().await;
    let (mut lane, _) = app.lane(open("b", "apollo")).await.unwrap();
    lane.rows(0, &people(0..3)).await.unwrap();
    lane.rows(3, &people(2..4)).await.unwrap();
    lane.rows(5, &["{}"]).await.unwrap();
    let summary = lane.finish(6).await.unwrap();
    let tally = summary.tally.unwrap();
    assert_eq!(
        (
            tally.received,
            tally.accepted,
            tally.duplicate,
            tally.rejected
        ),
        (6, 4, 1, 1)
    );
    let batch = evidence::batch(&app, "b").await;
    assert_eq!(batch.state(), BatchState::Complete);
    assert_eq!(batch.tally, Some(tally));
    assert_eq!(batch.lanes[0].tally, Some(tally));
    assert_eq!(batch.lanes[0].finish_time, summary.finish_time);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_vanishes_leaves_its_lane_open_where_it_was_acked() {
    let app = App::start().await;
    let (mut lane, _) = app.lane(open("b", "apollo")).await.unwrap();
    lane.rows(0, &people(0..10)).await.unwrap();
    drop(lane);
    let (mut lane, opened) = app.lane(open("b", "apollo")).await.unwrap();
    assert_eq!((opened.next_offset, opened.finished), (10, false));
    assert_eq!(evidence::batch(&app, "b").await.state(), BatchState::Open);
    lane.rows(10, &people(10..20)).await.unwrap();
    let tally = lane.finish(20).await.unwrap().tally.unwrap();
    assert_eq!(tally.accepted, 20);
    evidence::assert_conserved(&app).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_ends_without_finish_is_told_so() {
    let app = App::start().await;
    let (mut lane, _) = app.lane(open("b", "apollo")).await.unwrap();
    lane.send_rows(Some(0), &people(0..10)).await;
    lane.hang_up();
    assert_eq!(ack(lane.receive().await.unwrap()).next_offset, 10);
    refusal(lane.receive().await)
        .is(Code::FailedPrecondition, "STREAM_UNFINISHED")
        .says("lane", 0)
        .says("next_offset", 10);
    let lane = evidence::lane(&app, "b", 0).await;
    assert_eq!((lane.state(), lane.next_offset), (LaneState::Open, 10));
}

/// A chunk's write is never cut: the client goes away while the database holds it up.
#[tokio::test(flavor = "multi_thread")]
async fn a_chunk_that_is_being_written_outlives_its_client() {
    let app = App::start().await;
    let owner = app.sql().await;
    let (mut lane, _) = app.lane(open("b", "apollo")).await.unwrap();
    owner
        .run("BEGIN; LOCK TABLE intake.email_claims IN ACCESS EXCLUSIVE MODE")
        .await;
    lane.send_rows(Some(0), &people(0..10)).await;
    app.sql().await.until_somebody_waits().await;
    drop(lane);
    // A call that the server answers after it had every chance to see the client go.
    evidence::batch(&app, "b").await;
    owner.run("COMMIT").await;
    let (_, opened) = app.lane(open("b", "apollo")).await.unwrap();
    assert_eq!(opened.next_offset, 10);
    evidence::assert_conserved(&app).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_finish_that_lies_is_refused_and_the_lane_stays_open() {
    let app = App::start().await;
    for lie in [0, 2, 4, -3, i64::MAX] {
        let (mut lane, opened) = app.lane(open("b", "apollo")).await.unwrap();
        if opened.next_offset == 0 {
            lane.rows(0, &people(0..3)).await.unwrap();
        }
        refusal(lane.finish(lie).await)
            .is(Code::FailedPrecondition, "ROW_COUNT_MISMATCH")
            .says("expected_row_count", 3)
            .says("row_count", lie);
        let state = evidence::lane(&app, "b", 0).await.state();
        assert_eq!(state, LaneState::Open);
    }
    let (mut lane, _) = app.lane(open("b", "apollo")).await.unwrap();
    lane.finish(3).await.unwrap();
}

/// The summary was lost, so that the client knows nothing but that it said `finish`.
#[tokio::test(flavor = "multi_thread")]
async fn finishing_again_gives_the_same_summary() {
    let app = App::start().await;
    let (mut lane, _) = app.lane(open("b", "apollo")).await.unwrap();
    lane.rows(0, &people(0..3)).await.unwrap();
    let first = lane.finish(3).await.unwrap();
    let before = evidence::contents(&app).await;
    for _ in 0..2 {
        let (mut lane, opened) = app.lane(open("b", "apollo")).await.unwrap();
        assert_eq!((opened.next_offset, opened.finished), (3, true));
        assert_eq!(lane.finish(3).await.unwrap(), first);
    }
    assert_eq!(evidence::contents(&app).await, before);
    let (mut lane, _) = app.lane(open("b", "apollo")).await.unwrap();
    refusal(lane.finish(4).await).is(Code::FailedPrecondition, "ROW_COUNT_MISMATCH");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_finish_whose_client_vanished_counts() {
    let app = App::start().await;
    let (mut lane, _) = app.lane(open("b", "apollo")).await.unwrap();
    lane.send_rows(Some(0), &people(0..3)).await;
    lane.send(Message::Finish(Finish { row_count: 3 })).await;
    lane.hang_up();
    ack(lane.receive().await.unwrap());
    drop(lane);
    let (mut lane, opened) = app.lane(open("b", "apollo")).await.unwrap();
    assert_eq!(opened.next_offset, 3);
    let tally = lane.finish(3).await.unwrap().tally.unwrap();
    assert_eq!(tally.accepted, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_finished_lane_replays_and_takes_no_new_rows() {
    let app = App::start().await;
    let (mut lane, _) = app.lane(open("b", "apollo")).await.unwrap();
    lane.rows(0, &people(0..3)).await.unwrap();
    lane.finish(3).await.unwrap();
    let before = evidence::contents(&app).await;
    let (mut lane, _) = app.lane(open("b", "apollo")).await.unwrap();
    assert_eq!(lane.rows(1, &people(1..3)).await.unwrap().replayed, 2);
    refusal(lane.rows(2, &people(2..4)).await)
        .is(Code::FailedPrecondition, "LANE_FINISHED")
        .says("row_count", 3);
    assert_eq!(evidence::contents(&app).await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_is_complete_when_all_of_its_lanes_are_finished() {
    let app = App::start().await;
    let (mut lane, _) = app.lane(lane_of(0, 3)).await.unwrap();
    lane.rows(0, &people(0..3)).await.unwrap();
    lane.finish(3).await.unwrap();
    assert_eq!(evidence::batch(&app, "b").await.state(), BatchState::Open);
    // An empty lane, opened after the first one finished.
    let (mut lane, opened) = app.lane(lane_of(2, 3)).await.unwrap();
    assert_eq!((opened.next_offset, opened.finished), (0, false));
    lane.finish(0).await.unwrap();
    // All lanes that were ever opened are finished, but one never was.
    assert_eq!(evidence::batch(&app, "b").await.state(), BatchState::Open);
    let (mut lane, _) = app.lane(lane_of(1, 3)).await.unwrap();
    lane.rows(0, &people(3..5)).await.unwrap();
    lane.finish(2).await.unwrap();
    let batch = evidence::batch(&app, "b").await;
    assert_eq!(batch.state(), BatchState::Complete);
    assert_eq!(batch.tally.unwrap().accepted, 5);
    let completed: i64 = app
        .sql()
        .await
        .one(
            "SELECT count(*) FROM intake.audit_log WHERE action = 'batch_processed' AND details ->> 'batch_id' = 'b'",
            &[],
        )
        .await;
    assert_eq!(completed, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn lanes_that_finish_at_once_complete_the_batch_once() {
    const LANES: i32 = 8;
    let app = App::start().await;
    let lanes = (0..LANES).map(|number| app.lane(lane_of(number, LANES)));
    let mut lanes = futures_util::future::try_join_all(lanes).await.unwrap();
    let finished = lanes.iter_mut().map(|(lane, _)| lane.finish(0));
    futures_util::future::try_join_all(finished).await.unwrap();
    let completed: i64 = app
        .sql()
        .await
        .one(
            "SELECT count(*) FROM intake.audit_log WHERE action = 'batch_processed'",
            &[],
        )
        .await;
    assert_eq!(completed, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_abandoned_batch_takes_no_more_rows_and_keeps_what_is_in() {
    let app = App::start().await;
    let (mut lane, _) = app.lane(lane_of(0, 2)).await.unwrap();
    lane.rows(0, &people(0..3)).await.unwrap();
    let request = AbandonBatchRequest {
        batch_id: "b".into(),
        reason: "the file was wrong".into(),
    };
    let abandoned = app.intake().await.abandon_batch(request).await.unwrap();
    let batch = abandoned.into_inner().batch.unwrap();
    assert_eq!(batch.state(), BatchState::Abandoned);
    assert_eq!(batch.lanes[0].state(), LaneState::Abandoned);
    // The stream that is open, and those that would be.
    refusal(lane.rows(3, &people(3..4)).await)
        .is(Code::FailedPrecondition, "BATCH_ABANDONED")
        .says("batch_id", "b");
    for number in [0, 1] {
        refusal(app.lane(lane_of(number, 2)).await).is(Code::FailedPrecondition, "BATCH_ABANDONED");
    }
    assert_eq!(evidence::raw_loads(&app, "b").await.len(), 3);
    evidence::assert_conserved(&app).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lane_of_an_abandoned_batch_cannot_finish() {
    let app = App::start().await;
    let (mut lane, _) = app.lane(open("b", "apollo")).await.unwrap();
    let request = AbandonBatchRequest {
        batch_id: "b".into(),
        ..Default::default()
    };
    app.intake().await.abandon_batch(request).await.unwrap();
    refusal(lane.finish(0).await).is(Code::FailedPrecondition, "BATCH_ABANDONED");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_shuts_down_says_so_and_another_goes_on() {
    let app = App::start().await;
    let url = app.url.clone();
    let (mut lane, _) = app.lane(open("b", "apollo")).await.unwrap();
    lane.rows(0, &people(0..10)).await.unwrap();
    let (answer, ()) = tokio::join!(lane.receive(), app.stop());
    let refusal = refusal(answer).is(Code::Unavailable, "SHUTTING_DOWN");
    assert!(refusal.retry);

    let app = App::start_on(url, &[]).await;
    let (mut lane, opened) = app.lane(open("b", "apollo")).await.unwrap();
    assert_eq!(opened.next_offset, 10);
    lane.rows(10, &people(10..12)).await.unwrap();
    assert_eq!(lane.finish(12).await.unwrap().tally.unwrap().accepted, 12);
}

#[tokio::test(flavor = "multi_thread")]
async fn frames_before_the_shutdown_are_acked_before_it_is_said() {
    let app = App::start().await;
    let owner = app.sql().await;
    let (mut lane, _) = app.lane(open("b", "apollo")).await.unwrap();
    owner
        .run("BEGIN; LOCK TABLE intake.email_claims IN ACCESS EXCLUSIVE MODE")
        .await;
    lane.send_rows(Some(0), &people(0..10)).await;
    app.sql().await.until_somebody_waits().await;
    let stopped = tokio::spawn(app.stop());
    owner.run("COMMIT").await;
    assert_eq!(ack(lane.receive().await.unwrap()).accepted, 10);
    refusal(lane.receive().await).is(Code::Unavailable, "SHUTTING_DOWN");
    stopped.await.unwrap();
}
