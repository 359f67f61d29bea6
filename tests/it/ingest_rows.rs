//! `IngestRows`: a few rows in one call, for people and small callers.

use leadvault::proto::{
    intake::v1::{
        DuplicatePolicy, GetBatchRequest, GetRawLoadRequest, IngestRowsRequest, IngestRowsResponse,
        LaneState, LoadStatus,
    },
    r#type::v1::RejectionReason,
};
use prost_types::{Struct, Value, value::Kind};
use tonic::Code;

use crate::harness::{
    App,
    evidence::{self, ingest},
    open, refusal,
    rows::{people, row},
};

const REQUEST_ID: &str = "0197a5e2-6f0c-7000-8000-000000000001";

fn call(rows: &[impl AsRef<str>]) -> IngestRowsRequest {
    IngestRowsRequest {
        batch_id: "b".into(),
        source: "manual".into(),
        json_rows: rows
            .iter()
            .map(|row| row.as_ref().to_owned().into())
            .collect(),
        ..Default::default()
    }
}

/// Fates, a letter each.
fn fates(response: &IngestRowsResponse) -> String {
    evidence::outcome_fates(&response.outcomes)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_row_has_an_outcome_in_order() {
    let app = App::start().await;
    let rows = [
        row("a@x.example"),
        "nonsense".into(),
        row("A@x.example"),
        "{}".into(),
        row("b@x.example"),
    ];
    let response = ingest(&app, call(&rows)).await.unwrap();
    assert_eq!(
        (response.batch_id.as_str(), response.first_offset),
        ("b", 0)
    );
    assert_eq!(fates(&response), "ardra");
    let tally = response.tally.unwrap();
    assert_eq!(
        (
            tally.received,
            tally.accepted,
            tally.duplicate,
            tally.rejected
        ),
        (5, 2, 1, 2)
    );
    let rejections: Vec<_> = response
        .outcomes
        .iter()
        .filter_map(|outcome| outcome.rejection.clone())
        .collect();
    assert_eq!(
        evidence::reasons(&rejections),
        [
            (1, RejectionReason::NotJson, String::new()),
            (3, RejectionReason::MissingEmail, "/email".to_owned()),
        ]
    );
    // The loads are those of their rows.
    for (offset, status) in [
        (0, LoadStatus::Pending),
        (2, LoadStatus::Duplicate),
        (4, LoadStatus::Pending),
    ] {
        let load_id = response.outcomes[offset].load_id;
        let mut client = app.intake().await;
        let load = client.get_raw_load(GetRawLoadRequest { load_id }).await;
        let load = load.unwrap().into_inner().load.unwrap();
        assert_eq!(load.status(), status);
        assert_eq!((load.lane, load.offset), (-1, offset as i64));
        let sent: serde_json::Value = serde_json::from_str(&rows[offset]).unwrap();
        let stored: serde_json::Value = serde_json::from_str(&load.raw_data_json).unwrap();
        assert_eq!(stored, sent);
    }
    evidence::assert_conserved(&app).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn structs_are_rows_too() {
    let app = App::start().await;
    let value = |kind| Value { kind: Some(kind) };
    let object = |fields: Vec<(&str, Kind)>| Struct {
        fields: fields
            .into_iter()
            .map(|(key, kind)| (key.to_owned(), value(kind)))
            .collect(),
    };
    let request = IngestRowsRequest {
        batch_id: "b".into(),
        source: "manual".into(),
        rows: vec![
            object(vec![
                ("email", Kind::StringValue("a@x.example".into())),
                ("employees", Kind::NumberValue(250.0)),
                ("score", Kind::NumberValue(12.5)),
                ("active", Kind::BoolValue(true)),
                ("nothing", Kind::NullValue(0)),
            ]),
            object(vec![("name", Kind::StringValue("no email".into()))]),
        ],
        ..Default::default()
    };
    let response = ingest(&app, request).await.unwrap();
    assert_eq!(fates(&response), "ar");
    let loads = evidence::raw_loads(&app, "b").await;
    let stored: serde_json::Value = serde_json::from_str(&loads[0].raw_data_json).unwrap();
    assert_eq!(
        stored,
        serde_json::json!({
            "email": "a@x.example", "employees": 250, "score": 12.5, "active": true, "nothing": null,
        })
    );
}

/// A number that a double cannot hold goes out as it came in.
#[tokio::test(flavor = "multi_thread")]
async fn json_bytes_are_never_squeezed_through_doubles() {
    let app = App::start().await;
    let exact = r#"{"n": 12345678901234567890.000100, "email": "a@x.example"}"#;
    ingest(&app, call(&[exact])).await.unwrap();
    assert_eq!(evidence::raw_loads(&app, "b").await[0].raw_data_json, exact);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_batch_id_the_server_makes_one_each_time() {
    let app = App::start().await;
    let request = IngestRowsRequest {
        batch_id: String::new(),
        ..call(&people(0..2))
    };
    let first = ingest(&app, request.clone()).await.unwrap();
    let second = ingest(&app, request).await.unwrap();
    assert_ne!(first.batch_id, second.batch_id);
    assert_eq!(fates(&second), "dd");
    let batch = evidence::batch(&app, &first.batch_id).await;
    assert_eq!((batch.source.as_str(), batch.lane_count), ("manual", 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_append_to_lane_minus_one() {
    let app = App::start().await;
    for first_offset in [0, 3, 6] {
        let numbers = first_offset as usize..first_offset as usize + 3;
        let response = ingest(&app, call(&people(numbers))).await.unwrap();
        assert_eq!(response.first_offset, first_offset);
        assert_eq!(fates(&response), "aaa");
    }
    let lane = evidence::lane(&app, "b", -1).await;
    assert_eq!((lane.next_offset, lane.state()), (9, LaneState::Open));
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_and_a_stream_share_a_batch() {
    let app = App::start().await;
    let (mut lane, _) = app.lane(open("b", "manual")).await.unwrap();
    lane.rows(0, &people(0..2)).await.unwrap();
    assert_eq!(
        ingest(&app, call(&people(1..3)))
            .await
            .unwrap()
            .first_offset,
        0
    );
    lane.rows(2, &people(3..4)).await.unwrap();
    lane.finish(3).await.unwrap();
    // Lane -1 is never finished.
    assert_eq!(
        ingest(&app, call(&people(4..5)))
            .await
            .unwrap()
            .first_offset,
        2
    );
    let tally = evidence::batch(&app, "b").await.tally.unwrap();
    assert_eq!((tally.received, tally.accepted, tally.duplicate), (6, 5, 1));
    evidence::assert_conserved(&app).await;
}

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
