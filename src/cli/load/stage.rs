//! Stages the rows of a source as slots of companies or people, one call after the other.
//!
//! Guarantees: memory does not grow with the input; every row has its offset in one lane of the batch, so that
//! a call that was lost is sent again and stored once, and the same command again changes nothing: the service
//! answers each row with its first outcome. A row that is no JSON text is rejected like any other, never left
//! out, so that offsets match the file.

use std::{
    collections::BTreeMap,
    ops::AddAssign,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use serde::Serialize;
use tonic::Status;

use super::{
    error::Error,
    lane::reason_name,
    lines::LineIndex,
    progress::Progress,
    queue::{Chunk, RowQueue, SizedRow},
    reader::{Reader, start_reading},
    source::RowSource,
};
use crate::{
    cli::{
        client::Service,
        credentials::Connection,
        retry::{Failure, Patience},
        target::Golden,
    },
    proto::{
        company::v1::{StageCompaniesRequest, company_service_client::CompanyServiceClient},
        intake::v1::bulk_ingest_request::row::Row,
        people::v1::{StagePeopleRequest, people_service_client::PeopleServiceClient},
        r#type::v1::{StageOutcome, stage_outcome::Result as Fate},
    },
};

/// Rows of a call at the most. Its bytes are bounded by the queue.
const CALL_ROWS: usize = 1_000;

/// What to stage, and where.
#[derive(Debug)]
pub(super) struct Options {
    /// What the rows are.
    pub(super) golden: Golden,
    /// The batch.
    pub(super) batch_id: String,
    /// Where the rows come from.
    pub(super) source: String,
    /// How many bytes the source has, for the time left.
    pub(super) total_bytes: Option<u64>,
    /// Keep the line of every row, for the file of rejected rows.
    pub(super) index_lines: bool,
    /// The batch was named by the operator, not after its content.
    pub(super) is_id_given: bool,
}

/// How many rows had which fate. The names of its fields are those of the JSON output.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub(super) struct Tally {
    /// Rows received.
    pub(super) received: u64,
    /// Rows in slots of their own, pending at first.
    pub(super) staged: u64,
    /// Rows that say what the newest slot of their key and source said.
    pub(super) unchanged: u64,
    /// Rows not staged, kept among the rejected rows.
    pub(super) rejected: u64,
    /// Of all of these: rows that an earlier run or a lost call had brought.
    pub(super) replayed: u64,
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.received += other.received;
        self.staged += other.staged;
        self.unchanged += other.unchanged;
        self.rejected += other.rejected;
        self.replayed += other.replayed;
    }
}

/// How staging went.
#[derive(Debug)]
pub(super) struct Outcome {
    /// What the rows are.
    pub(super) golden: Golden,
    /// The batch.
    pub(super) batch_id: String,
    /// Where its rows come from.
    pub(super) source: String,
    /// What became of its rows.
    pub(super) tally: Tally,
    /// How many were rejected for which reason.
    pub(super) reasons: BTreeMap<String, u64>,
    /// How long it took.
    pub(super) elapsed: Duration,
    /// The line of every row, where that was asked for.
    pub(super) lines: Option<LineIndex>,
}

/// Stages the rows of a source, and waits for the service as long as it takes.
pub(super) async fn stage_rows(
    source: impl RowSource,
    service: &Service,
    options: Options,
) -> Result<Outcome, Error> {
    let started = Instant::now();
    let progress = Progress::new(options.total_bytes);
    let drawing = progress.draw();
    if options.is_id_given {
        warn_of_stored_rows(&options, service, &progress).await?;
    }
    let queue: Arc<RowQueue> = Arc::default();
    let reader = Reader::new(source, 1, options.index_lines, Some(Arc::clone(&progress)))?;
    let reading = start_reading(reader, vec![Arc::clone(&queue)])?;
    let mut staging = Staging {
        client: Client::new(service, options.golden),
        patience: service.patience(),
        progress: Arc::clone(&progress),
        outcome: Outcome {
            golden: options.golden,
            batch_id: options.batch_id,
            source: options.source,
            tally: Tally::default(),
            reasons: BTreeMap::new(),
            elapsed: Duration::ZERO,
            lines: None,
        },
    };
    let staged = staging.drain(&queue).await;
    // Whatever it came to, the reader must not wait for it any more.
    queue.close();
    staged?;
    let mut outcome = staging.outcome;
    outcome.lines = reading.await.map_err(|_| Error::Internal("reader"))??;
    drop(drawing);
    outcome.elapsed = started.elapsed();
    Ok(outcome)
}

/// A batch that is named after its content holds that content. One that is not may hold other rows, and these
/// would be taken for the ones that are sent now.
async fn warn_of_stored_rows(
    options: &Options,
    service: &Service,
    progress: &Progress,
) -> Result<(), Error> {
    let batch = service.batch(&options.batch_id, progress).await?;
    let lanes = batch.map(|batch| batch.lanes).unwrap_or_default();
    let stored = lanes
        .iter()
        .find(|lane| lane.lane == options.golden.lane())
        .map_or(0, |lane| lane.next_offset);
    if stored > 0 {
        progress.note(&format!(
            "warning: batch {} holds {stored} rows of {}: the first {stored} rows are taken for those; if they are others, give another --batch-id",
            options.batch_id, options.golden
        ));
    }
    Ok(())
}

