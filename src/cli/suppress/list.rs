//! Reads a list of addresses: one a line, or CSV with a header that has the column `email`.
//!
//! Guarantees: every line that is not blank comes out, as an entry or as an invalid line; a quote that is
//! never closed costs its own line only; memory does not grow with the file.

use std::{
    collections::VecDeque,
    io::{self, BufRead},
};

use clap::ValueEnum;

use super::{Reason, Scope};
use crate::domain::Email;

const UTF8_MARK: &[u8] = b"\xef\xbb\xbf";
/// How far a quoted cell may reach before its quote counts as left open.
const MAX_RECORD_BYTES: usize = 64 * 1024;
/// The longest evidence that the service takes.
const MAX_EVIDENCE_BYTES: usize = 1_000;
/// The most of a line that is shown, in bytes.
const MAX_SHOWN_BYTES: usize = 100;

/// An address to suppress, and what its record says of it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Listed {
    pub(super) line: u64,
    pub(super) email: String,
    pub(super) reason: Option<Reason>,
    pub(super) scope: Option<Scope>,
    pub(super) evidence: Option<String>,
}

/// A line that cannot be an entry.
#[derive(Debug, PartialEq, Eq, serde::Serialize)]
pub(super) struct Invalid {
    /// The line, from 1.
    pub(super) line: u64,
    /// How it begins.
    pub(super) text: String,
    /// What is wrong with it.
    pub(super) detail: String,
}

impl Invalid {
    pub(super) fn new(line: u64, text: &str, detail: impl ToString) -> Self {
        Self {
            line,
            text: text[..text.floor_char_boundary(MAX_SHOWN_BYTES)].to_owned(),
            detail: detail.to_string(),
        }
    }
}

/// Where a CSV file keeps what.
struct Columns {
    delimiter: u8,
    email: usize,
    reason: Option<usize>,
    scope: Option<usize>,
    evidence: Option<usize>,
}

/// A list that is being read.
pub(super) struct List<R> {
    lines: Lines<R>,
    columns: Option<Columns>,
}

impl<R: BufRead> List<R> {
    /// Finds out what kind of list it is. The inner error says why it is none.
    pub(super) fn open(reader: R) -> io::Result<Result<Self, String>> {
        let mut lines = Lines {
            reader,
            count: 0,
            ahead: VecDeque::new(),
        };
        let columns = match lines.next()? {
            None => None,
            Some(first) => match Columns::of(&first.text) {
                Ok(Some(columns)) => Some(columns),
                Ok(None) => {
                    lines.ahead.push_front(first);
                    None
                }
                Err(detail) => return Ok(Err(detail)),
            },
        };
        Ok(Ok(Self { lines, columns }))
    }

    /// The next line, or nothing at the end.
    pub(super) fn next(&mut self) -> io::Result<Option<Result<Listed, Invalid>>> {
        let Some(line) = self.lines.next()? else {
            return Ok(None);
        };
        Ok(Some(match &self.columns {
            None => plain(&line),
            Some(columns) => {
                let record = self.lines.record(line, columns.delimiter)?;
                record.and_then(|(line, cells)| columns.read(line, &cells))
            }
        }))
    }
}

fn plain(line: &Line) -> Result<Listed, Invalid> {
    checked(Listed {
        line: line.number,
        email: String::from_utf8_lossy(&line.text).trim().to_owned(),
        reason: None,
        scope: None,
        evidence: None,
    })
}

/// Finds what would make the service refuse the whole call. Whether an address is one, the service says.
fn checked(listed: Listed) -> Result<Listed, Invalid> {
    if let Err(error @ crate::domain::InvalidEmail::SentTooLong(_)) = Email::parse(&listed.email) {
        return Err(Invalid::new(listed.line, &listed.email, error));
    }
    match listed.evidence.as_ref().map(String::len) {
        Some(bytes) if bytes > MAX_EVIDENCE_BYTES => Err(Invalid::new(
            listed.line,
            &listed.email,
            format!("its evidence has {bytes} bytes, at most {MAX_EVIDENCE_BYTES} are taken"),
        )),
        _ => Ok(listed),
    }
}

