//! Law 6, consent sticks: a lift gives back what the ledger took, and no more.

use leadvault::proto::vault::v1::{Channel, SuppressionReason as Reason};

use super::{arrive, entry, lift, scoped, status, suppress};
use crate::harness::{App, Sql};

/// Sets a contact's status at psql, without an entry.
async fn set(sql: &Sql, email: &str, status: &str) {
    sql.run(&format!(
        "UPDATE vault.contacts SET status = '{status}' WHERE email = '{email}'"
    ))
    .await;
}

async fn person(sql: &Sql, email: &str) -> String {
    sql.one(
        "SELECT status FROM people.master WHERE email = $1",
        &[&email],
    )
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn law_6_lifting_something_else_does_not_turn_a_contact_back() {
    let app = App::start().await;
    let sql = app.sql().await;
    for (nth, own) in ["active", "inactive", "unsubscribed", "bounced"]
        .into_iter()
        .enumerate()
    {
        let email = format!("{own}@x.example");
        arrive(&app, &format!("b{nth}"), &[&email]).await;
        set(&sql, &email, own).await;
        for reason in [Reason::Bounced, Reason::Complaint, Reason::Bounced] {
            suppress(&app, vec![entry(&email, reason)]).await;
            lift(&app, &email, Channel::All, "e").await.unwrap();
            assert_eq!(status(&sql, &email).await, own, "after {reason:?}");
        }
        // Two entries, lifted one after the other, whichever comes first.
        for (first, second) in [
            (Channel::All, Channel::Email),
            (Channel::Email, Channel::All),
        ] {
            suppress(&app, vec![scoped(&email, first, Reason::Bounced)]).await;
            suppress(&app, vec![scoped(&email, second, Reason::Legal)]).await;
            assert_eq!(status(&sql, &email).await, "unsubscribed");
            lift(&app, &email, second, "e").await.unwrap();
            let left = if own == "unsubscribed" {
                own
            } else {
                "bounced"
            };
            assert_eq!(status(&sql, &email).await, left, "{own}");
            lift(&app, &email, first, "e").await.unwrap();
            assert_eq!(status(&sql, &email).await, own);
        }
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn law_6_who_unsubscribes_while_suppressed_stays_so() {
    let app = App::start().await;
    let sql = app.sql().await;
    // One that was there before, and one that arrives suppressed.
    arrive(&app, "b", &["a@x.example"]).await;
    let emails = ["a@x.example", "later@x.example"];
    suppress(
        &app,
        emails.map(|email| entry(email, Reason::Bounced)).to_vec(),
    )
    .await;
    arrive(&app, "c", &["later@x.example"]).await;
    for email in emails {
        set(&sql, email, "unsubscribed").await;
        lift(&app, email, Channel::All, "e").await.unwrap();
        assert_eq!(status(&sql, email).await, "unsubscribed", "{email}");
    }
    app.stop().await;
}

/// What the ledger did in another time does not count: it was given back then.
#[tokio::test(flavor = "multi_thread")]
async fn law_6_an_older_suppression_does_not_explain_a_status() {
    let app = App::start().await;
    let sql = app.sql().await;
    suppress(&app, vec![entry("a@x.example", Reason::Manual)]).await;
    arrive(&app, "b", &["a@x.example"]).await;
    lift(&app, "a@x.example", Channel::All, "e").await.unwrap();
    assert_eq!(status(&sql, "a@x.example").await, "active");
    set(&sql, "a@x.example", "unsubscribed").await;
    suppress(&app, vec![entry("a@x.example", Reason::Manual)]).await;
    lift(&app, "a@x.example", Channel::All, "e").await.unwrap();
    assert_eq!(status(&sql, "a@x.example").await, "unsubscribed");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn law_6_lifting_something_else_does_not_turn_a_person_back() {
    let app = App::start().await;
    let sql = app.sql().await;
    for own in ["active", "inactive", "bounced"] {
        let email = format!("{own}@x.example");
        sql.run(&format!(
            "INSERT INTO people.master (email, status) VALUES ('{email}', '{own}')"
        ))
        .await;
        for reason in [Reason::Bounced, Reason::Complaint, Reason::Bounced] {
            suppress(&app, vec![entry(&email, reason)]).await;
            lift(&app, &email, Channel::All, "e").await.unwrap();
            assert_eq!(person(&sql, &email).await, own, "after {reason:?}");
        }
        suppress(&app, vec![scoped(&email, Channel::All, Reason::Bounced)]).await;
        suppress(&app, vec![scoped(&email, Channel::Email, Reason::Legal)]).await;
        assert_eq!(person(&sql, &email).await, "inactive");
        lift(&app, &email, Channel::All, "e").await.unwrap();
        assert_eq!(person(&sql, &email).await, "inactive");
        lift(&app, &email, Channel::Email, "e").await.unwrap();
        assert_eq!(person(&sql, &email).await, own);
    }
    app.stop().await;
}
