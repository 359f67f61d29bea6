//! A chunk: the new rows of one frame, validated one by one into those that can be stored and those that
//! are rejected. Law 3: no row takes another down.

use bytes::Bytes;

use crate::domain::row::{self, RejectionReason, RowLimits, RowRejection};

/// A row as a caller sent it, or what stands in its place.
#[derive(Clone, Debug)]
pub(super) enum SentRow {
    /// Its JSON text.
    Json(Bytes),
    /// JSON text of an object whose numbers JSON cannot hold.
    NotFinite(Bytes),
    /// The row is too large to send.
    Oversize {
        /// Its size.
        bytes: i64,
        /// Its SHA-256 in hexadecimal.
        sha256: String,
        /// How it begins.
        head: Bytes,
    },
    /// The loader could not read it.
    Unreadable {
        /// What is wrong with it.
        detail: String,
        /// The row as it stands in the file.
        original: Bytes,
    },
}

/// A row that is not stored.
#[derive(Clone, Debug)]
pub(super) struct RejectedRow {
    /// Its position in the chunk.
    pub(super) position: i32,
    /// Why.
    pub(super) rejection: RowRejection,
    /// As it was sent.
    pub(super) original: Bytes,
    /// How many bytes it has.
    pub(super) original_size: i64,
}

/// The rows of one chunk, sorted into good and rejected; positions count from 0.
#[derive(Debug, Default)]
pub(super) struct Chunk {
    /// The positions of the good rows.
    pub(super) positions: Vec<i32>,
    /// Their JSON texts.
    pub(super) rows: Vec<Bytes>,
    /// Their normalized emails.
    pub(super) emails: Vec<String>,
    /// The rejected rows.
    pub(super) rejected: Vec<RejectedRow>,
}

impl Chunk {
    /// Validates rows. Takes time in proportion to their bytes: call it where blocking is fine.
    pub(super) fn validate(sent: Vec<SentRow>, limits: &RowLimits) -> Self {
        let mut chunk = Self::default();
        for (position, row) in (0..).zip(sent) {
            chunk.push(position, row, limits);
        }
        chunk
    }

    fn push(&mut self, position: i32, sent: SentRow, limits: &RowLimits) {
        match sent {
            SentRow::Json(text) => match row::validate(&text, limits) {
                Ok(valid) => {
                    self.positions.push(position);
                    self.rows.push(text);
                    self.emails.push(valid.email.as_str().to_owned());
                }
                Err(rejection) => self.reject(position, rejection, text, None),
            },
            SentRow::NotFinite(text) => {
                let rejection = RowRejection::of_row(
                    RejectionReason::NumberOutOfRange,
                    "a number is NaN or infinite, which JSON cannot hold",
                );
                self.reject(position, rejection, text, None);
            }
            SentRow::Oversize {
                bytes,
                sha256,
                head,
            } => {
                let rejection = RowRejection::of_row(
                    RejectionReason::RowTooLarge,
                    format!(
                        "the row has {bytes} bytes, at most {} are taken (setting max-row-bytes); sha256 {sha256}",
                        limits.max_row_bytes
                    ),
                );
                self.reject(position, rejection, head, Some(bytes));
            }
            SentRow::Unreadable { detail, original } => {
                let rejection = RowRejection::of_row(RejectionReason::Unreadable, detail);
                self.reject(position, rejection, original, None);
            }
        }
    }

    fn reject(
        &mut self,
        position: i32,
        rejection: RowRejection,
        original: Bytes,
        size: Option<i64>,
    ) {
        let sent = i64::try_from(original.len()).unwrap_or(i64::MAX);
        self.rejected.push(RejectedRow {
            position,
            rejection,
            original,
            original_size: size.unwrap_or(sent),
        });
    }
}

/// The rows of a block of newline-delimited JSON, as slices of it. A final newline ends the last row; a
/// blank line is a row; the carriage return of a CRLF is white space.
pub(super) fn split_ndjson(block: &Bytes) -> impl Iterator<Item = Bytes> {
    let end = block.len() - usize::from(block.ends_with(b"\n"));
    let lines = if block.is_empty() {
        None
    } else {
        Some(block.slice(..end))
    };
    lines.into_iter().flat_map(|lines| {
        let mut start = 0;
        let mut ends: Vec<usize> = memchr::memchr_iter(b'\n', &lines).collect();
        ends.push(lines.len());
        ends.into_iter().map(move |end| {
            let row = lines.slice(start..end);
            start = end + 1;
            row
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(block: &'static str) -> Vec<Bytes> {
        split_ndjson(&Bytes::from_static(block.as_bytes())).collect()
    }

    #[test]
    fn a_block_is_split_as_the_lines_of_a_file() {
        assert_eq!(split(""), Vec::<Bytes>::new());
        assert_eq!(split("\n"), [""]);
        assert_eq!(split("a\nb"), ["a", "b"]);
        assert_eq!(split("a\nb\n"), ["a", "b"]);
        assert_eq!(split("a\n\n\nb\n\n"), ["a", "", "", "b", ""]);
    }

    #[test]
    fn good_rows_and_rejected_rows_keep_their_positions() {
        let rows = [
            r#"{"email":"a@x.example"}"#,
            "",
            r#"{"email":"B@X.example"}"#,
            "[]",
        ];
        let sent = rows.map(|row| SentRow::Json(Bytes::from_static(row.as_bytes())));
        let chunk = Chunk::validate(sent.into(), &RowLimits::default());
        assert_eq!(chunk.positions, [0, 2]);
        assert_eq!(chunk.emails, ["a@x.example", "b@x.example"]);
        let rejected: Vec<_> = chunk
            .rejected
            .iter()
            .map(|row| (row.position, row.rejection.reason))
            .collect();
        assert_eq!(
            rejected,
            [
                (1, RejectionReason::EmptyRow),
                (3, RejectionReason::NotAnObject)
            ]
        );
    }
}
