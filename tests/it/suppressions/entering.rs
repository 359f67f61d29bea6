//! `SuppressContacts`.

use leadvault::proto::vault::v1::{Channel, SuppressContactsRequest, SuppressionReason as Reason};
use tonic::Code;

use super::{arrive, audit, call, contents, entry, letters, scoped, status, suppress, vault};
use crate::harness::{App, assert_field, refused};

const REQUEST_ID: &str = "0197a5e2-6f0c-7000-8000-000000000001";

#[tokio::test(flavor = "multi_thread")]
async fn each_entry_has_its_outcome_in_order() {
    let app = App::start().await;
    let first = suppress(
        &app,
        vec![
            entry(" A@X.example ", Reason::Unsubscribed),
            entry("no address", Reason::Unsubscribed),
            entry("a@x.example", Reason::Unsubscribed),
            entry("a@x.example", Reason::Bounced),
            scoped("a@x.example", Channel::Phone, Reason::Unsubscribed),
            entry("", Reason::Legal),
            scoped("b@x.example", Channel::Unspecified, Reason::Manual),
        ],
    )
    .await;
    assert_eq!(letters(&first), "siassis");
    let ids: Vec<i64> = first.outcomes.iter().map(|o| o.suppression_id).collect();
    assert_eq!(ids, [1, 0, 1, 2, 3, 0, 4]);
    assert_eq!(first.outcomes[1].detail, "an address is local-part@domain");
    assert_eq!(first.outcomes[5].detail, "the address is blank");
    let again = suppress(&app, vec![entry("b@x.example", Reason::Manual)]).await;
    assert_eq!(letters(&again), "a", "an unspecified scope is all channels");
    assert_eq!(again.outcomes[0].suppression_id, 4);
    let only_invalid = suppress(&app, vec![entry("x", Reason::Manual)]).await;
    assert_eq!(letters(&only_invalid), "i");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn contacts_and_people_follow() {
    let app = App::start().await;
    let sql = app.sql().await;
    arrive(
        &app,
        "b",
        &["u@x.example", "b@x.example", "c@x.example", "p@x.example"],
    )
    .await;
    sql.run(
        "INSERT INTO people.master (email, status) VALUES
             ('u@x.example', 'active'), ('b@x.example', 'active'), ('old@x.example', 'inactive')",
    )
    .await;
    let answer = suppress(
        &app,
        vec![
            scoped("u@x.example", Channel::Email, Reason::Complaint),
            entry("b@x.example", Reason::Bounced),
            scoped("c@x.example", Channel::Linkedin, Reason::Legal),
            scoped("p@x.example", Channel::Phone, Reason::Bounced),
            entry("old@x.example", Reason::Bounced),
        ],
    )
    .await;
    assert_eq!(letters(&answer), "sssss");
    for (email, expected) in [
        ("u@x.example", "unsubscribed"),
        ("b@x.example", "bounced"),
        ("c@x.example", "active"),
        ("p@x.example", "active"),
    ] {
        assert_eq!(status(&sql, email).await, expected, "{email}");
    }
    let people: String = sql
        .one(
            "SELECT string_agg(status, ' ' ORDER BY email DESC) FROM people.master",
            &[],
        )
        .await;
    assert_eq!(people, "inactive inactive bounced");

    // Unsubscribed wins over bounced, whichever comes first.
    suppress(&app, vec![entry("u@x.example", Reason::Bounced)]).await;
    assert_eq!(status(&sql, "u@x.example").await, "unsubscribed");
    suppress(&app, vec![entry("b@x.example", Reason::Manual)]).await;
    assert_eq!(status(&sql, "b@x.example").await, "unsubscribed");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn law_8_what_is_in_force_writes_nothing() {
    let app = App::start().await;
    let sql = app.sql().await;
    arrive(&app, "b", &["a@x.example"]).await;
    sql.run("INSERT INTO people.master (email) VALUES ('a@x.example')")
        .await;
    let entries = vec![
        entry("a@x.example", Reason::Unsubscribed),
        entry("a@x.example", Reason::Bounced),
        entry("nobody@x.example", Reason::Bounced),
    ];
    suppress(&app, entries.clone()).await;
    let before = contents(&sql).await;
    assert_eq!(letters(&suppress(&app, entries).await), "aaa");
    assert_eq!(contents(&sql).await, before);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn law_9_entries_and_what_they_change_leave_a_trace() {
    let app = App::start().await;
    let sql = app.sql().await;
    arrive(&app, "b", &["a@x.example"]).await;
    sql.run("INSERT INTO people.master (email) VALUES ('a@x.example')")
        .await;
    suppress(
        &app,
        vec![
            entry("a@x.example", Reason::Bounced),
            entry("a@x.example", Reason::Legal),
            entry("nobody@x.example", Reason::Manual),
        ],
    )
    .await;
    assert_eq!(
        audit(&sql, "suppression_added").await,
        [
            r#"a@x.example {"email": "a@x.example", "scope": "all", "reason": "bounced"}"#,
            r#"a@x.example {"email": "a@x.example", "scope": "all", "reason": "legal"}"#,
            r#"- {"email": "nobody@x.example", "scope": "all", "reason": "manual"}"#,
        ]
    );
    assert_eq!(
        audit(&sql, "contact_updated").await,
        [
            r#"a@x.example {"new_values": {"status": "unsubscribed"}, "old_values": {"status": "active"}}"#
        ]
    );
    assert_eq!(
        audit(&sql, "person_updated").await,
        [r#"- {"new_values": {"status": "inactive"}, "old_values": {"status": "active"}}"#]
    );
    let cause: String = sql
        .one(
            "SELECT s.reason FROM intake.audit_log AS a
             JOIN vault.suppressions AS s ON s.suppression_id = (a.details ->> 'suppression_id')::bigint
             WHERE a.action = 'contact_updated' AND a.\"timestamp\" = s.created_at",
            &[],
        )
        .await;
    assert_eq!(cause, "legal");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_contact_is_unsubscribed_too() {
    let app = App::start().await;
    let sql = app.sql().await;
    arrive(&app, "b", &["a@x.example"]).await;
    sql.run("UPDATE vault.contacts SET status = 'inactive'")
        .await;
    suppress(&app, vec![entry("a@x.example", Reason::Unsubscribed)]).await;
    assert_eq!(status(&sql, "a@x.example").await, "unsubscribed");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_with_its_request_id_gets_the_first_answer() {
    let app = App::start().await;
    let sql = app.sql().await;
    let request = SuppressContactsRequest {
        request_id: REQUEST_ID.into(),
        ..call(vec![
            entry("a@x.example", Reason::Bounced),
            entry("?", Reason::Bounced),
        ])
    };
    let mut client = vault(&app).await;
    let first = client.suppress_contacts(request.clone()).await.unwrap();
    let before = contents(&sql).await;
    let again = client.suppress_contacts(request.clone()).await.unwrap();
    assert_eq!(again.into_inner(), first.into_inner());
    assert_eq!(contents(&sql).await, before);

    let mut other = request.clone();
    other.entries.pop();
    let refusal = refused(client.suppress_contacts(other).await);
    refusal.is(Code::AlreadyExists, "REQUEST_ID_REUSED");

    let concurrent = SuppressContactsRequest {
        request_id: REQUEST_ID.replace('1', "2"),
        ..call(
            (0..50)
                .map(|n| entry(&format!("p{n}@x.example"), Reason::Bounced))
                .collect(),
        )
    };
    let calls = (0..8).map(|_| async {
        let answer = vault(&app)
            .await
            .suppress_contacts(concurrent.clone())
            .await;
        letters(&answer.unwrap().into_inner())
    });
    for answer in futures_util::future::join_all(calls).await {
        assert_eq!(answer, "s".repeat(50));
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_entered_is_refused_by_name() {
    let app = App::start().await;
    let sql = app.sql().await;
    let mut client = vault(&app).await;
    let good = || entry("a@x.example", Reason::Manual);
    let mut scope = good();
    scope.scope = 9;
    let mut unknown = good();
    unknown.reason = 17;
    let mut evidence = good();
    evidence.evidence = "e".repeat(1_001);
    let mut nul = good();
    nul.evidence = "said\0so".into();
    for (wrong, field) in [
        (scope, "entries[1].scope"),
        (unknown, "entries[1].reason"),
        (
            entry("a@x.example", Reason::Unspecified),
            "entries[1].reason",
        ),
        (evidence, "entries[1].evidence"),
        (nul, "entries[1].evidence"),
    ] {
        assert_field(
            client.suppress_contacts(call(vec![good(), wrong])).await,
            field,
        );
    }
    assert_field(client.suppress_contacts(call(vec![])).await, "entries");
    let wrong_id = SuppressContactsRequest {
        request_id: "again".into(),
        ..call(vec![good()])
    };
    assert_field(client.suppress_contacts(wrong_id).await, "request_id");
    let many = refused(client.suppress_contacts(call(vec![good(); 1_001])).await);
    many.exceeds(1_000, 1_001);
    let entries: i64 = sql
        .one("SELECT count(*) FROM vault.suppressions", &[])
        .await;
    assert_eq!(entries, 0);

    let most = letters(&suppress(&app, vec![good(); 1_000]).await);
    assert_eq!(most, format!("s{}", "a".repeat(999)));
    app.stop().await;
}

/// A list of nothing but slips does not make every promotion and send wait.
#[tokio::test(flavor = "multi_thread")]
async fn without_a_valid_address_nobody_waits_for_the_ledger() {
    let app = App::start_with(&["--statement-timeout=8"]).await;
    let holder = app.sql().await;
    holder
        .run("BEGIN; SELECT pg_advisory_xact_lock(vault.f_ledger_lock())")
        .await;
    let slips = vec![
        entry("no address", Reason::Manual),
        entry("", Reason::Legal),
    ];
    assert_eq!(letters(&suppress(&app, slips).await), "ii");
    let one = call(vec![entry("a@x.example", Reason::Manual)]);
    refused(vault(&app).await.suppress_contacts(one).await).is(Code::Unavailable, "LOCK_TIMEOUT");
    holder.run("ROLLBACK").await;
    app.stop().await;
}

/// At psql nobody normalizes for the caller: an entry under another spelling would hold for nobody.
#[tokio::test(flavor = "multi_thread")]
async fn the_function_refuses_another_spelling_and_an_old_snapshot() {
    let app = App::start().await;
    let sql = app.sql_as_app().await;
    let call = |email: &str| {
        format!(
            "SELECT * FROM vault.f_suppress('{{{email}}}', '{{all}}', '{{manual}}', '{{\"\"}}', 'me')"
        )
    };
    let refusal = sql.refused(&call("A@x.example")).await;
    assert!(refusal.contains("normalized addresses"), "{refusal}");
    let refusal = sql
        .refused(&format!(
            "BEGIN ISOLATION LEVEL REPEATABLE READ; {}",
            call("a@x.example")
        ))
        .await;
    assert!(refusal.contains("READ COMMITTED"), "{refusal}");
    sql.run(&format!("ROLLBACK; {}", call("a@x.example"))).await;
    app.stop().await;
}
