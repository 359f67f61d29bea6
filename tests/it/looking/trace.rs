//! `TraceRow`.

use leadvault::proto::{
    intake::v1::{RowFate, RowIdentity, TraceRowRequest, TraceRowResponse, trace_row_request::Key},
    r#type::v1::RejectionReason,
};
use tonic::Code;

use crate::harness::{App, Lane, assert_field, open, refused, row};

fn of_row(batch_id: &str, lane: i32, offset: i64) -> TraceRowRequest {
    TraceRowRequest {
        key: Some(Key::Row(RowIdentity {
            batch_id: batch_id.into(),
            lane,
            offset,
        })),
    }
}

fn of_load(load_id: i64) -> TraceRowRequest {
    TraceRowRequest {
        key: Some(Key::LoadId(load_id)),
    }
}

async fn trace(app: &App, request: TraceRowRequest) -> TraceRowResponse {
    let response = app.intake().await.trace_row(request).await;
    response.unwrap().into_inner()
}

/// A batch in two chunks of lane 0, and a call on lane -1: accepted, rejected; duplicate, accepted; accepted.
async fn loaded() -> App {
    let app = App::start().await;
    let (mut lane, _) = Lane::open(app.intake().await, open("b", "apollo"))
        .await
        .unwrap();
    lane.rows(0, &[row("A@x.example"), "[]".into()])
        .await
        .unwrap();
    lane.rows(2, &[row("a@x.example"), row("b@x.example")])
        .await
        .unwrap();
    app.ingest("b", "apollo", &[row("c@x.example")]).await;
    app
}

