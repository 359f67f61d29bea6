//! Reads CSV as exports write it: a header row, then a row a record. The first row names the keys, every
//! value is a string, empty cells are left out.
//!
//! Byte order marks, CRLF, quoted commas, quotes and line breaks are read as RFC 4180 says. A record that
//! cannot be read (a wrong number of columns, not UTF-8, a quote that never closes) is sent in its place as
//! an unreadable row with its line number. Empty lines are no records, as everywhere in CSV.
//!
//! Records are found here and taken apart by the `csv` crate, for two reasons: an unreadable record keeps
//! its exact bytes, and a quote that never closes cannot make a record as large as the file.

use std::io::BufRead;

use bytes::Bytes;

use super::{
    csv_records::{Ending, RecordScanner},
    error::Error,
    input::Input,
    mapping::{Mapping, ObjectWriter},
    preset::Preset,
    source::{Content, RowBuffer, RowSource, SourceRow},
};

/// How far into a file of the preset `linkedin` the header is looked for, behind the notes.
const PREAMBLE_BYTES: usize = 64 * 1024;

/// How the header of the preset `linkedin` begins.
const LINKEDIN_HEADER: &[u8] = b"First Name,";

/// The rows of a CSV file.
pub(crate) struct CsvSource {
    records: Records,
    header: Vec<String>,
    keys: Vec<String>,
}

impl CsvSource {
    /// Reads the header row.
    pub(crate) fn new(mut input: Input, mapping: &Mapping) -> Result<Self, Error> {
        let skipped = match mapping.preset() {
            Some(Preset::Linkedin) => skip_notes(&mut input)?,
            _ => 0,
        };
        let mut records = Records {
            input,
            scanner: RecordScanner::new(1 + skipped),
            buffer: RowBuffer::default(),
        };
        let header = records.header()?;
        if let Some(missing) = mapping.missing_column(&header) {
            return Err(records.input.format_error(format!(
                "--map names column {missing:?}, which it does not have; its columns are: {}",
                header.join(", ")
            )));
        }
        let keys = mapping.keys(&header);
        Ok(Self {
            records,
            header,
            keys,
        })
    }

    /// What the operator should know before the rows are sent, if anything.
    pub(crate) fn warning(&self) -> Option<String> {
        if self.keys.iter().any(|key| key == "email") {
            return None;
        }
        Some(format!(
            "{}: no column becomes `email`, so every row will be rejected; use --map \"COLUMN=email\" with one of: {}",
            self.records.input.name(),
            self.header.join(", ")
        ))
    }

    /// The record as a JSON object, or as a row that could not be read.
    fn content(&self, record: &[u8], line: u64, ending: Ending) -> Content {
        if ending.quote_left_open {
            let detail = format!(
                "line {line}: a quote that opens in this record is never closed; it runs to the end of the file"
            );
            return Content::unreadable(detail, Bytes::copy_from_slice(record));
        }
        match self.object(record, ending.quoted) {
            Ok(object) => Content::Json(object.into()),
            Err(wrong) => Content::unreadable(
                format!("line {line}: {wrong}"),
                Bytes::copy_from_slice(record),
            ),
        }
    }

    fn object(&self, record: &[u8], quoted: bool) -> Result<Vec<u8>, String> {
        let cells = parse_record(record, quoted)?;
        if cells.len() != self.keys.len() {
            return Err(format!(
                "{} columns, the header has {}",
                cells.len(),
                self.keys.len()
            ));
        }
        let mut json = Vec::with_capacity(record.len() + 24 * self.keys.len());
        let mut object = ObjectWriter::new(&mut json);
        for ((cell, key), name) in cells.iter().zip(&self.keys).zip(&self.header) {
            if cell.is_empty() {
                continue;
            }
            let text = std::str::from_utf8(cell)
                .map_err(|_| format!("column {name:?} is not UTF-8; export the file as UTF-8"))?;
            object.string(key, text);
        }
        object.end();
        Ok(json)
    }
}

