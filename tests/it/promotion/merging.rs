//! How a load meets the contact that is there: field by field, in the order in which loads came.

use serde_json::json;

use super::{bring, contact, ingest, promote_all, promote_loads};
use crate::harness::App;

#[tokio::test(flavor = "multi_thread")]
async fn a_value_wins_field_by_field_and_an_empty_one_says_nothing() {
    let app = App::start().await;
    let sql = app.sql().await;
    bring(
        &app,
        "apollo",
        json!({"email": "a@x.example", "name": "Ada", "title": "Poet", "phone": "1",
               "tags": ["a", "b"], "city": "London", "size": 5}),
    )
    .await;
    let first = contact(&sql, "a@x.example").await;
    let loads = ingest(
        &app,
        "crm",
        &[
            json!({"email": "A@x.example", "name": "", "title": "Countess", "company": "Engines",
                   "phone": null, "tags": ["b", "c"], "city": "", "size": 6, "zip": "W1"}),
        ],
    )
    .await;
    assert_eq!(promote_loads(&app, &loads).await, [0, 1, 0, 0]);
    let second = contact(&sql, "a@x.example").await;
    for (column, value) in [
        ("contact_id", first["contact_id"].clone()),
        ("created_at", first["created_at"].clone()),
        ("name", json!("Ada")),
        ("title", json!("Countess")),
        ("phone", json!("1")),
        ("company", json!("Engines")),
        ("tags", json!(["a", "b", "c"])),
        (
            "custom_fields",
            json!({"city": "London", "size": 6, "zip": "W1"}),
        ),
        ("source", json!("apollo")),
        ("load_id", json!(loads[0])),
    ] {
        assert_eq!(second[column], value, "{column}");
    }
    assert!(second["updated_at"].as_str() > first["updated_at"].as_str());
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_several_loads_of_one_email_in_a_chunk_the_later_wins_field_by_field() {
    let app = App::start().await;
    let rows = [
        json!({"email": "a@x.example", "name": "One", "title": "T1", "tags": "x"}),
        json!({"email": "b@x.example", "name": "Other"}),
        json!({"email": "a@x.example", "name": "Two", "phone": "2"}),
        json!({"email": "A@X.example", "name": "Three", "tags": "y", "title": ""}),
    ];
    let loads = ingest(&app, "apollo", &rows).await;
    assert_eq!(promote_all(&app).await, [2, 2, 0, 0]);
    let contact = contact(&app.sql().await, "a@x.example").await;
    for (column, value) in [
        ("name", json!("Three")),
        ("title", json!("T1")),
        ("phone", json!("2")),
        ("tags", json!(["x", "y"])),
        ("load_id", json!(loads[3])),
    ] {
        assert_eq!(contact[column], value, "{column}");
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_load_that_is_promoted_later_only_fills_what_is_empty() {
    let app = App::start().await;
    let rows = [
        json!({"email": "a@x.example", "name": "Old", "title": "Filled", "k": 1, "old": 1, "tags": "x"}),
        json!({"email": "a@x.example", "name": "New", "k": 2, "tags": "y"}),
    ];
    let loads = ingest(&app, "apollo", &rows).await;
    assert_eq!(promote_loads(&app, &loads[1..]).await, [1, 0, 0, 0]);
    assert_eq!(promote_loads(&app, &loads[..1]).await, [0, 1, 0, 0]);
    let contact = contact(&app.sql().await, "a@x.example").await;
    for (column, value) in [
        ("name", json!("New")),
        ("title", json!("Filled")),
        ("custom_fields", json!({"k": 2, "old": 1})),
        ("tags", json!(["y", "x"])),
        ("load_id", json!(loads[1])),
    ] {
        assert_eq!(contact[column], value, "{column}");
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_load_is_older_also_when_the_newer_one_changed_nothing() {
    let app = App::start().await;
    let sql = app.sql().await;
    for newer_email in ["a@x.example", "A@x.example"] {
        let email = "a@x.example";
        sql.run(
            "TRUNCATE vault.contacts, intake.raw_loads; DELETE FROM intake.email_claims;
             TRUNCATE intake.batches CASCADE",
        )
        .await;
        bring(&app, "apollo", json!({"email": email, "name": "Stays"})).await;
        let older = ingest(&app, "crm", &[json!({"email": email, "name": "Old"})]).await;
        let newer = ingest(
            &app,
            "crm",
            &[json!({"email": newer_email, "name": "Stays"})],
        )
        .await;
        assert_eq!(promote_loads(&app, &newer).await, [0, 0, 1, 0]);
        assert_eq!(promote_loads(&app, &older).await, [0, 0, 1, 0]);
        assert_eq!(contact(&sql, email).await["name"], json!("Stays"));
    }
    app.stop().await;
}

/// A claim that was won back by a retry does not make its load the newest.
#[tokio::test(flavor = "multi_thread")]
async fn a_load_that_was_retried_after_a_newer_one_is_older() {
    let app = App::start().await;
    let sql = app.sql().await;
    let email = "a@x.example";
    let old = ingest(&app, "crm", &[json!({"email": email, "name": "Old"})]).await[0];
    sql.run(&format!(
        "UPDATE intake.raw_loads SET status = 'failed' WHERE load_id = {old};
         DELETE FROM intake.email_claims"
    ))
    .await;
    bring(&app, "apollo", json!({"email": email, "name": "New"})).await;
    // The newer one changed nothing last, so that the contact does not name it.
    bring(
        &app,
        "crm",
        json!({"email": email, "name": "New", "tags": []}),
    )
    .await;
    sql.run(&format!(
        "UPDATE vault.contacts SET load_id = NULL;
         UPDATE intake.raw_loads SET created_at = now() - interval '40 days' WHERE load_id <> {old};
         SELECT * FROM intake.f_retry_failed_loads(ARRAY[{old}], 'test')"
    ))
    .await;
    assert_eq!(promote_loads(&app, &[old]).await, [0, 0, 1, 0]);
    assert_eq!(contact(&sql, email).await["name"], json!("New"));
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pinned_fields_survive_ten_promotions() {
    let app = App::start().await;
    let sql = app.sql().await;
    let email = "a@x.example";
    bring(
        &app,
        "crm",
        json!({"email": email, "title": "CTO", "phone": "0"}),
    )
    .await;
    sql.run(
        "UPDATE vault.contacts SET title = 'CEO', tags = '[\"mine\"]', custom_fields = '{}', company = NULL,
             pinned_fields = '{title,tags,custom_fields,company}'",
    )
    .await;
    for n in 1..=10 {
        let row = json!({"email": email, "title": format!("Title {n}"), "phone": n.to_string(),
                         "tags": [format!("t{n}")], "n": n, "company": "Acme"});
        assert_eq!(bring(&app, "crm", row).await, [0, 1, 0, 0]);
    }
    let contact = contact(&sql, email).await;
    for (column, value) in [
        ("title", json!("CEO")),
        ("tags", json!(["mine"])),
        ("custom_fields", json!({})),
        ("company", json!(null)),
        ("phone", json!("10")),
    ] {
        assert_eq!(contact[column], value, "{column}");
    }
    app.stop().await;
}
