//! Finds where the records of a CSV file end, without holding them.
//!
//! A state machine without I/O that knows only quotes, commas and line breaks. It divides a file exactly as
//! the `csv` crate does (a property test compares the two): a quote opens a quoted cell only at the cell's
//! beginning; CR, LF and CRLF each end a record.

use std::ops::Range;

/// Where in a cell the scanner stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    CellStart,
    Plain,
    Quoted,
    /// Behind a quote inside of a quoted cell: its end, or the first half of an escaped quote.
    QuoteInQuoted,
}

/// How a record ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ending {
    /// A cell of it is quoted, so that commas alone do not divide it.
    pub(crate) quoted: bool,
    /// The file ended inside of a quoted cell.
    pub(crate) quote_left_open: bool,
}

/// What a scan of some bytes found.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Scan {
    /// Which of the bytes belong to the record.
    pub(crate) record: Range<usize>,
    /// How many bytes are done with, the line break among them.
    pub(crate) consumed: usize,
    /// Set when the record ended among these bytes.
    pub(crate) ending: Option<Ending>,
}

/// Finds the ends of records in bytes that come piece by piece.
#[derive(Debug)]
pub(crate) struct RecordScanner {
    place: Place,
    quoted: bool,
    /// The last record ended with CR: an LF right behind it belongs to that line break.
    swallow_line_feed: bool,
    line: u64,
}

impl RecordScanner {
    /// Begins at a line of the file, counted from 1.
    pub(crate) fn new(line: u64) -> Self {
        Self {
            place: Place::CellStart,
            quoted: false,
            swallow_line_feed: false,
            line,
        }
    }

    /// The line on which the scanner stands.
    pub(crate) fn next_line(&self) -> u64 {
        self.line
    }

    /// Goes through the bytes up to the end of the record, or all of them.
    pub(crate) fn scan(&mut self, bytes: &[u8]) -> Scan {
        let mut at = 0;
        if std::mem::take(&mut self.swallow_line_feed) && bytes.first() == Some(&b'\n') {
            at = 1;
        }
        let start = at;
        while at < bytes.len() {
            at += self.skip_dull(&bytes[at..]);
            let Some(&byte) = bytes.get(at) else { break };
            if self.step(byte) {
                return Scan {
                    record: start..at,
                    consumed: at + 1,
                    ending: Some(self.end_record(byte)),
                };
            }
            at += 1;
        }
        Scan {
            record: start..bytes.len(),
            consumed: bytes.len(),
            ending: None,
        }
    }

    /// Ends the last record of the file.
    pub(crate) fn end_of_file(&mut self) -> Ending {
        Ending {
            quoted: std::mem::take(&mut self.quoted),
            quote_left_open: std::mem::replace(&mut self.place, Place::CellStart) == Place::Quoted,
        }
    }

    /// How many of the next bytes change nothing.
    fn skip_dull(&mut self, bytes: &[u8]) -> usize {
        let next = match self.place {
            Place::Plain => memchr::memchr3(b',', b'\n', b'\r', bytes),
            Place::Quoted => memchr::memchr2(b'"', b'\n', bytes),
            Place::CellStart | Place::QuoteInQuoted => Some(0),
        };
        next.unwrap_or(bytes.len())
    }

    /// Takes one byte; true when it ends the record.
    fn step(&mut self, byte: u8) -> bool {
        self.place = match (self.place, byte) {
            (Place::Quoted, b'"') => Place::QuoteInQuoted,
            (Place::Quoted, _) => {
                self.line += u64::from(byte == b'\n');
                Place::Quoted
            }
            (Place::QuoteInQuoted, b'"') => Place::Quoted,
            (Place::CellStart, b'"') => {
                self.quoted = true;
                Place::Quoted
            }
            (_, b',') => Place::CellStart,
            (_, b'\n' | b'\r') => return true,
            (_, _) => Place::Plain,
        };
        false
    }

    fn end_record(&mut self, line_break: u8) -> Ending {
        self.line += 1;
        self.swallow_line_feed = line_break == b'\r';
        self.place = Place::CellStart;
        Ending {
            quoted: std::mem::take(&mut self.quoted),
            quote_left_open: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The records of a text that comes in pieces of a size, empty lines left out.
    fn records(text: &[u8], piece: usize) -> Vec<Vec<u8>> {
        let mut scanner = RecordScanner::new(1);
        let (mut records, mut record) = (Vec::new(), Vec::new());
        for piece in text.chunks(piece) {
            let mut rest = piece;
            while !rest.is_empty() {
                let scan = scanner.scan(rest);
                record.extend_from_slice(&rest[scan.record]);
                rest = &rest[scan.consumed..];
                if scan.ending.is_some() {
                    records.push(std::mem::take(&mut record));
                }
            }
        }
        records.push(record);
        records.retain(|record| !record.is_empty());
        records
    }

    fn cells(text: &[u8]) -> Vec<Vec<Vec<u8>>> {
        csv::ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            .from_reader(text)
            .byte_records()
            .map(|record| record.unwrap().iter().map(<[u8]>::to_vec).collect())
            .collect()
    }

    proptest! {
        #[test]
        fn records_end_where_the_csv_crate_ends_them(
            text in prop::collection::vec(prop::sample::select(b"ab,\"\r\n".to_vec()), 0..60),
            piece in 1usize..20,
        ) {
            let one_by_one: Vec<_> = records(&text, piece).iter().flat_map(|r| cells(r)).collect();
            prop_assert_eq!(one_by_one, cells(&text));
        }
    }

    #[test]
    fn lines_are_counted_through_quotes_and_every_line_break() {
        let text = b"a,b\r\n\"x\ny\",2\n\n3,4\r5,6";
        let mut scanner = RecordScanner::new(1);
        let mut rest = &text[..];
        let mut lines = Vec::new();
        while !rest.is_empty() {
            lines.push(scanner.next_line());
            rest = &rest[scanner.scan(rest).consumed..];
        }
        assert_eq!(lines, [1, 2, 4, 5, 6]);
        assert!(!scanner.end_of_file().quote_left_open);
    }

    #[test]
    fn a_quote_left_open_is_known_at_the_end() {
        let mut scanner = RecordScanner::new(1);
        assert_eq!(scanner.scan(b"a,\"b\nc").ending, None);
        let ending = scanner.end_of_file();
        assert!(ending.quote_left_open && ending.quoted);
    }
}
