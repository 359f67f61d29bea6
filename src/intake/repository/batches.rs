//! Batches and their lanes.

use chrono::{DateTime, Utc};
use diesel::{
    QueryableByName, sql_query,
    sql_types::{BigInt, Integer, Jsonb, Nullable, Text, Timestamptz},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl as _};
use serde::{Deserialize, Serialize};

use super::Order;
use crate::{
    db::GetCommitted as _,
    domain::{Actor, BatchId, Source},
    rpc::{Error, Page, PageRequest},
};

/// A batch with the totals of its lanes.
#[derive(Debug, QueryableByName)]
pub(in crate::intake) struct Batch {
    #[diesel(sql_type = Text)]
    pub(in crate::intake) batch_id: String,
    #[diesel(sql_type = Text)]
    pub(in crate::intake) source: String,
    /// open, complete or abandoned.
    #[diesel(sql_type = Text)]
    pub(in crate::intake) state: String,
    #[diesel(sql_type = Text)]
    pub(in crate::intake) on_duplicate: String,
    #[diesel(sql_type = Nullable<Integer>)]
    pub(in crate::intake) lane_count: Option<i32>,
    #[diesel(sql_type = Jsonb)]
    pub(in crate::intake) metadata: serde_json::Value,
    #[diesel(sql_type = Timestamptz)]
    pub(in crate::intake) created_at: DateTime<Utc>,
    #[diesel(sql_type = Text)]
    pub(in crate::intake) created_by: String,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub(in crate::intake) abandoned_at: Option<DateTime<Utc>>,
    #[diesel(sql_type = BigInt)]
    pub(in crate::intake) accepted: i64,
    #[diesel(sql_type = BigInt)]
    pub(in crate::intake) duplicate: i64,
    #[diesel(sql_type = BigInt)]
    pub(in crate::intake) rejected: i64,
    /// How many rows the statement found.
    #[diesel(sql_type = BigInt)]
    found: i64,
}

/// A lane.
#[derive(Debug, QueryableByName)]
pub(in crate::intake) struct Lane {
    #[diesel(sql_type = Integer)]
    pub(in crate::intake) lane: i32,
    #[diesel(sql_type = Text)]
    pub(in crate::intake) state: String,
    #[diesel(sql_type = BigInt)]
    pub(in crate::intake) next_offset: i64,
    #[diesel(sql_type = BigInt)]
    pub(in crate::intake) accepted: i64,
    #[diesel(sql_type = BigInt)]
    pub(in crate::intake) duplicate: i64,
    #[diesel(sql_type = BigInt)]
    pub(in crate::intake) rejected: i64,
    #[diesel(sql_type = Timestamptz)]
    pub(in crate::intake) created_at: DateTime<Utc>,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub(in crate::intake) finished_at: Option<DateTime<Utc>>,
}

/// Where a page of batches ended.
#[derive(Debug, Deserialize, Serialize)]
pub(in crate::intake) struct BatchKey {
    created_at: DateTime<Utc>,
    batch_id: String,
}

impl BatchKey {
    /// The key of a batch.
    pub(in crate::intake) fn of(batch: &Batch) -> Self {
        Self {
            created_at: batch.created_at,
            batch_id: batch.batch_id.clone(),
        }
    }
}

/// Which batches.
#[derive(Debug)]
pub(in crate::intake) struct BatchFilter {
    pub(in crate::intake) source: Option<Source>,
    /// open, complete or abandoned.
    pub(in crate::intake) state: Option<&'static str>,
    pub(in crate::intake) order: Order,
}

/// Totals live on the lanes and are summed here: a shared row would make lanes wait for one another.
const BATCHES: &str = "
    SELECT b.batch_id, b.source, b.on_duplicate, b.lane_count, b.metadata, b.created_at, b.created_by,
           b.abandoned_at, t.accepted, t.duplicate, t.rejected,
           CASE WHEN b.abandoned_at IS NOT NULL THEN 'abandoned'
                WHEN t.finished = b.lane_count THEN 'complete'
                ELSE 'open' END AS state
    FROM intake.batches AS b
    CROSS JOIN LATERAL (
        SELECT coalesce(sum(l.accepted), 0)::bigint AS accepted,
               coalesce(sum(l.duplicate), 0)::bigint AS duplicate,
               coalesce(sum(l.rejected), 0)::bigint AS rejected,
               count(*) FILTER (WHERE l.state = 'finished') AS finished
        FROM intake.batch_lanes AS l
        WHERE l.batch_id = b.batch_id
    ) AS t";

