//! Staging: rows become slots, each with its outcome, in one transaction with their lane's next offset.

use std::collections::HashMap;

use bytes::Bytes;
use diesel_async::{AsyncConnection as _, AsyncPgConnection};
use prost::Message as _;
use prost_types::Struct;
use uuid::Uuid;

use super::{
    Kind, fields,
    repository::staging::{self as repository, FirstOutcome, Place, RejectedRow, SortedRows},
};
use crate::{
    config::Limits,
    domain::{
        Actor, BatchId, Fate, Source,
        row::{RejectionReason, RowLimits, RowRejection},
    },
    proto::r#type::v1::{
        RejectionReason as PbReason, StageOutcome, StageTally, stage_outcome::Result as Outcome,
    },
    room::Room,
    rpc::{Answers, Begun, Error, struct_json},
};

/// What a room says about the rows that it stages.
pub(crate) trait Staging: Send + Sync + 'static {
    /// Which room.
    const KIND: Kind;
    /// The RPC.
    const METHOD: &'static str;
    /// Its request.
    type Request: prost::Message + Default + Clone + Send + 'static;
    /// Its response.
    type Response: prost::Message + Default + Send + 'static;

    /// The parts of a request.
    fn sent(request: Self::Request) -> Sent;

    /// Says whether a row can be staged, and its key.
    ///
    /// # Errors
    /// Why it cannot.
    fn key(raw: &[u8], limits: &RowLimits) -> Result<String, RowRejection>;

    /// The response.
    fn respond(staged: Staged) -> Self::Response;
}

/// The parts of a request.
#[derive(Debug, Default)]
pub(crate) struct Sent {
    pub(crate) batch_id: String,
    pub(crate) source: String,
    pub(crate) rows: Vec<Struct>,
    pub(crate) json_rows: Vec<Bytes>,
    pub(crate) offset: Option<i64>,
    pub(crate) request_id: String,
    pub(crate) validate_only: bool,
}

/// What became of the rows of a call.
#[derive(Debug)]
pub(crate) struct Staged {
    pub(crate) batch_id: String,
    pub(crate) first_offset: i64,
    pub(crate) outcomes: Vec<StageOutcome>,
    pub(crate) tally: StageTally,
}

/// One call, parsed.
struct Call<S: Staging> {
    request: S::Request,
    request_id: String,
    validate_only: bool,
    place: Place,
    sorted: SortedRows,
}

/// Why a transaction ends without a commit.
enum Uncommitted<Response> {
    /// It was only to validate: this is what would have happened.
    Preview(Response),
    /// It failed.
    Failed(Error),
}

impl<Response> From<diesel::result::Error> for Uncommitted<Response> {
    fn from(error: diesel::result::Error) -> Self {
        Self::Failed(error.into())
    }
}

impl<Response> From<Error> for Uncommitted<Response> {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

/// Stages the rows of a request.
///
/// # Errors
/// Why the request is refused as a whole.
pub(crate) async fn stage<S: Staging>(
    room: &Room,
    request: S::Request,
    actor: Actor,
) -> Result<S::Response, Error> {
    let limits = room.limits.clone();
    let call = tokio::task::spawn_blocking(move || Call::<S>::parse(request, &limits))
        .await
        .map_err(Error::internal)??;
    let mut connection = room.connection().await?;
    room.uncut(async move {
        let result = connection
            .transaction(async |connection| call.in_txn(connection, &actor).await)
            .await;
        match result {
            Ok(response) | Err(Uncommitted::Preview(response)) => Ok(response),
            Err(Uncommitted::Failed(error)) => Err(error),
        }
    })
    .await
}

impl<S: Staging> Call<S> {
    /// Reads and validates a request. Takes time in proportion to its bytes: call it where blocking is fine.
    fn parse(request: S::Request, limits: &Limits) -> Result<Self, Error> {
        let bytes = request.encoded_len();
        let sent = S::sent(request.clone());
        let row_count = sent.rows.len() + sent.json_rows.len();
        if row_count == 0 {
            return Err(Error::invalid("rows", "give rows or json_rows"));
        }
        if !sent.rows.is_empty() && !sent.json_rows.is_empty() {
            return Err(Error::invalid(
                "rows",
                "give either rows or json_rows, not both",
            ));
        }
        fields::within("rows", row_count, limits.max_ingest_rows, "max-ingest-rows")?;
        fields::within(
            "bytes of rows",
            bytes,
            limits.max_frame_bytes,
            "max-frame-bytes",
        )?;
        Ok(Self {
            request,
            place: place(&sent)?,
            request_id: sent.request_id,
            validate_only: sent.validate_only,
            sorted: sort::<S>(sent.rows, sent.json_rows, &limits.row()),
        })
    }

    async fn in_txn(
        self,
        connection: &mut AsyncPgConnection,
        actor: &Actor,
    ) -> Result<S::Response, Uncommitted<S::Response>> {
        let answers = Answers::parse(actor, S::METHOD, &self.request_id, &self.request)?;
        if let Some(answers) = &answers
            && let Begun::Answered(response) = answers.begin(connection).await?
        {
            return Ok(response);
        }
        let response = S::respond(self.stage(connection, actor).await?);
        if self.validate_only {
            return Err(Uncommitted::Preview(response));
        }
        if let Some(answers) = &answers {
            answers.keep(connection, &response).await?;
        }
        Ok(response)
    }

