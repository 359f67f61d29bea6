//! Law 6, consent sticks: people who arrive suppressed, and promotions of people who are not active.

use leadvault::proto::{
    people::v1::PersonStatus,
    vault::v1::{
        Channel, SuppressContactsRequest, SuppressionReason as Reason, UnsuppressContactRequest,
        suppress_contacts_request::Entry,
    },
};
use serde_json::json;

use super::{bring, person, promote_all, rows, stage};
use crate::harness::App;

pub(super) async fn suppress(app: &App, entries: &[(&str, Channel, Reason)]) {
    let entries = entries.iter().map(|(email, scope, reason)| Entry {
        email: (*email).to_owned(),
        scope: (*scope).into(),
        reason: (*reason).into(),
        evidence: "said so".to_owned(),
    });
    let request = SuppressContactsRequest {
        entries: entries.collect(),
        ..Default::default()
    };
    app.vault().await.suppress_contacts(request).await.unwrap();
}

/// What became so before the ledger, or past it, is no less so.
#[tokio::test(flavor = "multi_thread")]
async fn law_6_a_person_takes_over_the_status_of_its_contact() {
    let app = App::start().await;
    app.sql()
        .await
        .run(
            "INSERT INTO vault.contacts (email, source, status) VALUES
                 ('gone@x.example', 'old', 'unsubscribed'), ('bounced@x.example', 'old', 'bounced'),
                 ('fine@x.example', 'old', 'active')",
        )
        .await;
    let expected = [
        ("gone@x.example", PersonStatus::Inactive),
        ("bounced@x.example", PersonStatus::Bounced),
        ("fine@x.example", PersonStatus::Active),
    ];
    stage(
        &app,
        rows(&expected.map(|(email, _)| json!({"email": email}))),
    )
    .await;
    assert_eq!(promote_all(&app).await, [3, 0, 0, 0]);
    for (email, status) in expected {
        assert_eq!(person(&app, email).await.status(), status, "{email}");
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn law_6_a_person_of_a_suppressed_address_arrives_with_its_status() {
    let app = App::start().await;
    suppress(
        &app,
        &[
            ("bounced@x.example", Channel::Email, Reason::Bounced),
            ("gone@x.example", Channel::All, Reason::Unsubscribed),
            ("both@x.example", Channel::All, Reason::Bounced),
            ("both@x.example", Channel::Email, Reason::Complaint),
            ("phone@x.example", Channel::Phone, Reason::Unsubscribed),
        ],
    )
    .await;
    let expected = [
        ("bounced@x.example", PersonStatus::Bounced),
        ("gone@x.example", PersonStatus::Inactive),
        ("both@x.example", PersonStatus::Inactive),
        ("phone@x.example", PersonStatus::Active),
        ("free@x.example", PersonStatus::Active),
    ];
    let values =
        expected.map(|(email, _)| json!({"email": email.to_uppercase(), "status": "active"}));
    stage(&app, rows(&values)).await;
    assert_eq!(promote_all(&app).await, [5, 0, 0, 0]);
    for (email, status) in expected {
        assert_eq!(person(&app, email).await.status(), status, "{email}");
    }
    // What the ledger took on arrival, its lift gives back.
    let lift = UnsuppressContactRequest {
        email: "gone@x.example".into(),
        scope: Channel::All.into(),
        evidence: "signed up again".into(),
        ..Default::default()
    };
    app.vault().await.unsuppress_contact(lift).await.unwrap();
    let person = person(&app, "gone@x.example").await;
    assert_eq!(person.status(), PersonStatus::Active);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn law_6_a_promotion_never_turns_a_status_back() {
    let app = App::start().await;
    let sql = app.sql().await;
    for (status, expected) in [
        ("bounced", PersonStatus::Bounced),
        ("inactive", PersonStatus::Inactive),
    ] {
        let email = format!("{status}@x.example");
        bring(&app, "apollo", json!({"email": email, "title": "CTO"})).await;
        sql.run(&format!(
            "UPDATE people.master SET status = '{status}' WHERE email = '{email}'"
        ))
        .await;
        let row = json!({"email": email, "title": "CEO", "status": "active"});
        assert_eq!(bring(&app, "crm", row).await, [0, 1, 0, 0]);
        let person = person(&app, &email).await;
        assert_eq!((person.status(), person.title.as_str()), (expected, "CEO"));
    }
    app.stop().await;
}

/// A chunk that is promoted while a suppression commits waits for it: neither misses the other.
#[tokio::test(flavor = "multi_thread")]
async fn law_6_a_promotion_waits_for_a_suppression_that_is_being_written() {
    let app = App::start().await;
    let writer = app.sql().await;
    stage(&app, rows(&[json!({"email": "a@x.example"})])).await;
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
    let person = person(&app, "a@x.example").await;
    assert_eq!(person.status(), PersonStatus::Inactive);
    app.stop().await;
}
