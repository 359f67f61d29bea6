//! Many whose lease ran out at once, many who are suppressed, and many who ask: nobody is passed over, and no
//! transaction is long.

use std::collections::HashSet;

use leadvault::proto::people::v1::LeaseEnrichmentRequest;

use super::{
    enqueue, id, lease,
    leasing::{LEASE, pages},
    let_time_pass, names, order, person, persons, stats,
    suppressed::until_somebody_waits,
};
use crate::harness::{App, Sql, until};

/// Makes people who were leased and whose lease ran out, with priorities from 1 to 10. They are due beside the line.
async fn overrun(sql: &Sql, count: i32) {
    persons(sql, count).await;
    sql.run(&format!(
        "SELECT count(*) FROM ple.f_enqueue(
             ARRAY(SELECT id FROM people.master ORDER BY id LIMIT {count}),
             ARRAY(SELECT 1 + n % 10 FROM generate_series(1, {count}) AS n), 5, 'me');
         SELECT count(*) FROM ple.f_lease('dead', {count}, '1 hour')"
    ))
    .await;
    let_time_pass(sql).await;
}

async fn beside(sql: &Sql) -> i64 {
    sql.one(
        "SELECT count(*) FROM ple.enrichment_queue WHERE NOT in_line AND available_at <= now()",
        &[],
    )
    .await
}