/// A batch and its lanes, from one snapshot.
pub(in crate::intake) async fn get_batch(
    connection: &mut AsyncPgConnection,
    batch_id: &BatchId,
) -> Result<Option<(Batch, Vec<Lane>)>, Error> {
    connection
        .build_transaction()
        .repeatable_read()
        .read_only()
        .run(async |connection: &mut AsyncPgConnection| {
            let batches: Vec<Batch> = sql_query(format!(
                "SELECT *, 1::bigint AS found FROM ({BATCHES}) AS b WHERE batch_id = $1"
            ))
                .bind::<Text, _>(batch_id.as_str())
                .get_results(connection)
                .await?;
            let lanes: Vec<Lane> = sql_query(
                "SELECT lane, state, next_offset, accepted, duplicate, rejected, created_at, finished_at
                 FROM intake.batch_lanes
                 WHERE batch_id = $1
                 ORDER BY lane",
            )
            .bind::<Text, _>(batch_id.as_str())
            .get_results(connection)
            .await?;
            Ok(batches.into_iter().next().map(|batch| (batch, lanes)))
        })
        .await
}

/// A page of batches that ends at its size or at the request's bytes.
pub(in crate::intake) async fn list_batches(
    connection: &mut AsyncPgConnection,
    filter: &BatchFilter,
    request: &PageRequest<BatchKey>,
) -> Result<Page<Batch>, Error> {
    let statement = filter.order.fill(&format!(
        "WITH page AS MATERIALIZED (
             SELECT * FROM ({BATCHES}) AS b
             WHERE ($1 IS NULL OR (created_at, batch_id) {{after}} ($1, $2))
               AND ($3 IS NULL OR source = $3)
               AND ($4 IS NULL OR state = $4)
             ORDER BY created_at {{direction}}, batch_id {{direction}}
             LIMIT $5
         ), measured AS (
             -- Notes go out as a Struct, where a number of two characters takes eleven bytes.
             SELECT *, count(*) OVER () AS found, row_number() OVER in_order AS nth,
                    sum(4 * octet_length(metadata::text) + octet_length(batch_id) + octet_length(source))
                        OVER in_order AS bytes
             FROM page
             WINDOW in_order AS (ORDER BY created_at {{direction}}, batch_id {{direction}})
         )
         SELECT * FROM measured WHERE nth = 1 OR bytes <= $6 ORDER BY nth"
    ));
    let after = request.after.as_ref();
    let batches: Vec<Batch> = sql_query(statement)
        .bind::<Nullable<Timestamptz>, _>(after.map(|key| key.created_at))
        .bind::<Nullable<Text>, _>(after.map(|key| key.batch_id.as_str()))
        .bind::<Nullable<Text>, _>(filter.source.as_ref().map(Source::as_str))
        .bind::<Nullable<Text>, _>(filter.state)
        .bind::<BigInt, _>(request.size + 1)
        .bind::<BigInt, _>(request.max_bytes)
        .get_results(connection)
        .await?;
    Ok(Page::cut(batches, |batch| batch.found, request.size))
}

#[derive(QueryableByName)]
struct AbandonRow {
    #[diesel(sql_type = Text)]
    outcome: String,
}

/// Ends a batch that will never complete.
pub(in crate::intake) async fn abandon_batch(
    connection: &mut AsyncPgConnection,
    batch_id: &BatchId,
    reason: &str,
    actor: &Actor,
) -> Result<(), Error> {
    let row: AbandonRow = sql_query("SELECT * FROM intake.f_abandon_batch($1, $2, $3)")
        .bind::<Text, _>(batch_id.as_str())
        .bind::<Text, _>(reason)
        .bind::<Text, _>(actor.as_str())
        .get_committed(connection)
        .await?;
    match row.outcome.as_str() {
        "abandoned" => Ok(()),
        "complete" => Err(Error::BatchComplete(batch_id.to_string())),
        "not_found" => Err(Error::NotFound {
            resource: "batch",
            key: batch_id.to_string(),
        }),
        outcome => Err(Error::internal(format!("unknown outcome {outcome}"))),
    }
}
