//! The call that stages rows, and the first outcomes of rows that were staged before.

use bytes::Bytes;
use diesel::{
    QueryableByName, sql_query,
    sql_types::{Array, BigInt, Binary, Integer, Jsonb, Nullable, Text, Uuid as SqlUuid},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl as _};
use uuid::Uuid;

use crate::{
    db::JsonText,
    domain::{
        Actor, BatchId, Fate, Source,
        row::{RejectionReason, RowRejection},
    },
    golden::Kind,
    rpc::Error,
};

/// The rows of a call, sorted into good and rejected; positions count from 0.
#[derive(Debug, Default)]
pub(in crate::golden) struct SortedRows {
    /// The positions of the good rows.
    pub(in crate::golden) positions: Vec<i32>,
    /// Their keys.
    pub(in crate::golden) keys: Vec<String>,
    /// Their JSON texts.
    pub(in crate::golden) rows: Vec<Bytes>,
    /// The rejected rows.
    pub(in crate::golden) rejected: Vec<RejectedRow>,
}

/// A row that is not staged.
#[derive(Clone, Debug)]
pub(in crate::golden) struct RejectedRow {
    /// Its position in the call.
    pub(in crate::golden) position: i32,
    /// Why.
    pub(in crate::golden) rejection: RowRejection,
    /// As it was sent.
    pub(in crate::golden) original: Bytes,
}

/// Where the rows of a call go.
#[derive(Clone, Debug)]
pub(in crate::golden) struct Place {
    pub(in crate::golden) batch_id: BatchId,
    pub(in crate::golden) source: Source,
    /// The offset of the first row; `None` appends.
    pub(in crate::golden) first_offset: Option<i64>,
}

/// Rows that are in their lane now, or were before.
#[derive(Debug)]
pub(in crate::golden) struct Stored {
    /// The offset of the first row.
    pub(in crate::golden) first_offset: i64,
    /// How many of the first rows were staged before.
    pub(in crate::golden) replayed: usize,
    /// The fate and the slot of each other row, in order.
    pub(in crate::golden) fates: Vec<(Fate, Option<Uuid>)>,
}

#[derive(QueryableByName)]
struct StageRow {
    #[diesel(sql_type = Text)]
    outcome: String,
    #[diesel(sql_type = Nullable<Text>)]
    field: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    stored: Option<String>,
    #[diesel(sql_type = Nullable<BigInt>)]
    first_offset: Option<i64>,
    #[diesel(sql_type = Nullable<BigInt>)]
    next_offset: Option<i64>,
    #[diesel(sql_type = Nullable<Integer>)]
    replayed: Option<i32>,
    #[diesel(sql_type = Nullable<Binary>)]
    fates: Option<Vec<u8>>,
    #[diesel(sql_type = Nullable<Array<Nullable<SqlUuid>>>)]
    slot_ids: Option<Vec<Option<Uuid>>>,
}

/// Stages rows in their batch's lane; makes the batch where there is none.
pub(in crate::golden) async fn stage(
    connection: &mut AsyncPgConnection,
    kind: &Kind,
    place: &Place,
    sorted: &SortedRows,
    actor: &Actor,
) -> Result<Stored, Error> {
    let rejected = &sorted.rejected;
    let texts = |text: fn(&RejectedRow) -> &str| rejected.iter().map(text).collect::<Vec<&str>>();
    let rows: Vec<JsonText> = sorted.rows.iter().cloned().map(JsonText).collect();
    let positions: Vec<i32> = rejected.iter().map(|row| row.position).collect();
    let originals: Vec<&[u8]> = rejected.iter().map(|row| row.original.as_ref()).collect();
    let row: StageRow = sql_query(kind.fill(
        "SELECT * FROM {schema}.f_stage_slots($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)",
    ))
    .bind::<Text, _>(place.batch_id.as_str())
    .bind::<Text, _>(place.source.as_str())
    .bind::<Nullable<BigInt>, _>(place.first_offset)
    .bind::<Array<Integer>, _>(&sorted.positions)
    .bind::<Array<Text>, _>(&sorted.keys)
    .bind::<Array<Jsonb>, _>(rows)
    .bind::<Array<Integer>, _>(positions)
    .bind::<Array<Text>, _>(texts(|row| row.rejection.reason.as_str()))
    .bind::<Array<Text>, _>(texts(|row| &row.rejection.pointer))
    .bind::<Array<Text>, _>(texts(|row| &row.rejection.detail))
    .bind::<Array<Binary>, _>(originals)
    .bind::<Text, _>(actor.as_str())
    .get_result(connection)
    .await?;
    row.stored(place)
}

