//! Suppressions against promotions, and against one another.

use leadvault::proto::vault::v1::{Channel, SuppressionReason as Reason};
use tokio::sync::Barrier;

use super::{arrive, entry, lift, status, suppress};
use crate::harness::{App, emails, until};

const PAIRS: usize = 1_000;
/// Pairs that race at the same time, each on two connections.
const AT_ONCE: usize = 8;

const SUPPRESS: &str =
    "SELECT * FROM vault.f_suppress(ARRAY[$1], '{all}', '{unsubscribed}', '{race}', 'racer')";
const PROMOTE: &str = "SELECT * FROM vault.f_promote_contacts(ARRAY[$1::bigint])";
const ACTIVE_BUT_SUPPRESSED: &str = "
    SELECT count(*) FROM vault.contacts AS c JOIN vault.suppressions AS s USING (email)
    WHERE s.lifted_at IS NULL AND c.status <> vault.f_suppressed_status(c.email)";

/// Promotes each load while its address is suppressed.
async fn race(app: &App, pairs: usize) {
    let emails = emails(pairs);
    let mut loads = Vec::new();
    for emails in emails.chunks(1_000) {
        let emails: Vec<&str> = emails.iter().map(String::as_str).collect();
        loads.extend(app.ingest_emails("b", "apollo", &emails).await);
    }
    let racers = (0..AT_ONCE).map(|nth| {
        let (emails, loads) = (&emails, &loads);
        async move {
            let (promoter, suppressor) = (app.sql().await, app.sql().await);
            let start = Barrier::new(2);
            for at in (nth..pairs).step_by(AT_ONCE) {
                let promotion = async {
                    start.wait().await;
                    promoter.rows(PROMOTE, &[&loads[at]]).await
                };
                let suppression = async {
                    start.wait().await;
                    suppressor.rows(SUPPRESS, &[&emails[at]]).await
                };
                tokio::join!(promotion, suppression);
            }
        }
    });
    futures_util::future::join_all(racers).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn law_6_a_promotion_that_races_its_suppression_never_ends_active() {
    let app = App::start().await;
    race(&app, PAIRS).await;
    let sql = app.sql().await;
    let contacts: i64 = sql
        .one(
            "SELECT count(*) FROM vault.contacts WHERE status = 'unsubscribed'",
            &[],
        )
        .await;
    assert_eq!(contacts, PAIRS as i64);
    assert_eq!(sql.one::<i64>(ACTIVE_BUT_SUPPRESSED, &[]).await, 0);
    app.stop().await;
}

/// That the test above could fail: with a lock that holds nobody up, contacts do end active.
#[tokio::test(flavor = "multi_thread")]
async fn without_the_lock_the_race_is_lost() {
    let app = App::start().await;
    let sql = app.sql().await;
    sql.run(
        "CREATE OR REPLACE FUNCTION vault.f_ledger_lock() RETURNS bigint LANGUAGE sql VOLATILE
         SET search_path = pg_catalog, pg_temp AS 'SELECT pg_backend_pid()::bigint'",
    )
    .await;
    suppress_between(&app).await;
    let lost: i64 = sql.one(ACTIVE_BUT_SUPPRESSED, &[]).await;
    assert_eq!(lost, 1);
    app.stop().await;
}

/// Until a transaction waits for an advisory lock that another holds.
async fn somebody_waits(app: &App) {
    const WAITING: &str =
        "SELECT count(*) FROM pg_locks AS l JOIN pg_database AS d ON d.oid = l.database
        WHERE d.datname = current_database() AND l.locktype = 'advisory' AND NOT l.granted";
    let sql = app.sql().await;
    until("a transaction to wait for the ledger's lock", async || {
        (sql.one::<i64>(WAITING, &[]).await > 0).then_some(())
    })
    .await;
}

/// Suppresses an address while its promotion is done and not committed; whether that had to wait.
async fn suppress_between(app: &App) -> bool {
    let loads = app.ingest_emails("b", "apollo", &["a@x.example"]).await;
    let (promoter, suppressor) = (app.sql().await, app.sql().await);
    promoter.run("BEGIN").await;
    promoter.rows(PROMOTE, &[&loads[0]]).await;
    let suppression = suppressor.rows(SUPPRESS, &[&"a@x.example"]);
    tokio::pin!(suppression);
    let waited = tokio::select! {
        _ = &mut suppression => false,
        () = somebody_waits(app) => true,
    };
    promoter.run("COMMIT").await;
    if waited {
        suppression.await;
    }
    waited
}

#[tokio::test(flavor = "multi_thread")]
async fn a_suppression_waits_for_a_promotion_that_is_not_committed() {
    let app = App::start().await;
    assert!(suppress_between(&app).await);
    assert_eq!(
        status(&app.sql().await, "a@x.example").await,
        "unsubscribed"
    );
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_promotion_waits_for_a_suppression_that_is_not_committed() {
    let app = App::start().await;
    let loads = app.ingest_emails("b", "apollo", &["a@x.example"]).await;
    let (promoter, suppressor) = (app.sql().await, app.sql().await);
    suppressor.run("BEGIN").await;
    suppressor.rows(SUPPRESS, &[&"a@x.example"]).await;
    let params: [&(dyn tokio_postgres::types::ToSql + Sync); 1] = [&loads[0]];
    let promotion = promoter.rows(PROMOTE, &params);
    tokio::pin!(promotion);
    tokio::select! {
        _ = &mut promotion => panic!("the promotion did not wait"),
        () = somebody_waits(&app) => {}
    }
    suppressor.run("COMMIT").await;
    promotion.await;
    assert_eq!(
        status(&app.sql().await, "a@x.example").await,
        "unsubscribed"
    );
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_ledger_and_the_status_agree_after_concurrent_changes() {
    const ROUNDS: usize = 25;
    let app = App::start().await;
    let sql = app.sql().await;
    let emails = ["a@x.example", "b@x.example"];
    arrive(&app, "b", &emails).await;
    sql.run("INSERT INTO people.master (email) VALUES ('a@x.example'), ('b@x.example')")
        .await;
    let reasons = [Reason::Unsubscribed, Reason::Bounced, Reason::Legal];
    let suppressors = (0..6).map(|nth| {
        let app = &app;
        async move {
            for round in 0..ROUNDS {
                let mut entries = emails.map(|email| entry(email, reasons[(nth + round) % 3]));
                // The other way round is what deadlocks are made of.
                if nth % 2 == 0 {
                    entries.reverse();
                }
                suppress(app, entries.to_vec()).await;
            }
        }
    });
    let lifters = (0..3).map(|nth| {
        let app = &app;
        async move {
            for round in 0..ROUNDS {
                // Nothing to lift is an answer, too.
                let _ = lift(app, emails[(nth + round) % 2], Channel::All, "e").await;
            }
        }
    });
    tokio::join!(
        futures_util::future::join_all(suppressors),
        futures_util::future::join_all(lifters)
    );
    let apart = |table: &str, map: &str| {
        format!(
            "SELECT count(*) FROM {table} AS t
             WHERE t.status <> coalesce({map}, 'active')"
        )
    };
    let of_people = "CASE vault.f_suppressed_status(t.email) WHEN 'unsubscribed' THEN 'inactive'
                          ELSE vault.f_suppressed_status(t.email) END";
    for query in [
        apart("vault.contacts", "vault.f_suppressed_status(t.email)"),
        apart("people.master", of_people),
        "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()".to_owned(),
        // The trail tells the same story: each change begins where the one before ended.
        "SELECT count(*) FROM (
             SELECT details #>> '{old_values,status}' AS old,
                    lag(details #>> '{new_values,status}', 1, 'active')
                        OVER (PARTITION BY contact_id ORDER BY log_id) AS before
             FROM intake.audit_log WHERE action = 'contact_updated') AS t
         WHERE old <> before"
            .to_owned(),
    ] {
        assert_eq!(sql.one::<i64>(&query, &[]).await, 0, "{query}");
    }
    for email in emails {
        let _ = lift(&app, email, Channel::All, "the end").await;
        assert_eq!(status(&sql, email).await, "active");
    }
    let people: i64 = sql
        .one(
            "SELECT count(*) FROM people.master WHERE status = 'active'",
            &[],
        )
        .await;
    assert_eq!(people, 2);
    app.stop().await;
}
