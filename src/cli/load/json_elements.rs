//! Finds the elements of a JSON array as their bytes stream by, without holding or parsing them.
//!
//! A state machine without I/O. It knows brackets, strings and white space: enough to find where an element
//! ends. What is inside of an element is for the service to judge, so one bad row does not end a load; a
//! break of the array itself does, since the rows after it cannot be found any more.

use std::ops::Range;

/// Brackets of one element that may be open at once; deeper is no data.
const MAX_OPEN_BRACKETS: usize = 1 << 20;

/// Where in the array the scanner stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    BeforeArray,
    FirstElement,
    NextElement,
    Scalar,
    String,
    StringEscape,
    Brackets,
    BehindElement,
    BehindArray,
}

/// What a scan of some bytes found.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Scan {
    /// Which of the bytes belong to the element.
    pub(crate) element: Range<usize>,
    /// How many bytes are done with.
    pub(crate) consumed: usize,
    /// The element ended among these bytes.
    pub(crate) ended: bool,
}

/// A break of the array.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Broken {
    /// The line, from 1.
    pub(crate) line: u64,
    /// The column in bytes, from 1.
    pub(crate) column: u64,
    /// What was found and what would be right.
    pub(crate) detail: String,
}

/// Finds elements in bytes that come piece by piece.
#[derive(Debug)]
pub(crate) struct ElementScanner {
    place: Place,
    open: Vec<u8>,
    line: u64,
    column: u64,
    element_line: u64,
}

impl ElementScanner {
    /// Begins before the array.
    pub(crate) fn new() -> Self {
        Self {
            place: Place::BeforeArray,
            open: Vec::new(),
            line: 1,
            column: 1,
            element_line: 1,
        }
    }

    /// The line on which the current element began.
    pub(crate) fn element_line(&self) -> u64 {
        self.element_line
    }

    /// Goes through the bytes up to the end of an element, or all of them.
    pub(crate) fn scan(&mut self, bytes: &[u8]) -> Result<Scan, Broken> {
        let mut at = 0;
        while at < bytes.len() && !self.in_element() {
            if self.between(bytes[at])? {
                self.advance(bytes[at]);
                at += 1;
            }
        }
        let start = at;
        let inside = self.in_element();
        while at < bytes.len() && self.in_element() {
            at += self.skip_text(&bytes[at..]);
            let Some(&byte) = bytes.get(at) else { break };
            if self.within(byte)? {
                self.advance(byte);
                at += 1;
            }
        }
        Ok(Scan {
            element: start..at,
            consumed: at,
            ended: inside && !self.in_element(),
        })
    }

    /// What the end of the file means here: nothing is missing, or what is.
    pub(crate) fn end_of_file(&self) -> Result<(), Broken> {
        match self.place {
            Place::BehindArray => Ok(()),
            Place::BeforeArray => Err(self.broken("the file is empty; expected a JSON array")),
            Place::FirstElement | Place::NextElement | Place::BehindElement => {
                Err(self
                    .broken("the file ends before the `]` of its array; it seems to be cut off"))
            }
            Place::Scalar | Place::String | Place::StringEscape | Place::Brackets => Err(self
                .broken(&format!(
                    "the file ends inside of the row that began on line {}; it seems to be cut off",
                    self.element_line
                ))),
        }
    }

    fn in_element(&self) -> bool {
        matches!(
            self.place,
            Place::Scalar | Place::String | Place::StringEscape | Place::Brackets
        )
    }

    /// Takes a byte between elements; false where it begins an element, of which it is the first byte.
    fn between(&mut self, byte: u8) -> Result<bool, Broken> {
        if is_space(byte) {
            return Ok(true);
        }
        self.place = match (self.place, byte) {
            (Place::BeforeArray, b'[') => Place::FirstElement,
            (Place::BeforeArray, b'{') => {
                return Err(self.broken(
                    "expected `[`, found `{`: this is no JSON array; lines of JSON are read with --format ndjson",
                ));
            }
            (Place::BeforeArray, _) => {
                return Err(self.unexpected(byte, "`[`, the beginning of a JSON array"));
            }
            (Place::FirstElement, b']') => Place::BehindArray,
            (Place::FirstElement | Place::NextElement, b',' | b']') => {
                return Err(self.unexpected(byte, "a row"));
            }
            (Place::BehindElement, b',') => Place::NextElement,
            (Place::BehindElement, b']') => Place::BehindArray,
            (Place::BehindElement, _) => {
                return Err(self.unexpected(byte, "`,` or `]` behind a row"));
            }
            (Place::BehindArray, _) => {
                return Err(self.unexpected(byte, "nothing behind the `]` of the array"));
            }
            // A string is an element without brackets: `within` takes its opening quote.
            (_, b'{' | b'[' | b'"') => self.begin(Place::Brackets),
            (_, _) => self.begin(Place::Scalar),
        };
        Ok(!self.in_element())
    }

    fn begin(&mut self, place: Place) -> Place {
        self.element_line = self.line;
        self.open.clear();
        place
    }

    /// Takes a byte of an element; false where it is the first byte behind a scalar.
    fn within(&mut self, byte: u8) -> Result<bool, Broken> {
        match (self.place, byte) {
            (Place::Scalar, b',' | b']') => {
                self.place = Place::BehindElement;
                return Ok(false);
            }
            (Place::Scalar, _) if is_space(byte) => {
                self.place = Place::BehindElement;
                return Ok(false);
            }
            (Place::String, b'\\') => self.place = Place::StringEscape,
            (Place::StringEscape, _) => self.place = Place::String,
            (Place::String, b'"') => self.close(),
            (Place::Brackets, b'"') => self.place = Place::String,
            (Place::Brackets, b'{' | b'[') => self.open_bracket(byte)?,
            (Place::Brackets, b'}' | b']') => self.close_bracket(byte)?,
            _ => {}
        }
        Ok(true)
    }

    fn open_bracket(&mut self, byte: u8) -> Result<(), Broken> {
        if self.open.len() == MAX_OPEN_BRACKETS {
            return Err(self.broken("more than 1,048,576 brackets are open at once"));
        }
        self.open.push(byte);
        Ok(())
    }

    fn close_bracket(&mut self, byte: u8) -> Result<(), Broken> {
        let fitting = if byte == b'}' { b'{' } else { b'[' };
        if self.open.last() != Some(&fitting) {
            let expected = if byte == b'}' { "`]`" } else { "`}`" };
            return Err(self.unexpected(byte, expected));
        }
        self.open.pop();
        self.close();
        Ok(())
    }

    /// Behind a string or a bracket: the element goes on while a bracket is open.
    fn close(&mut self) {
        self.place = if self.open.is_empty() {
            Place::BehindElement
        } else {
            Place::Brackets
        };
    }

    /// Skips text inside of a string in one go; it holds no line breaks that matter but for columns.
    fn skip_text(&mut self, bytes: &[u8]) -> usize {
        if self.place != Place::String {
            return 0;
        }
        let count = memchr::memchr3(b'"', b'\\', b'\n', bytes).unwrap_or(bytes.len());
        self.column += count as u64;
        count
    }

    fn advance(&mut self, byte: u8) {
        if byte == b'\n' {
            self.line += 1;
            self.column = 1;
        } else {
            self.column += 1;
        }
    }

    fn unexpected(&self, byte: u8, expected: &str) -> Broken {
        let found = char::from(byte).escape_default();
        self.broken(&format!("expected {expected}, found `{found}`"))
    }

    fn broken(&self, detail: &str) -> Broken {
        Broken {
            line: self.line,
            column: self.column,
            detail: detail.to_owned(),
        }
    }
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}