/// The rows on their way.
struct Staging {
    client: Client,
    patience: Patience,
    progress: Arc<Progress>,
    outcome: Outcome,
}

impl Staging {
    async fn drain(&mut self, queue: &RowQueue) -> Result<(), Error> {
        loop {
            let rows = match queue.next_chunk().await {
                Chunk::Rows(rows) => rows,
                // Why it is broken is what the reader returns.
                Chunk::Complete | Chunk::Broken => return Ok(()),
            };
            let rows: Vec<Bytes> = rows.into_iter().map(json_row).collect();
            for rows in rows.chunks(CALL_ROWS) {
                self.stage(rows).await?;
            }
        }
    }

    /// Stages rows at their offset, as often as it takes: a second time they are answered and not stored.
    async fn stage(&mut self, rows: &[Bytes]) -> Result<(), Error> {
        let outcomes = loop {
            match self.client.stage(&self.outcome, rows).await {
                Ok(outcomes) => break outcomes,
                Err(status) => {
                    let failure = Failure::of("to stage the rows", &status);
                    self.patience.wait(failure, &self.progress).await?;
                }
            }
        };
        self.patience.restore();
        if outcomes.len() != rows.len() {
            return Err(Error::Protocol(
                "not every row was answered with an outcome".to_owned(),
            ));
        }
        let mut tally = Tally::default();
        for outcome in &outcomes {
            tally.add(outcome);
            if outcome.result() == Fate::Rejected {
                let reason = reason_name(outcome.reason);
                *self.outcome.reasons.entry(reason).or_default() += 1;
            }
        }
        self.progress.resumed(tally.replayed);
        self.progress.stored(tally.received - tally.replayed);
        self.outcome.tally += tally;
        Ok(())
    }
}

impl Tally {
    fn add(&mut self, outcome: &StageOutcome) {
        self.received += 1;
        self.replayed += u64::from(outcome.replayed);
        match outcome.result() {
            Fate::Staged => self.staged += 1,
            Fate::Unchanged => self.unchanged += 1,
            Fate::Rejected | Fate::Unspecified => self.rejected += 1,
        }
    }
}

/// The service that stages.
enum Client {
    Companies(CompanyServiceClient<Connection>),
    People(PeopleServiceClient<Connection>),
}

impl Client {
    fn new(service: &Service, golden: Golden) -> Self {
        match golden {
            Golden::Companies => Self::Companies(service.company_client()),
            Golden::People => Self::People(service.people_client()),
        }
    }

    /// Stages the rows that follow those which have their outcome.
    async fn stage(&mut self, to: &Outcome, rows: &[Bytes]) -> Result<Vec<StageOutcome>, Status> {
        let (batch_id, source) = (to.batch_id.clone(), to.source.clone());
        let json_rows = rows.to_vec();
        let offset = i64::try_from(to.tally.received).ok();
        match self {
            Self::Companies(client) => {
                let request = StageCompaniesRequest {
                    batch_id,
                    source,
                    json_rows,
                    offset,
                    ..Default::default()
                };
                let response = client.stage_companies(request).await?;
                Ok(response.into_inner().outcomes)
            }
            Self::People(client) => {
                let request = StagePeopleRequest {
                    batch_id,
                    source,
                    json_rows,
                    offset,
                    ..Default::default()
                };
                let response = client.stage_people(request).await?;
                Ok(response.into_inner().outcomes)
            }
        }
    }
}

/// A row as staging takes it. What is no row has something in its place that is never staged.
fn json_row(row: SizedRow) -> Bytes {
    match row.row.row {
        Some(Row::Json(json)) => json,
        Some(Row::Unreadable(row)) if !looks_like_an_object(&row.original) => row.original,
        Some(Row::Unreadable(row)) => {
            let original = String::from_utf8_lossy(&row.original);
            string(&format!("{}: {original}", row.detail))
        }
        Some(Row::Oversize(row)) => string(&format!(
            "a row of {} bytes, too large to be sent, which begins: {}",
            row.bytes,
            String::from_utf8_lossy(&row.head)
        )),
        None => Bytes::new(),
    }
}

/// A record of a CSV file that could not be read must not be taken for a row, whatever its text is.
fn looks_like_an_object(original: &[u8]) -> bool {
    original.trim_ascii_start().starts_with(b"{")
}

/// JSON text of a string: no row, and thus rejected with its text.
fn string(text: &str) -> Bytes {
    Bytes::from(serde_json::Value::from(text).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::load::source::Content;

    fn sent(content: Content) -> String {
        String::from_utf8(json_row(content.into()).to_vec()).unwrap()
    }

    #[test]
    fn what_is_no_row_is_never_sent_as_one() {
        let row = Bytes::from_static(b"{\"domain\":\"a.example\"}");
        assert_eq!(
            sent(Content::Json(row.clone())),
            "{\"domain\":\"a.example\"}"
        );
        let unreadable =
            |original: &Bytes| Content::unreadable("3 columns".into(), original.clone());
        assert_eq!(sent(unreadable(&Bytes::from_static(b"a,b"))), "a,b");
        assert_eq!(
            sent(unreadable(&row)),
            r#""3 columns: {\"domain\":\"a.example\"}""#
        );
        let oversize = Content::Oversize {
            bytes: 9_000_000,
            sha256: [0; 32],
            head: row,
        };
        assert!(sent(oversize).starts_with("\"a row of 9000000 bytes"));
    }
}
