//! What a row is on its way from a file to a frame, and who gives rows.
//!
//! Guarantees: a row never takes more memory than [`MAX_ROW_BYTES`], however long it is in the file.
//! A longer one is hashed as it streams by and stands in its place as an `OversizeRow`, so that the
//! offsets of all rows after it stay the same.

use bytes::Bytes;
use sha2::{Digest as _, Sha256};

use super::error::Error;
use crate::proto::intake::v1::bulk_ingest_request::{OversizeRow, Row, UnreadableRow, row};

/// The largest row that is sent as it is: the service's frame limit less some room for the frame itself.
pub(crate) const MAX_ROW_BYTES: usize = 8 * 1024 * 1024 - 64 * 1024;

/// How much of the beginning of an oversize row is kept.
const HEAD_BYTES: usize = 1024;

/// How much text the detail of an unreadable row may have.
const DETAIL_BYTES: usize = 1000;

/// A row in the order of its file.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct SourceRow {
    /// The row, or what stands in its place.
    pub(crate) content: Content,
    /// The line on which it begins, counted from 1, where its format has lines.
    pub(crate) line: Option<u64>,
}

/// A row as it was found in its file.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Content {
    /// JSON text, or what should have been JSON text.
    Json(Bytes),
    /// Too large to send.
    Oversize {
        /// How many bytes it has.
        bytes: u64,
        /// The SHA-256 of all of them.
        sha256: [u8; 32],
        /// The first of them.
        head: Bytes,
    },
    /// Not a row that could be read, such as one with the wrong number of columns.
    Unreadable {
        /// What is wrong and where.
        detail: String,
        /// The row as it stands in the file.
        original: Bytes,
    },
}

impl Content {
    /// How many bytes the row takes in memory and, nearly, in a frame.
    pub(crate) fn size(&self) -> usize {
        match self {
            Self::Json(json) => json.len(),
            Self::Oversize { head, .. } => head.len() + 48,
            Self::Unreadable { detail, original } => detail.len() + original.len(),
        }
    }

    /// A row that could not be read; the detail is cut to what the service takes.
    pub(crate) fn unreadable(mut detail: String, original: Bytes) -> Self {
        if detail.len() > DETAIL_BYTES {
            let mut end = DETAIL_BYTES;
            while !detail.is_char_boundary(end) {
                end -= 1;
            }
            detail.truncate(end);
        }
        Self::Unreadable { detail, original }
    }

    /// The row as a message for the service.
    pub(crate) fn into_message(self) -> Row {
        let row = match self {
            Self::Json(json) => row::Row::Json(json),
            Self::Oversize {
                bytes,
                sha256,
                head,
            } => row::Row::Oversize(OversizeRow {
                bytes: i64::try_from(bytes).unwrap_or(i64::MAX),
                sha256: Bytes::copy_from_slice(&sha256),
                head,
            }),
            Self::Unreadable { detail, original } => {
                row::Row::Unreadable(UnreadableRow { detail, original })
            }
        };
        Row { row: Some(row) }
    }
}

/// Gives rows in a fixed order: the same rows in the same order each time that the same input is read.
///
/// It is read on a thread of its own and may block.
pub(crate) trait RowSource: Send + 'static {
    /// The next row, or nothing at the end. An error ends the load after the rows before it were sent.
    fn next_row(&mut self) -> Result<Option<SourceRow>, Error>;

    /// How many bytes of the input were read so far, for the progress bar.
    fn position(&self) -> u64;

    /// Called once after the last row and before any lane is finished: the place to find out that the
    /// input changed while it was read.
    fn verify(&mut self) -> Result<(), Error> {
        Ok(())
    }
}

impl RowSource for Box<dyn RowSource> {
    fn next_row(&mut self) -> Result<Option<SourceRow>, Error> {
        self.as_mut().next_row()
    }

    fn position(&self) -> u64 {
        self.as_ref().position()
    }

    fn verify(&mut self) -> Result<(), Error> {
        self.as_mut().verify()
    }
}

/// Rows that are made in memory.
pub(crate) struct IterSource<I> {
    rows: I,
    position: u64,
}

impl<I> IterSource<I> {
    /// Gives the rows of an iterator, each the JSON text of one row.
    pub(crate) fn new(rows: I) -> Self {
        Self { rows, position: 0 }
    }
}

