//! `UnsuppressContact`: what remains decides.

use leadvault::proto::vault::v1::{
    Channel, ContactStatus, DeleteContactRequest, SuppressionReason as Reason,
};
use tonic::Code;

use super::{arrive, audit, contents, entry, lift, promote, scoped, status, suppress, vault};
use crate::harness::{App, assert_field, refused};

#[tokio::test(flavor = "multi_thread")]
async fn lifting_restores_what_the_remaining_entries_imply() {
    let app = App::start().await;
    let sql = app.sql().await;
    arrive(&app, "b", &["a@x.example"]).await;
    sql.run("INSERT INTO people.master (email) VALUES ('a@x.example')")
        .await;
    suppress(
        &app,
        vec![
            entry("a@x.example", Reason::Unsubscribed),
            entry("a@x.example", Reason::Complaint),
            scoped("a@x.example", Channel::Email, Reason::Bounced),
            scoped("a@x.example", Channel::Phone, Reason::Legal),
        ],
    )
    .await;
    let person = "SELECT status FROM people.master";
    let answer = lift(&app, "A@x.example", Channel::All, "signed up again").await;
    let answer = answer.unwrap().into_inner();
    assert_eq!(answer.status(), ContactStatus::Bounced);
    let reasons: Vec<Reason> = answer.lifted.iter().map(|entry| entry.reason()).collect();
    assert_eq!(reasons, [Reason::Unsubscribed, Reason::Complaint]);
    for entry in &answer.lifted {
        assert_eq!(
            (entry.lifted_by.as_str(), entry.lift_evidence.as_str()),
            ("anonymous", "signed up again")
        );
        assert!(entry.lift_time.unwrap().seconds >= entry.create_time.unwrap().seconds);
    }
    assert_eq!(sql.one::<String>(person, &[]).await, "bounced");

    let answer = lift(&app, "a@x.example", Channel::Email, "works again").await;
    assert_eq!(answer.unwrap().into_inner().status(), ContactStatus::Active);
    assert_eq!(sql.one::<String>(person, &[]).await, "active");

    // Other channels have no say in the status, and lifting them changes none.
    let before: String = sql
        .one("SELECT c::text FROM vault.contacts AS c", &[])
        .await;
    lift(&app, "a@x.example", Channel::Phone, "new law")
        .await
        .unwrap();
    assert_eq!(
        sql.one::<String>("SELECT c::text FROM vault.contacts AS c", &[])
            .await,
        before
    );
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn law_9_a_lift_leaves_a_trace() {
    let app = App::start().await;
    let sql = app.sql().await;
    arrive(&app, "b", &["a@x.example"]).await;
    suppress(&app, vec![entry("a@x.example", Reason::Manual)]).await;
    lift(&app, "a@x.example", Channel::All, "a slip")
        .await
        .unwrap();
    assert_eq!(
        audit(&sql, "suppression_lifted").await,
        [r#"a@x.example {"email": "a@x.example", "scope": "all", "reason": "manual"}"#]
    );
    assert_eq!(
        audit(&sql, "contact_updated").await,
        [
            r#"a@x.example {"new_values": {"status": "unsubscribed"}, "old_values": {"status": "active"}}"#,
            r#"a@x.example {"new_values": {"status": "active"}, "old_values": {"status": "unsubscribed"}}"#,
        ]
    );
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_evidence_scope_or_entry_nothing_is_lifted() {
    let app = App::start().await;
    let sql = app.sql().await;
    suppress(
        &app,
        vec![scoped("a@x.example", Channel::Email, Reason::Manual)],
    )
    .await;
    let before = contents(&sql).await;
    for blank in ["", " \n", "\u{a0}", "\0", "so\0"] {
        assert_field(
            lift(&app, "a@x.example", Channel::Email, blank).await,
            "evidence",
        );
    }
    let long = "e".repeat(1_001);
    assert_field(
        lift(&app, "a@x.example", Channel::Email, &long).await,
        "evidence",
    );
    assert_field(
        lift(&app, "a@x.example", Channel::Unspecified, "e").await,
        "scope",
    );
    assert_field(lift(&app, "a", Channel::Email, "e").await, "email");
    for (email, scope) in [
        ("a@x.example", Channel::All),
        ("b@x.example", Channel::Email),
    ] {
        refused(lift(&app, email, scope, "e").await).is(Code::NotFound, "NOT_FOUND");
    }
    assert_eq!(contents(&sql).await, before);
    let refusal = sql
        .refused("SELECT * FROM vault.f_unsuppress('a@x.example', 'email', E' \\n', 'me')")
        .await;
    assert!(refusal.contains("needs evidence"), "{refusal}");

    lift(&app, "a@x.example", Channel::Email, "e")
        .await
        .unwrap();
    // What was lifted can be entered again, as an entry of its own.
    let again = suppress(
        &app,
        vec![scoped("a@x.example", Channel::Email, Reason::Manual)],
    )
    .await;
    assert_eq!(again.outcomes[0].suppression_id, 2);
    app.stop().await;
}

/// Deletion is the contact's own affair: lifting a suppression does not undo it.
#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_contact_does_not_come_back_as_active() {
    let app = App::start().await;
    let sql = app.sql().await;
    arrive(
        &app,
        "b",
        &[
            "before@x.example",
            "meanwhile@x.example",
            "lifted@x.example",
        ],
    )
    .await;
    // Deleted before it was suppressed.
    sql.run("UPDATE vault.contacts SET status = 'inactive' WHERE email = 'before@x.example'")
        .await;
    let emails = [
        "before@x.example",
        "meanwhile@x.example",
        "lifted@x.example",
    ];
    suppress(
        &app,
        emails
            .map(|email| entry(email, Reason::Unsubscribed))
            .to_vec(),
    )
    .await;
    // Deleted while it was suppressed: the status stays, the trail says so.
    let row = sql
        .rows(
            "SELECT contact_id, vault.f_etag(c) FROM vault.contacts AS c WHERE email = 'meanwhile@x.example'",
            &[],
        )
        .await;
    let delete = DeleteContactRequest {
        contact_id: row[0].get(0),
        etag: row[0].get(1),
    };
    vault(&app).await.delete_contact(delete).await.unwrap();
    for (email, expected) in emails.iter().zip(["inactive", "inactive", "active"]) {
        lift(&app, email, Channel::All, "e").await.unwrap();
        assert_eq!(status(&sql, email).await, expected, "{email}");
    }
    // The same a second time, and by way of bounced.
    for reason in [Reason::Bounced, Reason::Manual] {
        suppress(&app, emails.map(|email| entry(email, reason)).to_vec()).await;
    }
    for (email, expected) in emails.iter().zip(["inactive", "inactive", "active"]) {
        lift(&app, email, Channel::All, "e").await.unwrap();
        assert_eq!(status(&sql, email).await, expected, "{email}");
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_archived_person_does_not_come_back_and_one_made_meanwhile_does() {
    let app = App::start().await;
    let sql = app.sql().await;
    sql.run("INSERT INTO people.master (email, status) VALUES ('a@x.example', 'inactive')")
        .await;
    suppress(
        &app,
        ["a@x.example", "m@x.example"]
            .map(|email| entry(email, Reason::Manual))
            .to_vec(),
    )
    .await;
    sql.run("INSERT INTO people.master (email, status) VALUES ('m@x.example', 'inactive')")
        .await;
    for (email, expected) in [("a@x.example", "inactive"), ("m@x.example", "active")] {
        lift(&app, email, Channel::All, "e").await.unwrap();
        let status: String = sql
            .one(
                "SELECT status FROM people.master WHERE email = $1",
                &[&email],
            )
            .await;
        assert_eq!(status, expected, "{email}");
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_contact_that_arrived_suppressed_becomes_active() {
    let app = App::start().await;
    let sql = app.sql().await;
    suppress(&app, vec![entry("a@x.example", Reason::Bounced)]).await;
    arrive(&app, "b", &["a@x.example"]).await;
    promote(&sql).await;
    assert_eq!(status(&sql, "a@x.example").await, "bounced");
    let answer = lift(&app, "a@x.example", Channel::All, "works")
        .await
        .unwrap();
    assert_eq!(answer.into_inner().status(), ContactStatus::Active);

    suppress(&app, vec![entry("nobody@x.example", Reason::Bounced)]).await;
    let answer = lift(&app, "nobody@x.example", Channel::All, "works")
        .await
        .unwrap();
    assert_eq!(answer.into_inner().status(), ContactStatus::Unspecified);
    app.stop().await;
}