    async fn stage(
        &self,
        connection: &mut AsyncPgConnection,
        actor: &Actor,
    ) -> Result<Staged, Error> {
        let (kind, place, sorted) = (&S::KIND, &self.place, &self.sorted);
        let stored = repository::stage(connection, kind, place, sorted, actor).await?;
        let first_offset = stored.first_offset;
        let mut outcomes = Vec::new();
        if stored.replayed > 0 {
            let keys = self.keys(stored.replayed);
            let first =
                repository::first_outcomes(connection, kind, place, first_offset, &keys).await?;
            outcomes.extend(first.into_iter().map(replayed));
        }
        let rejections: HashMap<usize, &RowRejection> = sorted
            .rejected
            .iter()
            .filter_map(|row| Some((usize::try_from(row.position).ok()?, &row.rejection)))
            .collect();
        for (position, (fate, slot_id)) in (stored.replayed..).zip(stored.fates) {
            // What was only validated has no slot that could be looked up.
            let slot_id = slot_id.filter(|_| !self.validate_only);
            let rejection = rejections.get(&position).copied().cloned();
            outcomes.push(outcome(fate, slot_id, rejection));
        }
        Ok(Staged {
            batch_id: place.batch_id.to_string(),
            first_offset,
            tally: tally(&outcomes),
            outcomes,
        })
    }

    /// The keys of the first rows, as far as they have any.
    fn keys(&self, count: usize) -> Vec<Option<&str>> {
        let mut keys = vec![None; count];
        for (position, key) in self.sorted.positions.iter().zip(&self.sorted.keys) {
            let position = usize::try_from(*position).unwrap_or(usize::MAX);
            if let Some(place) = keys.get_mut(position) {
                *place = Some(key.as_str());
            }
        }
        keys
    }
}

fn place(sent: &Sent) -> Result<Place, Error> {
    let batch_id = fields::batch_id(&sent.batch_id)?;
    match sent.offset {
        Some(..0) => return Err(Error::invalid("offset", "must not be negative")),
        Some(_) if batch_id.is_none() => {
            return Err(Error::invalid("offset", "needs a batch_id"));
        }
        _ => {}
    }
    Ok(Place {
        batch_id: batch_id.unwrap_or_else(BatchId::generate),
        source: Source::parse(&sent.source).map_err(|error| Error::invalid("source", error))?,
        first_offset: sent.offset,
    })
}

/// Validates rows one by one. Law 3: no row takes another down.
fn sort<S: Staging>(rows: Vec<Struct>, json_rows: Vec<Bytes>, limits: &RowLimits) -> SortedRows {
    let texts = json_rows.into_iter().map(|text| (text, true));
    let structs = rows.into_iter().map(|row| {
        let (json, finite) = struct_json(row);
        (Bytes::from(json.to_string()), finite)
    });
    let mut sorted = SortedRows::default();
    for (position, (original, finite)) in (0..).zip(structs.chain(texts)) {
        let key = if finite {
            S::key(&original, limits)
        } else {
            Err(RowRejection::of_row(
                RejectionReason::NumberOutOfRange,
                "a number is NaN or infinite, which JSON cannot hold",
            ))
        };
        match key {
            Ok(key) => {
                sorted.positions.push(position);
                sorted.keys.push(key);
                sorted.rows.push(original);
            }
            Err(rejection) => sorted.rejected.push(RejectedRow {
                position,
                rejection,
                original,
            }),
        }
    }
    sorted
}

fn replayed(first: FirstOutcome) -> StageOutcome {
    StageOutcome {
        replayed: true,
        ..outcome(first.fate, first.slot_id, first.rejection)
    }
}

fn outcome(fate: Fate, slot_id: Option<Uuid>, rejection: Option<RowRejection>) -> StageOutcome {
    let result = match fate {
        Fate::Accepted => Outcome::Staged,
        Fate::Duplicate => Outcome::Unchanged,
        Fate::Rejected => Outcome::Rejected,
    };
    let reason = rejection.as_ref().and_then(|rejection| {
        PbReason::from_str_name(&format!("REJECTION_REASON_{}", rejection.reason))
    });
    let (pointer, detail) = rejection
        .map(|rejection| (rejection.pointer, rejection.detail))
        .unwrap_or_default();
    StageOutcome {
        result: result.into(),
        slot_id: slot_id.map(|id| id.to_string()).unwrap_or_default(),
        reason: reason.unwrap_or(PbReason::Unspecified).into(),
        pointer,
        detail,
        replayed: false,
    }
}

fn tally(outcomes: &[StageOutcome]) -> StageTally {
    let mut tally = StageTally::default();
    for outcome in outcomes {
        tally.received += 1;
        match outcome.result() {
            Outcome::Staged => tally.staged += 1,
            Outcome::Unchanged => tally.unchanged += 1,
            Outcome::Rejected | Outcome::Unspecified => tally.rejected += 1,
        }
    }
    tally
}
