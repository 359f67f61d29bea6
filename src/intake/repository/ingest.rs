//! The write path: opening lanes, storing chunks, finishing, and the fates of what came before.

use bytes::Bytes;
use chrono::{DateTime, Utc};
use diesel::{
    QueryableByName, sql_query,
    sql_types::{Array, BigInt, Binary, Bool, Integer, Jsonb, Nullable, Text, Timestamptz},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl as _};

use crate::{
    db::{GetCommitted as _, JsonText},
    domain::{
        Actor, BatchId, DuplicatePolicy, Fate, Source, Tally,
        row::{RejectionReason, RowRejection},
    },
    intake::chunk::{Chunk, RejectedRow},
    rpc::Error,
};

/// What the first open of a batch fixes. What is `None` agrees with whatever is stored.
#[derive(Clone, Debug)]
pub(in crate::intake) struct NewBatch {
    /// The batch.
    pub(in crate::intake) batch_id: BatchId,
    /// Where its rows come from.
    pub(in crate::intake) source: Source,
    /// How many lanes it has.
    pub(in crate::intake) lane_count: Option<i32>,
    /// Notes, as JSON text.
    pub(in crate::intake) metadata: Option<String>,
    /// Its policy.
    pub(in crate::intake) on_duplicate: Option<DuplicatePolicy>,
}

/// How a call on a lane came out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::intake) enum LaneOutcome<T> {
    /// It was done.
    Done(T),
    /// The batch has another value of a property: field, stored value.
    Mismatch(String, String),
    /// The batch was abandoned.
    Abandoned,
    /// A newer stream took the lane.
    Fenced,
    /// The lane is finished with that many rows.
    Finished(i64),
    /// The lane goes on elsewhere.
    OffsetMismatch(i64),
}

/// A lane that is open to its caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::intake) struct OpenedLane {
    /// The fencing token.
    pub(in crate::intake) writer: i64,
    /// Where the lane goes on.
    pub(in crate::intake) next_offset: i64,
    /// Whether it is finished.
    pub(in crate::intake) finished: bool,
}

#[derive(QueryableByName)]
struct OpenRow {
    #[diesel(sql_type = Text)]
    outcome: String,
    #[diesel(sql_type = Nullable<Text>)]
    field: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    stored: Option<String>,
    #[diesel(sql_type = Nullable<BigInt>)]
    writer: Option<i64>,
    #[diesel(sql_type = Nullable<BigInt>)]
    next_offset: Option<i64>,
    #[diesel(sql_type = Nullable<Bool>)]
    finished: Option<bool>,
}

/// Opens a lane and fences its writer before; makes the batch where there is none.
pub(in crate::intake) async fn open_lane(
    connection: &mut AsyncPgConnection,
    batch: &NewBatch,
    lane: i32,
    actor: &Actor,
) -> Result<LaneOutcome<OpenedLane>, Error> {
    let metadata = batch
        .metadata
        .clone()
        .map(|metadata| JsonText(Bytes::from(metadata)));
    let row: OpenRow = sql_query("SELECT * FROM intake.f_open_lane($1, $2, $3, $4, $5, $6, $7)")
        .bind::<Text, _>(batch.batch_id.as_str())
        .bind::<Text, _>(batch.source.as_str())
        .bind::<Integer, _>(lane)
        .bind::<Nullable<Integer>, _>(batch.lane_count)
        .bind::<Nullable<Text>, _>(batch.on_duplicate.map(DuplicatePolicy::as_str))
        .bind::<Nullable<Jsonb>, _>(metadata)
        .bind::<Text, _>(actor.as_str())
        .get_committed(connection)
        .await?;
    match (row.writer, row.next_offset, row.finished) {
        (Some(writer), Some(next_offset), Some(finished)) => Ok(LaneOutcome::Done(OpenedLane {
            writer,
            next_offset,
            finished,
        })),
        _ => refusal(&row.outcome, 0, row.field, row.stored),
    }
}

/// A chunk that was stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::intake) struct Stored {
    /// The fate of each row, in order.
    pub(in crate::intake) fates: Vec<Fate>,
}

#[derive(QueryableByName)]
struct ChunkRow {
    #[diesel(sql_type = Text)]
    outcome: String,
    #[diesel(sql_type = Nullable<BigInt>)]
    next_offset: Option<i64>,
    #[diesel(sql_type = Nullable<Binary>)]
    fates: Option<Vec<u8>>,
}

