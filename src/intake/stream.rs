//! The state machine of one bulk stream: what the next message means. No I/O, tested alone.
//!
//! It knows where the lane goes on once everything that was passed on is stored, and so splits each frame
//! into rows that were stored before and rows that are new. Nothing is skipped, nothing is stored twice.

use crate::rpc::Error;

/// What a stream is waiting for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Its `open`.
    Open,
    /// Rows or `finish`; the lane goes on at `next_offset` once all that was passed on is stored.
    Rows { next_offset: i64, finished: bool },
    /// Its end.
    End,
}

/// One bulk stream.
#[derive(Debug)]
pub(super) struct Stream {
    lane: i32,
    state: State,
}

/// A frame's rows: the first `replayed` were stored before, the rest are new.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Split {
    /// The offset of the first row.
    pub(super) offset: i64,
    /// How many rows were stored before.
    pub(super) replayed: usize,
    /// How many rows are new; they begin where the lane goes on.
    pub(super) fresh: usize,
}

impl Split {
    /// The offset of the first new row.
    pub(super) fn fresh_offset(&self) -> i64 {
        self.offset + to_offset(self.replayed)
    }
}

impl Stream {
    /// A stream that has said nothing.
    pub(super) fn new() -> Self {
        Self {
            lane: 0,
            state: State::Open,
        }
    }

    /// `open` arrived.
    ///
    /// # Errors
    /// [`Error::StreamOrder`] unless it is the first message.
    pub(super) fn open(&mut self) -> Result<(), Error> {
        match self.state {
            State::Open => Ok(()),
            _ => Err(Error::StreamOrder(
                "a stream holds one open, as its first message",
            )),
        }
    }

    /// The database opened the lane.
    pub(super) fn opened(&mut self, lane: i32, next_offset: i64, finished: bool) {
        self.lane = lane;
        self.state = State::Rows {
            next_offset,
            finished,
        };
    }

    /// `rows` arrived; without an offset they are appended.
    ///
    /// # Errors
    /// [`Error::OffsetGap`] where rows were skipped, [`Error::LaneFinished`] for new rows on a finished lane,
    /// [`Error::StreamOrder`] before `open` or after `finish`, [`Error::InvalidField`] for a negative offset.
    pub(super) fn rows(&mut self, offset: Option<i64>, row_count: usize) -> Result<Split, Error> {
        let (next_offset, finished) = self.expect_rows("rows")?;
        let offset = offset.unwrap_or(next_offset);
        if offset < 0 {
            return Err(Error::invalid("rows.offset", "must not be negative"));
        }
        if offset > next_offset {
            return Err(Error::OffsetGap {
                expected: next_offset,
                offset,
            });
        }
        let known = usize::try_from(next_offset - offset).unwrap_or(usize::MAX);
        let replayed = known.min(row_count);
        let fresh = row_count - replayed;
        if finished && fresh > 0 {
            return Err(Error::LaneFinished {
                lane: self.lane,
                row_count: next_offset,
            });
        }
        self.state = State::Rows {
            next_offset: next_offset + to_offset(fresh),
            finished,
        };
        Ok(Split {
            offset,
            replayed,
            fresh,
        })
    }

    /// `finish` arrived.
    ///
    /// # Errors
    /// [`Error::RowCountMismatch`] unless it counts all of the lane's rows; [`Error::StreamOrder`] before
    /// `open` or after `finish`.
    pub(super) fn finish(&mut self, row_count: i64) -> Result<(), Error> {
        let (next_offset, _) = self.expect_rows("finish")?;
        if row_count != next_offset {
            return Err(Error::RowCountMismatch {
                expected: next_offset,
                given: row_count,
            });
        }
        self.state = State::End;
        Ok(())
    }

    /// The client's side ended. A vanished client looks the same: without `finish` the lane stays open.
    ///
    /// # Errors
    /// [`Error::StreamUnfinished`] without `finish`, [`Error::StreamOrder`] without `open`.
    pub(super) fn end(&self) -> Result<(), Error> {
        match self.state {
            State::End => Ok(()),
            State::Open => Err(Error::StreamOrder("the stream ended before its open")),
            State::Rows { next_offset, .. } => Err(Error::StreamUnfinished {
                lane: self.lane,
                next_offset,
            }),
        }
    }

    fn expect_rows(&self, message: &'static str) -> Result<(i64, bool), Error> {
        match self.state {
            State::Rows {
                next_offset,
                finished,
            } => Ok((next_offset, finished)),
            State::Open => Err(Error::StreamOrder(match message {
                "finish" => "finish arrived before open; a stream begins with open",
                _ => "rows arrived before open; a stream begins with open",
            })),
            State::End => Err(Error::StreamOrder("nothing may follow finish")),
        }
    }
}

