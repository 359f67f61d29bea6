//! Reads a list of addresses: one a line, or CSV with a header that has the column `email`.
//!
//! Guarantees: every line that is not blank comes out, as an entry or as an invalid line; a quote that is
//! never closed costs its own line only, and so does a line that is too long; memory grows neither with the
//! file nor with a line.

use std::io::{self, BufRead};

use clap::ValueEnum;

use super::{
    MAX_EVIDENCE_BYTES, Reason, Scope,
    lines::{Line, Lines, parse},
};
use crate::domain::Email;

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
        let mut lines = Lines::new(reader);
        let columns = match lines.next()? {
            None => None,
            Some(first) if first.is_cut => {
                lines.put_back(first);
                None
            }
            Some(first) => match Columns::of(&first.text) {
                Ok(Some(columns)) => Some(columns),
                Ok(None) => {
                    lines.put_back(first);
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
        if line.is_cut {
            return Ok(Some(Err(line.too_long())));
        }
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
    let evidence = listed.evidence.as_deref().unwrap_or_default();
    let wrong = match evidence.len() {
        bytes if bytes > MAX_EVIDENCE_BYTES => {
            format!("its evidence has {bytes} bytes, at most {MAX_EVIDENCE_BYTES} are taken")
        }
        _ if evidence.contains('\0') => {
            "its evidence holds the character U+0000, which cannot be stored".to_owned()
        }
        _ => return Ok(listed),
    };
    Err(Invalid::new(listed.line, &listed.email, wrong))
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
        let shown = &text[..text.floor_char_boundary(MAX_SHOWN_BYTES)];
        if has_address_among_cells(&text) {
            return Err(format!(
                "it looks like CSV without a header, and which column is what is not guessed; put one above it, such as `email,reason`: {shown}"
            ));
        }
        if text.contains([',', ';', '\t']) && !text.contains('@') {
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

/// Whether a line is no address, and one of several cells in it is.
fn has_address_among_cells(line: &str) -> bool {
    let is_address = |text: &str| Email::parse(text.trim().trim_matches('"')).is_ok();
    !is_address(line)
        && [',', ';', '\t']
            .iter()
            .any(|delimiter| line.contains(*delimiter) && line.split(*delimiter).any(is_address))
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
            read("a@x.example\r\n\r\n  \n b@x.example \nnone"),
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
                "Reason;\"Email\";evidence\r\nbounced;a@x.example;\"said:\r\n\"\"no\"\"\"\r\n\r\n;b@x.example;\r\nbored;c@x.example\r\n"
            ),
            [
                "2 a@x.example Some(Bounced) None \"said:\\n\\\"no\\\"\"",
                "5 b@x.example None None \"\"",
                "6! \"bored\" is no reason",
            ]
        );
        assert!(List::open(&b"address,reason\n"[..]).unwrap().is_err());
        for headless in [
            "a@x.example,bounced\n",
            "Ada;\"a@x.example\"\n",
            "1\ta@x.example\n",
        ] {
            let refused = List::open(headless.as_bytes()).unwrap().err().unwrap();
            assert!(refused.contains("without a header"), "{refused}");
        }
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
        let unstorable = "email,evidence\na@x.example,a\0b\n";
        assert!(read(unstorable)[0].starts_with("2! its evidence holds the character U+0000"));
    }

    /// As long as it likes, it is never held.
    #[test]
    fn a_line_that_is_too_long_is_invalid_alone() {
        let long = "x".repeat(200_000);
        for (head, tail) in [("", ""), ("email,evidence\n", ",")] {
            let text = format!("{head}{long}\na@x.example{tail}\n{long}");
            let line = head.lines().count() + 1;
            let read = read(&text);
            assert_eq!(read.len(), 3);
            assert_eq!(read[0], format!("{line}! it has more than 65536 bytes"));
            assert!(read[1].starts_with(&format!("{} a@x.example", line + 1)));
            assert_eq!(
                read[2],
                format!("{}! it has more than 65536 bytes", line + 2)
            );
        }
        // Nor does it close a quote that is open before it.
        let text = format!("email,evidence\na@x.example,\"open\n{long}\"\nb@x.example,\n");
        let read = read(&text);
        assert_eq!(read.len(), 3);
        assert!(read[0].starts_with("2! a quote") && read[1].starts_with("3! it has"));
    }
}