impl RowSource for CsvSource {
    fn next_row(&mut self) -> Result<Option<SourceRow>, Error> {
        let Some((line, ending)) = self.records.next_record()? else {
            return Ok(None);
        };
        let content = match self.records.buffer.bytes() {
            Some(record) => self.content(record, line, ending),
            None => self.records.buffer.take(),
        };
        self.records.buffer.clear();
        Ok(Some(SourceRow {
            content,
            line: Some(line),
        }))
    }

    fn position(&self) -> u64 {
        self.records.input.position()
    }

    fn verify(&mut self) -> Result<(), Error> {
        self.records.input.verify()
    }
}

/// The records of a file as raw bytes, one at a time in the buffer.
struct Records {
    input: Input,
    scanner: RecordScanner,
    buffer: RowBuffer,
}

impl Records {
    /// Reads the next record that is not an empty line into the buffer: its first line and how it ended.
    fn next_record(&mut self) -> Result<Option<(u64, Ending)>, Error> {
        loop {
            let line = self.scanner.next_line();
            let Some(ending) = self.read_record()? else {
                return Ok(None);
            };
            if !self.buffer.is_empty() {
                return Ok(Some((line, ending)));
            }
        }
    }

    /// Reads to the end of a record; nothing at the end of the file.
    fn read_record(&mut self) -> Result<Option<Ending>, Error> {
        loop {
            let available = match self.input.fill_buf() {
                Ok(available) => available,
                Err(error) => return Err(self.input.read_error(error)),
            };
            if available.is_empty() {
                let ending = self.scanner.end_of_file();
                return Ok((!self.buffer.is_empty()).then_some(ending));
            }
            let scan = self.scanner.scan(available);
            self.buffer.push(&available[scan.record]);
            self.input.consume(scan.consumed);
            if let Some(ending) = scan.ending {
                return Ok(Some(ending));
            }
        }
    }

    /// The names of the columns, trimmed; a column without a name is called after its number.
    fn header(&mut self) -> Result<Vec<String>, Error> {
        let Some((line, ending)) = self.next_record()? else {
            return Err(self
                .input
                .format_error("it is empty; CSV begins with a header row"));
        };
        let cells = match self.buffer.bytes() {
            Some(record) if !ending.quote_left_open => parse_record(record, ending.quoted),
            _ => Err("a quote in it is never closed".to_owned()),
        };
        let names = cells.and_then(|cells| {
            let name = |(index, cell): (usize, &Vec<u8>)| match std::str::from_utf8(cell) {
                Ok(name) if name.trim().is_empty() => Ok(format!("column_{}", index + 1)),
                Ok(name) => Ok(name.trim().to_owned()),
                Err(_) => Err("it is not UTF-8; export the file as UTF-8".to_owned()),
            };
            cells.iter().enumerate().map(name).collect()
        });
        self.buffer.clear();
        names.map_err(|wrong| {
            self.input
                .format_error(format!("the header row on line {line}: {wrong}"))
        })
    }
}

/// The cells of one record.
fn parse_record(record: &[u8], quoted: bool) -> Result<Vec<Vec<u8>>, String> {
    if !quoted {
        // Without a quote every comma divides; most records are like this.
        return Ok(record.split(|&b| b == b',').map(<[u8]>::to_vec).collect());
    }
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .buffer_capacity(record.len())
        .from_reader(record);
    let mut cells = csv::ByteRecord::new();
    reader
        .read_byte_record(&mut cells)
        .map_err(|error| error.to_string())?;
    Ok(cells.iter().map(<[u8]>::to_vec).collect())
}

/// Skips the notes before the header of the preset `linkedin`, and says how many lines that were. A file
/// without them is left as it is.
fn skip_notes(input: &mut Input) -> Result<u64, Error> {
    let head = input.peek(PREAMBLE_BYTES)?;
    let mut skipped = 0;
    for (lines, line) in (0..).zip(head.split_inclusive(|&byte| byte == b'\n')) {
        if line.starts_with(LINKEDIN_HEADER) {
            input.consume(skipped);
            return Ok(lines);
        }
        skipped += line.len();
    }
    Ok(0)
}

#[cfg(test)]
#[path = "csv_rows_tests.rs"]
mod tests;
