//! Rows that cannot be staged, values that have no reading, and slots written past the service.

use leadvault::proto::r#type::v1::{
    RejectionReason as Reason, SlotRejectionReason, SlotStatus, slot_note::Reason as Note,
};
use prost_types::{Struct, Value, value::Kind};
use serde_json::json;

use super::{letters, person, promote, promote_all, rows, slots, stage};
use crate::harness::App;

/// Law 3: each with its own reason, and none takes another down.
#[tokio::test(flavor = "multi_thread")]
async fn law_3_no_row_takes_another_down() {
    let app = App::start().await;
    let long = "x".repeat(1_001);
    let bad: Vec<(String, Reason, &str)> = vec![
        (String::new(), Reason::EmptyRow, ""),
        ("{".into(), Reason::NotJson, ""),
        ("[]".into(), Reason::NotAnObject, ""),
        ("{}".into(), Reason::MissingEmail, "/email"),
        (r#"{"email":" "}"#.into(), Reason::MissingEmail, "/email"),
        (r#"{"email":7}"#.into(), Reason::InvalidEmail, "/email"),
        (r#"{"email":"jane"}"#.into(), Reason::InvalidEmail, "/email"),
        (
            r#"{"email":"a@x.example","v":"\u0000"}"#.into(),
            Reason::UnstorableText,
            "/v",
        ),
        (
            r#"{"email":"a@x.example","v":1e999}"#.into(),
            Reason::NumberOutOfRange,
            "/v",
        ),
        (
            format!(r#"{{"email":"a@x.example","location":"{long}"}}"#),
            Reason::TextTooLong,
            "/location",
        ),
        (
            format!(r#"{{"email":"a@x.example","name":"{long}"}}"#),
            Reason::TextTooLong,
            "/name",
        ),
        (
            format!(r#"{{"email":"a@x.example","first_name":"{long}"}}"#),
            Reason::TextTooLong,
            "/first_name",
        ),
        (
            format!(r#"{{"email":"a@x.example","last_name":"{long}"}}"#),
            Reason::TextTooLong,
            "/last_name",
        ),
        (
            format!(r#"{{"email":"a@x.example","title":"{long}"}}"#),
            Reason::TextTooLong,
            "/title",
        ),
        (
            format!(r#"{{"email":"a@x.example","phone":"{long}"}}"#),
            Reason::TextTooLong,
            "/phone",
        ),
    ];
    let longest = "x".repeat(1_000);
    let mut request = rows(&[json!({"email": "first@x.example"})]);
    request
        .json_rows
        .extend(bad.iter().map(|(row, ..)| row.clone().into_bytes().into()));
    request.json_rows.push(
        format!(r#"{{"email":"last@x.example","title":"{longest}"}}"#)
            .into_bytes()
            .into(),
    );
    let staged = stage(&app, request).await;
    assert_eq!(letters(&staged), format!("s{}s", "r".repeat(bad.len())));
    for (outcome, (row, reason, pointer)) in staged.outcomes[1..].iter().zip(&bad) {
        assert_eq!(outcome.reason(), *reason, "{row:.60}");
        assert_eq!(outcome.pointer, *pointer, "{row:.60}");
        assert!(!outcome.detail.is_empty());
    }
    assert_eq!(promote_all(&app).await, [2, 0, 0, 0]);
    assert_eq!(person(&app, "last@x.example").await.title, longest);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_may_send_structs() {
    let app = App::start().await;
    let field = |kind| Value { kind: Some(kind) };
    let row = |number| Struct {
        fields: [
            ("email", Kind::StringValue("a@x.example".into())),
            ("phone", Kind::NumberValue(number)),
        ]
        .map(|(key, kind)| (key.to_owned(), field(kind)))
        .into(),
    };
    let mut request = rows(&[]);
    request.rows = vec![row(5.0), row(f64::NAN)];
    let staged = stage(&app, request).await;
    assert_eq!(letters(&staged), "sr");
    assert_eq!(staged.outcomes[1].reason(), Reason::NumberOutOfRange);
    promote_all(&app).await;
    assert_eq!(person(&app, "a@x.example").await.phone, "5");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_without_a_reading_is_left_out_and_noted() {
    let app = App::start().await;
    stage(
        &app,
        rows(&[
            json!({
                "email": "a@x.example", "title": ["CTO"], "phone": true, "department": "ops",
                "linkedin_url": "https://www.linkedin.com/company/acme", "website": "http://",
            }),
            json!({"email": "b@x.example", "linkedin_url": "", "website": null}),
        ]),
    )
    .await;
    let message = promote(&app, Default::default()).await;
    assert_eq!((message.promoted, message.noted), (2, 1));
    let slots = slots(&app).await;
    let mut notes: Vec<_> = slots[0].slot.as_ref().unwrap().notes.iter().collect();
    notes.sort_by(|a, b| a.pointer.cmp(&b.pointer));
    let notes: Vec<_> = notes
        .iter()
        .map(|note| (note.pointer.as_str(), note.reason()))
        .collect();
    assert_eq!(
        notes,
        [
            ("/linkedin_url", Note::NotALinkedinUrl),
            ("/phone", Note::WrongType),
            ("/title", Note::WrongType),
            ("/website", Note::NotAUrl),
        ]
    );
    assert!(slots[1].slot.as_ref().unwrap().notes.is_empty());
    let person = person(&app, "a@x.example").await;
    assert_eq!(
        (person.title.as_str(), person.department.as_str()),
        ("", "ops")
    );
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slot_that_was_written_past_the_service_is_read_like_any_or_refused() {
    let app = App::start().await;
    let sql = app.sql_as_app().await;
    sql.run(&format!(
        "INSERT INTO people.slot (email, raw_data) VALUES
             ('Jane@X.example', '{{\"name\": \"Jane Doe\"}}'),
             ('nobody', '{{}}'),
             ('b@x.example', '[]'),
             ('c@x.example', '{{\"seniority\": \"{0}\"}}'), ('d@x.example', '{{\"phone\": \"{0}\"}}'),
             ('e@x.example', '{{\"title\": \"{0}\"}}'), ('f@x.example', '{{\"last_name\": \"{0}\"}}'),
             ('g@x.example', '{{\"first_name\": \"{0}\"}}')",
        "x".repeat(1_001)
    ))
    .await;
    assert_eq!(promote_all(&app).await, [1, 0, 0, 7]);
    assert_eq!(person(&app, "jane@x.example").await.name, "Jane Doe");
    let slots = slots(&app).await;
    let reasons: Vec<_> = slots
        .iter()
        .map(|slot| {
            let slot = slot.slot.as_ref().unwrap();
            assert_eq!(
                slot.status() == SlotStatus::Rejected,
                !slot.rejection_detail.is_empty()
            );
            slot.rejection_reason()
        })
        .collect();
    assert_eq!(
        reasons,
        [
            SlotRejectionReason::Unspecified,
            SlotRejectionReason::InvalidEmail,
            SlotRejectionReason::NotAnObject,
            SlotRejectionReason::TextTooLong,
            SlotRejectionReason::TextTooLong,
            SlotRejectionReason::TextTooLong,
            SlotRejectionReason::TextTooLong,
            SlotRejectionReason::TextTooLong,
        ]
    );
    app.stop().await;
}