impl<I: Iterator<Item = Vec<u8>> + Send + 'static> RowSource for IterSource<I> {
    fn next_row(&mut self) -> Result<Option<SourceRow>, Error> {
        let Some(row) = self.rows.next() else {
            return Ok(None);
        };
        self.position += row.len() as u64;
        let mut buffer = RowBuffer::default();
        buffer.push(&row);
        Ok(Some(SourceRow {
            content: buffer.take(),
            line: None,
        }))
    }

    fn position(&self) -> u64 {
        self.position
    }
}

/// Collects the bytes of one row and holds at most [`MAX_ROW_BYTES`] of them.
pub(crate) struct RowBuffer {
    bytes: Vec<u8>,
    limit: usize,
    oversize: Option<Oversize>,
}

/// What is kept of a row that outgrew its buffer.
struct Oversize {
    hasher: Sha256,
    bytes: u64,
}

impl Default for RowBuffer {
    fn default() -> Self {
        Self::with_limit(MAX_ROW_BYTES)
    }
}

impl RowBuffer {
    /// A buffer with another limit, for tests that do not want to make 8 MiB.
    pub(crate) fn with_limit(limit: usize) -> Self {
        Self {
            bytes: Vec::new(),
            limit,
            oversize: None,
        }
    }

    /// Adds bytes to the row.
    pub(crate) fn push(&mut self, more: &[u8]) {
        if self.oversize.is_none() {
            if self.bytes.len() + more.len() <= self.limit {
                self.bytes.extend_from_slice(more);
                return;
            }
            self.oversize = Some(Oversize {
                hasher: Sha256::new_with_prefix(&self.bytes),
                bytes: self.bytes.len() as u64,
            });
            self.bytes.truncate(HEAD_BYTES);
            self.bytes.shrink_to_fit();
        }
        if let Some(oversize) = &mut self.oversize {
            oversize.hasher.update(more);
            oversize.bytes += more.len() as u64;
            // From here on the buffer is only the head, which may still be incomplete.
            let missing = HEAD_BYTES.saturating_sub(self.bytes.len()).min(more.len());
            self.bytes.extend_from_slice(&more[..missing]);
        }
    }

    /// Whether nothing was added yet.
    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.is_empty() && self.oversize.is_none()
    }

    /// The bytes of the row, unless there were too many.
    pub(crate) fn bytes(&self) -> Option<&[u8]> {
        self.oversize.is_none().then_some(self.bytes.as_slice())
    }

    /// Forgets the row.
    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.oversize = None;
    }

    /// The row; the buffer is empty after it.
    pub(crate) fn take(&mut self) -> Content {
        match self.oversize.take() {
            None => {
                // An exact copy: handing the buffer itself over would reallocate it just the same.
                let json = Bytes::copy_from_slice(&self.bytes);
                self.bytes.clear();
                Content::Json(json)
            }
            Some(oversize) => Content::Oversize {
                bytes: oversize.bytes,
                sha256: oversize.hasher.finalize().into(),
                head: Bytes::from(std::mem::take(&mut self.bytes)),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_within_the_limit_is_kept_as_it_is() {
        let mut buffer = RowBuffer::with_limit(10);
        buffer.push(b"12345");
        buffer.push(b"67890");
        assert_eq!(
            buffer.take(),
            Content::Json(Bytes::from_static(b"1234567890"))
        );
        assert!(buffer.is_empty());
    }

    #[test]
    fn a_row_past_the_limit_is_hashed_as_it_streams_by() {
        let row: Vec<u8> = (0..5000u32).map(|n| (n % 251) as u8).collect();
        for piece in [1, 7, 100, 1023, 1024, 1025, 5000] {
            for limit in [10, 1000, 1024, 2000, 4999] {
                let mut buffer = RowBuffer::with_limit(limit);
                for part in row.chunks(piece) {
                    buffer.push(part);
                }
                let expected = Content::Oversize {
                    bytes: 5000,
                    sha256: Sha256::digest(&row).into(),
                    head: Bytes::copy_from_slice(&row[..1024]),
                };
                assert_eq!(buffer.take(), expected, "limit {limit}, pieces of {piece}");
            }
        }
    }

    #[test]
    fn a_long_detail_is_cut_at_a_character() {
        let Content::Unreadable { detail, .. } = Content::unreadable("é".repeat(900), Bytes::new())
        else {
            panic!("not unreadable");
        };
        assert_eq!(detail.len(), 1000);
    }
}