/// Stores a chunk of a lane at an offset: rows, fates and the lane's next offset, all or nothing.
pub(in crate::intake) async fn ingest_chunk(
    connection: &mut AsyncPgConnection,
    batch_id: &BatchId,
    lane: i32,
    writer: i64,
    first_offset: i64,
    chunk: Chunk,
    actor: &Actor,
) -> Result<LaneOutcome<Stored>, Error> {
    let rejected = RejectedColumns::of(chunk.rejected);
    let row: ChunkRow = sql_query(
        "SELECT outcome, next_offset, fates
         FROM intake.f_ingest_chunk($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)",
    )
    .bind::<Text, _>(batch_id.as_str())
    .bind::<Integer, _>(lane)
    .bind::<BigInt, _>(writer)
    .bind::<BigInt, _>(first_offset)
    .bind::<Array<Integer>, _>(chunk.positions)
    .bind::<Array<Jsonb>, _>(json_texts(chunk.rows))
    .bind::<Array<Text>, _>(chunk.emails)
    .bind::<Array<Integer>, _>(rejected.positions)
    .bind::<Array<Text>, _>(rejected.reasons)
    .bind::<Array<Text>, _>(rejected.pointers)
    .bind::<Array<Text>, _>(rejected.details)
    .bind::<Array<Binary>, _>(rejected.originals)
    .bind::<Array<BigInt>, _>(rejected.original_sizes)
    .bind::<Text, _>(actor.as_str())
    .get_committed(connection)
    .await?;
    match row.outcome.as_str() {
        "stored" => Ok(LaneOutcome::Done(Stored {
            fates: parse_fates(&row.fates.unwrap_or_default())?,
        })),
        outcome => refusal(outcome, row.next_offset.unwrap_or_default(), None, None),
    }
}

/// Rows that were appended to lane -1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::intake) struct Appended {
    /// The offset of the first row.
    pub(in crate::intake) first_offset: i64,
    /// The fate of each row, in order.
    pub(in crate::intake) fates: Vec<Fate>,
    /// The loads of the rows that were stored, in order.
    pub(in crate::intake) load_ids: Vec<i64>,
}

#[derive(QueryableByName)]
struct AppendRow {
    #[diesel(sql_type = Text)]
    outcome: String,
    #[diesel(sql_type = Nullable<Text>)]
    field: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    stored: Option<String>,
    #[diesel(sql_type = Nullable<BigInt>)]
    first_offset: Option<i64>,
    #[diesel(sql_type = Nullable<Binary>)]
    fates: Option<Vec<u8>>,
    #[diesel(sql_type = Nullable<Array<BigInt>>)]
    load_ids: Option<Vec<i64>>,
}

/// Appends a chunk to lane -1 of a batch; makes the batch where there is none.
pub(in crate::intake) async fn append_rows(
    connection: &mut AsyncPgConnection,
    batch: &NewBatch,
    chunk: Chunk,
    actor: &Actor,
) -> Result<LaneOutcome<Appended>, Error> {
    let rejected = RejectedColumns::of(chunk.rejected);
    let row: AppendRow = sql_query(
        "SELECT *
         FROM intake.f_append_rows($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)",
    )
    .bind::<Text, _>(batch.batch_id.as_str())
    .bind::<Text, _>(batch.source.as_str())
    .bind::<Nullable<Text>, _>(batch.on_duplicate.map(DuplicatePolicy::as_str))
    .bind::<Array<Integer>, _>(chunk.positions)
    .bind::<Array<Jsonb>, _>(json_texts(chunk.rows))
    .bind::<Array<Text>, _>(chunk.emails)
    .bind::<Array<Integer>, _>(rejected.positions)
    .bind::<Array<Text>, _>(rejected.reasons)
    .bind::<Array<Text>, _>(rejected.pointers)
    .bind::<Array<Text>, _>(rejected.details)
    .bind::<Array<Binary>, _>(rejected.originals)
    .bind::<Array<BigInt>, _>(rejected.original_sizes)
    .bind::<Text, _>(actor.as_str())
    .get_result(connection)
    .await?;
    match row.outcome.as_str() {
        "stored" => Ok(LaneOutcome::Done(Appended {
            first_offset: row.first_offset.unwrap_or_default(),
            fates: parse_fates(&row.fates.unwrap_or_default())?,
            load_ids: row.load_ids.unwrap_or_default(),
        })),
        outcome => refusal(outcome, 0, row.field, row.stored),
    }
}

/// A lane that is finished.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::intake) struct Finished {
    /// Its tally.
    pub(in crate::intake) tally: Tally,
    /// When it was finished.
    pub(in crate::intake) finished_at: DateTime<Utc>,
}

#[derive(QueryableByName)]
struct FinishRow {
    #[diesel(sql_type = Text)]
    outcome: String,
    #[diesel(sql_type = Nullable<BigInt>)]
    next_offset: Option<i64>,
    #[diesel(sql_type = Nullable<BigInt>)]
    accepted: Option<i64>,
    #[diesel(sql_type = Nullable<BigInt>)]
    duplicate: Option<i64>,
    #[diesel(sql_type = Nullable<BigInt>)]
    rejected: Option<i64>,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    finished_at: Option<DateTime<Utc>>,
}

