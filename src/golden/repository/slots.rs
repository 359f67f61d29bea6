//! Pages of slots.

use chrono::{DateTime, Utc};
use diesel::{
    QueryableByName, sql_query,
    sql_types::{BigInt, Nullable, Text, Timestamptz, Uuid as SqlUuid},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl as _};
use uuid::Uuid;

use crate::{
    domain::{BatchId, Source},
    golden::Kind,
    rpc::{Error, Page, PageRequest},
};

/// A slot.
#[derive(Debug, QueryableByName)]
pub(in crate::golden) struct Slot {
    #[diesel(sql_type = SqlUuid)]
    pub(in crate::golden) id: Uuid,
    #[diesel(sql_type = BigInt)]
    pub(in crate::golden) slot_number: i64,
    #[diesel(sql_type = Text)]
    pub(in crate::golden) key: String,
    #[diesel(sql_type = Text)]
    pub(in crate::golden) raw_data: String,
    #[diesel(sql_type = Text)]
    pub(in crate::golden) validation_status: String,
    #[diesel(sql_type = Nullable<Text>)]
    pub(in crate::golden) source: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    pub(in crate::golden) batch_id: Option<String>,
    #[diesel(sql_type = Nullable<BigInt>)]
    pub(in crate::golden) row_offset: Option<i64>,
    #[diesel(sql_type = Nullable<BigInt>)]
    pub(in crate::golden) contact_id: Option<i64>,
    #[diesel(sql_type = Nullable<Text>)]
    pub(in crate::golden) staged_by: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    pub(in crate::golden) rejection_reason: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    pub(in crate::golden) rejection_detail: Option<String>,
    /// The JSON text of a list.
    #[diesel(sql_type = Text)]
    pub(in crate::golden) notes: String,
    #[diesel(sql_type = Timestamptz)]
    pub(in crate::golden) created_at: DateTime<Utc>,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub(in crate::golden) promoted_at: Option<DateTime<Utc>>,
    /// How many rows the statement found before it cut the page by bytes.
    #[diesel(sql_type = BigInt)]
    found: i64,
}

/// Which slots.
#[derive(Debug, Default)]
pub(in crate::golden) struct SlotFilter {
    pub(in crate::golden) status: Option<&'static str>,
    pub(in crate::golden) key: Option<String>,
    pub(in crate::golden) source: Option<Source>,
    pub(in crate::golden) batch_id: Option<BatchId>,
    pub(in crate::golden) created_from: Option<DateTime<Utc>>,
    pub(in crate::golden) created_before: Option<DateTime<Utc>>,
    pub(in crate::golden) rejection_reason: Option<&'static str>,
    pub(in crate::golden) newest_first: bool,
}

/// Each index goes on with the number of the slot. `BETWEEN` says so where `=` would: with `=` the planner may
/// count on what is looked for being spread evenly, and walk all slots for the few that a batch has.
///
/// Rows may be large: they are unpacked one by one, until the page is full.
const LIST: &str = "
    WITH RECURSIVE page AS (
        SELECT s.id, s.slot_number
        FROM {schema}.slot AS s
        WHERE ($1 IS NULL OR s.slot_number {after} $1)
          AND ($2 IS NULL OR s.validation_status = $2)
          AND ($3 IS NULL OR s.{key} BETWEEN $3 AND $3)
          AND ($4 IS NULL OR s.source BETWEEN $4 AND $4)
          AND ($5 IS NULL OR s.batch_id BETWEEN $5 AND $5)
          AND ($6 IS NULL OR s.created_at >= $6)
          AND ($7 IS NULL OR s.created_at < $7)
          AND ($8 IS NULL OR (s.validation_status = 'rejected' AND s.rejection_reason BETWEEN $8 AND $8))
        ORDER BY {prefix}s.slot_number {direction}
        LIMIT $9
    ), found AS MATERIALIZED (
        SELECT array_agg(id ORDER BY slot_number {direction}) AS ids FROM page
    ), walk AS (
        SELECT 0 AS nth, 0::bigint AS bytes, NULL::text AS raw_data
        UNION ALL
        SELECT w.nth + 1, w.bytes + octet_length(r.raw_data) + r.other_bytes, r.raw_data
        FROM walk AS w
        CROSS JOIN found AS f
        CROSS JOIN LATERAL (
            SELECT s.raw_data::text AS raw_data,
                   octet_length(s.notes::text) + coalesce(octet_length(s.rejection_detail), 0) + 200 AS other_bytes
            FROM {schema}.slot AS s
            WHERE s.id = f.ids[w.nth + 1]
            OFFSET 0) AS r
        WHERE w.bytes < $10
    )
    SELECT s.id, s.slot_number, s.{key} AS key, w.raw_data, s.validation_status, s.source, s.batch_id, s.row_offset,
           s.contact_id, s.staged_by, s.rejection_reason, s.rejection_detail, s.notes::text AS notes, s.created_at,
           s.promoted_at, cardinality(f.ids)::bigint AS found
    FROM walk AS w
    CROSS JOIN found AS f
    JOIN {schema}.slot AS s ON s.id = f.ids[w.nth]
    WHERE w.nth = 1 OR w.bytes <= $10
    ORDER BY w.nth";

/// The column whose index begins with it, of the filter that finds the fewest.
fn prefix(filter: &SlotFilter) -> &'static str {
    if filter.key.is_some() {
        "s.{key} {direction}, "
    } else if filter.batch_id.is_some() {
        "s.batch_id {direction}, "
    } else if filter.rejection_reason.is_some() {
        "s.rejection_reason {direction}, "
    } else if filter.source.is_some() {
        "s.source {direction}, "
    } else {
        ""
    }
}

/// A page of slots that ends at its size or at the request's bytes.
pub(in crate::golden) async fn list(
    connection: &mut AsyncPgConnection,
    kind: &Kind,
    filter: &SlotFilter,
    request: &PageRequest<i64>,
) -> Result<Page<Slot>, Error> {
    let (after, direction) = if filter.newest_first {
        ("<", "DESC")
    } else {
        (">", "ASC")
    };
    let statement = LIST
        .replace("{prefix}", prefix(filter))
        .replace("{after}", after)
        .replace("{direction}", direction);
    let slots: Vec<Slot> = sql_query(kind.fill(&statement))
        .bind::<Nullable<BigInt>, _>(request.after)
        .bind::<Nullable<Text>, _>(filter.status)
        .bind::<Nullable<Text>, _>(filter.key.as_deref())
        .bind::<Nullable<Text>, _>(filter.source.as_ref().map(Source::as_str))
        .bind::<Nullable<Text>, _>(filter.batch_id.as_ref().map(BatchId::as_str))
        .bind::<Nullable<Timestamptz>, _>(filter.created_from)
        .bind::<Nullable<Timestamptz>, _>(filter.created_before)
        .bind::<Nullable<Text>, _>(filter.rejection_reason)
        .bind::<BigInt, _>(request.size + 1)
        .bind::<BigInt, _>(request.max_bytes)
        .get_results(connection)
        .await?;
    Ok(Page::cut(slots, |slot| slot.found, request.size))
}
