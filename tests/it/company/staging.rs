//! `StageCompanies`: slots are recognised by content, calls by their offsets and ids.

use futures_util::future::join_all;
use leadvault::proto::{
    company::v1::{ListCompanySlotsRequest, StageCompaniesRequest},
    intake::v1::{RowIdentity, TraceRowRequest, trace_row_request::Key},
    r#type::v1::SlotStatus,
};
use serde_json::json;
use tonic::Code;

use super::{letters, promote_all, rows, slots, stage, try_stage};
use crate::harness::{App, evidence, refusal};

const REQUEST_ID: &str = "6f2d9d1e-0a39-4b59-a4c0-7f3f39c3fd6a";

#[tokio::test(flavor = "multi_thread")]
async fn a_row_is_staged_when_it_differs_from_the_newest_of_its_domain_and_source() {
    let app = App::start().await;
    let (a, b) = (
        json!({"domain": "acme.com", "name": "A"}),
        json!({"name": "B", "domain": "www.ACME.com"}),
    );
    assert_eq!(stage(&app, "x", std::slice::from_ref(&a)).await, "s");
    assert_eq!(stage(&app, "x", &[a.clone(), a.clone()]).await, "uu");
    // Another spelling of the same JSON is the same content.
    let spelled = br#" {"name" : "A",  "domain":"acme.com", "name":"A"} "#;
    let request = rows("b-x", "x", &[spelled]);
    assert_eq!(
        letters(&try_stage(&app, request).await.unwrap().outcomes),
        "u"
    );
    // A, B, A within a call and over calls; after promotion as before.
    assert_eq!(
        stage(
            &app,
            "x",
            &[b.clone(), a.clone(), b.clone(), b.clone(), a.clone()]
        )
        .await,
        "sssus"
    );
    assert_eq!(promote_all(&app).await, [1, 4, 0, 0]);
    assert_eq!(stage(&app, "x", std::slice::from_ref(&a)).await, "u");
    assert_eq!(stage(&app, "x", std::slice::from_ref(&b)).await, "s");
    // Two sources that disagree do not take turns.
    assert_eq!(stage(&app, "y", std::slice::from_ref(&a)).await, "s");
    assert_eq!(stage(&app, "x", &[b]).await, "u");
    assert_eq!(stage(&app, "y", &[a]).await, "u");
    evidence::assert_conserved(&app).await;
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_callers_who_stage_the_same_rows_stage_each_once() {
    let app = App::start().await;
    let values: Vec<_> = (0..200)
        .map(|n| json!({"domain": format!("c{}.com", n % 100), "n": n / 100}))
        .collect();
    let first: Vec<String> = values[..100].iter().map(ToString::to_string).collect();
    let calls = (0..12).map(|call| {
        let mut mine = first.clone();
        // Each in another order: they must queue up, not deadlock.
        mine.rotate_left(call * 7);
        if call % 2 == 0 {
            mine.reverse();
        }
        try_stage(&app, rows(&format!("b{call}"), "x", &mine))
    });
    let answers = join_all(calls).await;
    let staged: i64 = answers
        .iter()
        .map(|answer| answer.as_ref().unwrap().tally.unwrap().staged)
        .sum();
    assert_eq!(staged, 100);
    // Each caller was told the slot that holds its row.
    let known = slots(
        &app,
        ListCompanySlotsRequest {
            page_size: 1_000,
            ..Default::default()
        },
    )
    .await;
    assert_eq!(known.len(), 100);
    for answer in answers {
        for outcome in answer.unwrap().outcomes {
            assert!(
                known
                    .iter()
                    .any(|slot| slot.slot.as_ref().unwrap().slot_id == outcome.slot_id)
            );
        }
    }
    // Two rows that alternate in one batch, by many callers at once: every fate is kept once.
    let calls = (0..8).map(|_| stage(&app, "y", &values));
    join_all(calls).await;
    evidence::assert_conserved(&app).await;
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn offsets_replay_with_the_first_outcome() {
    let app = App::start().await;
    let at = |offset, texts: &[&str]| StageCompaniesRequest {
        offset: Some(offset),
        ..rows("b", "x", texts)
    };
    let (a, bad, b) = (r#"{"domain":"a.com"}"#, "{}", r#"{"domain":"b.com"}"#);
    let first = try_stage(&app, at(0, &[a, bad, a])).await.unwrap();
    assert_eq!(letters(&first.outcomes), "sru");
    // Wholly below: nothing happens, also when the bytes differ.
    let again = try_stage(&app, at(0, &[a, bad, a])).await.unwrap();
    for (first, again) in first.outcomes.iter().zip(&again.outcomes) {
        let mut expected = first.clone();
        expected.replayed = true;
        assert_eq!(*again, expected);
    }
    // Partly below: the new part is stored.
    let partly = try_stage(&app, at(1, &[bad, a, b, bad])).await.unwrap();
    assert_eq!(
        (letters(&partly.outcomes).as_str(), partly.first_offset),
        ("rusr", 1)
    );
    assert_eq!(
        partly
            .outcomes
            .iter()
            .filter(|outcome| outcome.replayed)
            .count(),
        2
    );
    refusal(try_stage(&app, at(6, &[a])).await)
        .is(Code::OutOfRange, "OFFSET_GAP")
        .says("expected_offset", 5)
        .says("offset", 6);
    // Appended.
    let appended = try_stage(&app, rows("b", "x", &[b])).await.unwrap();
    assert_eq!(
        (appended.first_offset, letters(&appended.outcomes).as_str()),
        (5, "u")
    );
    let lane = evidence::lane(&app, "b", -2).await;
    let tally = lane.tally.unwrap();
    assert_eq!(lane.next_offset, 6);
    assert_eq!((tally.accepted, tally.duplicate, tally.rejected), (2, 2, 2));
    evidence::assert_conserved(&app).await;

    // Every row can be followed.
    let trace = |offset| TraceRowRequest {
        key: Some(Key::Row(RowIdentity {
            batch_id: "b".into(),
            lane: -2,
            offset,
        })),
    };
    let mut intake = app.intake().await;
    let staged = intake.trace_row(trace(0)).await.unwrap().into_inner();
    assert_eq!(staged.slot_id, first.outcomes[0].slot_id);
    let rejected = intake.trace_row(trace(1)).await.unwrap().into_inner();
    assert_eq!(rejected.rejected_row.unwrap().original, bad.as_bytes());
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_id_gets_the_first_answer_and_validate_only_stores_nothing() {
    let app = App::start().await;
    let request = StageCompaniesRequest {
        request_id: REQUEST_ID.into(),
        validate_only: true,
        ..rows("", "x", &[r#"{"domain":"a.com"}"#, "{}"])
    };
    let preview = try_stage(&app, request.clone()).await.unwrap();
    assert_eq!(letters(&preview.outcomes), "sr");
    assert_eq!(preview.outcomes[0].slot_id, "");
    let contents = evidence::contents(&app).await;
    assert!(contents.values().all(Vec::is_empty), "{contents:?}");

    let real = StageCompaniesRequest {
        validate_only: false,
        ..request
    };
    let first = try_stage(&app, real.clone()).await.unwrap();
    let before = evidence::contents(&app).await;
    assert_eq!(try_stage(&app, real.clone()).await.unwrap(), first);
    assert_eq!(evidence::contents(&app).await, before);
    let other = StageCompaniesRequest {
        source: "y".into(),
        ..real
    };
    refusal(try_stage(&app, other).await).is(Code::AlreadyExists, "REQUEST_ID_REUSED");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn malformed_calls_are_refused_whole() {
    let app = App::start().await;
    let good = || rows("b", "x", &[r#"{"domain":"a.com"}"#]);
    for (field, request) in [
        (
            "rows",
            StageCompaniesRequest {
                json_rows: vec![],
                ..good()
            },
        ),
        (
            "rows",
            StageCompaniesRequest {
                rows: vec![Default::default()],
                ..good()
            },
        ),
        (
            "source",
            StageCompaniesRequest {
                source: " ".into(),
                ..good()
            },
        ),
        (
            "batch_id",
            StageCompaniesRequest {
                batch_id: "a\nb".into(),
                ..good()
            },
        ),
        (
            "offset",
            StageCompaniesRequest {
                offset: Some(-1),
                ..good()
            },
        ),
        (
            "offset",
            StageCompaniesRequest {
                offset: Some(0),
                batch_id: String::new(),
                ..good()
            },
        ),
        (
            "request_id",
            StageCompaniesRequest {
                request_id: "again".into(),
                ..good()
            },
        ),
    ] {
        refusal(try_stage(&app, request).await).blames(field);
    }
    let many = vec!["{}"; 1_001];
    refusal(try_stage(&app, rows("b", "x", &many)).await).limits("max-ingest-rows", 1_000, 1_001);
    try_stage(&app, good()).await.unwrap();
    let other = StageCompaniesRequest {
        source: "y".into(),
        ..good()
    };
    refusal(try_stage(&app, other).await)
        .is(Code::FailedPrecondition, "BATCH_MISMATCH")
        .says("field", "source");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn slots_are_listed_by_every_filter_and_page() {
    let app = App::start().await;
    let values: Vec<_> = (0..25)
        .map(|n| json!({"domain": format!("c{n}.com")}))
        .collect();
    stage(&app, "x", &values).await;
    stage(
        &app,
        "y",
        &[json!({"domain": "gmail.com"}), json!({"domain": "c1.com"})],
    )
    .await;
    promote_all(&app).await;
    stage(&app, "x", &[json!({"domain": "c1.com", "name": "new"})]).await;
    let count = async |request: ListCompanySlotsRequest| {
        let found = slots(
            &app,
            ListCompanySlotsRequest {
                page_size: 4,
                ..request
            },
        )
        .await;
        let numbers: Vec<i64> = found
            .iter()
            .map(|slot| slot.slot.as_ref().unwrap().slot_number)
            .collect();
        assert!(numbers.is_sorted());
        found.len()
    };
    assert_eq!(count(ListCompanySlotsRequest::default()).await, 28);
    let pending = SlotStatus::Pending.into();
    assert_eq!(
        count(ListCompanySlotsRequest {
            status: pending,
            ..Default::default()
        })
        .await,
        1
    );
    assert_eq!(
        count(ListCompanySlotsRequest {
            domain: "http://C1.com/".into(),
            ..Default::default()
        })
        .await,
        3
    );
    assert_eq!(
        count(ListCompanySlotsRequest {
            source: "y".into(),
            ..Default::default()
        })
        .await,
        2
    );
    assert_eq!(
        count(ListCompanySlotsRequest {
            batch_id: "b-x".into(),
            ..Default::default()
        })
        .await,
        26
    );
    assert_eq!(
        count(ListCompanySlotsRequest {
            rejection_reason: 2,
            ..Default::default()
        })
        .await,
        1
    );
    assert_eq!(
        count(ListCompanySlotsRequest {
            rejection_reason: 1,
            ..Default::default()
        })
        .await,
        0
    );
    app.stop().await;
}
