//! What one lane has sent and what of it is stored: the bookkeeping of resuming, without I/O.
//!
//! Guarantees, whatever the service acked before a connection broke: after it opened again at some offset,
//! the frames to send hold exactly the rows from that offset on, each once, in order, at its own offset.

use std::collections::VecDeque;

use super::queue::SizedRow;
use crate::proto::intake::v1::bulk_ingest_request::{Row, Rows};

/// Frames that may be on their way at once.
const MAX_FRAMES: usize = 4;
/// Bytes of them, so that frames of huge rows do not add up.
const MAX_BYTES: usize = 8 * 1024 * 1024;

/// The service contradicts what it acked before.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Mismatch {
    /// It opened at an offset before rows that it had acked.
    #[error(
        "the lane opened at offset {opened}, but rows up to {acked} had been acked; was the database restored from a backup?"
    )]
    WentBack {
        /// Where it opened.
        opened: u64,
        /// What it had acked.
        acked: u64,
    },
    /// It acked what was not sent.
    #[error("an ack for {row_count} rows at offset {offset}, where {expected}")]
    UnexpectedAck {
        /// The offset of the ack.
        offset: u64,
        /// The rows of the ack.
        row_count: u64,
        /// What it should have been.
        expected: String,
    },
}

/// Rows that are sent as one message.
#[derive(Debug)]
struct Frame {
    offset: u64,
    rows: Vec<SizedRow>,
}

impl Frame {
    fn end(&self) -> u64 {
        self.offset + self.rows.len() as u64
    }

    fn bytes(&self) -> usize {
        self.rows.iter().map(|row| row.size).sum()
    }
}

/// The frames of a lane that are not acked yet, and the offsets around them.
#[derive(Debug, Default)]
pub(crate) struct Window {
    frames: VecDeque<Frame>,
    bytes: usize,
    /// How many of the frames were sent on the present stream.
    sent: usize,
    /// Rows below it are stored.
    stored: u64,
    /// The offset of the next row that comes from the file.
    next: u64,
}

impl Window {
    /// Whether another frame may be added.
    pub(crate) fn has_room(&self) -> bool {
        self.frames.is_empty() || (self.frames.len() < MAX_FRAMES && self.bytes < MAX_BYTES)
    }

    /// Whether everything that was added is stored.
    pub(crate) fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// Whether nothing is on its way on the present stream.
    pub(crate) fn is_idle(&self) -> bool {
        self.sent == 0
    }

    /// How many rows the service has stored, counted from the lane's first.
    pub(crate) fn stored(&self) -> u64 {
        self.stored
    }

    /// How many rows came from the file.
    pub(crate) fn taken(&self) -> u64 {
        self.next
    }

    /// Adds the next rows of the file. Those that the service has already are dropped.
    pub(crate) fn push(&mut self, mut rows: Vec<SizedRow>) {
        let known = self.stored.saturating_sub(self.next);
        let known = usize::try_from(known).unwrap_or(usize::MAX).min(rows.len());
        rows.drain(..known);
        let offset = self.next + known as u64;
        self.next = offset + rows.len() as u64;
        if !rows.is_empty() {
            let frame = Frame { offset, rows };
            self.bytes += frame.bytes();
            self.frames.push_back(frame);
        }
    }

    /// The service opened the lane: everything that it does not have is to be sent again.
    pub(crate) fn open(&mut self, next_offset: u64) -> Result<(), Mismatch> {
        if next_offset < self.stored {
            return Err(Mismatch::WentBack {
                opened: next_offset,
                acked: self.stored,
            });
        }
        self.stored = next_offset;
        self.sent = 0;
        while let Some(frame) = self.frames.front()
            && frame.end() <= next_offset
        {
            self.bytes -= frame.bytes();
            self.frames.pop_front();
        }
        if let Some(frame) = self.frames.front_mut()
            && frame.offset < next_offset
        {
            // Stored in part: a server with smaller chunks, or one that another loader ran before.
            let before = frame.bytes();
            let known = usize::try_from(next_offset - frame.offset).unwrap_or(usize::MAX);
            frame.rows.drain(..known);
            frame.offset = next_offset;
            self.bytes -= before - frame.bytes();
        }
        Ok(())
    }

    /// The next frame that was not sent on the present stream.
    pub(crate) fn next_to_send(&mut self) -> Option<Rows> {
        let frame = self.frames.get(self.sent)?;
        self.sent += 1;
        Some(Rows {
            offset: Some(i64::try_from(frame.offset).unwrap_or(i64::MAX)),
            rows: frame.rows.iter().map(|row| Row::clone(&row.row)).collect(),
            ..Rows::default()
        })
    }

