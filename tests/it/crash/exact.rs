//! Looks behind the service: is every row there once, at its place, with its fate?

use std::collections::BTreeMap;

use super::rows::Rows;
use crate::harness::Sql;

/// Every row of a batch that has one.
const FATES: &str = "WITH fates AS (
    SELECT (metadata ->> 'lane')::int AS lane, (metadata ->> 'offset')::bigint AS row_offset,
           (raw_data ->> 'n')::bigint AS n, status
    FROM intake.raw_loads WHERE batch_id = $1
    UNION ALL
    SELECT lane, row_offset, NULL, 'rejected' FROM intake.rejected_rows WHERE batch_id = $1)";

/// How many rows are stored by now.
pub(crate) async fn stored(sql: &Sql, batch: &str) -> i64 {
    sql.one(
        "SELECT coalesce(sum(next_offset), 0)::bigint FROM intake.batch_lanes WHERE batch_id = $1",
        &[&batch],
    )
    .await
}

/// Laws 1 and 2, to the last row: the totals are those of the rows, no offset is missing or there twice, rows
/// keep their order, an email was accepted once, and every ledger tells the same.
pub(crate) async fn assert_exact(sql: &Sql, batch: &str, lanes: i64, expected: &Rows) {
    let rejected: i64 = expected.rejected.values().sum();
    assert_eq!(
        expected.count,
        expected.accepted + expected.duplicate + rejected
    );
    let totals = numbers(
        sql,
        "SELECT count(*), count(*) FILTER (WHERE state = 'finished'), sum(next_offset)::bigint,
                sum(accepted)::bigint, sum(duplicate)::bigint, sum(rejected)::bigint
         FROM intake.batch_lanes WHERE batch_id = $1",
        batch,
    )
    .await;
    let (accepted, duplicate) = (expected.accepted, expected.duplicate);
    assert_eq!(
        totals,
        [lanes, lanes, expected.count, accepted, duplicate, rejected],
        "lanes, finished lanes, received, accepted, duplicate, rejected"
    );
    assert_offsets(sql, batch).await;
    assert_contents(sql, batch, expected).await;
    assert_ledgers(sql, batch, expected).await;
}

/// Each lane's offsets are 0, 1, 2, ... up to its next one.
async fn assert_offsets(sql: &Sql, batch: &str) {
    let query = format!(
        "{FATES} SELECT l.lane, l.next_offset, count(row_offset), count(DISTINCT row_offset),
                min(row_offset), max(row_offset)
         FROM intake.batch_lanes AS l LEFT JOIN fates AS f USING (lane)
         WHERE l.batch_id = $1 GROUP BY l.lane, l.next_offset ORDER BY l.lane"
    );
    for row in sql.rows(&query, &[&batch]).await {
        let lane: i32 = row.get(0);
        let [next, count, distinct, first, last] = [1, 2, 3, 4, 5].map(|i| row.get::<_, i64>(i));
        assert_eq!(count, next, "lane {lane}: a row is lost or there twice");
        assert_eq!(distinct, next, "lane {lane}: an offset is there twice");
        assert_eq!((first, last), (0, next - 1), "lane {lane}");
    }
}

/// The rows are the ones of the file, in its order.
async fn assert_contents(sql: &Sql, batch: &str, expected: &Rows) {
    let query = format!(
        "{FATES}, ordered AS (
             SELECT n, status, lag(n) OVER (PARTITION BY lane ORDER BY row_offset) AS before
             FROM fates WHERE status <> 'rejected')
         SELECT count(*), count(DISTINCT n), count(*) FILTER (WHERE n <= before),
                (sum(n) FILTER (WHERE status = 'pending'))::bigint,
                (sum(n) FILTER (WHERE status = 'duplicate'))::bigint
         FROM ordered"
    );
    let stored = expected.accepted + expected.duplicate;
    assert_eq!(
        numbers(sql, &query, batch).await,
        [
            stored,
            stored,
            0,
            expected.accepted_sum,
            expected.duplicate_sum
        ],
        "rows, different rows, rows out of order, sum of the accepted, sum of the duplicates"
    );
    let reasons: BTreeMap<String, i64> = sql
        .rows(
            "SELECT reason, count(*) FROM intake.rejected_rows WHERE batch_id = $1 GROUP BY 1",
            &[&batch],
        )
        .await
        .iter()
        .map(|row| (row.get(0), row.get(1)))
        .collect();
    assert_eq!(reasons, expected.rejected);
}

async fn assert_ledgers(sql: &Sql, batch: &str, expected: &Rows) {
    let accepted = expected.accepted;
    let emails = numbers(
        sql,
        "SELECT count(*), count(DISTINCT coalesce(metadata ->> 'normalized_email', raw_data ->> 'email')),
                (SELECT count(*) FROM intake.email_claims JOIN intake.raw_loads USING (load_id)
                 WHERE batch_id = $1 AND status = 'pending')
         FROM intake.raw_loads WHERE batch_id = $1 AND status = 'pending'",
        batch,
    )
    .await;
    assert_eq!(emails, [accepted; 3], "accepted rows, their emails, claims");
    let audit = numbers(
        sql,
        "SELECT count(*), count(DISTINCT load_id) FROM intake.audit_log JOIN intake.raw_loads USING (load_id)
         WHERE batch_id = $1 AND action = 'contact_ingested'",
        batch,
    )
    .await;
    assert_eq!(audit, [accepted + expected.duplicate; 2], "audit rows");
    let fates = numbers(
        sql,
        "SELECT count(*) FILTER (WHERE fate = 'a'), count(*) FILTER (WHERE fate = 'd'),
                count(*) FILTER (WHERE fate = 'r')
         FROM intake.batch_chunks, string_to_table(convert_from(fates, 'UTF8'), NULL) AS fate
         WHERE batch_id = $1",
        batch,
    )
    .await;
    let rejected = expected.rejected.values().sum();
    assert_eq!(fates, [accepted, expected.duplicate, rejected], "fates");
}

/// The numbers of a query's only row.
async fn numbers(sql: &Sql, query: &str, batch: &str) -> Vec<i64> {
    let rows = sql.rows(query, &[&batch]).await;
    (0..rows[0].len()).map(|i| rows[0].get(i)).collect()
}
