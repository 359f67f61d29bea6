//! The idle timeout: nothing from the client while nothing of its is unacked.

use std::time::{Duration, Instant};

use tonic::Code;

use crate::harness::{App, Lane, ack, evidence, open, refusal, rows::people};

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_stream_is_ended_and_told_the_timeout() {
    let app = App::start_with(&["--stream-idle-timeout", "6"]).await;
    let (mut lane, _) = app.lane(open("b", "apollo")).await.unwrap();
    lane.rows(0, &people(0..3)).await.unwrap();
    let refusal = refusal(lane.receive().await)
        .is(Code::DeadlineExceeded, "STREAM_IDLE")
        .says("idle_seconds", "6");
    assert!(
        refusal.message.contains("stream-idle-timeout"),
        "{refusal:?}"
    );
    let (_, opened) = app.lane(open("b", "apollo")).await.unwrap();
    assert_eq!(opened.next_offset, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_never_opens_is_ended_too() {
    let app = App::start_with(&["--stream-idle-timeout", "0.3"]).await;
    let mut lane = Lane::connect(app.intake().await).await;
    refusal(lane.receive().await).is(Code::DeadlineExceeded, "STREAM_IDLE");
}

#[tokio::test(flavor = "multi_thread")]
async fn heartbeats_keep_a_stream_alive() {
    const IDLE: Duration = Duration::from_secs(5);
    let app = App::start_with(&["--stream-idle-timeout", "5"]).await;
    let (mut lane, _) = app.lane(open("b", "apollo")).await.unwrap();
    let begun = Instant::now();
    while begun.elapsed() < IDLE * 2 {
        lane.each(None, vec![]).await.unwrap();
    }
    lane.finish(0).await.unwrap();
}

/// The server is what keeps the client waiting, so that the client is not idle; its time begins with the ack.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_waits_for_an_ack_is_not_idle() {
    let app = App::start_with(&["--stream-idle-timeout", "8"]).await;
    let owner = app.sql().await;
    let (mut lane, _) = app.lane(open("b", "apollo")).await.unwrap();
    owner
        .run("BEGIN; LOCK TABLE intake.email_claims IN ACCESS EXCLUSIVE MODE")
        .await;
    lane.send_rows(Some(0), &people(0..3)).await;
    let nothing = tokio::time::timeout(Duration::from_secs(9), lane.receive()).await;
    assert!(nothing.is_err(), "{nothing:?}");
    owner.run("COMMIT").await;
    assert_eq!(ack(lane.receive().await.unwrap()).accepted, 3);
    let nothing = tokio::time::timeout(Duration::from_secs(4), lane.receive()).await;
    assert!(nothing.is_err(), "{nothing:?}");
    lane.finish(3).await.unwrap();
    assert_eq!(evidence::fates(&app, "b", 0).await, "aaa");
}
