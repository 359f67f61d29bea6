//! Bad rows and bad values: each has its typed reason or its documented reading, and none takes another down.

use leadvault::proto::{
    company::v1::ListCompanySlotsRequest,
    r#type::v1::{
        RejectionReason as Reason, SlotRejectionReason, SlotStatus, slot_note::Reason as Note,
    },
};
use proptest::{prelude::*, strategy::ValueTree, test_runner::TestRunner};
use serde_json::{Value, json};

use super::{bring, get, letters, promote_all, rows, slots, try_stage};
use crate::harness::{App, evidence};

#[tokio::test(flavor = "multi_thread")]
async fn law_3_each_bad_row_is_rejected_alone_with_its_reason() {
    let app = App::start().await;
    let long = format!(r#"{{"domain":"{}com"}}"#, "a.".repeat(149));
    let too_long = format!(r#"{{"domain":"a.com","location":"{}"}}"#, "x".repeat(1_001));
    let cases: &[(&str, Option<(Reason, &str)>)] = &[
        (r#"{"domain":"first.com"}"#, None),
        (
            r#"{"name":"Acme"}"#,
            Some((Reason::MissingDomain, "/domain")),
        ),
        (
            r#"{"website":"http://"}"#,
            Some((Reason::InvalidDomain, "/website")),
        ),
        (
            r#"{"website":"http://10.0.0.1/"}"#,
            Some((Reason::InvalidDomain, "/website")),
        ),
        (
            r#"{"domain":"[::1]"}"#,
            Some((Reason::InvalidDomain, "/domain")),
        ),
        (&long, Some((Reason::InvalidDomain, "/domain"))),
        (
            r#"{"domain":"localhost"}"#,
            Some((Reason::InvalidDomain, "/domain")),
        ),
        (
            r#"{"domain":{"a":1}}"#,
            Some((Reason::InvalidDomain, "/domain")),
        ),
        (&too_long, Some((Reason::TextTooLong, "/location"))),
        (
            r#"{"domain":"a.com","x":"\u0000"}"#,
            Some((Reason::UnstorableText, "/x")),
        ),
        (
            r#"{"domain":"a.com","x":1e999}"#,
            Some((Reason::NumberOutOfRange, "/x")),
        ),
        ("", Some((Reason::EmptyRow, ""))),
        ("[]", Some((Reason::NotAnObject, ""))),
        ("{", Some((Reason::NotJson, ""))),
        (r#"{"domain":"last.com"}"#, None),
    ];
    let texts: Vec<&str> = cases.iter().map(|(row, _)| *row).collect();
    let response = try_stage(&app, rows("b", "x", &texts)).await.unwrap();
    for ((row, rejection), outcome) in cases.iter().zip(&response.outcomes) {
        let found =
            (outcome.slot_id.is_empty()).then(|| (outcome.reason(), outcome.pointer.as_str()));
        assert_eq!(found, *rejection, "{row}");
        assert_eq!(outcome.detail.is_empty(), rejection.is_none(), "{row}");
    }
    assert_eq!(promote_all(&app).await, [2, 0, 0, 0]);
    let kept = evidence::rejected_rows(&app, "b").await;
    assert_eq!(kept.len(), cases.len() - 2);
    assert!(kept.iter().all(|row| row.lane == -2));
    assert_eq!(kept[0].original, texts[1].as_bytes());
    evidence::assert_conserved(&app).await;
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn numbers_are_read_where_they_have_one_reading_and_noted_where_not() {
    let app = App::start().await;
    for (n, (value, count, note)) in [
        (json!("1,200"), Some(1_200), None),
        (json!("51-200"), Some(51), None),
        (json!(58), Some(58), None),
        (json!("many"), None, Some(Note::NotANumber)),
        (json!(-5), None, Some(Note::Negative)),
        (json!("-5"), None, Some(Note::Negative)),
        (json!(2_147_483_648_i64), None, Some(Note::OutOfRange)),
        (json!("3,000,000,000"), None, Some(Note::OutOfRange)),
        (json!(true), None, Some(Note::WrongType)),
        (json!(null), None, None),
    ]
    .into_iter()
    .enumerate()
    {
        let domain = format!("c{n}.com");
        let row =
            json!({"domain": domain, "name": "Acme", "employee_count": value, "revenue": "$4.5M"});
        assert_eq!(bring(&app, "x", row).await, [1, 0, 0, 0]);
        let company = get(&app, &domain).await;
        assert_eq!(
            (company.employee_count, company.name.as_str()),
            (count, "Acme"),
            "{value}"
        );
        assert_eq!(company.revenue.unwrap().value, "4500000");
        let request = ListCompanySlotsRequest {
            domain,
            ..Default::default()
        };
        let slot = slots(&app, request).await.remove(0).slot.unwrap();
        assert_eq!(slot.status(), SlotStatus::Validated);
        assert!(slot.promote_time.is_some());
        let notes: Vec<_> = slot
            .notes
            .iter()
            .map(|note| (note.field.as_str(), note.reason()))
            .collect();
        let expected: Vec<_> = note
            .into_iter()
            .map(|note| ("employee_count", note))
            .collect();
        assert_eq!(notes, expected, "{value}");
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn slots_that_are_not_fit_end_as_rejected_with_a_reason() {
    let app = App::start().await;
    let texts = [
        r#"{"domain":"github.io"}"#,
        r#"{"domain":"foo.github.io"}"#,
        r#"{"domain":"www.gmail.com"}"#,
    ];
    assert_eq!(
        letters(
            &try_stage(&app, rows("b", "x", &texts))
                .await
                .unwrap()
                .outcomes
        ),
        "sss"
    );
    // Slots may be written past the service, with anything in them.
    let sql = app.sql_as_app().await;
    sql.run(
        "INSERT INTO company.slot (domain, raw_data) VALUES
             ('localhost', '{}'), ('a.com', '[]'), ('b.com', '7'), (repeat('x', 3000), '{}'),
             ('c.com', jsonb_build_object('name', repeat('x', 3000))),
             ('HTTPS://WWW.Foo.GitHub.io/', '{\"name\": \"Foo\"}')",
    )
    .await;
    assert_eq!(promote_all(&app).await, [1, 1, 0, 7]);
    assert_eq!(get(&app, "foo.github.io").await.name, "Foo");
    let request = ListCompanySlotsRequest {
        status: SlotStatus::Rejected.into(),
        ..Default::default()
    };
    let reasons: Vec<_> = slots(&app, request)
        .await
        .into_iter()
        .map(|slot| slot.slot.unwrap())
        .collect();
    assert!(
        reasons
            .iter()
            .all(|slot| !slot.rejection_detail.is_empty() && slot.promote_time.is_none())
    );
    use SlotRejectionReason::*;
    assert_eq!(
        reasons
            .iter()
            .map(|slot| slot.rejection_reason())
            .collect::<Vec<_>>(),
        [
            PublicSuffix,
            FreeMailDomain,
            InvalidDomain,
            NotAnObject,
            NotAnObject,
            InvalidDomain,
            TextTooLong
        ]
    );
    app.stop().await;
}

fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "\\PC{0,20}".prop_map(Value::from),
        "[-$€~]?[0-9.,]{0,12}[kKMB+]?".prop_map(Value::from),
        "(https?://)?[a-z]{1,8}\\.(com|io|co\\.uk)(/.*)?".prop_map(Value::from),
        Just(Value::from("x".repeat(1_500))),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::hash_map("\\PC{0,6}", inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

/// Whatever is sent: each row has its outcome, what is staged is promoted or refused, and nothing fails.
#[tokio::test(flavor = "multi_thread")]
async fn law_3_random_rows_take_none_down() {
    const KEYS: &str =
        "domain|website|name|industry|employee_count|revenue|location|linkedin_url|other";
    let app = App::start().await;
    let mut runner = TestRunner::deterministic();
    let good = "[a-z]{1,8}\\.(com|io)".prop_map(Value::from);
    let row = (
        prop::collection::hash_map(KEYS, any_value(), 0..9),
        prop::option::of(good),
    );
    let texts: Vec<String> = (0..3_000)
        .map(|_| row.new_tree(&mut runner).unwrap().current())
        .map(|(mut row, domain)| {
            row.extend(domain.map(|domain| ("domain".to_owned(), domain)));
            Value::Object(row.into_iter().collect()).to_string()
        })
        .collect();
    let mut staged = 0;
    for (n, chunk) in texts.chunks(1_000).enumerate() {
        let response = try_stage(&app, rows("b", "x", chunk)).await.unwrap();
        assert_eq!(response.first_offset, n as i64 * 1_000);
        staged += response.tally.unwrap().staged;
    }
    assert!(staged > 1_000, "{staged}");
    assert_eq!(promote_all(&app).await.iter().sum::<i64>(), staged);
    evidence::assert_conserved(&app).await;
    app.stop().await;
}
