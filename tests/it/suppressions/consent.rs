//! Law 6, consent sticks: whatever arrives later, and in which order.

use leadvault::proto::{
    intake::v1::{DuplicatePolicy, IngestRowsRequest},
    vault::v1::{Channel, SuppressionReason as Reason},
};

use super::{arrive, entry, promote, scoped, status, suppress};
use crate::harness::{App, evidence};

#[tokio::test(flavor = "multi_thread")]
async fn law_6_a_suppressed_address_arrives_with_the_right_status() {
    let app = App::start().await;
    suppress(
        &app,
        vec![
            entry("b@x.example", Reason::Bounced),
            entry("u@x.example", Reason::Bounced),
            scoped("u@x.example", Channel::Email, Reason::Unsubscribed),
            scoped("l@x.example", Channel::Linkedin, Reason::Unsubscribed),
        ],
    )
    .await;
    let owner = app.sql().await;
    owner
        .rows(
            r#"SELECT * FROM intake.f_ingest_json(
                   ARRAY['{"email":"B@x.example"}', '{"email":"u@x.example","status":"active"}',
                         '{"email":"l@x.example"}']::jsonb[], 'apollo', 'b')"#,
            &[],
        )
        .await;
    promote(&owner).await;
    for (email, expected) in [
        ("b@x.example", "bounced"),
        ("u@x.example", "unsubscribed"),
        ("l@x.example", "active"),
    ] {
        assert_eq!(status(&owner, email).await, expected, "{email}");
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn law_6_a_feed_updates_everything_but_the_status() {
    let app = App::start().await;
    let sql = app.sql().await;
    arrive(&app, "first", &["u@x.example", "b@x.example"]).await;
    suppress(
        &app,
        vec![
            entry("u@x.example", Reason::Unsubscribed),
            entry("b@x.example", Reason::Bounced),
        ],
    )
    .await;
    for round in 0..3 {
        let row = |email: &str| {
            format!(
                r#"{{"email":"{email}","title":"CTO {round}","phone":"{round}","status":"active"}}"#
            )
        };
        let request = IngestRowsRequest {
            batch_id: format!("feed-{round}"),
            source: "crm".into(),
            on_duplicate: DuplicatePolicy::AcceptChanged.into(),
            json_rows: vec![row("U@x.example").into(), row("b@x.example").into()],
            ..Default::default()
        };
        let answer = evidence::ingest(&app, request).await.unwrap();
        assert_eq!(answer.tally.unwrap().accepted, 2);
        promote(&sql).await;
    }
    let contacts = sql
        .rows(
            "SELECT format('%s %s %s %s', email, status, title, phone) FROM vault.contacts ORDER BY email",
            &[],
        )
        .await;
    let contacts: Vec<&str> = contacts.iter().map(|row| row.get(0)).collect();
    assert_eq!(
        contacts,
        [
            "b@x.example bounced CTO 2 2",
            "u@x.example unsubscribed CTO 2 2"
        ]
    );
    app.stop().await;
}

/// A contact that is unsubscribed without an entry (an import of old data) is not turned into a bounce.
#[tokio::test(flavor = "multi_thread")]
async fn law_6_a_bounce_does_not_weaken_an_unsubscribed_contact() {
    let app = App::start().await;
    let sql = app.sql().await;
    arrive(&app, "b", &["a@x.example"]).await;
    sql.run("UPDATE vault.contacts SET status = 'unsubscribed'")
        .await;
    suppress(&app, vec![entry("a@x.example", Reason::Bounced)]).await;
    assert_eq!(status(&sql, "a@x.example").await, "unsubscribed");
    app.stop().await;
}