impl StageRow {
    fn stored(self, place: &Place) -> Result<Stored, Error> {
        match self.outcome.as_str() {
            "staged" => {}
            "mismatch" => {
                return Err(Error::BatchMismatch {
                    batch_id: place.batch_id.to_string(),
                    field: self.field.unwrap_or_default(),
                    stored: self.stored.unwrap_or_default(),
                    given: place.source.to_string(),
                });
            }
            "abandoned" => return Err(Error::BatchAbandoned(place.batch_id.to_string())),
            "offset_gap" => {
                return Err(Error::OffsetGap {
                    expected: self.next_offset.unwrap_or_default(),
                    offset: place.first_offset.unwrap_or_default(),
                });
            }
            outcome => return Err(Error::internal(format!("f_stage_slots: {outcome}"))),
        }
        let fates = self.fates.unwrap_or_default().into_iter().map(fate);
        let slot_ids = self.slot_ids.unwrap_or_default();
        Ok(Stored {
            first_offset: self.first_offset.unwrap_or_default(),
            replayed: usize::try_from(self.replayed.unwrap_or_default())
                .map_err(Error::internal)?,
            fates: fates
                .zip(slot_ids)
                .map(|(fate, slot_id)| Ok((fate?, slot_id)))
                .collect::<Result<_, Error>>()?,
        })
    }
}

fn fate(byte: u8) -> Result<Fate, Error> {
    Fate::from_byte(byte).ok_or_else(|| Error::internal(format!("unknown fate {byte}")))
}

/// The first outcome of a row.
#[derive(Debug)]
pub(in crate::golden) struct FirstOutcome {
    pub(in crate::golden) fate: Fate,
    /// The slot that it made; of a row that was known, the newest of its key and source.
    pub(in crate::golden) slot_id: Option<Uuid>,
    /// Why it was rejected.
    pub(in crate::golden) rejection: Option<RowRejection>,
}

#[derive(QueryableByName)]
struct FirstRow {
    #[diesel(sql_type = Integer)]
    fate: i32,
    #[diesel(sql_type = Nullable<SqlUuid>)]
    slot_id: Option<Uuid>,
    #[diesel(sql_type = Nullable<SqlUuid>)]
    head_id: Option<Uuid>,
    #[diesel(sql_type = Nullable<Text>)]
    reason: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    pointer: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    detail: Option<String>,
}

/// The first outcomes of rows from `first_offset` on, one for each of `keys`, which are those of the rows as
/// they were sent again.
pub(in crate::golden) async fn first_outcomes(
    connection: &mut AsyncPgConnection,
    kind: &Kind,
    place: &Place,
    first_offset: i64,
    keys: &[Option<&str>],
) -> Result<Vec<FirstOutcome>, Error> {
    let rows: Vec<FirstRow> = sql_query(kind.fill(
        "SELECT chunk.fate, slot.id AS slot_id, head.slot_id AS head_id, rejected.reason,
                rejected.pointer, rejected.detail
         FROM unnest($5) WITH ORDINALITY AS sent (key, nth)
         CROSS JOIN LATERAL (SELECT $4 + sent.nth - 1) AS o (row_offset)
         CROSS JOIN LATERAL (
             SELECT get_byte(c.fates, (o.row_offset - c.first_offset)::integer) AS fate
             FROM intake.batch_chunks AS c
             WHERE c.batch_id = $1 AND c.lane = $2 AND c.first_offset <= o.row_offset
             ORDER BY c.first_offset DESC
             LIMIT 1) AS chunk
         LEFT JOIN {schema}.slot ON slot.batch_id = $1 AND slot.row_offset = o.row_offset
         LEFT JOIN {schema}.slot_heads AS head ON head.{key} = sent.key AND head.source = $3
         LEFT JOIN intake.rejected_rows AS rejected
             ON rejected.batch_id = $1 AND rejected.lane = $2 AND rejected.row_offset = o.row_offset
         ORDER BY sent.nth",
    ))
    .bind::<Text, _>(place.batch_id.as_str())
    .bind::<Integer, _>(kind.lane)
    .bind::<Text, _>(place.source.as_str())
    .bind::<BigInt, _>(first_offset)
    .bind::<Array<Nullable<Text>>, _>(keys)
    .get_results(connection)
    .await?;
    rows.into_iter().map(FirstRow::outcome).collect()
}

impl FirstRow {
    fn outcome(self) -> Result<FirstOutcome, Error> {
        let fate = fate(u8::try_from(self.fate).map_err(Error::internal)?)?;
        let reason = self.reason.as_deref().and_then(RejectionReason::from_name);
        Ok(FirstOutcome {
            fate,
            slot_id: match fate {
                Fate::Accepted => self.slot_id,
                Fate::Duplicate => self.head_id,
                Fate::Rejected => None,
            },
            rejection: reason.map(|reason| RowRejection {
                reason,
                pointer: self.pointer.unwrap_or_default(),
                detail: self.detail.unwrap_or_default(),
            }),
        })
    }
}
