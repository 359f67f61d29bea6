//! What providers tell of messages, in any order and as often as they like.

use std::time::{Duration, SystemTime};

use leadvault::proto::{
    marketing::v1::{
        BounceType, EngagementKind, OutreachChannel, RecordEngagementsRequest,
        RecordEngagementsResponse,
        record_engagements_request::Event,
        record_engagements_response::outcome::{Refusal, Result as Verdict},
        record_outreach_request::Item,
        record_outreach_response::outcome::Refusal as GateRefusal,
    },
    vault::v1::{Channel, ContactKey, GetContactRequest, UnsuppressContactRequest, contact_key},
};
use tonic::Status;

use super::{active, campaign, email_to, people, record};
use crate::harness::{App, Sql};

pub(super) use EngagementKind::{Bounced, Opened, Replied};

/// An event of a message, some seconds from now.
pub(super) fn event(id: &str, message: &str, kind: EngagementKind, seconds: i64) -> Event {
    Event {
        event_id: id.to_owned(),
        outreach_id: message.to_owned(),
        kind: kind.into(),
        bounce_type: BounceType::Unspecified.into(),
        occur_time: Some(from_now(seconds)),
    }
}

pub(super) fn from_now(seconds: i64) -> prost_types::Timestamp {
    let shift = Duration::from_secs(seconds.unsigned_abs());
    let now = SystemTime::now();
    let time = if seconds < 0 {
        now - shift
    } else {
        now + shift
    };
    prost_types::Timestamp {
        nanos: 0,
        ..time.into()
    }
}

pub(super) fn bounce(id: &str, message: &str, bounce_type: BounceType) -> Event {
    Event {
        bounce_type: bounce_type.into(),
        ..event(id, message, Bounced, 1)
    }
}

pub(super) async fn try_tell(
    app: &App,
    events: Vec<Event>,
) -> Result<RecordEngagementsResponse, Status> {
    let request = RecordEngagementsRequest {
        events,
        ..Default::default()
    };
    let response = app.marketing().await.record_engagements(request).await?;
    Ok(response.into_inner())
}

/// Reports events; what became of each.
pub(super) async fn tell(app: &App, events: Vec<Event>) -> Vec<Verdict> {
    let response = try_tell(app, events).await.unwrap();
    response
        .outcomes
        .iter()
        .map(|outcome| outcome.result())
        .collect()
}

/// A message that was recorded.
pub(super) async fn sent(app: &App, item: Item) -> String {
    let id = item.outreach_id.clone();
    let outcome = record(app, vec![item]).await.remove(0);
    assert_eq!(outcome.refusal(), GateRefusal::Unspecified);
    id
}

/// What is known of a message: its status, and whether it was opened and replied to.
async fn state(sql: &Sql, message: &str) -> String {
    sql.one(
        "SELECT concat_ws(' ', status, CASE WHEN opened_at IS NOT NULL THEN 'o' END,
                          CASE WHEN replied_at IS NOT NULL THEN 'r' END)
         FROM marketing.outreach_history WHERE id::text = $1",
        &[&message],
    )
    .await
}

/// The ledger, as `email scope reason`.
async fn ledger(sql: &Sql) -> Vec<String> {
    let rows = sql
        .rows(
            "SELECT format('%s %s %s', email, scope, reason) FROM vault.suppressions
             WHERE lifted_at IS NULL ORDER BY 1",
            &[],
        )
        .await;
    rows.iter().map(|row| row.get(0)).collect()
}

async fn statuses(sql: &Sql, email: &str) -> (String, String) {
    let rows = sql
        .rows(
            "SELECT c.status, p.status FROM vault.contacts AS c JOIN people.master AS p USING (email)
             WHERE email = $1",
            &[&email],
        )
        .await;
    (rows[0].get(0), rows[0].get(1))
}

