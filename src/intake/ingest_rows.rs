//! `IngestRows`: some rows in one call, stored with their answer in one transaction.

use prost::Message as _;

use super::{
    chunk::{Chunk, RejectedRow, SentRow},
    convert,
    frame::within,
    repository::{self, Appended, NewBatch},
};
use crate::{
    config::Limits,
    db::PooledConnection,
    domain::{Actor, BatchId, Fate, Tally},
    metrics::Metrics,
    proto::intake::v1 as pb,
    rpc::{Answers, Begun, Error},
};

/// One call of `IngestRows`, parsed.
pub(super) struct IngestCall {
    request: pb::IngestRowsRequest,
    batch: NewBatch,
    chunk: Chunk,
}

/// Why an ingest transaction ends without a commit.
enum Uncommitted {
    /// There is nothing to commit: it was only to validate.
    Answer(pb::IngestRowsResponse),
    /// It failed.
    Failed(Error),
}

impl From<diesel::result::Error> for Uncommitted {
    fn from(error: diesel::result::Error) -> Self {
        Self::Failed(error.into())
    }
}

impl From<Error> for Uncommitted {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

impl IngestCall {
    /// Reads and validates a request. Takes time in proportion to its bytes: call it where blocking is fine.
    pub(super) fn parse(request: pb::IngestRowsRequest, limits: &Limits) -> Result<Self, Error> {
        let row_count = request.rows.len() + request.json_rows.len();
        if row_count == 0 {
            return Err(Error::invalid("rows", "give rows or json_rows"));
        }
        if !request.rows.is_empty() && !request.json_rows.is_empty() {
            return Err(Error::invalid(
                "rows",
                "give either rows or json_rows, not both",
            ));
        }
        within("rows", row_count, limits.max_ingest_rows, "max-ingest-rows")?;
        within(
            "bytes of rows",
            request.encoded_len(),
            limits.max_frame_bytes,
            "max-frame-bytes",
        )?;
        let batch = NewBatch {
            batch_id: convert::optional(&request.batch_id, convert::batch_id)?
                .unwrap_or_else(BatchId::generate),
            source: convert::source(&request.source)?,
            lane_count: None,
            metadata: None,
            on_duplicate: convert::duplicate_policy(request.on_duplicate)?,
        };
        let json = request.json_rows.iter().cloned().map(SentRow::Json);
        let structs = request.rows.iter().cloned().map(convert::struct_row);
        let chunk = Chunk::validate(structs.chain(json).collect(), &limits.row());
        Ok(Self {
            request,
            batch,
            chunk,
        })
    }

    /// Stores the rows and the answer in one transaction, or only says what would happen.
    pub(super) async fn run(
        self,
        mut connection: PooledConnection,
        actor: Actor,
        metrics: Metrics,
    ) -> Result<pb::IngestRowsResponse, Error> {
        use diesel_async::AsyncConnection as _;
        let source = self.batch.source.clone();
        let result = connection
            .transaction(async |connection| self.in_txn(connection, &actor).await)
            .await;
        match result {
            Ok((response, tally)) => {
                metrics.rows(source.as_str(), tally);
                Ok(response)
            }
            Err(Uncommitted::Answer(response)) => Ok(response),
            Err(Uncommitted::Failed(error)) => Err(error),
        }
    }

    async fn in_txn(
        self,
        connection: &mut diesel_async::AsyncPgConnection,
        actor: &Actor,
    ) -> Result<(pb::IngestRowsResponse, Tally), Uncommitted> {
        let answers = Answers::parse(actor, "IngestRows", &self.request.request_id, &self.request)?;
        if let Some(answers) = &answers
            && let Begun::Answered(response) = answers.begin(connection).await?
        {
            // Committed as well: what it found may have its own commit still on the way to a standby.
            return Ok((response, Tally::default()));
        }
        let rejected = self.chunk.rejected.clone();
        let outcome = repository::append_rows(connection, &self.batch, self.chunk, actor).await?;
        let appended = convert::lane_result(outcome, &self.batch, -1)?;
        let tally = Tally::of(appended.fates.iter().copied());
        let validate_only = self.request.validate_only;
        let response = respond(&self.batch, appended, rejected, validate_only);
        if validate_only {
            return Err(Uncommitted::Answer(response));
        }
        if let Some(answers) = &answers {
            answers.keep(connection, &response).await?;
        }
        Ok((response, tally))
    }
}

fn respond(
    batch: &NewBatch,
    appended: Appended,
    rejected: Vec<RejectedRow>,
    validate_only: bool,
) -> pb::IngestRowsResponse {
    let mut load_ids = appended.load_ids.into_iter();
    let mut rejected = rejected.into_iter();
    let tally = Tally::of(appended.fates.iter().copied());
    let outcomes = appended.fates.into_iter().zip(appended.first_offset..);
    let outcomes = outcomes.map(|(fate, offset)| match fate {
        Fate::Rejected => pb::RowOutcome {
            fate: convert::fate(fate).into(),
            rejection: rejected
                .next()
                .map(|row| convert::rejection(offset, row.rejection)),
            ..Default::default()
        },
        Fate::Accepted | Fate::Duplicate => pb::RowOutcome {
            fate: convert::fate(fate).into(),
            // What was only validated has no load that could be looked up.
            load_id: load_ids
                .next()
                .filter(|_| !validate_only)
                .unwrap_or_default(),
            ..Default::default()
        },
    });
    pb::IngestRowsResponse {
        batch_id: batch.batch_id.to_string(),
        first_offset: appended.first_offset,
        outcomes: outcomes.collect(),
        tally: Some(convert::tally(tally)),
    }
}
