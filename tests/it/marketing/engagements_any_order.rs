//! Law 11 as a property: events in any order, and as often as they like.

use std::collections::BTreeMap;

use leadvault::proto::marketing::v1::{
    BounceType, EngagementKind, record_engagements_request::Event,
};
use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};
use tokio::{runtime::Handle, task::block_in_place};

use super::{
    active, campaign, email_to,
    engagements::{Bounced, Opened, Replied, event, from_now, sent, tell},
    new_id, people,
};
use crate::harness::{App, Sql};

/// One event of the property test: which message, what, and when.
#[derive(Clone, Debug)]
struct Told {
    message: usize,
    kind: EngagementKind,
    bounce_type: BounceType,
    seconds: i64,
}

const PEOPLE: usize = 2;
const MESSAGES: usize = 8;

fn told() -> impl Strategy<Value = Told> {
    let what = prop_oneof![
        1 => Just((Opened, BounceType::Unspecified)),
        1 => Just((Replied, BounceType::Unspecified)),
        4 => Just((Bounced, BounceType::Soft)),
        1 => Just((Bounced, BounceType::Hard)),
    ];
    (0..MESSAGES, what, 0_i64..240).prop_map(|(message, (kind, bounce_type), seconds)| Told {
        message,
        kind,
        bounce_type,
        seconds,
    })
}

/// Messages to two people of a world of their own, one after the other.
async fn world(app: &App, sql: &Sql, name: &str) -> (String, Vec<String>) {
    let emails: Vec<String> = (0..PEOPLE)
        .map(|nth| format!("p{nth}-{name}@x.example"))
        .collect();
    let names: Vec<&str> = emails.iter().map(String::as_str).collect();
    let people = people(sql, &names).await;
    let campaign_id = active(app, name).await.campaign_id;
    let mut messages = Vec::new();
    for nth in 0..MESSAGES {
        messages.push(sent(app, email_to(&people[nth % PEOPLE], &campaign_id)).await);
    }
    (campaign_id, messages)
}

/// Everything that events may have changed in a world, but for its ids.
async fn outcome(
    app: &App,
    sql: &Sql,
    name: &str,
    campaign_id: &str,
    messages: &[String],
) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for (nth, message) in messages.iter().enumerate() {
        let row: String = sql
            .one(
                "SELECT format('%s %s %s', status, opened_at, replied_at) FROM marketing.outreach_history WHERE id::text = $1",
                &[message],
            )
            .await;
        found.insert(format!("message {nth}"), row);
    }
    let rows = sql
        .rows(
            "SELECT split_part(c.email, '-', 1), format('%s %s %s %s', c.status, p.status, c.last_activity_at,
                 (SELECT array_agg(scope || ' ' || reason ORDER BY scope) FROM vault.suppressions AS s WHERE s.email = c.email))
             FROM vault.contacts AS c JOIN people.master AS p USING (email)
             WHERE c.email LIKE '%-' || $1 || '@x.example'",
            &[&name],
        )
        .await;
    found.extend(rows.iter().map(|row| (row.get(0), row.get(1))));
    let counted = campaign(app, campaign_id).await;
    // Law 10: the counters are the rows, and a message that was replied to counts once.
    let replied: i64 = sql
        .one(
            "SELECT count(*) FROM marketing.outreach_history AS o WHERE o.campaign_id::text = $1 AND EXISTS (
                 SELECT FROM marketing.engagement_events AS e WHERE e.outreach_id = o.id AND e.kind = 'replied')",
            &[&campaign_id],
        )
        .await;
    assert_eq!(
        (
            counted.sent_count as usize,
            i64::from(counted.response_count)
        ),
        (MESSAGES, replied)
    );
    found
}

/// Whether a person ends up in the ledger, by the rules as they are written, over the events as a set.
fn bounces_out(events: &[Told], person: usize) -> bool {
    let mut in_a_row = 0;
    let mut longest = 0;
    for message in (person..MESSAGES).step_by(PEOPLE) {
        let of_it = events.iter().filter(|told| told.message == message);
        let soft = of_it
            .clone()
            .filter(|told| told.bounce_type == BounceType::Soft)
            .count();
        if of_it
            .clone()
            .any(|told| told.bounce_type == BounceType::Hard)
        {
            return true;
        }
        in_a_row = if soft == 0 { 0 } else { in_a_row + soft };
        longest = longest.max(in_a_row);
    }
    longest >= 3
}

/// Law 11 as a property: two worlds hear the same events, one in their order, the other shuffled, repeated, in
/// other calls and some of them at the same time. They end the same.
#[tokio::test(flavor = "multi_thread")]
async fn law_11_any_order_and_repetition_of_events_ends_the_same() {
    let app = App::start().await;
    let sql = app.sql().await;
    let runner = Config {
        cases: 24,
        failure_persistence: None,
        ..Config::default()
    };
    let strategy = prop::collection::vec(told(), 0..20).prop_flat_map(|events| {
        let repeated: Vec<usize> = (0..events.len()).chain(0..events.len() / 2).collect();
        (Just(events), Just(repeated).prop_shuffle(), 1_usize..6)
    });
    block_in_place(|| {
        TestRunner::new(runner).run(&strategy, |(events, order, size)| {
            Handle::current().block_on(async {
                let (one, two) = (new_id(), new_id());
                let (first, of_first) = world(&app, &sql, &one).await;
                let (second, of_second) = world(&app, &sql, &two).await;
                let base = from_now(0);
                let in_world = |name: &str, messages: &[String], nth: usize| {
                    let told = &events[nth];
                    let time = prost_types::Timestamp {
                        seconds: base.seconds + told.seconds,
                        nanos: 0,
                    };
                    Event {
                        event_id: format!("{name}-{nth}"),
                        bounce_type: told.bounce_type.into(),
                        occur_time: Some(time),
                        ..event("", &messages[told.message], told.kind, 0)
                    }
                };
                for nth in 0..events.len() {
                    tell(&app, vec![in_world(&one, &of_first, nth)]).await;
                }
                let calls: Vec<Vec<Event>> = order
                    .chunks(size)
                    .map(|chunk| {
                        chunk
                            .iter()
                            .map(|nth| in_world(&two, &of_second, *nth))
                            .collect()
                    })
                    .collect();
                for calls in calls.chunks(2) {
                    let calls = calls.iter().map(|events| tell(&app, events.clone()));
                    futures_util::future::join_all(calls).await;
                }
                let found = outcome(&app, &sql, &one, &first, &of_first).await;
                prop_assert_eq!(
                    &found,
                    &outcome(&app, &sql, &two, &second, &of_second).await
                );
                for person in 0..PEOPLE {
                    let standing = &found[&format!("p{person}")];
                    prop_assert_eq!(
                        standing.contains("email bounced"),
                        bounces_out(&events, person),
                        "{}: {:?}",
                        standing,
                        &events
                    );
                }
                Ok(())
            })
        })
    })
    .unwrap();
    app.stop().await;
}