#[tokio::test(flavor = "multi_thread")]
async fn law_1_every_row_is_followed_by_its_identity_and_by_its_load() {
    let app = loaded().await;
    let rows = [
        (0, 0, RowFate::Accepted, "a@x.example"),
        (0, 2, RowFate::Duplicate, "a@x.example"),
        (0, 3, RowFate::Accepted, "b@x.example"),
        (-1, 0, RowFate::Accepted, "c@x.example"),
    ];
    for (lane, offset, fate, email) in rows {
        let request = of_row("b", lane, offset);
        let traced = trace(&app, request.clone()).await;
        let load = traced.load.as_ref().unwrap();
        assert_eq!(traced.fate(), fate, "{request:?}");
        assert_eq!(load.email, email);
        assert_eq!((load.lane, load.offset), (lane, offset));
        assert!(traced.rejected_row.is_none());
        let by_load = trace(&app, of_load(load.load_id)).await;
        assert_eq!(by_load, traced);
        assert_eq!(by_load.row.unwrap().offset, offset);
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_duplicate_names_the_load_that_holds_the_claim() {
    let app = loaded().await;
    let first = trace(&app, of_row("b", 0, 0)).await;
    assert_eq!(first.claim_load_id, 0, "its own claim is not another's");
    let second = trace(&app, of_row("b", 0, 2)).await;
    assert_eq!(second.claim_load_id, first.load.unwrap().load_id);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rejected_row_is_shown_with_its_bytes() {
    let app = loaded().await;
    let traced = trace(&app, of_row("b", 0, 1)).await;
    assert_eq!(traced.fate(), RowFate::Rejected);
    assert!(traced.load.is_none());
    let rejected = traced.rejected_row.unwrap();
    assert_eq!(rejected.original, b"[]");
    let rejection = rejected.rejection.unwrap();
    assert_eq!(
        (rejection.offset, rejection.reason()),
        (1, RejectionReason::NotAnObject)
    );
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_is_followed_to_its_contact_and_its_person() {
    let app = loaded().await;
    let before = trace(&app, of_row("b", 0, 2)).await;
    assert!(before.contact.is_none() && before.person.is_none());
    let load_id = before.claim_load_id;
    let sql = app.sql().await;
    sql.run(&format!(
        "INSERT INTO vault.contacts (email, source, load_id, status)
             VALUES ('a@x.example', 'apollo', {load_id}, 'unsubscribed'), ('z@x.example', 'apollo', NULL, 'active');
         INSERT INTO people.master (email, status) VALUES ('a@x.example', 'inactive')"
    ))
    .await;
    let contact_id: i64 = sql
        .one(
            "SELECT contact_id FROM vault.contacts WHERE email = 'a@x.example'",
            &[],
        )
        .await;
    let person_id: String = sql.one("SELECT id::text FROM people.master", &[]).await;

    // By the duplicate as by the accepted row, which came as A@x.example.
    for offset in [0, 2] {
        let traced = trace(&app, of_row("b", 0, offset)).await;
        let (contact, person) = (traced.contact.unwrap(), traced.person.unwrap());
        assert_eq!(contact.contact_id, contact_id);
        assert_eq!(
            (contact.status.as_str(), contact.load_id),
            ("unsubscribed", load_id)
        );
        assert_eq!(
            (person.person_id, person.status.as_str()),
            (person_id.clone(), "inactive")
        );
        assert!(contact.update_time.is_some() && person.update_time.is_some());
    }
    assert!(trace(&app, of_row("b", 0, 3)).await.contact.is_none());
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fate_never_changes_though_the_load_does() {
    let app = loaded().await;
    app.sql()
        .await
        .run("UPDATE intake.raw_loads SET status = 'failed'")
        .await;
    assert_eq!(
        trace(&app, of_row("b", 0, 0)).await.fate(),
        RowFate::Accepted
    );
    assert_eq!(
        trace(&app, of_row("b", 0, 2)).await.fate(),
        RowFate::Duplicate
    );
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_was_never_received_is_not_found() {
    let app = loaded().await;
    for (request, resource) in [
        (of_row("b", 0, 4), "row"),
        (of_row("b", 0, i64::MAX), "row"),
        (of_row("b", -1, 1), "row"),
        (of_row("b", 1, 0), "row"),
        (of_row("b", i32::MAX, 0), "row"),
        (of_row("nothing", 0, 0), "row"),
        (of_load(9_999), "load"),
        (of_load(-1), "load"),
    ] {
        let refusal = refused(app.intake().await.trace_row(request.clone()).await);
        assert_eq!(refusal.code, Code::NotFound, "{request:?}");
        assert_eq!(refusal.metadata["resource"], resource);
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_identity_must_be_one() {
    let app = App::start().await;
    for (request, field) in [
        (TraceRowRequest { key: None }, "key"),
        (of_row("", 0, 0), "row.batch_id"),
        (of_row("a\0b", 0, 0), "row.batch_id"),
        (of_row("b", -4, 0), "row.lane"),
        (of_row("b", 0, -1), "row.offset"),
    ] {
        assert_field(app.intake().await.trace_row(request).await, field);
    }
    app.stop().await;
}

/// Two lanes' loads have ids in between one another.
#[tokio::test(flavor = "multi_thread")]
async fn rows_of_lanes_that_were_written_side_by_side_are_told_apart() {
    let app = App::start().await;
    let mut lanes = Vec::new();
    for number in 0..2 {
        let opening = leadvault::proto::intake::v1::bulk_ingest_request::Open {
            lane: number,
            lane_count: 2,
            ..open("b", "apollo")
        };
        lanes.push(Lane::open(app.intake().await, opening).await.unwrap().0);
    }
    for chunk in 0..3 {
        for (number, lane) in lanes.iter_mut().enumerate() {
            let rows = [0, 1].map(|n| row(&format!("p{number}-{chunk}-{n}@x.example")));
            lane.rows(chunk * 2, &rows).await.unwrap();
        }
    }
    // As when their chunks were stored at the same moment: what each looks between is the others' too.
    app.sql()
        .await
        .run(
            "UPDATE intake.batch_chunks
             SET first_load_id = (SELECT min(load_id) FROM intake.raw_loads),
                 last_load_id = (SELECT max(load_id) FROM intake.raw_loads)",
        )
        .await;
    for lane in 0..2 {
        for offset in 0..6 {
            let traced = trace(&app, of_row("b", lane, offset)).await;
            let expected = format!("p{lane}-{}-{}@x.example", offset / 2, offset % 2);
            assert_eq!(traced.load.unwrap().email, expected);
        }
    }
    app.stop().await;
}