#[tokio::test(flavor = "multi_thread")]
async fn law_11_a_status_only_rises_and_a_time_only_moves_to_the_earliest() {
    let app = App::start().await;
    let sql = app.sql().await;
    let person = people(&sql, &["a@x.example"]).await.remove(0);
    let spring = active(&app, "Spring").await.campaign_id;
    let message = sent(&app, email_to(&person, &spring)).await;
    for (events, expected) in [
        (vec![event("o1", &message, Opened, 20)], "opened o"),
        (vec![bounce("b1", &message, BounceType::Soft)], "bounced o"),
        (vec![event("o2", &message, Opened, 30)], "bounced o"),
        (vec![event("r1", &message, Replied, 40)], "replied o r"),
        (
            vec![bounce("b2", &message, BounceType::Soft)],
            "replied o r",
        ),
        (vec![event("o3", &message, Opened, 5)], "replied o r"),
        (
            vec![
                event("r2", &message, Replied, 50),
                event("r3", &message, Replied, 10),
            ],
            "replied o r",
        ),
    ] {
        tell(&app, events).await;
        assert_eq!(state(&sql, &message).await, expected);
    }
    // Three replies count once, and each time is the earliest.
    assert_eq!(campaign(&app, &spring).await.response_count, 1);
    let earliest: bool = sql
        .one(
            "SELECT (opened_at, replied_at) = (
                 SELECT min(occurred_at) FILTER (WHERE kind = 'opened'), min(occurred_at) FILTER (WHERE kind = 'replied')
                 FROM marketing.engagement_events) FROM marketing.outreach_history",
            &[],
        )
        .await;
    assert!(earliest);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_counts_once_and_its_id_is_its_own() {
    let app = App::start().await;
    let sql = app.sql().await;
    let person = people(&sql, &["a@x.example"]).await.remove(0);
    let message = sent(&app, email_to(&person, "")).await;
    let first = event("e", &message, Opened, 1);
    let twice = vec![first.clone(), first.clone()];
    assert_eq!(
        tell(&app, twice).await,
        [Verdict::Recorded, Verdict::Duplicate]
    );
    assert_eq!(tell(&app, vec![first.clone()]).await, [Verdict::Duplicate]);
    for other in [
        Event {
            kind: Replied.into(),
            ..first.clone()
        },
        Event {
            occur_time: Some(from_now(100)),
            ..first.clone()
        },
        Event {
            outreach_id: sent(&app, email_to(&person, "")).await,
            ..first.clone()
        },
        bounce("e", &message, BounceType::Hard),
    ] {
        let outcome = try_tell(&app, vec![other])
            .await
            .unwrap()
            .outcomes
            .remove(0);
        assert_eq!(outcome.refusal(), Refusal::EventIdConflict);
    }
    assert_eq!(state(&sql, &message).await, "opened o");
    assert_eq!(ledger(&sql).await, Vec::<String>::new());
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hard_bounce_enters_the_ledger_and_the_gate_refuses_from_then_on() {
    let app = App::start().await;
    let sql = app.sql().await;
    let person = people(&sql, &["a@x.example"]).await.remove(0);
    let message = sent(&app, email_to(&person, "")).await;
    let told = vec![bounce("provider-7", &message, BounceType::Hard)];
    assert_eq!(tell(&app, told.clone()).await, [Verdict::Recorded]);
    assert_eq!(ledger(&sql).await, ["a@x.example email bounced"]);
    assert_eq!(
        statuses(&sql, "a@x.example").await,
        ("bounced".into(), "bounced".into())
    );
    let outcome = record(&app, vec![email_to(&person, "")]).await.remove(0);
    assert_eq!(outcome.refusal(), GateRefusal::PersonBounced);
    let entry = outcome.suppression.unwrap();
    assert!(entry.evidence.contains("provider-7"), "{entry:?}");
    assert_eq!(entry.actor, "anonymous");
    // Repeating it, after somebody lifted it too, changes nothing.
    let lift = UnsuppressContactRequest {
        email: "a@x.example".into(),
        scope: Channel::Email.into(),
        evidence: "a new mailbox".into(),
        ..Default::default()
    };
    app.vault().await.unsuppress_contact(lift).await.unwrap();
    assert_eq!(tell(&app, told).await, [Verdict::Duplicate]);
    assert_eq!(ledger(&sql).await, Vec::<String>::new());
    assert_eq!(
        statuses(&sql, "a@x.example").await,
        ("active".into(), "active".into())
    );
    // On another channel it is about that channel, and no status changes.
    let call = Item {
        channel: OutreachChannel::Phone.into(),
        ..email_to(&person, "")
    };
    let call = sent(&app, call).await;
    tell(&app, vec![bounce("p", &call, BounceType::Hard)]).await;
    assert_eq!(ledger(&sql).await, ["a@x.example phone bounced"]);
    assert_eq!(
        statuses(&sql, "a@x.example").await,
        ("active".into(), "active".into())
    );
    sent(&app, email_to(&person, "")).await;
    app.stop().await;
}

/// `b` bounced softly, `.` did not; whether the address ends up in the ledger.
#[tokio::test(flavor = "multi_thread")]
async fn soft_bounces_in_a_row_count_as_a_hard_one() {
    let app = App::start().await;
    let sql = app.sql().await;
    for (nth, (pattern, suppressed)) in [
        ("bb", false),
        ("bbb", true),
        ("bb.b", false),
        (".bbb.", true),
        ("b.bb.bb", false),
        ("bb.bbb", true),
    ]
    .into_iter()
    .enumerate()
    {
        let email = format!("p{nth}@x.example");
        let person = people(&sql, &[&email]).await.remove(0);
        let mut bounces = Vec::new();
        for (at, mark) in pattern.chars().enumerate() {
            let message = sent(&app, email_to(&person, "")).await;
            // Between them another channel, which does not break the row.
            let call = Item {
                channel: OutreachChannel::Phone.into(),
                ..email_to(&person, "")
            };
            sent(&app, call).await;
            if mark == 'b' {
                bounces.push(bounce(&format!("{nth}-{at}"), &message, BounceType::Soft));
            }
        }
        // The newest first, each in a call of its own.
        for bounce in bounces.into_iter().rev() {
            tell(&app, vec![bounce]).await;
        }
        let found = ledger(&sql)
            .await
            .contains(&format!("{email} email bounced"));
        assert_eq!(found, suppressed, "{pattern}");
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_soft_bounce_limit_is_a_setting_and_a_lift_begins_a_new_row() {
    let app = App::start_with(&["--soft-bounce-limit", "2"]).await;
    let sql = app.sql().await;
    let person = people(&sql, &["a@x.example"]).await.remove(0);
    for nth in 0..2 {
        let message = sent(&app, email_to(&person, "")).await;
        assert_eq!(ledger(&sql).await.len(), 0);
        tell(
            &app,
            vec![bounce(&format!("b{nth}"), &message, BounceType::Soft)],
        )
        .await;
    }
    assert_eq!(ledger(&sql).await, ["a@x.example email bounced"]);
    let lift = UnsuppressContactRequest {
        email: "a@x.example".into(),
        scope: Channel::Email.into(),
        evidence: "there is room again".into(),
        ..Default::default()
    };
    app.vault().await.unsuppress_contact(lift).await.unwrap();
    for nth in 2..4 {
        assert_eq!(ledger(&sql).await.len(), 0);
        let message = sent(&app, email_to(&person, "")).await;
        tell(
            &app,
            vec![bounce(&format!("b{nth}"), &message, BounceType::Soft)],
        )
        .await;
    }
    assert_eq!(ledger(&sql).await, ["a@x.example email bounced"]);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_or_a_reply_moves_the_last_activity_forward_and_nothing_else() {
    let app = App::start().await;
    let sql = app.sql().await;
    let person = people(&sql, &["a@x.example"]).await.remove(0);
    let message = sent(&app, email_to(&person, "")).await;
    let contact = async || {
        let key = ContactKey {
            key: Some(contact_key::Key::Email("a@x.example".into())),
        };
        let request = GetContactRequest { key: Some(key) };
        let response = app.vault().await.get_contact(request).await.unwrap();
        response.into_inner().contact.unwrap()
    };
    let trail = async || -> i64 {
        sql.one(
            "SELECT count(*) FROM intake.audit_log WHERE action = 'contact_updated'",
            &[],
        )
        .await
    };
    let before = contact().await;
    assert_eq!(before.last_activity_time, None);
    let opened = event("o", &message, Opened, 60);
    tell(&app, vec![opened.clone()]).await;
    let after = contact().await;
    assert_eq!(after.last_activity_time, opened.occur_time);
    assert_eq!(
        (&after.etag, after.update_time),
        (&before.etag, before.update_time)
    );
    assert_eq!(trail().await, 1);
    // Law 8: an earlier reply moves nothing back, and a bounce is no activity.
    tell(
        &app,
        vec![
            event("r", &message, Replied, 10),
            bounce("b", &message, BounceType::Soft),
        ],
    )
    .await;
    assert_eq!(contact().await.last_activity_time, opened.occur_time);
    assert_eq!(trail().await, 1);
    app.stop().await;
}
