//! Loads one batch: reads a source on a thread of its own, spreads its rows over lanes, and waits for them.
//!
//! Guarantees: a batch that is complete is not loaded again; one that was begun is resumed, and only with
//! the content that it was begun with (as far as the source has a fingerprint). Lanes are finished only
//! after the whole source was read and verified.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use prost_types::{Struct, Value, value::Kind};
use tokio::task::JoinSet;

use super::{
    error::Error,
    lane::{Lane, LaneEnd},
    lines::LineIndex,
    progress::Progress,
    queue::RowQueue,
    reader::{Reader, start_reading},
    report::Tally,
    source::RowSource,
};
use crate::{
    cli::client::Service,
    proto::intake::v1::{Batch, BatchState, DuplicatePolicy, bulk_ingest_request::Open},
};

/// The note under which a batch keeps the fingerprint of what it was begun with.
pub(crate) const FINGERPRINT_NOTE: &str = "fingerprint";

/// What to load, and how.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    /// The batch.
    pub(crate) batch_id: String,
    /// Where the rows come from.
    pub(crate) source: String,
    /// How many lanes a new batch gets, 1 to 64. A batch that was begun keeps its own number.
    pub(crate) lanes: usize,
    /// What to do with duplicates.
    pub(crate) on_duplicate: DuplicatePolicy,
    /// Notes that a new batch keeps, the fingerprint of the source among them if it has one.
    pub(crate) notes: BTreeMap<String, String>,
    /// How many bytes the source has, for the time left.
    pub(crate) total_bytes: Option<u64>,
    /// Keep the line of every row, for the file of rejected rows.
    pub(crate) index_lines: bool,
}

/// How a load went.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// The batch.
    pub(crate) batch_id: String,
    /// Where its rows come from.
    pub(crate) source: String,
    /// How many lanes it has.
    pub(crate) lanes: usize,
    /// What became of its rows, over all runs.
    pub(crate) tally: Tally,
    /// How many were rejected for which reason, as far as this run saw it.
    pub(crate) reasons: BTreeMap<String, u64>,
    /// How long this run took.
    pub(crate) elapsed: Duration,
    /// How many rows earlier runs had stored.
    pub(crate) resumed_from: u64,
    /// The batch was complete before; nothing was sent.
    pub(crate) was_complete: bool,
    /// The line of every row, where that was asked for.
    pub(crate) lines: Option<LineIndex>,
}

/// Loads the rows of a source into a batch, and waits as long as it takes.
pub(crate) async fn load_rows(
    source: impl RowSource,
    service: &Service,
    options: Options,
) -> Result<Outcome, Error> {
    let started = Instant::now();
    let progress = Progress::new(options.total_bytes);
    let drawing = progress.draw();
    let stored = service.batch(&options.batch_id, &progress).await?;
    let plan = Plan::new(options, stored.as_ref(), &progress)?;
    let mut outcome = match stored {
        Some(batch) if plan.is_complete => plan.stored_outcome(&batch, source).await?,
        _ => Box::pin(plan.load(source, service, &progress)).await?,
    };
    drop(drawing);
    outcome.elapsed = started.elapsed();
    Ok(outcome)
}

/// What is to be done, given what the service has of the batch.
struct Plan {
    options: Options,
    lanes: usize,
    is_new: bool,
    is_complete: bool,
}

impl Plan {
    fn new(options: Options, stored: Option<&Batch>, progress: &Progress) -> Result<Self, Error> {
        let mut plan = Self {
            lanes: options.lanes,
            is_new: stored.is_none(),
            is_complete: false,
            options,
        };
        let Some(batch) = stored else {
            return Ok(plan);
        };
        plan.check(batch)?;
        plan.is_complete = batch.state() == BatchState::Complete;
        // 0 where only IngestRows wrote to the batch so far.
        let stored_lanes = usize::try_from(batch.lane_count).unwrap_or(0);
        if stored_lanes > 0 && stored_lanes != plan.lanes {
            plan.lanes = stored_lanes;
            progress.note(&format!(
                "batch {} was begun with {stored_lanes} lanes and keeps them",
                batch.batch_id
            ));
        }
        Ok(plan)
    }

    /// Whether the batch is one that these rows may go on with.
    fn check(&self, batch: &Batch) -> Result<(), Error> {
        let refuse = |detail: String| {
            Err(Error::Batch {
                batch_id: batch.batch_id.clone(),
                detail,
            })
        };
        if batch.state() == BatchState::Abandoned {
            return refuse(
                "it was abandoned and takes no more rows; load them under another --batch-id"
                    .into(),
            );
        }
        if batch.source != self.options.source {
            return refuse(format!(
                "it was begun with --source {:?}, not {:?}; give that, or another --batch-id",
                batch.source, self.options.source
            ));
        }
        if batch.lane_count > 0 && batch.on_duplicate() != self.options.on_duplicate {
            return refuse(
                "it was begun with another --on-duplicate; give that, or another --batch-id".into(),
            );
        }
        let begun_with = stored_note(batch, FINGERPRINT_NOTE);
        let given = self.options.notes.get(FINGERPRINT_NOTE).map(String::as_str);
        if let (Some(begun_with), Some(given)) = (begun_with, given)
            && begun_with != given
        {
            return refuse("it was begun with other rows (another file, or another content, --map, --preset or --format); load these under another --batch-id".into());
        }
        Ok(())
    }