impl Columns {
    /// Reads the first line; nothing where it is no header but an address.
    fn of(first: &[u8]) -> Result<Option<Self>, String> {
        for delimiter in *b",;\t" {
            let mut records = parse(first, delimiter).unwrap_or_default();
            let Some(header) = records.pop().filter(|_| records.is_empty()) else {
                continue;
            };
            let header: Vec<String> = header
                .iter()
                .map(|name| name.trim().to_lowercase())
                .collect();
            let find = |name: &str| header.iter().position(|column| column == name);
            if let Some(email) = find("email") {
                return Ok(Some(Self {
                    delimiter,
                    email,
                    reason: find("reason"),
                    scope: find("scope"),
                    evidence: find("evidence"),
                }));
            }
        }
        let text = String::from_utf8_lossy(first);
        if text.contains([',', ';', '\t']) && !text.contains('@') {
            let shown = &text[..text.floor_char_boundary(MAX_SHOWN_BYTES)];
            return Err(format!("its header has no column `email`: {shown}"));
        }
        Ok(None)
    }

    fn read(&self, line: u64, cells: &[String]) -> Result<Listed, Invalid> {
        let cell = |column: Option<usize>| {
            let cell = column
                .and_then(|column| cells.get(column))
                .map(|cell| cell.trim());
            cell.filter(|cell| !cell.is_empty())
        };
        let email = cell(Some(self.email)).unwrap_or_default().to_owned();
        let invalid = |detail| Invalid::new(line, &email, detail);
        checked(Listed {
            line,
            reason: value(cell(self.reason), "reason").map_err(invalid)?,
            scope: value(cell(self.scope), "scope").map_err(invalid)?,
            evidence: cell(self.evidence).map(str::to_owned),
            email: email.clone(),
        })
    }
}

/// A cell that holds one of the words of a flag.
fn value<T: ValueEnum>(cell: Option<&str>, column: &str) -> Result<Option<T>, String> {
    cell.map(|cell| {
        T::from_str(cell, true).map_err(|_| {
            let cell = &cell[..cell.floor_char_boundary(MAX_SHOWN_BYTES)];
            format!("{cell:?} is no {column}")
        })
    })
    .transpose()
}

/// The records of some text; nothing where they cannot be read.
fn parse(text: &[u8], delimiter: u8) -> Option<Vec<Vec<String>>> {
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .delimiter(delimiter)
        .from_reader(text);
    let lossy = |cell: &[u8]| String::from_utf8_lossy(cell).into_owned();
    reader
        .byte_records()
        .map(|record| record.ok().map(|record| record.iter().map(lossy).collect()))
        .collect()
}

/// A line without its line break.
struct Line {
    number: u64,
    text: Vec<u8>,
}

struct Lines<R> {
    reader: R,
    count: u64,
    /// Lines that were looked at and are still to come.
    ahead: VecDeque<Line>,
}

impl<R: BufRead> Lines<R> {
    /// The next line that is not blank.
    fn next(&mut self) -> io::Result<Option<Line>> {
        loop {
            match self.next_of_any()? {
                Some(line) if line.text.trim_ascii().is_empty() => {}
                line => return Ok(line),
            }
        }
    }

    fn next_of_any(&mut self) -> io::Result<Option<Line>> {
        if let Some(line) = self.ahead.pop_front() {
            return Ok(Some(line));
        }
        let mut text = Vec::new();
        if self.reader.read_until(b'\n', &mut text)? == 0 {
            return Ok(None);
        }
        self.count += 1;
        for end in *b"\n\r" {
            text.truncate(text.len() - usize::from(text.last() == Some(&end)));
        }
        if self.count == 1 && text.starts_with(UTF8_MARK) {
            text.drain(..UTF8_MARK.len());
        }
        Ok(Some(Line {
            number: self.count,
            text,
        }))
    }

    /// The cells of the record that begins with a line. A quoted cell may go on over line breaks: lines are
    /// added until it is closed. Where it never is, or not where a cell may end, the line is invalid alone,
    /// and the ones behind it are records of their own.
    fn record(
        &mut self,
        first: Line,
        delimiter: u8,
    ) -> io::Result<Result<(u64, Vec<String>), Invalid>> {
        let mut place = Place::Start.after(&first.text, delimiter);
        let mut joined = first.text.clone();
        let mut taken = Vec::new();
        while place == Place::Quoted && joined.len() <= MAX_RECORD_BYTES {
            let Some(line) = self.next_of_any()? else {
                break;
            };
            place = place.after(&line.text, delimiter);
            joined.push(b'\n');
            joined.extend(&line.text);
            taken.push(line);
        }
        if !matches!(place, Place::Quoted | Place::Broken) {
            let mut records = parse(&joined, delimiter).unwrap_or_default();
            if records.len() == 1 {
                return Ok(Ok((first.number, records.swap_remove(0))));
            }
        }
        for line in taken.into_iter().rev() {
            self.ahead.push_front(line);
        }
        Ok(Err(Invalid::new(
            first.number,
            &String::from_utf8_lossy(&first.text),
            "a quote is not closed where a cell may end",
        )))
    }
}

