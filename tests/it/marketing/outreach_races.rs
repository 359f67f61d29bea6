//! The gate under many callers: counters, and suppressions that come at the same moment.

use std::sync::atomic::{AtomicBool, Ordering};

use leadvault::proto::marketing::v1::{
    RecordOutreachRequest,
    marketing_service_client::MarketingServiceClient,
    record_outreach_response::outcome::{Refusal, Result as Verdict},
};
use tokio::sync::Barrier;

use super::{active, campaign, email_to, make, outreach::messages, people, record};
use crate::harness::{App, emails, until};

const CALLERS: usize = 100;
/// Calls of each caller, and messages of each call.
const CALLS: usize = 20;
const MESSAGES: usize = 10;
/// How far the counter of a campaign is from its rows, in one snapshot.
const COUNTERS: &str = "
    SELECT c.sent_count::bigint - count(o.id) AS apart, count(o.id) AS rows
    FROM marketing.campaigns AS c LEFT JOIN marketing.outreach_history AS o USING (campaign_id)
    GROUP BY c.campaign_id";

/// Law 10: whenever a reader looks, the counter is the number of rows; in the end each message counted once.
#[tokio::test(flavor = "multi_thread")]
async fn law_10_a_hundred_callers_with_retries_and_the_counter_is_the_rows_at_every_moment() {
    let app = App::start().await;
    let sql = app.sql().await;
    let emails = emails(CALLERS);
    let names: Vec<&str> = emails.iter().map(String::as_str).collect();
    let people = people(&sql, &names).await;
    let spring = active(&app, "Spring").await.campaign_id;
    let done = AtomicBool::new(false);
    let channel = app.channel().await;
    let callers = people.iter().map(|person| {
        let mut client = MarketingServiceClient::new(channel.clone());
        let spring = &spring;
        async move {
            let mut first_times = 0;
            for nth in 0..CALLS {
                let request = RecordOutreachRequest {
                    items: (0..MESSAGES).map(|_| email_to(person, spring)).collect(),
                    ..Default::default()
                };
                // Every third call is one whose answer was lost, and every fifth is sent twice at once.
                let tries = if nth % 3 == 0 { 2 } else { 1 };
                for _ in 0..tries {
                    let mut other = client.clone();
                    let twice = nth % 5 == 0;
                    let (one, two) = tokio::join!(client.record_outreach(request.clone()), async {
                        if twice {
                            Some(other.record_outreach(request.clone()).await)
                        } else {
                            None
                        }
                    });
                    for response in [Some(one), two].into_iter().flatten() {
                        for outcome in response.unwrap().into_inner().outcomes {
                            assert_eq!(outcome.result(), Verdict::Recorded);
                            first_times += usize::from(!outcome.replayed);
                        }
                    }
                }
            }
            first_times
        }
    });
    let reader = async {
        let mut looked = 0;
        while !done.load(Ordering::Relaxed) {
            for row in sql.rows(COUNTERS, &[]).await {
                assert_eq!(
                    row.get::<_, i64>("apart"),
                    0,
                    "at {} rows",
                    row.get::<_, i64>("rows")
                );
            }
            looked += 1;
        }
        looked
    };
    let calling = async {
        let first_times = futures_util::future::join_all(callers).await;
        done.store(true, Ordering::Relaxed);
        first_times.into_iter().sum::<usize>()
    };
    let (first_times, looked) = tokio::join!(calling, reader);
    assert!(looked > 10, "the reader looked {looked} times");
    let rows = CALLERS * CALLS * MESSAGES;
    assert_eq!(first_times, rows);
    assert_eq!(messages(&sql).await, rows as i64);
    assert_eq!(campaign(&app, &spring).await.sent_count, rows as i32);
    app.stop().await;
}

/// Two servers over one database share no queue; the locks of the database keep them exact.
#[tokio::test(flavor = "multi_thread")]
async fn law_10_two_servers_over_one_database_count_together() {
    let app = App::start().await;
    let second = App::start_on(app.url.clone(), &[]).await;
    let sql = app.sql().await;
    let person = people(&sql, &["a@x.example"]).await.remove(0);
    let ids =
        [active(&app, "Spring").await, active(&app, "Summer").await].map(|made| made.campaign_id);
    let calls = (0..200).map(|nth| {
        let server = if nth % 2 == 0 { &app } else { &second };
        let mut items = vec![email_to(&person, &ids[0]), email_to(&person, &ids[1])];
        // The other way round is what deadlocks are made of.
        if nth % 3 == 0 {
            items.reverse();
        }
        record(server, items)
    });
    for outcomes in futures_util::future::join_all(calls).await {
        assert!(
            outcomes
                .iter()
                .all(|outcome| outcome.result() == Verdict::Recorded)
        );
    }
    for id in &ids {
        assert_eq!(campaign(&app, id).await.sent_count, 200);
    }
    let deadlocks: i64 = sql
        .one(
            "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()",
            &[],
        )
        .await;
    assert_eq!(deadlocks, 0);
    second.stop().await;
    app.stop().await;
}

