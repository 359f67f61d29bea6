//! Reading a slot: the texts of its row, and notes on the values that have no reading.
//!
//! Promotion reads everything again from the slot as it is: slots may also be written past the service.

use std::collections::HashMap;

use serde::Serialize;
use serde_json::value::RawValue;

use crate::domain::{LinkedInKind, LinkedInUrl, MAX_INDEXED_TEXT_BYTES, Unread};

/// Why promotion refuses a slot; the reason is a `SlotRejectionReason` of the API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SlotRejection {
    /// Why.
    pub(crate) reason: &'static str,
    /// The same for a person to read.
    pub(crate) detail: String,
}

impl SlotRejection {
    /// A rejection with its detail.
    pub(crate) fn new(reason: &'static str, detail: impl ToString) -> Self {
        Self {
            reason,
            detail: detail.to_string(),
        }
    }
}

/// A field that is left out, as the slot keeps it; the reason is a `SlotNote.Reason` of the API.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Note {
    /// The column.
    pub(crate) field: &'static str,
    /// Where in the row.
    pub(crate) pointer: String,
    /// Why.
    pub(crate) reason: &'static str,
    /// What was wrong and what would be right.
    pub(crate) detail: String,
}

/// The row of a slot, and the notes that were made while it was read. Keys are called like their columns.
#[derive(Debug)]
pub(crate) struct Reading {
    values: HashMap<String, Box<RawValue>>,
    /// What was left out.
    pub(crate) notes: Vec<Note>,
}

impl Reading {
    /// Begins to read a row.
    ///
    /// # Errors
    /// A row that is no object is refused.
    pub(crate) fn of(raw_data: &str) -> Result<Self, SlotRejection> {
        let values = serde_json::from_str(raw_data).map_err(|_| {
            SlotRejection::new("NOT_AN_OBJECT", "the row is JSON, but not an object")
        })?;
        Ok(Self {
            values,
            notes: Vec::new(),
        })
    }

    /// What stands under a key.
    pub(crate) fn value(&self, key: &str) -> Option<&RawValue> {
        self.values.get(key).map(|value| &**value)
    }

    /// The text of a column: of a text what is left without the blanks around it, of a number its digits.
    /// `None` where it says nothing, or is noted.
    pub(crate) fn text(&mut self, field: &'static str) -> Option<String> {
        let raw = self.value(field)?.get();
        match raw.as_bytes().first() {
            Some(b'"') => {
                let text: String = serde_json::from_str(raw).ok()?;
                let text = text.trim();
                (!text.is_empty()).then(|| text.to_owned())
            }
            Some(b'-' | b'0'..=b'9') => Some(raw.to_owned()),
            Some(b'n') | None => None,
            Some(_) => {
                self.note(field, "WRONG_TYPE", "it is neither a text nor a number");
                None
            }
        }
    }

    /// The text of a column that an index holds.
    ///
    /// # Errors
    /// A text that is too long for it is refused.
    pub(crate) fn indexed_text(
        &mut self,
        field: &'static str,
    ) -> Result<Option<String>, SlotRejection> {
        let text = self.text(field);
        let bytes = text.as_ref().map_or(0, String::len);
        if bytes > MAX_INDEXED_TEXT_BYTES {
            return Err(SlotRejection::new(
                "TEXT_TOO_LONG",
                format!("{field} has {bytes} bytes, at most {MAX_INDEXED_TEXT_BYTES} are taken"),
            ));
        }
        Ok(text)
    }

    /// The number of a column; one that cannot be read is noted.
    pub(crate) fn number<T>(
        &mut self,
        field: &'static str,
        read: impl FnOnce(&RawValue) -> Result<Option<T>, Unread>,
    ) -> Option<T> {
        match read(self.value(field)?) {
            Ok(number) => number,
            Err(unread) => {
                let reason = match unread {
                    Unread::NotANumber => "NOT_A_NUMBER",
                    Unread::Negative => "NEGATIVE",
                    Unread::OutOfRange => "OUT_OF_RANGE",
                    Unread::WrongType => "WRONG_TYPE",
                };
                self.note(field, reason, unread);
                None
            }
        }
    }

    /// The normalized LinkedIn URL of a column; what is none is noted.
    pub(crate) fn linkedin_url(
        &mut self,
        field: &'static str,
        kind: LinkedInKind,
    ) -> Option<LinkedInUrl> {
        let text = self.text(field)?;
        match LinkedInUrl::parse(kind, &text) {
            Ok(url) => Some(url),
            Err(error) => {
                self.note(field, "NOT_A_LINKEDIN_URL", error);
                None
            }
        }
    }

    /// Notes that a column is left out.
    pub(crate) fn note(
        &mut self,
        field: &'static str,
        reason: &'static str,
        detail: impl ToString,
    ) {
        self.notes.push(Note {
            field,
            pointer: format!("/{field}"),
            reason,
            detail: detail.to_string(),
        });
    }
}
