//! Reads a JSON array: each element is a row, its text kept as it stands. An array that breaks in the
//! middle is an error with line and column; the rows before the break were sent by then.

use std::io::BufRead;

use super::{
    error::Error,
    input::Input,
    json_elements::{Broken, ElementScanner},
    mapping::Mapping,
    source::{Content, RowBuffer, RowSource, SourceRow},
};

/// The rows of a JSON array.
pub(crate) struct JsonSource {
    input: Input,
    mapping: Mapping,
    scanner: ElementScanner,
    buffer: RowBuffer,
}

impl JsonSource {
    /// Reads the elements of an input.
    pub(crate) fn new(input: Input, mapping: Mapping) -> Self {
        Self {
            input,
            mapping,
            scanner: ElementScanner::new(),
            buffer: RowBuffer::default(),
        }
    }

    /// Reads one element into the buffer; false behind the last one.
    fn read_element(&mut self) -> Result<bool, Error> {
        loop {
            let available = match self.input.fill_buf() {
                Ok(available) => available,
                Err(error) => return Err(self.input.read_error(error)),
            };
            let scan = if available.is_empty() {
                self.scanner.end_of_file().map(|()| None)
            } else {
                self.scanner.scan(available).map(Some)
            };
            let scan = match scan {
                Ok(Some(scan)) => scan,
                Ok(None) => return Ok(false),
                Err(broken) => return Err(malformed(self.input.name(), broken)),
            };
            self.buffer.push(&available[scan.element]);
            self.input.consume(scan.consumed);
            if scan.ended {
                return Ok(true);
            }
        }
    }
}

fn malformed(name: &str, broken: Broken) -> Error {
    Error::Malformed {
        name: name.to_owned(),
        line: broken.line,
        column: broken.column,
        detail: broken.detail,
    }
}

impl RowSource for JsonSource {
    fn next_row(&mut self) -> Result<Option<SourceRow>, Error> {
        if !self.read_element()? {
            return Ok(None);
        }
        let mut content = self.buffer.take();
        if let Content::Json(json) = &mut content
            && let Some(renamed) = self.mapping.rename_keys(json)
        {
            *json = renamed.into();
        }
        Ok(Some(SourceRow {
            content,
            line: Some(self.scanner.element_line()),
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
    use proptest::prelude::*;

    use super::*;

    fn rows(text: &str) -> (Vec<(u64, String)>, Option<String>) {
        let mut source = JsonSource::new(Input::from_bytes(text.as_bytes()), Mapping::default());
        let mut rows = Vec::new();
        loop {
            match source.next_row() {
                Ok(Some(row)) => {
                    let Content::Json(json) = row.content else {
                        panic!("not JSON")
                    };
                    let json = String::from_utf8(json.to_vec()).unwrap();
                    rows.push((row.line.unwrap(), json));
                }
                Ok(None) => return (rows, None),
                Err(error) => return (rows, Some(error.to_string())),
            }
        }
    }

    #[test]
    fn elements_keep_their_text() {
        let text = " [ {\"a\": 1.50, \"s\": \"]},\\\"[\"},\n1e400 ,\"x\\\\\",\n[ {} ],null]\n";
        let expected = [
            (1, "{\"a\": 1.50, \"s\": \"]},\\\"[\"}"),
            (2, "1e400"),
            (2, "\"x\\\\\""),
            (3, "[ {} ]"),
            (3, "null"),
        ];
        let expected: Vec<_> = expected.map(|(line, row)| (line, row.to_owned())).into();
        assert_eq!(rows(text), (expected, None));
        assert_eq!(rows("[]"), (vec![], None));
        assert_eq!(rows("\u{feff}[ ]"), (vec![], None));
    }

    #[test]
    fn a_break_is_named_after_the_rows_before_it() {
        let cases = [
            ("", 0, "line 1, column 1"),
            ("{}", 0, "--format ndjson"),
            ("[{}", 1, "cut off"),
            ("[{},\n{\"a\":", 1, "line 2, column 6"),
            ("[{}\n {}]", 1, "line 2, column 2: expected `,` or `]`"),
            ("[{},]", 1, "expected a row, found `]`"),
            ("[{\"a\":[1}, {}]", 0, "column 9: expected `]`, found `}`"),
            ("[{}] x", 1, "behind the `]`"),
            ("[\"a", 0, "cut off"),
        ];
        for (text, count, message) in cases {
            let (rows, error) = rows(text);
            let error = error.unwrap_or_default();
            assert_eq!(rows.len(), count, "{text}");
            assert!(error.contains(message), "{text}: {error}");
        }
    }

    fn values() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![
            Just(serde_json::Value::Null),
            any::<i32>().prop_map(Into::into),
            "[a\"\\\\\\[\\]{},é\n ]{0,6}".prop_map(Into::into),
        ];
        leaf.prop_recursive(3, 16, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Into::into),
                prop::collection::btree_map("[a\"{]{0,2}", inner, 0..4)
                    .prop_map(|map| map.into_iter().collect::<serde_json::Map<_, _>>().into()),
            ]
        })
    }

    proptest! {
        #[test]
        fn any_array_is_taken_apart_in_any_pieces(
            elements in prop::collection::vec(values(), 0..8),
            pretty in any::<bool>(),
            piece in 1usize..30,
        ) {
            let array = serde_json::Value::from(elements.clone());
            let text = if pretty { format!("{array:#}") } else { array.to_string() };
            let mut scanner = ElementScanner::new();
            let mut found: Vec<serde_json::Value> = Vec::new();
            let mut element = Vec::new();
            for part in text.as_bytes().chunks(piece) {
                let mut rest = part;
                while !rest.is_empty() {
                    let scan = scanner.scan(rest).unwrap();
                    element.extend_from_slice(&rest[scan.element.clone()]);
                    rest = &rest[scan.consumed..];
                    if scan.ended {
                        found.push(serde_json::from_slice(&element).unwrap());
                        element.clear();
                    }
                }
            }
            prop_assert_eq!(scanner.end_of_file(), Ok(()));
            prop_assert_eq!(found, elements);
        }
    }
}