/// Frames are far smaller than an offset can count.
fn to_offset(rows: usize) -> i64 {
    i64::try_from(rows).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn opened(next_offset: i64, finished: bool) -> Stream {
        let mut stream = Stream::new();
        stream.open().unwrap();
        stream.opened(3, next_offset, finished);
        stream
    }

    #[test]
    fn a_frame_is_new_replayed_or_both() {
        let mut stream = opened(10, false);
        let split = |offset, replayed, fresh| Split {
            offset,
            replayed,
            fresh,
        };
        assert_eq!(stream.rows(Some(10), 5).unwrap(), split(10, 0, 5));
        assert_eq!(stream.rows(Some(0), 5).unwrap(), split(0, 5, 0));
        assert_eq!(stream.rows(Some(12), 5).unwrap(), split(12, 3, 2));
        assert_eq!(stream.rows(None, 1).unwrap(), split(17, 0, 1));
        assert_eq!(stream.rows(None, 0).unwrap(), split(18, 0, 0));
        stream.finish(18).unwrap();
        stream.end().unwrap();
    }

    #[test]
    fn rows_that_skip_and_counts_that_lie_are_refused() {
        assert!(matches!(
            opened(10, false).rows(Some(11), 1),
            Err(Error::OffsetGap {
                expected: 10,
                offset: 11
            })
        ));
        assert!(matches!(
            opened(10, false).finish(9),
            Err(Error::RowCountMismatch {
                expected: 10,
                given: 9
            })
        ));
        assert!(opened(10, false).rows(Some(-1), 1).is_err());
    }

    #[test]
    fn a_finished_lane_replays_and_finishes_again_but_takes_nothing_new() {
        let mut stream = opened(10, true);
        assert_eq!(stream.rows(Some(8), 2).unwrap().replayed, 2);
        assert!(matches!(
            stream.rows(Some(8), 3),
            Err(Error::LaneFinished {
                lane: 3,
                row_count: 10
            })
        ));
        stream.finish(10).unwrap();
    }

    #[test]
    fn messages_come_in_their_order() {
        let mut stream = Stream::new();
        assert!(matches!(stream.rows(None, 1), Err(Error::StreamOrder(_))));
        assert!(matches!(stream.finish(0), Err(Error::StreamOrder(_))));
        assert!(matches!(stream.end(), Err(Error::StreamOrder(_))));
        let mut stream = opened(0, false);
        assert!(matches!(stream.open(), Err(Error::StreamOrder(_))));
        assert!(matches!(
            stream.end(),
            Err(Error::StreamUnfinished { next_offset: 0, .. })
        ));
        stream.finish(0).unwrap();
        assert!(matches!(stream.rows(None, 1), Err(Error::StreamOrder(_))));
        assert!(matches!(stream.finish(0), Err(Error::StreamOrder(_))));
    }

    proptest! {
        /// Laws 1 and 2 over random cuts, resends and re-chunkings: a client that knows nothing but what
        /// `opened` says, and sometimes sends again what it need not, stores every row once and in order.
        #[test]
        fn every_row_is_stored_once_whatever_the_cuts(
            total in 0_usize..200,
            connections in prop::collection::vec(
                (prop::collection::vec((0_usize..30, 0_usize..40), 0..8), any::<bool>()), 0..12),
        ) {
            let rows: Vec<usize> = (0..total).collect();
            let mut stored: Vec<usize> = Vec::new();
            for (frames, dies_before_the_last_is_stored) in connections {
                let mut stream = opened(stored.len() as i64, false);
                let mut sent = stored.len();
                let last = frames.len().saturating_sub(1);
                for (nth, (back, size)) in frames.into_iter().enumerate() {
                    let from = sent.saturating_sub(back);
                    let frame = &rows[from..(from + size).min(total)];
                    let split = stream.rows(Some(from as i64), frame.len()).unwrap();
                    prop_assert_eq!(split.replayed + split.fresh, frame.len());
                    prop_assert_eq!(&rows[from..from + split.replayed], &frame[..split.replayed]);
                    sent = sent.max(from + frame.len());
                    if !(dies_before_the_last_is_stored && nth == last) {
                        // New rows begin where the lane goes on.
                        prop_assert!(split.fresh == 0 || split.fresh_offset() as usize == stored.len());
                        stored.extend(&frame[split.replayed..]);
                    }
                }
                prop_assert_eq!(&stored, &rows[..stored.len()]);
            }
            let mut stream = opened(stored.len() as i64, false);
            let split = stream.rows(Some(0), total).unwrap();
            stored.extend(&rows[split.replayed..]);
            stream.finish(total as i64).unwrap();
            prop_assert_eq!(stored, rows);
        }
    }
}