    /// The outcome of a batch that is done: what is stored.
    async fn stored_outcome(self, batch: &Batch, source: impl RowSource) -> Result<Outcome, Error> {
        let mut outcome = self.outcome();
        for lane in batch.lanes.iter().filter(|lane| lane.lane >= 0) {
            outcome.tally += lane.tally.unwrap_or_default().into();
        }
        outcome.resumed_from = outcome.tally.received;
        outcome.was_complete = true;
        if self.options.index_lines {
            // The rows are not sent again, but their lines are wanted.
            let reader = Reader::new(source, self.lanes, true, None)?;
            let reading = tokio::task::spawn_blocking(|| reader.read(|_, _| true));
            outcome.lines = reading.await.map_err(|_| Error::Internal("reader"))??;
        }
        Ok(outcome)
    }

    async fn load(
        self,
        source: impl RowSource,
        service: &Service,
        progress: &Arc<Progress>,
    ) -> Result<Outcome, Error> {
        let queues: Vec<Arc<RowQueue>> = (0..self.lanes).map(|_| Arc::default()).collect();
        let index_lines = self.options.index_lines;
        let reader = Reader::new(source, self.lanes, index_lines, Some(Arc::clone(progress)))?;
        let reading = start_reading(reader, queues.clone())?;
        let mut lanes = JoinSet::new();
        for (number, queue) in queues.iter().enumerate() {
            let lane = Lane::new(
                service.client(),
                self.open(number),
                Arc::clone(queue),
                Arc::clone(progress),
                service.patience(),
            );
            lanes.spawn(lane.run());
        }
        let ends = join(lanes).await;
        // Whatever the lanes came to, the reader must not wait for them any more.
        queues.iter().for_each(|queue| queue.close());
        let ends = ends?;
        let lines = reading.await.map_err(|_| Error::Internal("reader"))??;
        let mut outcome = self.outcome();
        outcome.lines = lines;
        for end in ends {
            outcome.add(end)?;
        }
        Ok(outcome)
    }

    fn open(&self, lane: usize) -> Open {
        let notes = &self.options.notes;
        Open {
            batch_id: self.options.batch_id.clone(),
            source: self.options.source.clone(),
            // At most 64 lanes.
            lane: i32::try_from(lane).unwrap_or(i32::MAX),
            lane_count: i32::try_from(self.lanes).unwrap_or(i32::MAX),
            // A batch keeps its first notes; other ones, of a newer release say, would be refused.
            metadata: (self.is_new && !notes.is_empty()).then(|| note_struct(notes)),
            on_duplicate: self.options.on_duplicate.into(),
        }
    }

    fn outcome(&self) -> Outcome {
        Outcome {
            batch_id: self.options.batch_id.clone(),
            source: self.options.source.clone(),
            lanes: self.lanes,
            tally: Tally::default(),
            reasons: BTreeMap::new(),
            elapsed: Duration::ZERO,
            resumed_from: 0,
            was_complete: false,
            lines: None,
        }
    }
}

impl Outcome {
    fn add(&mut self, end: LaneEnd) -> Result<(), Error> {
        // A lane is left open only when the reader failed, which is an error of its own.
        self.tally += end.tally.ok_or(Error::Internal("reader"))?;
        self.resumed_from += end.resumed_from;
        for (reason, count) in end.reasons {
            *self.reasons.entry(reason).or_default() += count;
        }
        Ok(())
    }
}

/// Waits for every lane; the first that fails ends the others.
async fn join(mut lanes: JoinSet<Result<LaneEnd, Error>>) -> Result<Vec<LaneEnd>, Error> {
    let mut ends = Vec::new();
    while let Some(end) = lanes.join_next().await {
        ends.push(end.map_err(|_| Error::Internal("lane"))??);
    }
    Ok(ends)
}

fn note_struct(notes: &BTreeMap<String, String>) -> Struct {
    let value = |text: &String| Value {
        kind: Some(Kind::StringValue(text.clone())),
    };
    Struct {
        fields: notes
            .iter()
            .map(|(key, text)| (key.clone(), value(text)))
            .collect(),
    }
}

fn stored_note<'a>(batch: &'a Batch, key: &str) -> Option<&'a str> {
    match &batch.metadata.as_ref()?.fields.get(key)?.kind {
        Some(Kind::StringValue(text)) => Some(text),
        _ => None,
    }
}
