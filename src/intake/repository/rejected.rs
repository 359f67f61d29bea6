//! Rows that were not stored.

use chrono::{DateTime, Utc};
use diesel::{
    QueryableByName, sql_query,
    sql_types::{BigInt, Binary, Integer, Nullable, Text, Timestamptz},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl as _};

use super::Order;
use crate::{
    domain::{BatchId, row::RejectionReason},
    rpc::{Error, Page, PageRequest},
};

/// A rejected row. Its original is cut at 1 MiB, so that a client with gRPC's default limits can read it.
#[derive(Debug, QueryableByName)]
pub(in crate::intake) struct StoredRejection {
    #[diesel(sql_type = BigInt)]
    pub(in crate::intake) rejected_id: i64,
    #[diesel(sql_type = Text)]
    pub(in crate::intake) batch_id: String,
    #[diesel(sql_type = Integer)]
    pub(in crate::intake) lane: i32,
    #[diesel(sql_type = BigInt)]
    pub(in crate::intake) row_offset: i64,
    #[diesel(sql_type = Text)]
    pub(in crate::intake) reason: String,
    #[diesel(sql_type = Text)]
    pub(in crate::intake) pointer: String,
    #[diesel(sql_type = Text)]
    pub(in crate::intake) detail: String,
    #[diesel(sql_type = Binary)]
    pub(in crate::intake) original: Vec<u8>,
    #[diesel(sql_type = BigInt)]
    pub(in crate::intake) original_size: i64,
    #[diesel(sql_type = Timestamptz)]
    pub(in crate::intake) created_at: DateTime<Utc>,
    /// How many rows the statement found before it cut the page by bytes.
    #[diesel(sql_type = BigInt)]
    found: i64,
}

/// The columns of [`StoredRejection`], of a table called `r`.
const REJECTED_COLUMNS: &str = "
    r.rejected_id, r.batch_id, r.lane, r.row_offset, r.reason, r.pointer, r.detail,
    substring(r.original FOR 1048576) AS original, r.original_size, r.created_at,
    count(*) OVER () AS found";

/// Which rejected rows.
#[derive(Debug)]
pub(in crate::intake) struct RejectedFilter {
    pub(in crate::intake) batch_id: Option<BatchId>,
    pub(in crate::intake) reason: Option<RejectionReason>,
    pub(in crate::intake) order: Order,
}

const LIST: &str = "
    WITH page AS MATERIALIZED (
        SELECT r.*
        FROM intake.rejected_rows AS r
        WHERE ($1 IS NULL OR r.rejected_id {after} $1)
          AND ($2 IS NULL OR r.batch_id = $2)
          AND ($3 IS NULL OR r.reason = $3)
        ORDER BY r.rejected_id {direction}
        LIMIT $4
    ), measured AS (
        SELECT rejected_id, row_number() OVER in_order AS nth,
               sum(least(octet_length(original), 1048576) + octet_length(pointer) + octet_length(detail))
                   OVER in_order AS bytes,
               count(*) OVER () AS found
        FROM page
        WINDOW in_order AS (ORDER BY rejected_id {direction})
    )
    SELECT r.rejected_id, r.batch_id, r.lane, r.row_offset, r.reason, r.pointer, r.detail,
           substring(r.original FOR 1048576) AS original, r.original_size, r.created_at, m.found
    FROM measured AS m
    JOIN page AS r USING (rejected_id)
    WHERE m.nth = 1 OR m.bytes <= $5
    ORDER BY m.nth";

/// A page of rejected rows that ends at its size or at the request's bytes.
pub(in crate::intake) async fn list_rejected(
    connection: &mut AsyncPgConnection,
    filter: &RejectedFilter,
    request: &PageRequest<i64>,
) -> Result<Page<StoredRejection>, Error> {
    let rows: Vec<StoredRejection> = sql_query(filter.order.fill(LIST))
        .bind::<Nullable<BigInt>, _>(request.after)
        .bind::<Nullable<Text>, _>(filter.batch_id.as_ref().map(BatchId::as_str))
        .bind::<Nullable<Text>, _>(filter.reason.map(RejectionReason::as_str))
        .bind::<BigInt, _>(request.size + 1)
        .bind::<BigInt, _>(request.max_bytes)
        .get_results(connection)
        .await?;
    Ok(Page::cut(rows, |row| row.found, request.size))
}

/// The rejected rows of a stretch of a lane, in order; at most `limit`.
pub(in crate::intake) async fn get_rejected(
    connection: &mut AsyncPgConnection,
    batch_id: &BatchId,
    lane: i32,
    offsets: std::ops::Range<i64>,
    limit: i64,
) -> Result<Vec<StoredRejection>, Error> {
    let statement = format!(
        "SELECT {REJECTED_COLUMNS}
         FROM intake.rejected_rows AS r
         WHERE r.batch_id = $1 AND r.lane = $2 AND r.row_offset >= $3 AND r.row_offset < $4
         ORDER BY r.row_offset
         LIMIT $5"
    );
    Ok(sql_query(statement)
        .bind::<Text, _>(batch_id.as_str())
        .bind::<Integer, _>(lane)
        .bind::<BigInt, _>(offsets.start)
        .bind::<BigInt, _>(offsets.end)
        .bind::<BigInt, _>(limit)
        .get_results(connection)
        .await?)
}
