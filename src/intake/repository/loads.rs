//! Raw loads: one, many, and those that failed.

use chrono::{DateTime, Utc};
use diesel::{
    QueryableByName, sql_query,
    sql_types::{Array, BigInt, Integer, Nullable, Text, Timestamptz},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl as _};

use super::Order;
use crate::{
    domain::{Actor, BatchId, Email, Source},
    rpc::{Error, Page, PageRequest},
};

/// A row that was stored.
#[derive(Debug, QueryableByName)]
pub(in crate::intake) struct RawLoad {
    #[diesel(sql_type = BigInt)]
    pub(in crate::intake) load_id: i64,
    #[diesel(sql_type = Text)]
    pub(in crate::intake) batch_id: String,
    #[diesel(sql_type = Text)]
    pub(in crate::intake) source: String,
    #[diesel(sql_type = Text)]
    pub(in crate::intake) status: String,
    /// Normalized; `None` for a row that came past the functions.
    #[diesel(sql_type = Nullable<Text>)]
    pub(in crate::intake) email: Option<String>,
    #[diesel(sql_type = Nullable<Integer>)]
    pub(in crate::intake) lane: Option<i32>,
    #[diesel(sql_type = Nullable<BigInt>)]
    pub(in crate::intake) row_offset: Option<i64>,
    #[diesel(sql_type = Text)]
    pub(in crate::intake) raw_data: String,
    #[diesel(sql_type = Text)]
    pub(in crate::intake) metadata: String,
    #[diesel(sql_type = Timestamptz)]
    pub(in crate::intake) created_at: DateTime<Utc>,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub(in crate::intake) promoted_at: Option<DateTime<Utc>>,
    /// How many rows the statement found before it cut the page by bytes.
    #[diesel(sql_type = BigInt)]
    found: i64,
}

/// The columns of [`RawLoad`], of a table called `l`. Metadata that an administrator wrote may hold anything
/// under our keys: only what reads as a lane and an offset is one.
pub(super) const LOAD_COLUMNS: &str = "
    l.load_id, l.batch_id, l.source, l.status,
    coalesce(l.metadata ->> 'normalized_email', l.raw_data ->> 'email') AS email,
    CASE WHEN l.metadata ->> 'lane' ~ '^-?[0-9]{1,9}$' THEN (l.metadata ->> 'lane')::integer END AS lane,
    CASE WHEN l.metadata ->> 'offset' ~ '^[0-9]{1,18}$' THEN (l.metadata ->> 'offset')::bigint END AS row_offset,
    l.raw_data::text AS raw_data, l.metadata::text AS metadata, l.created_at, l.promoted_at";

/// Which loads.
#[derive(Debug)]
pub(in crate::intake) struct LoadFilter {
    pub(in crate::intake) batch_id: Option<BatchId>,
    pub(in crate::intake) source: Option<Source>,
    pub(in crate::intake) status: Option<&'static str>,
    pub(in crate::intake) email: Option<Email>,
    pub(in crate::intake) created_from: Option<DateTime<Utc>>,
    pub(in crate::intake) created_before: Option<DateTime<Utc>>,
    pub(in crate::intake) order: Order,
}

/// One load.
pub(in crate::intake) async fn get_load(
    connection: &mut AsyncPgConnection,
    load_id: i64,
) -> Result<Option<RawLoad>, Error> {
    let statement = format!(
        "SELECT {LOAD_COLUMNS}, 1::bigint AS found FROM intake.raw_loads AS l WHERE l.load_id = $1"
    );
    let loads: Vec<RawLoad> = sql_query(statement)
        .bind::<BigInt, _>(load_id)
        .get_results(connection)
        .await?;
    Ok(loads.into_iter().next())
}

/// A page of loads. A batch's loads are looked for between its first and its last, in the order of the
/// primary key: sorting ten million of them for each page would not do. The page is cut by stored sizes
/// before anything is printed, and by what was printed after: a thousand large rows are not read for nine.
const LIST: &str = "
    WITH sized AS MATERIALIZED (
        SELECT load_id, count(*) OVER () AS found, row_number() OVER in_order AS nth,
               sum(stored_bytes) OVER in_order AS bytes
        FROM (
            SELECT l.load_id, pg_column_size(l.raw_data) AS stored_bytes
            FROM intake.raw_loads AS l
            WHERE ($1 IS NULL OR l.load_id {after} $1)
              AND ($2 IS NULL OR (
                  l.batch_id = $2
                  AND l.load_id >= (SELECT min(c.first_load_id) FROM intake.batch_chunks AS c WHERE c.batch_id = $2)
                  AND l.load_id <= (SELECT max(c.last_load_id) FROM intake.batch_chunks AS c WHERE c.batch_id = $2)))
              AND ($3 IS NULL OR l.source = $3)
              AND ($4 IS NULL OR l.status = $4)
              AND ($5 IS NULL OR l.raw_data ->> 'email' = $5
                   OR (l.metadata ? 'normalized_email' AND l.metadata ->> 'normalized_email' = $5))
              AND ($6 IS NULL OR l.created_at >= $6)
              AND ($7 IS NULL OR l.created_at < $7)
            ORDER BY l.load_id {direction}
            LIMIT $8
        ) AS page
        WINDOW in_order AS (ORDER BY load_id {direction})
    ), printed AS (
        SELECT {columns}, s.found
        FROM sized AS s
        JOIN intake.raw_loads AS l USING (load_id)
        WHERE s.nth = 1 OR s.bytes <= $9
    ), measured AS (
        SELECT *, row_number() OVER in_order AS nth,
               sum(octet_length(raw_data) + octet_length(metadata) + octet_length(batch_id)
                   + octet_length(source) + coalesce(octet_length(email), 0)) OVER in_order AS bytes
        FROM printed
        WINDOW in_order AS (ORDER BY load_id {direction})
    )
    SELECT * FROM measured WHERE nth = 1 OR bytes <= $9 ORDER BY nth";

