//! What of a row reaches which column.

use serde_json::json;

use super::{bring, contact, ingest, promote_all};
use crate::harness::App;

#[tokio::test(flavor = "multi_thread")]
async fn the_listed_keys_reach_columns_and_every_other_custom_fields() {
    let app = App::start().await;
    let row = json!({
        "email": " A@X.example ", "name": " Ada ", "phone": 4155550100_i64, "company": "Engines",
        "title": "Countess", "tags": ["vip", "math", "vip", " ", 7, null, {"a": 1}],
        "custom_fields": {"city": "London", "empty": ""}, "country": "UK", "nothing": null,
        "status": "unsubscribed", "score": 99, "contact_id": 12345, "load_id": 1,
        "created_at": "2001-01-01T00:00:00Z", "source": "elsewhere",
    });
    assert_eq!(bring(&app, "apollo", row).await, [1, 0, 0, 0]);
    let sql = app.sql().await;
    let contact = contact(&sql, "a@x.example").await;
    for (column, value) in [
        ("name", json!("Ada")),
        ("phone", json!("4155550100")),
        ("company", json!("Engines")),
        ("title", json!("Countess")),
        ("tags", json!(["vip", "math", "7"])),
        ("source", json!("apollo")),
        ("status", json!("active")),
        ("score", json!(0.0)),
        ("pinned_fields", json!([])),
        (
            "custom_fields",
            json!({
                "city": "London", "country": "UK", "status": "unsubscribed", "score": 99,
                "contact_id": 12345, "load_id": 1, "created_at": "2001-01-01T00:00:00Z",
                "source": "elsewhere", "tags": ["vip", "math", "vip", " ", 7, null, {"a": 1}],
            }),
        ),
    ] {
        assert_eq!(contact[column], value, "{column}");
    }
    assert_ne!(contact["contact_id"], json!(12345));
    let year = contact["created_at"].as_str().unwrap();
    assert!(year > "2020", "{year}");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_name_falls_back_to_first_and_last_name() {
    let app = App::start().await;
    let rows = [
        json!({"email": "1@x.example", "first_name": " Ada ", "last_name": "Lovelace"}),
        json!({"email": "2@x.example", "first_name": "Ada"}),
        json!({"email": "3@x.example", "last_name": "Lovelace", "name": "  "}),
        json!({"email": "4@x.example", "last_name": "Lovelace", "name": "Countess"}),
        json!({"email": "5@x.example", "first_name": "", "last_name": null}),
        json!({"email": "6@x.example", "first_name": {"a": 1}, "last_name": "L"}),
    ];
    ingest(&app, "apollo", &rows).await;
    assert_eq!(promote_all(&app).await, [6, 0, 0, 0]);
    let sql = app.sql().await;
    let names = sql
        .rows("SELECT name FROM vault.contacts ORDER BY email", &[])
        .await;
    let names: Vec<Option<&str>> = names.iter().map(|row| row.get(0)).collect();
    assert_eq!(
        names,
        [
            Some("Ada Lovelace"),
            Some("Ada"),
            Some("Lovelace"),
            Some("Countess"),
            None,
            Some("L")
        ]
    );
    app.stop().await;
}

/// Nothing that a source said is lost.
#[tokio::test(flavor = "multi_thread")]
async fn a_value_that_its_column_cannot_hold_stays_in_custom_fields() {
    let app = App::start().await;
    let row = json!({
        "email": "a@x.example", "name": {"first": "Ada"}, "phone": ["1", "2"], "company": true,
        "title": 3.50, "tags": {"vip": true}, "custom_fields": [1],
    });
    bring(&app, "apollo", row).await;
    let contact = contact(&app.sql().await, "a@x.example").await;
    assert_eq!(
        contact["custom_fields"],
        json!({
            "name": {"first": "Ada"}, "phone": ["1", "2"], "company": true, "tags": {"vip": true},
            "custom_fields": [1],
        })
    );
    assert_eq!(contact["title"], json!("3.5"));
    assert_eq!(contact["name"], json!(null));
    assert_eq!(contact["tags"], json!([]));
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_text_is_one_tag() {
    let app = App::start().await;
    bring(
        &app,
        "apollo",
        json!({"email": "a@x.example", "tags": "vip"}),
    )
    .await;
    let contact = contact(&app.sql().await, "a@x.example").await;
    assert_eq!(contact["tags"], json!(["vip"]));
    assert_eq!(contact["custom_fields"], json!({}));
    app.stop().await;
}
