//! The lines of a list, and the records that they make.

use std::{
    collections::VecDeque,
    io::{self, BufRead, Read as _},
};

use super::list::Invalid;

/// How long a line may be, and how far a quoted cell may reach before its quote counts as left open.
const MAX_RECORD_BYTES: usize = 64 * 1024;

/// A line without its line break.
pub(super) struct Line {
    /// Its number, from 1.
    pub(super) number: u64,
    /// What it says.
    pub(super) text: Vec<u8>,
    /// It was longer, and its rest was skipped.
    pub(super) is_cut: bool,
}

impl Line {
    /// Why it cannot be an entry.
    pub(super) fn too_long(&self) -> Invalid {
        Invalid::new(
            self.number,
            &String::from_utf8_lossy(&self.text),
            format!("it has more than {MAX_RECORD_BYTES} bytes"),
        )
    }
}

/// The lines of a list.
pub(super) struct Lines<R> {
    reader: R,
    count: u64,
    /// Lines that were looked at and are still to come.
    ahead: VecDeque<Line>,
}

impl<R: BufRead> Lines<R> {
    /// Nothing is read yet.
    pub(super) fn new(reader: R) -> Self {
        Self {
            reader,
            count: 0,
            ahead: VecDeque::new(),
        }
    }

    /// Makes a line the next one again.
    pub(super) fn put_back(&mut self, line: Line) {
        self.ahead.push_front(line);
    }

    /// The next line that is not blank.
    pub(super) fn next(&mut self) -> io::Result<Option<Line>> {
        loop {
            match self.next_of_any()? {
                Some(line) if !line.is_cut && line.text.trim_ascii().is_empty() => {}
                line => return Ok(line),
            }
        }
    }

    fn next_of_any(&mut self) -> io::Result<Option<Line>> {
        if let Some(line) = self.ahead.pop_front() {
            return Ok(Some(line));
        }
        let mut text = Vec::new();
        // One byte more than may be, to know that there is one.
        let mut limited = self.reader.by_ref().take(MAX_RECORD_BYTES as u64 + 1);
        if limited.read_until(b'\n', &mut text)? == 0 {
            return Ok(None);
        }
        self.count += 1;
        let is_cut = text.len() > MAX_RECORD_BYTES && text.last() != Some(&b'\n');
        if is_cut {
            self.reader.skip_until(b'\n')?;
        }
        for end in *b"\n\r" {
            text.truncate(text.len() - usize::from(text.last() == Some(&end)));
        }
        Ok(Some(Line {
            number: self.count,
            text,
            is_cut,
        }))
    }

    /// The cells of the record that begins with a line. A quoted cell may go on over line breaks: lines are
    /// added until it is closed. Where it never is, or not where a cell may end, the line is invalid alone,
    /// and the ones behind it are records of their own.
    pub(super) fn record(
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
            place = match line.is_cut {
                true => Place::Broken,
                false => place.after(&line.text, delimiter),
            };
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

/// The records of some text; nothing where they cannot be read.
pub(super) fn parse(text: &[u8], delimiter: u8) -> Option<Vec<Vec<String>>> {
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
