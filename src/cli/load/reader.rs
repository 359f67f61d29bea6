//! Reads a source on a thread of its own, and gives each row to its lane.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::{
    assign::LaneAssigner,
    error::Error,
    lines::LineIndex,
    progress::Progress,
    queue::{RowQueue, SizedRow},
    source::RowSource,
};

/// How often the reader says how far it is.
const POSITION_EVERY_ROWS: u64 = 256;

/// Reads a source and says which row goes to which lane.
pub(crate) struct Reader<S> {
    source: S,
    assigner: LaneAssigner,
    lines: Option<LineIndex>,
    progress: Option<Arc<Progress>>,
}

impl<S: RowSource> Reader<S> {
    /// Reads `source` for so many lanes.
    pub(crate) fn new(
        source: S,
        lanes: usize,
        index_lines: bool,
        progress: Option<Arc<Progress>>,
    ) -> Result<Self, Error> {
        Ok(Self {
            source,
            assigner: LaneAssigner::new(lanes),
            lines: index_lines.then(|| LineIndex::new(lanes)).transpose()?,
            progress,
        })
    }

    /// Reads to the end, or until `give` wants no more rows.
    pub(crate) fn read(
        mut self,
        mut give: impl FnMut(usize, SizedRow) -> bool,
    ) -> Result<Option<LineIndex>, Error> {
        let mut count: u64 = 0;
        while let Some(row) = self.source.next_row()? {
            let lane = self.assigner.assign(&row.content);
            if let Some(lines) = &mut self.lines {
                lines.push(lane, row.line)?;
            }
            if !give(lane, row.content.into()) {
                return Ok(None);
            }
            count += 1;
            if count.is_multiple_of(POSITION_EVERY_ROWS)
                && let Some(progress) = &self.progress
            {
                progress.read(self.source.position());
            }
        }
        if let Some(progress) = &self.progress {
            progress.read(self.source.position());
        }
        self.source.verify()?;
        Ok(self.lines)
    }
}

/// Tells every lane that no more rows come, however the reader ends.
struct EndQueues {
    queues: Vec<Arc<RowQueue>>,
    complete: bool,
}

impl Drop for EndQueues {
    fn drop(&mut self) {
        for queue in &self.queues {
            queue.end(self.complete);
        }
    }
}

/// What a reader found, once it is done: the lines of the rows, where they are kept.
pub(crate) type Reading = oneshot::Receiver<Result<Option<LineIndex>, Error>>;

/// Reads on a thread of its own. Not one of the runtime's: a read from a terminal or a pipe may never
/// return, and must not keep the process from ending.
pub(crate) fn start_reading<S: RowSource>(
    reader: Reader<S>,
    queues: Vec<Arc<RowQueue>>,
) -> Result<Reading, Error> {
    let (sender, reading) = oneshot::channel();
    let work = move || {
        let mut end = EndQueues {
            queues,
            complete: false,
        };
        let result = reader.read(|lane, row| end.queues[lane].push(row).is_ok());
        end.complete = result.is_ok();
        // Whoever waited may be gone, which is its business. The answer goes before the queues end.
        let _ = sender.send(result);
    };
    std::thread::Builder::new()
        .name("load-reader".into())
        .spawn(work)
        .map_err(|_| Error::Internal("reader thread"))?;
    Ok(reading)
}
