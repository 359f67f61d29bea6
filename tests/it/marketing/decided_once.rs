//! What is recorded and what is answered follow from one look, whatever changes meanwhile.
//!
//! A call is held in its middle by an id that another transaction has written and not yet decided about.

use leadvault::proto::{
    marketing::v1::{
        record_engagements_response::outcome::Refusal as EventRefusal,
        record_outreach_response::outcome::{Refusal, Result as Verdict},
    },
    vault::v1::{Channel, SuppressionReason},
};
use tokio::join;

use super::{
    draft, email_to,
    engagements::{Opened, event, sent, try_tell},
    new_id,
    outreach_consent::suppress,
    people, record,
};
use crate::harness::App;

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_was_refused_has_its_reason_though_the_person_changes() {
    let app = App::start().await;
    let (sql, holder) = (app.sql().await, app.sql().await);
    let people = people(&sql, &["a@x.example", "b@x.example"]).await;
    sql.run("UPDATE people.master SET status = 'inactive' WHERE email = 'a@x.example'")
        .await;
    let (refused, held) = (email_to(&people[0], ""), email_to(&people[1], ""));
    holder
        .run(&format!(
            "BEGIN; INSERT INTO marketing.outreach_history (id, person_id, channel, message_type)
             VALUES ('{}', '{}', 'email', 'initial')",
            held.outreach_id, people[1]
        ))
        .await;
    let meanwhile = async {
        sql.until_somebody_waits().await;
        sql.run("UPDATE people.master SET status = 'active'").await;
        holder.run("ROLLBACK").await;
    };
    let (outcomes, ()) = join!(record(&app, vec![refused, held]), meanwhile);
    assert_eq!(outcomes[0].refusal(), Refusal::PersonInactive);
    assert_eq!(outcomes[1].result(), Verdict::Recorded);
    assert!(!outcomes[1].replayed);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_of_a_message_that_was_unknown_is_refused_as_such_though_it_comes() {
    let app = App::start().await;
    let (sql, holder) = (app.sql().await, app.sql().await);
    let person = people(&sql, &["a@x.example"]).await.remove(0);
    let message = sent(&app, email_to(&person, "")).await;
    let late = new_id();
    let insert = format!(
        "INSERT INTO marketing.engagement_events (event_id, outreach_id, kind, occurred_at)
         VALUES ('held', '{message}', 'opened', now())"
    );
    holder.run(&format!("BEGIN; {insert}")).await;
    let meanwhile = async {
        sql.until_somebody_waits().await;
        sql.run(&format!(
            "INSERT INTO marketing.outreach_history (id, person_id, channel, message_type)
             VALUES ('{late}', '{person}', 'email', 'initial')"
        ))
        .await;
        holder.run("ROLLBACK").await;
    };
    let events = vec![
        event("early", &late, Opened, 1),
        event("held", &message, Opened, 1),
    ];
    let (response, ()) = join!(try_tell(&app, events), meanwhile);
    let outcomes = response.unwrap().outcomes;
    assert_eq!(outcomes[0].refusal(), EventRefusal::OutreachUnknown);
    assert_eq!(outcomes[1].refusal(), EventRefusal::Unspecified);
    app.stop().await;
}

/// The bounds of an event's time: what is refused is refused for the bound that it is beyond.
#[tokio::test(flavor = "multi_thread")]
async fn an_event_beyond_both_clocks_is_refused_for_the_right_one() {
    let app = App::start().await;
    let sql = app.sql().await;
    let person = people(&sql, &["a@x.example"]).await.remove(0);
    let message = sent(&app, email_to(&person, "")).await;
    // A message that a clock of another machine dated ahead.
    sql.run("UPDATE marketing.outreach_history SET sent_at = now() + interval '1 hour'")
        .await;
    let events = vec![
        event("before", &message, Opened, 60),
        event("ahead", &message, Opened, 4_000),
    ];
    let outcomes = try_tell(&app, events).await.unwrap().outcomes;
    assert_eq!(outcomes[0].refusal(), EventRefusal::BeforeSent);
    assert_eq!(outcomes[1].refusal(), EventRefusal::InFuture);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_of_the_ledger_comes_only_where_it_is_the_reason() {
    let app = App::start().await;
    let sql = app.sql().await;
    let person = people(&sql, &["a@x.example"]).await.remove(0);
    let paused = draft(&app, "Spring").await.campaign_id;
    suppress(
        &app,
        "a@x.example",
        Channel::All,
        SuppressionReason::Complaint,
    )
    .await;
    let items = ["", &paused, &new_id()].map(|campaign| email_to(&person, campaign));
    let outcomes = record(&app, items.into()).await;
    for (outcome, (refusal, has_entry)) in outcomes.iter().zip([
        (Refusal::PersonSuppressed, true),
        (Refusal::CampaignNotActive, false),
        (Refusal::CampaignUnknown, false),
    ]) {
        assert_eq!(outcome.refusal(), refusal);
        assert_eq!(outcome.suppression.is_some(), has_entry, "{outcome:?}");
    }
    app.stop().await;
}