const PAIRS: usize = 1_000;
const AT_ONCE: usize = 8;
const SUPPRESS: &str =
    "SELECT * FROM vault.f_suppress(ARRAY[$1], '{all}', '{unsubscribed}', '{race}', 'racer')";
const SENT_AFTER: &str = "
    SELECT count(*) FROM marketing.outreach_history AS o
    JOIN people.master AS p ON p.id = o.person_id
    JOIN vault.suppressions AS s USING (email)
    WHERE o.sent_at > s.created_at";

/// Each message races the suppression of its person. It is recorded before, or refused: nothing else.
#[tokio::test(flavor = "multi_thread")]
async fn law_6_no_message_is_recorded_after_its_suppression() {
    let app = App::start().await;
    let sql = app.sql().await;
    let emails = emails(PAIRS);
    let names: Vec<&str> = emails.iter().map(String::as_str).collect();
    let people = people(&sql, &names).await;
    let spring = active(&app, "Spring").await.campaign_id;
    let racers = (0..AT_ONCE).map(|nth| {
        let (app, emails, people, spring) = (&app, &emails, &people, &spring);
        async move {
            let (suppressor, mut client) = (app.sql().await, app.marketing().await);
            let start = Barrier::new(2);
            let mut recorded = 0;
            for at in (nth..PAIRS).step_by(AT_ONCE) {
                let request = RecordOutreachRequest {
                    items: vec![email_to(&people[at], spring)],
                    ..Default::default()
                };
                let sending = async {
                    start.wait().await;
                    let response = client.record_outreach(request).await.unwrap();
                    response.into_inner().outcomes.remove(0)
                };
                let suppression = async {
                    start.wait().await;
                    suppressor.rows(SUPPRESS, &[&emails[at]]).await
                };
                let (outcome, _) = tokio::join!(sending, suppression);
                match outcome.result() {
                    Verdict::Recorded => recorded += 1,
                    _ => assert_eq!(outcome.refusal(), Refusal::PersonSuppressed),
                }
            }
            recorded
        }
    });
    let recorded: i64 = futures_util::future::join_all(racers)
        .await
        .into_iter()
        .sum();
    assert_eq!(messages(&sql).await, recorded);
    assert_eq!(
        i64::from(campaign(&app, &spring).await.sent_count),
        recorded
    );
    assert_eq!(sql.one::<i64>(SENT_AFTER, &[]).await, 0);
    app.stop().await;
}

/// That the race is decided by the lock: a message waits for a suppression that is not committed, and is refused.
#[tokio::test(flavor = "multi_thread")]
async fn law_6_a_message_waits_for_a_suppression_that_is_not_committed() {
    const WAITING: &str =
        "SELECT count(*) FROM pg_locks AS l JOIN pg_database AS d ON d.oid = l.database
        WHERE d.datname = current_database() AND l.locktype = 'advisory' AND NOT l.granted";
    let app = App::start().await;
    let sql = app.sql().await;
    let person = people(&sql, &["a@x.example"]).await.remove(0);
    let suppressor = app.sql().await;
    suppressor.run("BEGIN").await;
    suppressor.rows(SUPPRESS, &[&"a@x.example"]).await;
    let mut sending = Box::pin(record(&app, vec![email_to(&person, "")]));
    tokio::select! {
        _ = &mut sending => panic!("the message did not wait"),
        () = until("a message to wait for the ledger", async || {
            (sql.one::<i64>(WAITING, &[]).await > 0).then_some(())
        }) => {}
    }
    suppressor.run("COMMIT").await;
    assert_eq!(sending.await[0].refusal(), Refusal::PersonSuppressed);
    app.stop().await;
}

/// A campaign that is paused while messages go out: what is recorded was recorded before the pause.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_recorded_for_a_campaign_after_its_pause_was_answered() {
    let app = App::start().await;
    let sql = app.sql().await;
    let person = people(&sql, &["a@x.example"]).await.remove(0);
    for _ in 0..20 {
        let spring = active(&app, "Spring").await.campaign_id;
        let calls = (0..10).map(|_| record(&app, vec![email_to(&person, &spring)]));
        let pause = async {
            make(&app, "pause", &spring).await.unwrap();
            campaign(&app, &spring).await.sent_count
        };
        let (outcomes, at_pause) = tokio::join!(futures_util::future::join_all(calls), pause);
        let recorded = outcomes
            .iter()
            .filter(|outcome| outcome[0].result() == Verdict::Recorded);
        assert_eq!(recorded.count() as i32, at_pause);
        assert_eq!(campaign(&app, &spring).await.sent_count, at_pause);
    }
    app.stop().await;
}