/// Where in a record the end of some text is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// At the beginning of a cell.
    Start,
    /// In a cell without quotes; one inside of it is a letter like any other.
    Plain,
    /// In a quoted cell.
    Quoted,
    /// Behind a quote in a quoted cell: its end, or the first half of a quote in it.
    Quote,
    /// Behind a quoted cell where neither another cell nor the end of the record is.
    Broken,
}

impl Place {
    fn after(self, text: &[u8], delimiter: u8) -> Self {
        text.iter().fold(self, |place, &byte| match (place, byte) {
            (Self::Broken, _) => Self::Broken,
            (Self::Start | Self::Quote, b'"') => Self::Quoted,
            (Self::Quoted, b'"') => Self::Quote,
            (Self::Quoted, _) => Self::Quoted,
            (_, byte) if byte == delimiter => Self::Start,
            (Self::Quote, _) => Self::Broken,
            _ => Self::Plain,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Vec<String> {
        let mut list = List::open(text.as_bytes()).unwrap().unwrap();
        std::iter::from_fn(|| list.next().unwrap())
            .map(|item| match item {
                Ok(listed) => format!(
                    "{} {} {:?} {:?} {:?}",
                    listed.line,
                    listed.email,
                    listed.reason,
                    listed.scope,
                    listed.evidence.unwrap_or_default()
                ),
                Err(invalid) => format!("{}! {}", invalid.line, invalid.detail),
            })
            .collect()
    }

    #[test]
    fn one_address_a_line() {
        assert_eq!(
            read("\u{feff}a@x.example\r\n\r\n  \n b@x.example \nnone"),
            [
                "1 a@x.example None None \"\"",
                "4 b@x.example None None \"\"",
                "5 none None None \"\"",
            ]
        );
        assert_eq!(read(""), Vec::<String>::new());
    }

    #[test]
    fn csv_by_its_header() {
        assert_eq!(
            read(
                "\u{feff}Reason;\"Email\";evidence\r\nbounced;a@x.example;\"said:\r\n\"\"no\"\"\"\r\n\r\n;b@x.example;\r\nbored;c@x.example\r\n"
            ),
            [
                "2 a@x.example Some(Bounced) None \"said:\\n\\\"no\\\"\"",
                "5 b@x.example None None \"\"",
                "6! \"bored\" is no reason",
            ]
        );
        assert!(List::open(&b"address,reason\n"[..]).unwrap().is_err());
    }

    #[test]
    fn a_quote_that_is_never_closed_costs_its_own_line() {
        assert_eq!(
            read("email,evidence\na@x.example,\"open\nb@x.example,5\" pipe\nc@x.example,\n"),
            [
                // The quotes of lines 2 and 3 come as a pair, but no cell ends with the second.
                "2! a quote is not closed where a cell may end",
                "3 b@x.example None None \"5\\\" pipe\"",
                "4 c@x.example None None \"\"",
            ]
        );
        let mut long = "email,evidence\na@x.example,\"open\n".to_owned();
        (0..10_000).for_each(|n| long.push_str(&format!("p{n}@x.example,\n")));
        let read = read(&long);
        assert_eq!(read.len(), 10_001);
        assert_eq!(read[0], "2! a quote is not closed where a cell may end");
    }

    #[test]
    fn what_the_service_would_refuse_the_call_for_is_found_here() {
        let long = format!("{}@x.example", "a".repeat(400));
        assert!(read(&long)[0].starts_with("1! the address has 410 bytes"));
        let evidence = format!("email,evidence\na@x.example,{}", "e".repeat(1_001));
        assert!(read(&evidence)[0].starts_with("2! its evidence has 1001 bytes"));
    }
}
