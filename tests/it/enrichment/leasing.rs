//! What a lease takes, and what it reads to find it.

use super::{enqueue, id, lease, lease_one, let_time_pass, names, person, persons, stats};
use crate::harness::{App, Sql};

/// Law 12: an answer ends at its bytes, and who is not in it is not leased.
#[tokio::test(flavor = "multi_thread")]
async fn law_12_a_lease_ends_at_its_bytes_and_leaves_the_others_free() {
    let app = App::start_with(&["--max-page-bytes", "6000"]).await;
    let sql = app.sql().await;
    let ids = persons(&sql, 7).await;
    sql.run("UPDATE people.master SET title = repeat('t', 1000), phone = repeat('5', 1000)")
        .await;
    for id in &ids {
        enqueue(&app, [(id, 1)]).await;
    }
    // One who would fit all the same does not overtake.
    sql.run("UPDATE people.master SET title = NULL, phone = NULL WHERE email = 'p4@x.example'")
        .await;
    for (expected, ready) in [
        (vec!["p1", "p2"], 5),
        (vec!["p3", "p4", "p5"], 2),
        (vec!["p6", "p7"], 0),
    ] {
        assert_eq!(names(&lease(&app, 100).await), expected);
        assert_eq!(stats(&app).await.ready, ready);
    }
    let leased: i64 = sql
        .one(
            "SELECT count(*) FROM ple.enrichment_queue WHERE attempts = 1 AND lease_token = 1",
            &[],
        )
        .await;
    assert_eq!(leased, 7);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_who_is_larger_than_an_answer_is_leased_alone() {
    let app = App::start_with(&["--max-page-bytes", "300"]).await;
    let sql = app.sql().await;
    let ids = persons(&sql, 3).await;
    for id in &ids {
        enqueue(&app, [(id, 1)]).await;
    }
    for name in ["p1", "p2", "p3"] {
        assert_eq!(names(&lease(&app, 100).await), [name]);
    }
    app.stop().await;
}

/// Those who come back from a worker take the place that they had, whether they stand in the line or beside it.
#[tokio::test(flavor = "multi_thread")]
async fn an_overrun_lease_takes_its_old_place_also_where_many_are() {
    const PEOPLE: usize = 300;
    let app = App::start().await;
    let sql = app.sql().await;
    let ids = persons(&sql, i32::try_from(PEOPLE).unwrap()).await;
    for ids in ids.chunks(100) {
        enqueue(&app, ids.iter().map(|id| (id, 5))).await;
    }
    let in_order: Vec<String> = lease(&app, 1_000).await.iter().map(id).collect();
    assert_eq!(in_order.len(), PEOPLE);
    let late = person(&sql, "late@x.example").await;
    let first = person(&sql, "first@x.example").await;
    enqueue(&app, [(&late, 5), (&first, 9)]).await;
    let_time_pass(&sql).await;

    let mut leased = Vec::new();
    for _ in 0..4 {
        leased.extend(lease(&app, 100).await.iter().map(id));
        // Where many are due beside the line, the lease before put them into it: none is lost on the way.
        let waiting = i64::try_from(PEOPLE + 2 - leased.len()).unwrap();
        assert_eq!(stats(&app).await.ready, waiting);
    }
    let expected = [vec![first], in_order, vec![late]].concat();
    assert_eq!(leased, expected);
    app.stop().await;
}

/// The pages that a statement reads. What it does is rolled back.
pub(super) async fn pages(sql: &Sql, statement: &str) -> i64 {
    sql.run("BEGIN").await;
    let explain = format!("EXPLAIN (ANALYZE, BUFFERS, TIMING OFF) {statement}");
    let plan = sql.rows(&explain, &[]).await;
    sql.run("ROLLBACK").await;
    let lines: Vec<String> = plan.iter().map(|row| row.get(0)).collect();
    let buffers = lines.iter().find(|line| line.contains("Buffers:")).unwrap();
    buffers
        .split_whitespace()
        .filter_map(|word| {
            word.strip_prefix("hit=")
                .or_else(|| word.strip_prefix("read="))
        })
        .map(|count| count.parse::<i64>().unwrap())
        .sum()
}

pub(super) const LEASE: &str =
    "SELECT * FROM ple.f_lease('w', 1, interval '1 minute', 1000, 2000000)";

/// Law 12: what a lease reads does not grow with those who are with a worker or wait for a next attempt.
#[tokio::test(flavor = "multi_thread")]
async fn law_12_a_lease_does_not_step_over_those_who_cannot_be_had() {
    const PEOPLE: i32 = 10_000;
    let app = App::start().await;
    let sql = app.sql().await;
    let wanted = person(&sql, "wanted@x.example").await;
    enqueue(&app, [(&wanted, 1)]).await;
    pages(&sql, LEASE).await;
    let alone = pages(&sql, LEASE).await;

    persons(&sql, PEOPLE).await;
    sql.run(
        "SELECT count(*) FROM ple.f_enqueue(
             ARRAY(SELECT id FROM people.master WHERE email <> 'wanted@x.example'),
             array_fill(9, ARRAY[10000]), 5, 'me');
         SELECT count(*) FROM ple.f_lease('w', 10000, interval '1 hour');
         SELECT count(f) FROM (SELECT * FROM ple.enrichment_queue WHERE state = 'leased' LIMIT 5000) AS q
         CROSS JOIN LATERAL ple.f_fail(q.person_id, q.lease_token, 'no', false, '1 hour', '1 hour') AS f",
    )
    .await;
    let stats = stats(&app).await;
    assert_eq!(
        (stats.ready, stats.delayed, stats.leased),
        (1, 5_000, 5_000)
    );
    sql.run("VACUUM ple.enrichment_queue").await;
    pages(&sql, LEASE).await;
    let among_many = pages(&sql, LEASE).await;
    assert!(among_many < alone + 40, "{alone} and then {among_many}");
    assert_eq!(lease_one(&app).await.0, wanted);
    app.stop().await;
}

const STATS: &str = "SELECT * FROM ple.f_stats()";

/// The counts are taken in indexes: entries are not read.
#[tokio::test(flavor = "multi_thread")]
async fn the_counts_read_no_entries() {
    let app = App::start().await;
    let sql = app.sql().await;
    persons(&sql, 5_000).await;
    sql.run(
        "INSERT INTO ple.enrichment_queue (person_id, state, max_failures, enqueued_by, last_error, ended_at)
         SELECT id, 'completed', 5, 'me', repeat('x', 1000), now() FROM people.master",
    )
    .await;
    sql.run("VACUUM ple.enrichment_queue").await;
    assert_eq!(stats(&app).await.completed, 5_000);
    let entries: i64 = sql
        .one(
            "SELECT pg_relation_size('ple.enrichment_queue') / 8192",
            &[],
        )
        .await;
    pages(&sql, STATS).await;
    let read = pages(&sql, STATS).await;
    assert!(read < entries / 4, "{read} of {entries}");
    app.stop().await;
}
