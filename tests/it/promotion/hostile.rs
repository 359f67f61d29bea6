//! Loads that are meant, or happen, to keep the others from being promoted.

use serde_json::json;

use super::{bring, contact, ingest, promote_all, promote_loads, status};
use crate::harness::{App, Sql};

/// The failure of a load.
async fn reason(sql: &Sql, load_id: i64) -> Option<String> {
    sql.one(
        "SELECT metadata -> 'failure' ->> 'reason' FROM intake.raw_loads WHERE load_id = $1",
        &[&load_id],
    )
    .await
}

/// Each load brings custom fields of its own; together they are more than a contact may have.
#[tokio::test(flavor = "multi_thread")]
async fn law_12_many_large_loads_of_one_email_end_and_hold_up_nobody() {
    let app = App::start().await;
    let sql = app.sql().await;
    sql.run(
        r#"INSERT INTO intake.raw_loads (batch_id, source, raw_data, metadata)
           SELECT 'poison', 'feed',
                  jsonb_build_object('email', 'p@x.example') || (
                      SELECT jsonb_object_agg('k' || n || '_' || k, md5(n::text || k)) FROM generate_series(1, 200) AS k),
                  jsonb_build_object('lane', 0, 'offset', n)
           FROM generate_series(1, 250) AS n"#,
    )
    .await;
    let innocent = ingest(&app, "apollo", &[json!({"email": "a@x.example"})]).await[0];
    let [promoted, updated, unchanged, failed] = promote_all(&app).await;
    assert_eq!((promoted, unchanged), (2, 0));
    assert!(
        updated > 50 && failed > 50,
        "{updated} updated, {failed} failed"
    );
    assert_eq!(updated + failed, 249);
    assert_eq!(status(&sql, innocent).await, "promoted");

    let reasons: i64 = sql
        .one(
            "SELECT count(*) FROM intake.raw_loads
             WHERE status = 'failed' AND metadata -> 'failure' ->> 'reason' = 'CONTACT_TOO_LARGE'",
            &[],
        )
        .await;
    assert_eq!(reasons, failed);
    let (size, trail, rows): (i64, i64, i64) = (
        sql.one("SELECT octet_length(custom_fields::text)::int8 FROM vault.contacts WHERE email = 'p@x.example'", &[]).await,
        sql.one("SELECT sum(octet_length(details::text))::int8 FROM intake.audit_log", &[]).await,
        sql.one("SELECT sum(octet_length(raw_data::text))::int8 FROM intake.raw_loads", &[]).await,
    );
    assert!(size <= 1_048_576, "{size} bytes of custom fields");
    assert!(
        trail < 2 * rows,
        "{trail} bytes of trail for {rows} bytes of rows"
    );
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn law_3_a_load_that_fails_its_chunk_for_no_foreseen_reason_fails_alone() {
    let app = App::start().await;
    let sql = app.sql().await;
    // Something that an administrator did, and that promotion knows nothing of.
    sql.run("ALTER TABLE vault.contacts ADD CONSTRAINT contacts_title_is_decent CHECK (title <> 'poison')")
        .await;
    let rows: Vec<_> = (0..40)
        .map(|n| json!({"email": format!("p{n}@x.example"), "title": if n % 17 == 3 { "poison" } else { "fine" }}))
        .collect();
    let loads = ingest(&app, "apollo", &rows).await;
    assert_eq!(promote_all(&app).await, [37, 0, 0, 3]);
    for (n, load_id) in loads.into_iter().enumerate() {
        let expected = (n % 17 == 3).then(|| "NOT_PROMOTABLE".to_owned());
        assert_eq!(reason(&sql, load_id).await, expected, "{n}");
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn more_tags_than_a_contact_may_have_fail_the_load() {
    let app = App::start().await;
    let sql = app.sql().await;
    let tags: Vec<String> = (0..1_001).map(|n| format!("t{n}")).collect();
    let row = json!({"email": "a@x.example", "tags": &tags});
    let load = ingest(&app, "apollo", &[row]).await[0];
    assert_eq!(promote_loads(&app, &[load]).await, [0, 0, 0, 1]);
    assert_eq!(
        reason(&sql, load).await.as_deref(),
        Some("CONTACT_TOO_LARGE")
    );

    let row = json!({"email": "b@x.example", "tags": &tags[..600]});
    assert_eq!(bring(&app, "one", row).await, [1, 0, 0, 0]);
    let row = json!({"email": "b@x.example", "title": "CEO", "tags": &tags[500..]});
    assert_eq!(bring(&app, "two", row).await, [0, 0, 0, 1]);
    assert_eq!(contact(&sql, "b@x.example").await["title"], json!(null));
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn half_a_name_is_better_than_none_and_no_better_than_a_name() {
    let app = App::start().await;
    let sql = app.sql().await;
    bring(
        &app,
        "one",
        json!({"email": "a@x.example", "first_name": "Bob"}),
    )
    .await;
    assert_eq!(contact(&sql, "a@x.example").await["name"], json!("Bob"));
    bring(
        &app,
        "two",
        json!({"email": "a@x.example", "first_name": "Bob", "last_name": "Smith"}),
    )
    .await;
    assert_eq!(
        contact(&sql, "a@x.example").await["name"],
        json!("Bob Smith")
    );
    let half = json!({"email": "a@x.example", "first_name": "Robert"});
    bring(&app, "three", half).await;
    assert_eq!(
        contact(&sql, "a@x.example").await["name"],
        json!("Bob Smith")
    );
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_spelling_of_a_number_changes_nothing_also_beside_a_change() {
    let app = App::start().await;
    let sql = app.sql().await;
    bring(&app, "one", json!({"email": "a@x.example", "n": 1})).await;
    let row = r#"{"email": "a@x.example", "n": 1.0, "title": "CEO"}"#;
    assert_eq!(
        bring(&app, "two", serde_json::from_str(row).unwrap()).await,
        [0, 1, 0, 0]
    );
    let stored: String = sql
        .one("SELECT custom_fields::text FROM vault.contacts", &[])
        .await;
    assert_eq!(stored, r#"{"n": 1}"#);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_trail_of_a_contact_that_arrives_suppressed_names_the_entry() {
    let app = App::start().await;
    let sql = app.sql().await;
    sql.run(
        "INSERT INTO vault.suppressions (email, scope, reason, evidence, created_by)
         VALUES ('a@x.example', 'all', 'bounced', '550', 'mailer')",
    )
    .await;
    bring(&app, "one", json!({"email": "a@x.example"})).await;
    let found: bool = sql
        .one(
            "SELECT (a.details ->> 'suppression_id')::bigint = s.suppression_id
             FROM intake.audit_log AS a, vault.suppressions AS s WHERE a.action = 'contact_promoted'",
            &[],
        )
        .await;
    assert!(found);
    app.stop().await;
}