/// A page of loads that ends at its size or at the request's bytes.
pub(in crate::intake) async fn list_loads(
    connection: &mut AsyncPgConnection,
    filter: &LoadFilter,
    request: &PageRequest<i64>,
) -> Result<Page<RawLoad>, Error> {
    let statement = filter.order.fill(LIST).replace("{columns}", LOAD_COLUMNS);
    let loads: Vec<RawLoad> = sql_query(statement)
        .bind::<Nullable<BigInt>, _>(request.after)
        .bind::<Nullable<Text>, _>(filter.batch_id.as_ref().map(BatchId::as_str))
        .bind::<Nullable<Text>, _>(filter.source.as_ref().map(Source::as_str))
        .bind::<Nullable<Text>, _>(filter.status)
        .bind::<Nullable<Text>, _>(filter.email.as_ref().map(Email::as_str))
        .bind::<Nullable<Timestamptz>, _>(filter.created_from)
        .bind::<Nullable<Timestamptz>, _>(filter.created_before)
        .bind::<BigInt, _>(request.size + 1)
        .bind::<BigInt, _>(request.max_bytes)
        .get_results(connection)
        .await?;
    Ok(Page::cut(loads, |load| load.found, request.size))
}

/// What became of a load that was to be tried again.
#[derive(Debug, QueryableByName)]
pub(in crate::intake) struct Retried {
    #[diesel(sql_type = BigInt)]
    pub(in crate::intake) load_id: i64,
    /// `retried`, `claimed`, `not_found` or `not_failed`.
    #[diesel(sql_type = Text)]
    pub(in crate::intake) outcome: String,
    /// The load that holds the claim.
    #[diesel(sql_type = Nullable<BigInt>)]
    pub(in crate::intake) claim_load_id: Option<i64>,
}

/// Sets failed loads back to pending; one outcome a load, in order.
pub(in crate::intake) async fn retry_failed_loads(
    connection: &mut AsyncPgConnection,
    load_ids: &[i64],
    actor: &Actor,
) -> Result<Vec<Retried>, Error> {
    Ok(
        sql_query("SELECT * FROM intake.f_retry_failed_loads($1, $2)")
            .bind::<Array<BigInt>, _>(load_ids)
            .bind::<Text, _>(actor.as_str())
            .get_results(connection)
            .await?,
    )
}

/// Failed loads of a batch.
pub(in crate::intake) struct FailedLoads {
    /// Their ids, in order.
    pub(in crate::intake) load_ids: Vec<i64>,
    /// Whether there are more.
    pub(in crate::intake) more: bool,
}

#[derive(QueryableByName)]
struct LoadIdRow {
    #[diesel(sql_type = BigInt)]
    load_id: i64,
}

/// The next failed loads of a batch, a thousand at the most.
pub(in crate::intake) async fn failed_loads(
    connection: &mut AsyncPgConnection,
    batch_id: &BatchId,
    after: Option<i64>,
) -> Result<FailedLoads, Error> {
    const MOST: usize = 1_000;
    let rows: Vec<LoadIdRow> = sql_query(
        "SELECT load_id
         FROM intake.raw_loads
         WHERE batch_id = $1 AND status = 'failed' AND load_id > coalesce($2, 0)
         ORDER BY load_id
         LIMIT $3 + 1",
    )
    .bind::<Text, _>(batch_id.as_str())
    .bind::<Nullable<BigInt>, _>(after)
    .bind::<BigInt, _>(i64::try_from(MOST).map_err(Error::internal)?)
    .get_results(connection)
    .await?;
    let more = rows.len() > MOST;
    let load_ids = rows.into_iter().take(MOST).map(|row| row.load_id).collect();
    Ok(FailedLoads { load_ids, more })
}