/// Leases until nobody is left, and says who was leased.
async fn work(app: &App, most: i32) -> Vec<String> {
    let mut leased = Vec::new();
    let mut people = super::people(app).await;
    let request = LeaseEnrichmentRequest {
        worker: "worker".to_owned(),
        max_count: most,
        // None comes back before the last one is leased.
        lease_ms: 600_000,
    };
    loop {
        let leases = people.lease_enrichment(request.clone()).await;
        let leases = leases.unwrap().into_inner().leases;
        if leases.is_empty() {
            return leased;
        }
        leased.extend(leases.iter().map(id));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn after_many_leases_ran_out_at_once_nobody_is_passed_over() {
    const PEOPLE: i32 = 5_000;
    let app = App::start().await;
    let sql = app.sql().await;
    overrun(&sql, PEOPLE).await;
    assert_eq!(beside(&sql).await, i64::from(PEOPLE));
    order::watch(&sql).await;
    let leased = futures_util::future::join_all((0..16).map(|_| work(&app, 25))).await;
    let leased = leased.concat();
    assert_eq!(leased.len(), usize::try_from(PEOPLE).unwrap());
    assert_eq!(leased.iter().collect::<HashSet<_>>().len(), leased.len());
    assert_eq!(order::passed_over(&sql).await, 0);
    let deadlocks = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()";
    assert_eq!(sql.one::<i64>(deadlocks, &[]).await, 0);
    app.stop().await;
}

/// An answer that ends at its bytes holds nobody who is not in it.
#[tokio::test(flavor = "multi_thread")]
async fn workers_whose_answers_are_small_pass_over_nobody() {
    const PEOPLE: i32 = 200;
    let app = App::start_with(&["--max-page-bytes", "1500"]).await;
    let sql = app.sql().await;
    let ids = persons(&sql, PEOPLE).await;
    for ids in ids.chunks(50) {
        enqueue(&app, ids.iter().map(|id| (id, 1))).await;
    }
    order::watch(&sql).await;
    let leased = futures_util::future::join_all((0..16).map(|_| work(&app, 100))).await;
    let leased = leased.concat();
    assert_eq!(leased.len(), ids.len());
    assert_eq!(leased.iter().collect::<HashSet<_>>().len(), ids.len());
    assert_eq!(order::passed_over(&sql).await, 0);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_that_is_not_committed_keeps_nobody_from_those_who_did_not_fit() {
    let app = App::start_with(&["--max-page-bytes", "1500"]).await;
    let (sql, worker) = (app.sql().await, app.sql().await);
    for id in &persons(&sql, 9).await {
        enqueue(&app, [(id, 1)]).await;
    }
    worker.run("BEGIN").await;
    let statement = "SELECT * FROM ple.f_lease('w', 9, interval '1 minute', NULL, 1500)";
    assert_eq!(worker.rows(statement, &[]).await.len(), 3);
    // All who would fit together are held: the next one there is.
    assert_eq!(names(&lease(&app, 9).await), ["p4"]);
    worker.run("ROLLBACK").await;
    assert_eq!(names(&lease(&app, 9).await), ["p1", "p2", "p3"]);
    assert_eq!(names(&lease(&app, 9).await), ["p5", "p6", "p7"]);
    app.stop().await;
}

/// While some are put into the line, whoever leases waits instead of passing over them.
#[tokio::test(flavor = "multi_thread")]
async fn a_lease_waits_for_those_who_are_put_into_the_line() {
    let app = App::start().await;
    let (sql, other) = (app.sql().await, app.sql().await);
    overrun(&sql, 300).await;
    let late = person(&sql, "late@x.example").await;
    enqueue(&app, [(&late, 0)]).await;
    other.run("BEGIN").await;
    let lined: i64 = other.one("SELECT lined FROM ple.f_line_up()", &[]).await;
    assert_eq!(lined, 300);
    let (leases, ()) = tokio::join!(lease(&app, 30), async {
        until_somebody_waits(&sql).await;
        other.run("COMMIT").await;
    });
    assert_eq!(leases.len(), 30);
    assert!(leases.iter().all(|lease| lease.priority == 10));
    app.stop().await;
}

/// Who holds those who are due keeps them from others, and nobody from the rest.
#[tokio::test(flavor = "multi_thread")]
async fn those_whom_somebody_holds_do_not_stop_the_others() {
    let app = App::start().await;
    let (sql, holder) = (app.sql().await, app.sql().await);
    overrun(&sql, 300).await;
    let late = person(&sql, "late@x.example").await;
    enqueue(&app, [(&late, 0)]).await;
    holder
        .run("BEGIN; SELECT FROM ple.enrichment_queue WHERE NOT in_line FOR UPDATE")
        .await;
    assert_eq!(names(&lease(&app, 5).await), ["late"]);
    assert!(lease(&app, 5).await.is_empty());
    holder.run("ROLLBACK").await;
    assert_eq!(lease(&app, 1_000).await.len(), 300);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sweep_puts_those_who_are_due_into_the_line() {
    let app = App::start_with(&["--sweep-period", "0.05"]).await;
    let sql = app.sql().await;
    overrun(&sql, 5_000).await;
    until("all stand in the line", async || {
        (beside(&sql).await == 0).then_some(())
    })
    .await;
    app.stop().await;
}

/// Law 12: what a lease reads does not grow with those whose lease ran out.
#[tokio::test(flavor = "multi_thread")]
async fn law_12_a_lease_does_not_read_all_who_are_due() {
    let app = App::start_with(&["--sweep-period", "86400"]).await;
    let sql = app.sql().await;
    let alone = person(&sql, "alone@x.example").await;
    enqueue(&app, [(&alone, 1)]).await;
    pages(&sql, LEASE).await;
    let few = pages(&sql, LEASE).await;
    lease(&app, 1).await;

    overrun(&sql, 10_000).await;
    let everything: i64 = sql
        .one(
            "SELECT pg_relation_size('ple.enrichment_queue') / 8192",
            &[],
        )
        .await;
    pages(&sql, LEASE).await;
    let crowded = pages(&sql, LEASE).await;
    assert_eq!(lease(&app, 1).await[0].priority, 10);
    assert!(beside(&sql).await <= 200);
    sql.run("VACUUM ple.enrichment_queue").await;
    pages(&sql, LEASE).await;
    let lined_up = pages(&sql, LEASE).await;
    println!(
        "pages: {few} of one, {crowded} of a crowd, {lined_up} of a line, {everything} in all"
    );
    assert!(crowded <= few, "{crowded} after {few}");
    // The few that may stand beside the line are read, and no more.
    assert!(lined_up < few + 200, "{lined_up} after {few}");
    app.stop().await;
}

/// However many are suppressed at the head of the line, one transaction sets aside a part of them.
#[tokio::test(flavor = "multi_thread")]
async fn many_who_are_suppressed_are_set_aside_in_several_transactions() {
    const PEOPLE: i32 = 12_000;
    let app = App::start_with(&["--sweep-period", "86400"]).await;
    let sql = app.sql().await;
    persons(&sql, PEOPLE).await;
    sql.run(
        "INSERT INTO vault.suppressions (email, scope, reason, evidence, created_by)
         SELECT email, 'all', 'legal', 'law', 'me' FROM people.master;
         INSERT INTO ple.enrichment_queue (person_id, priority, max_failures, enqueued_by)
         SELECT id, 9, 5, 'me' FROM people.master",
    )
    .await;
    let last = person(&sql, "last@x.example").await;
    enqueue(&app, [(&last, 1)]).await;
    let outcome: String = sql
        .one(
            "SELECT outcome FROM ple.f_lease('w', 1, interval '1 minute')",
            &[],
        )
        .await;
    assert_eq!(outcome, "set_aside");
    assert_eq!(stats(&app).await.suppressed, 5_000);
    assert_eq!(names(&lease(&app, 10).await), ["last"]);
    assert_eq!(stats(&app).await.suppressed, i64::from(PEOPLE));
    app.stop().await;
}