    /// The service stored the oldest frame.
    pub(crate) fn ack(&mut self, offset: u64, row_count: u64) -> Result<(), Mismatch> {
        let unexpected = |expected: String| Mismatch::UnexpectedAck {
            offset,
            row_count,
            expected,
        };
        let Some(frame) = self.frames.front().filter(|_| self.sent > 0) else {
            return Err(unexpected("no rows were on their way".to_owned()));
        };
        if (frame.offset, frame.rows.len() as u64) != (offset, row_count) {
            return Err(unexpected(format!(
                "{} rows at offset {} were due",
                frame.rows.len(),
                frame.offset
            )));
        }
        self.stored = frame.end();
        self.bytes -= frame.bytes();
        self.sent -= 1;
        self.frames.pop_front();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;
    use crate::{cli::load::source::Content, proto::intake::v1::bulk_ingest_request::row};

    fn rows(range: std::ops::Range<u64>) -> Vec<SizedRow> {
        let content = |n: u64| Content::Json(Bytes::from(n.to_string()));
        range.map(|n| content(n).into()).collect()
    }

    /// The offset and the rows of a message, each row being its own offset.
    fn read(message: &Rows) -> (u64, Vec<u64>) {
        let number = |row: &Row| match &row.row {
            Some(row::Row::Json(json)) => std::str::from_utf8(json).unwrap().parse().unwrap(),
            other => panic!("{other:?}"),
        };
        let offset = message.offset.unwrap() as u64;
        (offset, message.rows.iter().map(number).collect())
    }

    #[test]
    fn rows_that_the_service_has_are_dropped_as_they_come() {
        let mut window = Window::default();
        window.open(5).unwrap();
        window.push(rows(0..3));
        assert!(window.is_empty());
        window.push(rows(3..8));
        assert_eq!(read(&window.next_to_send().unwrap()), (5, vec![5, 6, 7]));
        assert_eq!(window.taken(), 8);
    }

    #[test]
    fn after_a_cut_the_unstored_part_of_a_frame_is_sent_again() {
        let mut window = Window::default();
        window.open(0).unwrap();
        for start in [0, 10, 20] {
            window.push(rows(start..start + 10));
            window.next_to_send().unwrap();
        }
        window.ack(0, 10).unwrap();
        window.open(13).unwrap();
        assert_eq!(read(&window.next_to_send().unwrap()).0, 13);
        assert_eq!(read(&window.next_to_send().unwrap()).0, 20);
        assert_eq!(window.next_to_send(), None);
        window.ack(13, 7).unwrap();
        window.ack(20, 10).unwrap();
        assert!(window.is_empty());
        assert_eq!((window.stored(), window.bytes), (30, 0));
    }

    #[test]
    fn what_contradicts_earlier_acks_is_refused() {
        let mut window = Window::default();
        window.open(0).unwrap();
        assert!(window.ack(0, 1).is_err());
        window.push(rows(0..10));
        assert!(window.ack(0, 10).is_err(), "it was not sent yet");
        window.next_to_send().unwrap();
        assert!(window.ack(0, 9).is_err());
        window.ack(0, 10).unwrap();
        assert_eq!(
            window.open(9),
            Err(Mismatch::WentBack {
                opened: 9,
                acked: 10
            })
        );
    }

    #[test]
    fn the_window_is_small_in_frames_and_bytes() {
        let mut window = Window::default();
        window.open(0).unwrap();
        for start in 0..MAX_FRAMES as u64 {
            assert!(window.has_room());
            window.push(rows(start..start + 1));
        }
        assert!(!window.has_room());
        let mut window = Window::default();
        window.push(vec![
            Content::Json(Bytes::from(vec![b' '; MAX_BYTES])).into(),
        ]);
        assert!(!window.has_room());
    }

    proptest! {
        /// A service that stores any part of what was sent, and a connection that breaks at any time.
        #[test]
        fn every_row_is_stored_once_and_in_order(
            resumed_at in 0u64..40,
            steps in prop::collection::vec((0u8..4, 0u64..12), 1..80),
        ) {
            let total = 60;
            let (mut window, mut read_rows) = (Window::default(), 0);
            let mut stored: Vec<u64> = (0..resumed_at).collect();
            let mut wire = VecDeque::new();
            window.open(resumed_at).unwrap();
            let finish = std::iter::repeat_n([(0, 9), (1, 0), (2, 0)], 60).flatten();
            for (step, amount) in steps.into_iter().chain(finish) {
                match step {
                    0 if window.has_room() && read_rows < total => {
                        let end = total.min(read_rows + 1 + amount);
                        window.push(rows(read_rows..end));
                        read_rows = end;
                    }
                    1 => wire.extend(window.next_to_send()),
                    2 => if let Some(message) = wire.pop_front() {
                        let (offset, rows) = read(&message);
                        prop_assert_eq!(offset, stored.len() as u64);
                        stored.extend(&rows);
                        window.ack(offset, rows.len() as u64).unwrap();
                    },
                    3 => {
                        // The connection breaks after a part of a frame was stored without an ack.
                        if let Some(message) = wire.pop_front() {
                            stored.extend(read(&message).1.iter().take(amount as usize));
                        }
                        wire.clear();
                        window.open(stored.len() as u64).unwrap();
                    }
                    _ => {}
                }
                prop_assert_eq!(window.bytes, window.frames.iter().map(Frame::bytes).sum::<usize>());
            }
            prop_assert_eq!(stored, (0..total).collect::<Vec<_>>());
            prop_assert!(window.is_empty());
        }
    }
}