/// Finishes a lane that holds `row_count` rows. Repeating it changes nothing.
pub(in crate::intake) async fn finish_lane(
    connection: &mut AsyncPgConnection,
    batch_id: &BatchId,
    lane: i32,
    writer: i64,
    row_count: i64,
    actor: &Actor,
) -> Result<LaneOutcome<Finished>, Error> {
    let row: FinishRow = sql_query("SELECT * FROM intake.f_finish_lane($1, $2, $3, $4, $5)")
        .bind::<Text, _>(batch_id.as_str())
        .bind::<Integer, _>(lane)
        .bind::<BigInt, _>(writer)
        .bind::<BigInt, _>(row_count)
        .bind::<Text, _>(actor.as_str())
        .get_committed(connection)
        .await?;
    match (row.outcome.as_str(), row.finished_at) {
        ("finished", Some(finished_at)) => Ok(LaneOutcome::Done(Finished {
            tally: Tally {
                accepted: row.accepted.unwrap_or_default(),
                duplicate: row.duplicate.unwrap_or_default(),
                rejected: row.rejected.unwrap_or_default(),
            },
            finished_at,
        })),
        (outcome, _) => refusal(outcome, row.next_offset.unwrap_or_default(), None, None),
    }
}

#[derive(QueryableByName)]
struct FatesRow {
    #[diesel(sql_type = BigInt)]
    first_offset: i64,
    #[diesel(sql_type = Binary)]
    fates: Vec<u8>,
}

/// The first outcomes of rows that a lane holds.
pub(in crate::intake) async fn replay(
    connection: &mut AsyncPgConnection,
    batch_id: &BatchId,
    lane: i32,
    offset: i64,
    row_count: usize,
) -> Result<Vec<Fate>, Error> {
    let end = offset + i64::try_from(row_count).map_err(Error::internal)?;
    let chunks: Vec<FatesRow> = sql_query(
        "SELECT first_offset, fates
         FROM intake.batch_chunks
         WHERE batch_id = $1 AND lane = $2 AND first_offset < $4
           -- The chunk that holds the first row begins at it or before.
           AND first_offset >= coalesce(
               (SELECT max(first_offset) FROM intake.batch_chunks
                WHERE batch_id = $1 AND lane = $2 AND first_offset <= $3), 0)
         ORDER BY first_offset",
    )
    .bind::<Text, _>(batch_id.as_str())
    .bind::<Integer, _>(lane)
    .bind::<BigInt, _>(offset)
    .bind::<BigInt, _>(end)
    .get_results(connection)
    .await?;
    let skip = match chunks.as_slice() {
        [first, ..] => offset - first.first_offset,
        [] => 0,
    };
    let bytes: Vec<u8> = chunks
        .iter()
        .flat_map(|chunk| &chunk.fates)
        .copied()
        .skip(usize::try_from(skip).map_err(Error::internal)?)
        .take(row_count)
        .collect();
    if bytes.len() != row_count {
        return Err(Error::internal(format!(
            "lane {lane} keeps {} fates of {row_count} rows at {offset}",
            bytes.len()
        )));
    }
    parse_fates(&bytes)
}

fn parse_fates(bytes: &[u8]) -> Result<Vec<Fate>, Error> {
    bytes
        .iter()
        .map(|byte| {
            Fate::from_byte(*byte).ok_or_else(|| Error::internal(format!("unknown fate {byte}")))
        })
        .collect()
}

fn json_texts(rows: Vec<Bytes>) -> Vec<JsonText> {
    rows.into_iter().map(JsonText).collect()
}

fn refusal<T>(
    outcome: &str,
    next_offset: i64,
    field: Option<String>,
    stored: Option<String>,
) -> Result<LaneOutcome<T>, Error> {
    match outcome {
        "mismatch" => Ok(LaneOutcome::Mismatch(
            field.unwrap_or_default(),
            stored.unwrap_or_default(),
        )),
        "abandoned" => Ok(LaneOutcome::Abandoned),
        "fenced" => Ok(LaneOutcome::Fenced),
        "finished" => Ok(LaneOutcome::Finished(next_offset)),
        "offset_mismatch" | "row_count_mismatch" => Ok(LaneOutcome::OffsetMismatch(next_offset)),
        outcome => Err(Error::internal(format!("unknown outcome {outcome}"))),
    }
}

/// Rejected rows, column by column.
#[derive(Default)]
struct RejectedColumns {
    positions: Vec<i32>,
    reasons: Vec<&'static str>,
    pointers: Vec<String>,
    details: Vec<String>,
    originals: Vec<Vec<u8>>,
    original_sizes: Vec<i64>,
}

impl RejectedColumns {
    fn of(rejected: Vec<RejectedRow>) -> Self {
        let mut columns = Self::default();
        for row in rejected {
            let RowRejection {
                reason,
                pointer,
                detail,
            } = row.rejection;
            columns.positions.push(row.position);
            columns.reasons.push(RejectionReason::as_str(reason));
            columns.pointers.push(pointer);
            columns.details.push(detail);
            columns.originals.push(row.original.into());
            columns.original_sizes.push(row.original_size);
        }
        columns
    }
}
