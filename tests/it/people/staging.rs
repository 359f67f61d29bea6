//! `StagePeople`: slots, recognised by content, and the fates of rows.

use leadvault::proto::{
    intake::v1::{
        AbandonBatchRequest, RowFate, RowIdentity, TraceRowRequest, TraceRowResponse,
        trace_row_request::Key,
    },
    people::v1::StagePeopleRequest,
};
use serde_json::json;
use tonic::Code;

use super::{letters, people, promote_all, rows, slots, stage};
use crate::harness::{App, assert_field, evidence, refused};

async fn trace(app: &App, offset: i64) -> TraceRowResponse {
    let request = TraceRowRequest {
        key: Some(Key::Row(RowIdentity {
            batch_id: "b".into(),
            lane: -3,
            offset,
        })),
    };
    let response = app.intake().await.trace_row(request).await.unwrap();
    response.into_inner()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_makes_a_slot_where_its_content_differs_from_the_newest() {
    let app = App::start().await;
    let (a, b) = (
        json!({"email": "A@x.example", "n": 1}),
        json!({"email": "a@x.example", "n": 2}),
    );
    let other = json!({"email": "b@x.example"});
    let first = stage(
        &app,
        rows(&[a.clone(), a.clone(), b.clone(), a.clone(), other.clone()]),
    )
    .await;
    assert_eq!(letters(&first), "susss");
    assert_eq!(first.first_offset, 0);
    assert_eq!(first.outcomes[0].slot_id, first.outcomes[1].slot_id);

    let slots = slots(&app).await;
    let offsets: Vec<_> = slots
        .iter()
        .map(|slot| (slot.email.as_str(), slot.slot.as_ref().unwrap().offset))
        .collect();
    let a_s = "a@x.example";
    assert_eq!(offsets, [(a_s, 0), (a_s, 2), (a_s, 3), ("b@x.example", 4)]);

    // The newest of the email is the third, of which the same again says the slot, before and after promotion.
    let again = stage(&app, rows(&[a.clone(), other.clone()])).await;
    assert_eq!(letters(&again), "uu");
    assert_eq!(again.outcomes[0].slot_id, first.outcomes[3].slot_id);
    promote_all(&app).await;
    assert_eq!(letters(&stage(&app, rows(&[a.clone(), b])).await), "us");

    // Another source has a memory of its own.
    let crm = StagePeopleRequest {
        batch_id: "crm".into(),
        source: "crm".into(),
        ..rows(&[a])
    };
    assert_eq!(letters(&stage(&app, crm).await), "s");
    app.stop().await;
}

/// Law 1, for lane -3.
#[tokio::test(flavor = "multi_thread")]
async fn law_1_every_row_has_a_fate_that_can_be_followed() {
    let app = App::start().await;
    let row = json!({"email": "a@x.example", "name": "Jane Doe"});
    let request = rows(&[row.clone(), json!({"name": "nobody"}), row]);
    let staged = stage(&app, request).await;
    assert_eq!(letters(&staged), "sru");
    let lane = evidence::lane(&app, "b", -3).await;
    let tally = lane.tally.unwrap();
    assert_eq!(
        [
            tally.received,
            tally.accepted,
            tally.duplicate,
            tally.rejected
        ],
        [3, 1, 1, 1]
    );
    assert_eq!(lane.next_offset, 3);

    promote_all(&app).await;
    let traced = trace(&app, 0).await;
    assert_eq!(traced.fate(), RowFate::Accepted);
    assert_eq!(traced.slot_id, staged.outcomes[0].slot_id);
    assert!(!traced.person.unwrap().person_id.is_empty());
    let traced = trace(&app, 1).await;
    assert_eq!(traced.fate(), RowFate::Rejected);
    let rejection = traced.rejected_row.unwrap().rejection.unwrap();
    assert_eq!(rejection.pointer, "/email");
    assert_eq!(trace(&app, 2).await.fate(), RowFate::Duplicate);
    app.stop().await;
}

/// Law 2: rows at offsets that were staged change nothing.
#[tokio::test(flavor = "multi_thread")]
async fn law_2_rows_at_offsets_that_were_staged_are_answered_with_their_first_outcome() {
    let app = App::start().await;
    let row = |n: i32| json!({"email": format!("p{n}@x.example")});
    let bad = json!({"email": "nobody"});
    let at = |offset: i64, values: &[serde_json::Value]| StagePeopleRequest {
        offset: Some(offset),
        ..rows(values)
    };
    let first = stage(&app, at(0, &[row(0), bad.clone(), row(0)])).await;
    assert_eq!(letters(&first), "sru");
    let again = stage(&app, at(0, &[row(0), bad.clone(), row(0)])).await;
    assert_eq!(letters(&again), "SRU");
    assert_eq!(again.outcomes[0].slot_id, first.outcomes[0].slot_id);
    assert_eq!(again.outcomes[1].detail, first.outcomes[1].detail);
    assert_eq!(again.outcomes[2].slot_id, first.outcomes[0].slot_id);
    let over = stage(&app, at(1, &[bad, row(0), row(1), row(2)])).await;
    assert_eq!(letters(&over), "RUss");
    assert_eq!(over.first_offset, 1);
    assert_eq!(slots(&app).await.len(), 3);

    refused(people(&app).await.stage_people(at(9, &[row(1)])).await)
        .is(Code::OutOfRange, "OFFSET_GAP")
        .says("expected_offset", 5);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_id_returns_the_first_answer_and_validate_only_stores_nothing() {
    let app = App::start().await;
    let preview = StagePeopleRequest {
        validate_only: true,
        ..rows(&[json!({"email": "a@x.example"}), json!({})])
    };
    let preview = stage(&app, preview).await;
    assert_eq!(letters(&preview), "sr");
    assert_eq!(preview.outcomes[0].slot_id, "");
    assert!(slots(&app).await.is_empty());

    let request = StagePeopleRequest {
        request_id: "7d444840-9dc0-11d1-b245-5ffdce74fad2".into(),
        ..rows(&[json!({"email": "a@x.example"})])
    };
    let first = stage(&app, request.clone()).await;
    assert_eq!(stage(&app, request.clone()).await, first);
    let other = StagePeopleRequest {
        source: "crm".into(),
        ..request
    };
    refused(people(&app).await.stage_people(other).await)
        .is(Code::AlreadyExists, "REQUEST_ID_REUSED");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_call_is_refused_as_a_whole() {
    let app = App::start().await;
    let row = json!({"email": "a@x.example"});
    stage(&app, rows(std::slice::from_ref(&row))).await;
    let mut client = people(&app).await;
    let good = rows(&[row]);
    for (request, field) in [
        (rows(&[]), "rows"),
        (
            StagePeopleRequest {
                source: String::new(),
                ..good.clone()
            },
            "source",
        ),
        (
            StagePeopleRequest {
                batch_id: String::new(),
                offset: Some(0),
                ..good.clone()
            },
            "offset",
        ),
        (
            StagePeopleRequest {
                request_id: "x".into(),
                ..good.clone()
            },
            "request_id",
        ),
    ] {
        assert_field(client.stage_people(request).await, field);
    }
    let many = StagePeopleRequest {
        json_rows: vec![b"{}".to_vec().into(); 1_001],
        ..good.clone()
    };
    refused(client.stage_people(many).await).limits("max-ingest-rows", 1_000, 1_001);
    let other = StagePeopleRequest {
        source: "crm".into(),
        ..good.clone()
    };
    refused(client.stage_people(other).await)
        .is(Code::FailedPrecondition, "BATCH_MISMATCH")
        .says("field", "source");
    let abandon = AbandonBatchRequest {
        batch_id: "b".into(),
        reason: "test".into(),
    };
    app.intake().await.abandon_batch(abandon).await.unwrap();
    refused(client.stage_people(good).await).is(Code::FailedPrecondition, "BATCH_ABANDONED");
    app.stop().await;
}

/// Many callers with the same rows: each content is staged once.
#[tokio::test(flavor = "multi_thread")]
async fn callers_at_once_stage_each_content_once() {
    let app = App::start().await;
    let mut calls = tokio::task::JoinSet::new();
    for caller in 0..8 {
        let mut client = people(&app).await;
        // In orders of their own, which must not deadlock.
        let numbers = (0..100).map(move |n| (n * (2 * caller + 1)) % 101);
        let values: Vec<_> = numbers
            .map(|n| json!({"email": format!("p{n}@x.example")}))
            .collect();
        let request = StagePeopleRequest {
            batch_id: format!("b{caller}"),
            ..rows(&values)
        };
        calls.spawn(async move { client.stage_people(request).await.unwrap().into_inner() });
    }
    let staged: i64 = calls
        .join_all()
        .await
        .iter()
        .map(|response| response.tally.unwrap().staged)
        .sum();
    let sql = app.sql().await;
    let (emails, found): (i64, i64) = {
        let row = &sql
            .rows(
                "SELECT count(DISTINCT email), count(*) FROM people.slot",
                &[],
            )
            .await[0];
        (row.get(0), row.get(1))
    };
    assert_eq!((staged, found), (emails, emails));
    app.stop().await;
}
