//! Nobody with an active suppression of all channels is leased.

use leadvault::proto::people::v1::EnrichmentState;

use super::{
    complete, enqueue, entry, fail, found, lease, lease_one, let_time_pass, names, person, persons,
    stats, suppress,
};
use crate::harness::{App, Sql, until};

/// A sweep, as a server does it: what it purged, enqueued and returned.
pub(super) async fn sweep(sql: &Sql) -> [i64; 3] {
    let rows = sql
        .rows(
            "SELECT purged, enqueued, returned FROM ple.f_sweep(1000, 0, 5, 'system')",
            &[],
        )
        .await;
    [rows[0].get(0), rows[0].get(1), rows[0].get(2)]
}

#[tokio::test(flavor = "multi_thread")]
async fn the_suppressed_are_not_enqueued_but_those_of_one_channel_are() {
    let app = App::start().await;
    let sql = app.sql().await;
    let ids = persons(&sql, 3).await;
    suppress(&sql, "p1@x.example", "all").await;
    for channel in ["email", "phone", "linkedin"] {
        suppress(&sql, "p2@x.example", channel).await;
    }
    assert_eq!(enqueue(&app, ids.iter().map(|id| (id, 1))).await, "see");
    assert_eq!(names(&lease(&app, 10).await).len(), 2);
    super::lift(&sql, "p1@x.example").await;
    assert_eq!(enqueue(&app, [(&ids[0], 1)]).await, "e");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_suppressed_while_waiting_is_set_aside_and_returns_to_the_old_place() {
    let app = App::start().await;
    let sql = app.sql().await;
    let a = person(&sql, "a@x.example").await;
    let b = person(&sql, "b@x.example").await;
    let c = person(&sql, "c@x.example").await;
    for id in [&a, &b, &c] {
        enqueue(&app, [(id, 5)]).await;
    }
    suppress(&sql, "a@x.example", "all").await;
    suppress(&sql, "b@x.example", "all").await;
    // The next one takes the place, in the same call.
    let leases = lease(&app, 1).await;
    assert_eq!(names(&leases), ["c"]);
    assert_eq!(entry(&app, &a).await.state(), EnrichmentState::Suppressed);
    assert_eq!(
        (stats(&app).await.suppressed, stats(&app).await.ready),
        (2, 0)
    );
    assert_eq!(enqueue(&app, [(&a, 9)]).await, "s");
    assert_eq!(sweep(&sql).await, [0, 0, 0]);

    super::lift(&sql, "a@x.example").await;
    super::lift(&sql, "b@x.example").await;
    // Asked for again by hand, or by the sweep: each waits since when it did.
    assert_eq!(enqueue(&app, [(&b, 9)]).await, "e");
    assert_eq!(entry(&app, &b).await.priority, 9);
    assert_eq!(sweep(&sql).await, [0, 0, 1]);
    assert_eq!(sweep(&sql).await, [0, 0, 0]);
    let late = person(&sql, "late@x.example").await;
    enqueue(&app, [(&late, 5)]).await;
    assert_eq!(names(&lease(&app, 10).await), ["b", "a", "late"]);
    app.stop().await;
}

/// Who is with a worker when the suppression comes: what was found is taken, the consent stays.
#[tokio::test(flavor = "multi_thread")]
async fn a_suppression_in_the_middle_of_a_lease_takes_neither_the_result_nor_the_consent() {
    let app = App::start().await;
    let sql = app.sql().await;
    for name in ["a", "b", "c"] {
        let id = person(&sql, &format!("{name}@x.example")).await;
        enqueue(&app, [(&id, 1)]).await;
    }
    let leases = lease(&app, 3).await;
    for name in ["a", "b", "c"] {
        suppress(&sql, &format!("{name}@x.example"), "all").await;
    }
    let [a, b, c] = [0, 1, 2].map(|nth| (super::id(&leases[nth]), leases[nth].lease_token));
    let answer = complete(&app, found(&a.0, a.1, "CTO")).await.unwrap();
    let person = answer.into_inner().person.unwrap();
    assert_eq!(
        (person.title.as_str(), person.status),
        ("CTO", 2),
        "inactive"
    );
    fail(&app, &b.0, b.1, false).await.unwrap();
    // b after its backoff, c after its deadline: neither is leased again.
    let_time_pass(&sql).await;
    assert!(lease(&app, 10).await.is_empty());
    for id in [&b.0, &c.0] {
        assert_eq!(entry(&app, id).await.state(), EnrichmentState::Suppressed);
    }
    // Set aside, its lease is over.
    crate::harness::refused(complete(&app, found(&c.0, c.1, "CTO")).await)
        .is(tonic::Code::Aborted, "LEASE_LOST")
        .says("state", "suppressed");
    app.stop().await;
}

/// Set aside after its lease was overrun, and back in line: the worker of that lease has lost it all the same.
#[tokio::test(flavor = "multi_thread")]
async fn a_lease_that_ended_in_a_suppression_does_not_come_back_with_its_lift() {
    let app = App::start().await;
    let sql = app.sql().await;
    let a = person(&sql, "a@x.example").await;
    enqueue(&app, [(&a, 1)]).await;
    let first = lease(&app, 1).await.remove(0);
    fail(&app, &a, first.lease_token, false).await.unwrap();
    let_time_pass(&sql).await;
    let second = lease(&app, 1).await.remove(0);
    suppress(&sql, "a@x.example", "all").await;
    let_time_pass(&sql).await;
    assert!(lease(&app, 1).await.is_empty());
    super::lift(&sql, "a@x.example").await;
    assert_eq!(enqueue(&app, [(&a, 1)]).await, "e");
    crate::harness::refused(fail(&app, &a, second.lease_token, false).await)
        .is(tonic::Code::Aborted, "LEASE_LOST");
    app.stop().await;
}

/// Waits until somebody waits for the lock of the ledger, as PostgreSQL sees it.
pub(super) async fn until_somebody_waits(sql: &Sql) {
    until("somebody waits for the ledger", async || {
        let waiting: i64 = sql
            .one(
                "SELECT count(*) FROM pg_locks
                 WHERE locktype = 'advisory' AND NOT granted
                   AND database = (SELECT oid FROM pg_database WHERE datname = current_database())",
                &[],
            )
            .await;
        (waiting > 0).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_waits_for_a_suppression_that_is_not_committed() {
    let app = App::start().await;
    let (sql, suppressor) = (app.sql().await, app.sql().await);
    let id = person(&sql, "a@x.example").await;
    enqueue(&app, [(&id, 1)]).await;
    suppressor.run("BEGIN").await;
    suppress(&suppressor, "a@x.example", "all").await;
    let (leases, ()) = tokio::join!(lease(&app, 1), async {
        until_somebody_waits(&sql).await;
        suppressor.run("COMMIT").await;
    });
    assert!(leases.is_empty());
    assert_eq!(entry(&app, &id).await.state(), EnrichmentState::Suppressed);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_suppression_waits_for_a_lease_that_is_not_committed() {
    let app = App::start().await;
    let (sql, worker, suppressor) = (app.sql().await, app.sql().await, app.sql().await);
    let id = person(&sql, "a@x.example").await;
    enqueue(&app, [(&id, 1)]).await;
    worker.run("BEGIN").await;
    worker
        .rows(
            "SELECT * FROM ple.f_lease('w', 1, interval '1 minute')",
            &[],
        )
        .await;
    tokio::join!(suppress(&suppressor, "a@x.example", "all"), async {
        until_somebody_waits(&sql).await;
        worker.run("COMMIT").await;
    });
    let in_order: bool = sql
        .one(
            "SELECT q.leased_at < s.created_at FROM ple.enrichment_queue AS q, vault.suppressions AS s",
            &[],
        )
        .await;
    assert!(in_order);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn leases_and_completions_that_race_suppressions_leave_nobody_leased_after_it() {
    const PEOPLE: i32 = 200;
    let app = App::start().await;
    let sql = app.sql().await;
    let ids = persons(&sql, PEOPLE).await;
    assert!(
        !enqueue(&app, ids.iter().map(|id| (id, 1)))
            .await
            .contains('s')
    );
    let workers = (0..8).map(|_| async {
        loop {
            let leases = lease(&app, 2).await;
            if leases.is_empty() {
                return;
            }
            for lease in leases {
                let request = found(&super::id(&lease), lease.lease_token, "CTO");
                complete(&app, request).await.unwrap();
            }
        }
    });
    let suppressors = (0..4).map(|nth| {
        let app = &app;
        async move {
            let sql = app.sql().await;
            for n in (1..=PEOPLE).filter(|n| n % 4 == nth) {
                suppress(&sql, &format!("p{n}@x.example"), "all").await;
            }
        }
    });
    tokio::join!(
        futures_util::future::join_all(workers),
        futures_util::future::join_all(suppressors)
    );
    for query in [
        "SELECT count(*) FROM ple.enrichment_queue AS q JOIN people.master AS p ON p.id = q.person_id
         JOIN vault.suppressions AS s USING (email) WHERE q.leased_at >= s.created_at",
        "SELECT count(*) FROM ple.enrichment_queue WHERE state NOT IN ('completed', 'suppressed')",
        "SELECT count(*) FROM people.master WHERE status <> 'inactive'",
        "SELECT count(*) FROM people.master AS p JOIN ple.enrichment_queue AS q ON q.person_id = p.id
         WHERE (q.state = 'completed') <> (p.title IS NOT DISTINCT FROM 'CTO')",
        "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()",
    ] {
        assert_eq!(sql.one::<i64>(query, &[]).await, 0, "{query}");
    }
    // Both happened, or the race was none.
    let stats = stats(&app).await;
    assert_eq!(stats.completed + stats.suppressed, i64::from(PEOPLE));
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_of_one_goes_past_many_suppressed() {
    let app = App::start().await;
    let sql = app.sql().await;
    let ids = persons(&sql, 500).await;
    enqueue(&app, ids.iter().map(|id| (id, 9))).await;
    let last = person(&sql, "last@x.example").await;
    enqueue(&app, [(&last, 1)]).await;
    sql.run(
        "INSERT INTO vault.suppressions (email, scope, reason, evidence, created_by)
         SELECT email, 'all', 'legal', 'law', 'me' FROM people.master WHERE email <> 'last@x.example'",
    )
    .await;
    assert_eq!(lease_one(&app).await.0, last);
    assert_eq!(stats(&app).await.suppressed, 500);
    app.stop().await;
}

/// A chunk of the sweep looks at a part of those who are suppressed, and the next one goes on.
#[tokio::test(flavor = "multi_thread")]
async fn the_sweep_looks_at_the_suppressed_in_chunks() {
    let app = App::start_with(&["--sweep-period", "86400"]).await;
    let sql = app.sql().await;
    let mut ids = persons(&sql, 5).await;
    enqueue(&app, ids.iter().map(|id| (id, 1))).await;
    for n in 1..=5 {
        suppress(&sql, &format!("p{n}@x.example"), "all").await;
    }
    assert!(lease(&app, 5).await.is_empty());
    ids.sort();
    let email: String = sql
        .one(
            "SELECT email FROM people.master WHERE id = $1::text::uuid",
            &[&ids[4]],
        )
        .await;
    super::lift(&sql, &email).await;
    let mut after = "00000000-0000-0000-0000-000000000000".to_owned();
    for (returned, looked_to) in [(0, &ids[1]), (0, &ids[3]), (1, &ids[4]), (0, &ids[4])] {
        let rows = sql
            .rows(
                "SELECT returned, looked_to::text FROM ple.f_sweep(2, 0, 5, 'system', $1::text::uuid)",
                &[&after],
            )
            .await;
        after = rows[0].get(1);
        assert_eq!((rows[0].get::<_, i64>(0), &after), (returned, looked_to));
    }
    app.stop().await;
}

/// The sweep of a server looks at all of them, however many chunks that takes.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_returns_all_whose_suppression_was_lifted() {
    let app = App::start_with(&["--sweep-period", "0.05"]).await;
    let sql = app.sql().await;
    persons(&sql, 3_500).await;
    sql.run(
        "INSERT INTO vault.suppressions (email, scope, reason, evidence, created_by)
         SELECT email, 'all', 'legal', 'law', 'me' FROM people.master WHERE email LIKE 'p1%';
         INSERT INTO ple.enrichment_queue (person_id, state, max_failures, enqueued_by)
         SELECT id, 'suppressed', 5, 'me' FROM people.master",
    )
    .await;
    until("all but those who still are", async || {
        let wrong: i64 = sql
            .one(
                "SELECT count(*) FROM ple.enrichment_queue AS q JOIN people.master AS p ON p.id = q.person_id
                 WHERE (q.state = 'suppressed') <> (p.email LIKE 'p1%')",
                &[],
            )
            .await;
        (wrong == 0).then_some(())
    })
    .await;
    app.stop().await;
}
