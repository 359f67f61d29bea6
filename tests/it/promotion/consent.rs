//! Law 6, consent sticks; and what the ledger says of contacts that are made later.

use serde_json::json;

use super::{bring, contact, ingest, promote_all};
use crate::harness::App;

#[tokio::test(flavor = "multi_thread")]
async fn law_6_a_promotion_never_turns_a_status_back() {
    let app = App::start().await;
    let sql = app.sql().await;
    for status in ["unsubscribed", "bounced", "inactive"] {
        let email = format!("{status}@x.example");
        bring(&app, "apollo", json!({"email": email, "title": "CTO"})).await;
        sql.run(&format!(
            "UPDATE vault.contacts SET status = '{status}' WHERE email = '{email}'"
        ))
        .await;
        let row = json!({"email": email, "title": "CEO", "status": "active"});
        assert_eq!(bring(&app, "crm", row).await, [0, 1, 0, 0]);
        let contact = contact(&sql, &email).await;
        assert_eq!(contact["status"], json!(status));
        assert_eq!(contact["title"], json!("CEO"));
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn law_6_a_contact_of_a_suppressed_address_arrives_with_its_status() {
    let app = App::start().await;
    let sql = app.sql().await;
    let entry = |email: &str, scope: &str, reason: &str| {
        format!(
            "INSERT INTO vault.suppressions (email, scope, reason, evidence, created_by)
             VALUES ('{email}', '{scope}', '{reason}', 'e', 'test')"
        )
    };
    for (email, scope, reason) in [
        ("bounced@x.example", "email", "bounced"),
        ("gone@x.example", "all", "unsubscribed"),
        ("both@x.example", "all", "bounced"),
        ("both@x.example", "email", "complaint"),
        ("phone@x.example", "phone", "unsubscribed"),
        ("lifted@x.example", "all", "manual"),
    ] {
        sql.run(&entry(email, scope, reason)).await;
    }
    sql.run(
        "UPDATE vault.suppressions SET lifted_at = now(), lifted_by = 'test', lift_evidence = 'e'
         WHERE email = 'lifted@x.example'",
    )
    .await;
    let expected = [
        ("bounced@x.example", "bounced"),
        ("gone@x.example", "unsubscribed"),
        ("both@x.example", "unsubscribed"),
        ("phone@x.example", "active"),
        ("lifted@x.example", "active"),
        ("free@x.example", "active"),
    ];
    let rows =
        expected.map(|(email, _)| json!({"email": email.to_uppercase(), "status": "active"}));
    ingest(&app, "apollo", &rows).await;
    assert_eq!(promote_all(&app).await, [6, 0, 0, 0]);
    for (email, status) in expected {
        assert_eq!(
            contact(&sql, email).await["status"],
            json!(status),
            "{email}"
        );
    }
    app.stop().await;
}

/// A chunk that is promoted while a suppression commits waits for it: neither misses the other.
#[tokio::test(flavor = "multi_thread")]
async fn law_6_a_promotion_waits_for_a_suppression_that_is_being_written() {
    let app = App::start().await;
    let writer = app.sql().await;
    ingest(&app, "apollo", &[json!({"email": "a@x.example"})]).await;
    writer
        .run(
            "BEGIN; SELECT pg_advisory_xact_lock(vault.f_ledger_lock());
             INSERT INTO vault.suppressions (email, scope, reason, evidence, created_by)
             VALUES ('a@x.example', 'all', 'legal', 'e', 'test')",
        )
        .await;
    let commit = async {
        let looker = app.sql().await;
        let waits = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted
                     AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
        while looker.one::<i64>(waits, &[]).await == 0 {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        writer.run("COMMIT").await;
    };
    let (counts, ()) = tokio::join!(promote_all(&app), commit);
    assert_eq!(counts, [1, 0, 0, 0]);
    let contact = contact(&writer, "a@x.example").await;
    assert_eq!(contact["status"], json!("unsubscribed"));
    app.stop().await;
}
