//! The way of rows from the reading thread to a lane.
//!
//! Guarantees: it holds a bounded number of rows and bytes, whatever the reader does; rows come out in the
//! order in which they went in, in chunks that fit a frame; a chunk that does not fill up within the linger
//! time comes out partly filled, so that rows of a slow source are not kept back.

use std::{
    collections::VecDeque,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{sync::Notify, time::Instant};

use crate::proto::intake::v1::bulk_ingest_request::Row;

use super::source::Content;

/// Rows of a frame at the most: far below the service's 10,000.
pub(crate) const CHUNK_ROWS: usize = 4_000;
/// Bytes of a frame at the most, unless one row alone is larger: far below the service's 8 MiB.
pub(crate) const CHUNK_BYTES: usize = 1_536 * 1024;
/// How long a row waits for others to fill its frame.
const LINGER: Duration = Duration::from_secs(1);

/// A row and how large it is.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct SizedRow {
    /// The row as it is sent.
    pub(crate) row: Row,
    /// Its size in bytes, nearly.
    pub(crate) size: usize,
}

impl From<Content> for SizedRow {
    fn from(content: Content) -> Self {
        let size = content.size();
        Self {
            row: content.into_message(),
            size,
        }
    }
}

/// What a lane takes out.
#[derive(Debug, PartialEq)]
pub(crate) enum Chunk {
    /// The next rows.
    Rows(Vec<SizedRow>),
    /// No more rows: all of the lane's rows came out.
    Complete,
    /// No more rows, and not all of them came: the reader failed. The lane must not be finished.
    Broken,
}

/// The lane does not take rows any more.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Closed;

/// A bounded queue with one writer, which blocks, and one reader, which is asynchronous.
#[derive(Debug, Default)]
pub(crate) struct RowQueue {
    state: Mutex<State>,
    filled: Notify,
    emptied: Condvar,
}

#[derive(Debug, Default)]
struct State {
    rows: VecDeque<SizedRow>,
    bytes: usize,
    /// Since when the first row waits.
    waiting_since: Option<Instant>,
    end: Option<bool>,
    closed: bool,
}

impl State {
    fn holds_a_chunk(&self) -> bool {
        self.rows.len() >= CHUNK_ROWS || self.bytes >= CHUNK_BYTES
    }

    /// Two chunks: one to send and one to fill meanwhile.
    fn is_full(&self) -> bool {
        self.rows.len() >= 2 * CHUNK_ROWS || self.bytes >= 2 * CHUNK_BYTES
    }

    fn take_chunk(&mut self) -> Vec<SizedRow> {
        let (mut count, mut bytes) = (0, 0);
        for row in self.rows.iter().take(CHUNK_ROWS) {
            if count > 0 && bytes + row.size > CHUNK_BYTES {
                break;
            }
            count += 1;
            bytes += row.size;
        }
        self.bytes -= bytes;
        self.waiting_since = (count < self.rows.len()).then(Instant::now);
        self.rows.drain(..count).collect()
    }
}

impl RowQueue {
    /// Adds a row; blocks while the queue is full.
    pub(crate) fn push(&self, row: SizedRow) -> Result<(), Closed> {
        let mut state = self.lock();
        while state.is_full() && !state.closed {
            state = self
                .emptied
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
        if state.closed {
            return Err(Closed);
        }
        let held_a_chunk = state.holds_a_chunk();
        state.bytes += row.size;
        state.rows.push_back(row);
        if state.rows.len() == 1 {
            state.waiting_since = Some(Instant::now());
        }
        // The lane wakes up to start the linger time and to take a whole chunk, not for every row.
        if state.rows.len() == 1 || (!held_a_chunk && state.holds_a_chunk()) {
            self.filled.notify_one();
        }
        Ok(())
    }

    /// Says that no more rows come, and whether all of them came.
    pub(crate) fn end(&self, complete: bool) {
        self.lock().end = Some(complete);
        self.filled.notify_one();
    }

    /// Takes no more rows: the writer is told at its next push.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.emptied.notify_one();
    }

    /// The next rows or the end. Nothing is lost when it is cancelled.
    pub(crate) async fn next_chunk(&self) -> Chunk {
        loop {
            let deadline = {
                let mut state = self.lock();
                let lingered = state
                    .waiting_since
                    .is_some_and(|since| since.elapsed() >= LINGER);
                if state.holds_a_chunk()
                    || (!state.rows.is_empty() && (lingered || state.end.is_some()))
                {
                    let chunk = state.take_chunk();
                    self.emptied.notify_one();
                    return Chunk::Rows(chunk);
                }
                match state.end {
                    Some(true) => return Chunk::Complete,
                    Some(false) => return Chunk::Broken,
                    None => state.waiting_since.map(|since| since + LINGER),
                }
            };
            let lingered = async {
                match deadline {
                    Some(deadline) => tokio::time::sleep_until(deadline).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = self.filled.notified() => {}
                () = lingered => {}
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it holds the lock; were it so, the state would still be whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;

    use super::*;

    fn row(bytes: usize) -> SizedRow {
        Content::Json(Bytes::from(vec![b'x'; bytes])).into()
    }

    async fn sizes(queue: &RowQueue) -> Vec<usize> {
        let mut sizes = Vec::new();
        while let Chunk::Rows(rows) = queue.next_chunk().await {
            sizes.push(rows.len());
        }
        sizes
    }

    #[tokio::test]
    async fn chunks_fit_a_frame_in_rows_and_bytes() {
        let queue = Arc::new(RowQueue::default());
        let writer = Arc::clone(&queue);
        let thread = std::thread::spawn(move || {
            (0..CHUNK_ROWS + 10).for_each(|_| writer.push(row(1)).unwrap());
            for size in [CHUNK_BYTES / 2, CHUNK_BYTES, 3 * CHUNK_BYTES, 1] {
                writer.push(row(size)).unwrap();
            }
            writer.end(true);
        });
        let sizes = sizes(&queue).await;
        assert_eq!(sizes.iter().sum::<usize>(), CHUNK_ROWS + 14);
        assert_eq!(sizes[0], CHUNK_ROWS);
        assert!(sizes.len() >= 4, "{sizes:?}");
        assert_eq!(queue.next_chunk().await, Chunk::Complete);
        thread.join().unwrap();
    }

    #[tokio::test]
    async fn a_part_of_a_chunk_waits_a_second() {
        let queue = RowQueue::default();
        let begin = Instant::now();
        queue.push(row(1)).unwrap();
        assert_eq!(queue.next_chunk().await, Chunk::Rows(vec![row(1)]));
        assert!(begin.elapsed() >= LINGER);
        queue.push(row(2)).unwrap();
        queue.end(false);
        assert_eq!(queue.next_chunk().await, Chunk::Rows(vec![row(2)]));
        assert_eq!(queue.next_chunk().await, Chunk::Broken);
    }

    #[test]
    fn a_full_queue_lets_its_writer_go_when_it_closes() {
        let queue = Arc::new(RowQueue::default());
        let writer = Arc::clone(&queue);
        let thread =
            std::thread::spawn(move || (0..5 * CHUNK_ROWS).try_for_each(|_| writer.push(row(1))));
        std::thread::sleep(Duration::from_millis(50));
        queue.close();
        assert_eq!(thread.join().unwrap(), Err(Closed));
    }
}
