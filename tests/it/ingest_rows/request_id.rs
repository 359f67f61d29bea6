//! A `request_id` makes a retry return the first answer for 24 hours.

use leadvault::proto::intake::v1::IngestRowsRequest;
use tonic::Code;

use super::{REQUEST_ID, call, fates};
use crate::harness::{
    App,
    evidence::{self, ingest},
    open, refusal,
    rows::{people, row},
};

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_with_its_request_id_gets_the_first_answer() {
    let app = App::start().await;
    let request = IngestRowsRequest {
        batch_id: String::new(),
        request_id: REQUEST_ID.into(),
        ..call(&[row("a@x.example"), "bad".into(), row("a@x.example")])
    };
    let first = ingest(&app, request.clone()).await.unwrap();
    let before = evidence::contents(&app).await;
    assert_eq!(ingest(&app, request).await.unwrap(), first);
    assert_eq!(evidence::contents(&app).await, before);
    assert_eq!(fates(&first), "ard");
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_calls_with_one_request_id_store_once() {
    const CALLS: usize = 8;
    let app = App::start().await;
    let request = IngestRowsRequest {
        batch_id: String::new(),
        request_id: REQUEST_ID.into(),
        ..call(&people(0..20))
    };
    let calls = (0..CALLS).map(|_| ingest(&app, request.clone()));
    let answers = futures_util::future::try_join_all(calls).await.unwrap();
    assert!(answers.iter().all(|answer| *answer == answers[0]));
    let loads: i64 = app
        .sql()
        .await
        .one("SELECT count(*) FROM intake.raw_loads", &[])
        .await;
    assert_eq!(loads, 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_id_with_another_body_is_refused() {
    let app = App::start().await;
    let request = |numbers| IngestRowsRequest {
        request_id: REQUEST_ID.into(),
        ..call(&people(numbers))
    };
    ingest(&app, request(0..2)).await.unwrap();
    let before = evidence::contents(&app).await;
    refusal(ingest(&app, request(0..3)).await).is(Code::AlreadyExists, "REQUEST_ID_REUSED");
    assert_eq!(evidence::contents(&app).await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_is_kept_for_a_day() {
    let app = App::start().await;
    let request = IngestRowsRequest {
        request_id: REQUEST_ID.into(),
        ..call(&people(0..2))
    };
    assert_eq!(fates(&ingest(&app, request.clone()).await.unwrap()), "aa");
    let owner = app.sql().await;
    let age = |interval: &str| {
        format!(
            "UPDATE intake.request_answers SET created_at = clock_timestamp() - interval '{interval}'"
        )
    };
    owner.run(&age("23 hours 59 minutes")).await;
    assert_eq!(fates(&ingest(&app, request.clone()).await.unwrap()), "aa");
    owner.run(&age("24 hours")).await;
    assert_eq!(fates(&ingest(&app, request).await.unwrap()), "dd");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_was_refused_keeps_no_answer() {
    let app = App::start().await;
    let (mut lane, _) = app.lane(open("b", "apollo")).await.unwrap();
    lane.finish(0).await.unwrap();
    let request = IngestRowsRequest {
        request_id: REQUEST_ID.into(),
        ..call(&people(0..2))
    };
    refusal(ingest(&app, request).await).is(Code::FailedPrecondition, "BATCH_MISMATCH");
    // The id is free for a corrected request.
    let corrected = IngestRowsRequest {
        source: "apollo".into(),
        request_id: REQUEST_ID.into(),
        ..call(&people(0..2))
    };
    assert_eq!(fates(&ingest(&app, corrected).await.unwrap()), "aa");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_id_is_a_uuid() {
    let app = App::start().await;
    let request = IngestRowsRequest {
        request_id: "again".into(),
        ..call(&people(0..1))
    };
    refusal(ingest(&app, request).await).blames("request_id");
}
