//! Reads newline-delimited JSON: each line is a row, a blank line too, so that offsets match the lines of
//! the file. The last line is a row also when no line break ends it.
//!
//! Bytes go as they are. With `--map` or `--preset`, keys are renamed and values keep their exact text.

use std::io::BufRead;

use super::{
    error::Error,
    input::Input,
    mapping::Mapping,
    source::{Content, RowBuffer, RowSource, SourceRow},
};

/// The rows of a file of lines.
pub(crate) struct NdjsonSource {
    input: Input,
    mapping: Mapping,
    buffer: RowBuffer,
    line: u64,
}

impl NdjsonSource {
    /// Reads the lines of an input.
    pub(crate) fn new(input: Input, mapping: Mapping) -> Self {
        Self {
            input,
            mapping,
            buffer: RowBuffer::default(),
            line: 0,
        }
    }

    /// Reads one line into the buffer; false at the end of the file.
    fn read_line(&mut self) -> Result<bool, Error> {
        let mut found = false;
        loop {
            let input = &mut self.input;
            let available = match input.fill_buf() {
                Ok(available) => available,
                Err(error) => return Err(input.read_error(error)),
            };
            if available.is_empty() {
                return Ok(found);
            }
            found = true;
            if let Some(end) = memchr::memchr(b'\n', available) {
                self.buffer.push(&available[..end]);
                input.consume(end + 1);
                return Ok(true);
            }
            let read = available.len();
            self.buffer.push(available);
            input.consume(read);
        }
    }
}

impl RowSource for NdjsonSource {
    fn next_row(&mut self) -> Result<Option<SourceRow>, Error> {
        if !self.read_line()? {
            return Ok(None);
        }
        self.line += 1;
        let mut content = self.buffer.take();
        if let Content::Json(json) = &mut content
            && let Some(renamed) = self.mapping.rename_keys(json)
        {
            *json = renamed.into();
        }
        Ok(Some(SourceRow {
            content,
            line: Some(self.line),
        }))
    }

    fn position(&self) -> u64 {
        self.input.position()
    }

    fn verify(&mut self) -> Result<(), Error> {
        self.input.verify()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::load::input::Input;

    fn rows(text: &[u8], mapping: Mapping) -> Vec<String> {
        let mut source = NdjsonSource::new(Input::from_bytes(text), mapping);
        let mut rows = Vec::new();
        while let Some(row) = source.next_row().unwrap() {
            assert_eq!(row.line, Some(rows.len() as u64 + 1));
            match row.content {
                Content::Json(json) => rows.push(String::from_utf8_lossy(&json).into_owned()),
                other => rows.push(format!("{other:?}")),
            }
        }
        rows
    }

    #[test]
    fn each_line_is_a_row_as_it_is() {
        let text = b"{\"a\": 1.50}\n\n{\"b\":2}\r\n[1]\nlast";
        assert_eq!(
            rows(text, Mapping::default()),
            ["{\"a\": 1.50}", "", "{\"b\":2}\r", "[1]", "last"]
        );
        assert_eq!(rows(b"", Mapping::default()), [""; 0]);
        assert_eq!(rows(b"\n", Mapping::default()), [""]);
        assert_eq!(rows(b"{}\n", Mapping::default()), ["{}"]);
    }

    #[test]
    fn a_byte_order_mark_is_no_part_of_the_first_row() {
        assert_eq!(rows(b"\xef\xbb\xbf{}\n", Mapping::default()), ["{}"]);
    }

    #[test]
    fn keys_are_renamed_and_values_keep_their_text() {
        let mapping = Mapping::new(&["E Mail=email".to_owned()], None).unwrap();
        let text = b"{\"E Mail\" : \"a@b.example\", \"n\": 1.00000000000000000001e2}\n{\"n\":1}\n[\"E Mail\"]\n{\"E Mail\":\n";
        assert_eq!(
            rows(text, mapping),
            [
                "{\"email\":\"a@b.example\",\"n\":1.00000000000000000001e2}",
                "{\"n\":1}",
                "[\"E Mail\"]",
                "{\"E Mail\":"
            ]
        );
    }

    #[test]
    fn a_line_past_the_limit_stands_in_its_place() {
        let mut source = NdjsonSource::new(
            Input::from_bytes(b"{}\n0123456789abcdef\n{}\n"),
            Mapping::default(),
        );
        source.buffer = RowBuffer::with_limit(8);
        assert!(matches!(
            source.next_row().unwrap().unwrap().content,
            Content::Json(_)
        ));
        let oversize = source.next_row().unwrap().unwrap().content;
        assert!(matches!(oversize, Content::Oversize { bytes: 16, .. }));
        assert!(matches!(
            source.next_row().unwrap().unwrap().content,
            Content::Json(_)
        ));
        assert!(source.next_row().unwrap().is_none());
    }
}
