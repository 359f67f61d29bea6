//! Calls that store nothing: those that only validate, and those that are refused.

use leadvault::proto::intake::v1::{DuplicatePolicy, GetBatchRequest, IngestRowsRequest};
use prost_types::Struct;
use tonic::Code;

use super::{REQUEST_ID, call, fates};
use crate::harness::{
    App,
    evidence::{self, ingest},
    refusal,
    rows::{people, row},
};

#[tokio::test(flavor = "multi_thread")]
async fn validate_only_says_what_would_happen_and_stores_nothing() {
    let app = App::start().await;
    ingest(&app, call(&people(0..2))).await.unwrap();
    let before = evidence::contents(&app).await;
    let rows = [
        row("P0@x.example"),
        row("new@x.example"),
        row("new@x.example"),
        "bad".into(),
    ];
    let request = IngestRowsRequest {
        validate_only: true,
        request_id: REQUEST_ID.into(),
        ..call(&rows)
    };
    let preview = ingest(&app, request.clone()).await.unwrap();
    assert_eq!(
        (fates(&preview).as_str(), preview.first_offset),
        ("dadr", 2)
    );
    assert!(preview.outcomes.iter().all(|outcome| outcome.load_id == 0));
    assert_eq!(preview.tally.unwrap().received, 4);
    assert_eq!(evidence::contents(&app).await, before);

    // And then it happens, under the same id.
    let real = IngestRowsRequest {
        validate_only: false,
        ..request
    };
    assert_eq!(fates(&ingest(&app, real).await.unwrap()), "dadr");
}

#[tokio::test(flavor = "multi_thread")]
async fn validate_only_makes_no_batch() {
    let app = App::start().await;
    let request = IngestRowsRequest {
        validate_only: true,
        ..call(&people(0..1))
    };
    assert_eq!(fates(&ingest(&app, request).await.unwrap()), "a");
    let request = GetBatchRequest {
        batch_id: "b".into(),
    };
    let missing = app.intake().await.get_batch(request).await;
    refusal(missing).is(Code::NotFound, "NOT_FOUND");
}

#[tokio::test(flavor = "multi_thread")]
async fn malformed_calls_are_refused_whole_and_name_the_field() {
    let app = App::start().await;
    let good = || call(&people(0..1));
    let long = "x".repeat(1_001);
    let mut cases = vec![
        (
            "rows",
            IngestRowsRequest {
                json_rows: vec![],
                ..good()
            },
        ),
        (
            "rows",
            IngestRowsRequest {
                rows: vec![Struct::default()],
                ..good()
            },
        ),
        (
            "on_duplicate",
            IngestRowsRequest {
                on_duplicate: 3,
                ..good()
            },
        ),
        (
            "on_duplicate",
            IngestRowsRequest {
                on_duplicate: -1,
                ..good()
            },
        ),
    ];
    for source in ["", " ", "a\tb", "a\0b", "a\u{85}b", long.as_str()] {
        cases.push((
            "source",
            IngestRowsRequest {
                source: source.into(),
                ..good()
            },
        ));
    }
    for batch_id in [" ", "a\nb", "a\0b", long.as_str()] {
        cases.push((
            "batch_id",
            IngestRowsRequest {
                batch_id: batch_id.into(),
                ..good()
            },
        ));
    }
    for (field, request) in cases {
        refusal(ingest(&app, request).await).blames(field);
    }
    let contents = evidence::contents(&app).await;
    assert!(contents.values().all(Vec::is_empty), "{contents:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_keeps_its_source_and_policy() {
    let app = App::start().await;
    ingest(&app, call(&people(0..1))).await.unwrap();
    let before = evidence::contents(&app).await;
    let other_source = IngestRowsRequest {
        source: "apify".into(),
        ..call(&people(1..2))
    };
    refusal(ingest(&app, other_source).await)
        .is(Code::FailedPrecondition, "BATCH_MISMATCH")
        .says("field", "source")
        .says("stored", "manual")
        .says("given", "apify");
    let other_policy = IngestRowsRequest {
        on_duplicate: DuplicatePolicy::AcceptChanged.into(),
        ..call(&people(1..2))
    };
    refusal(ingest(&app, other_policy).await)
        .says("field", "on_duplicate")
        .says("stored", "mark");
    assert_eq!(evidence::contents(&app).await, before);
}
