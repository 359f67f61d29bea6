//! A row: one JSON object that PostgreSQL can store, print and promote.
//!
//! [`validate`] finds per row whatever PostgreSQL would refuse, at once or later, so that one bad row never
//! fails the chunk it came in. It reads the row's own text and changes nothing: what is stored is what was
//! sent. Memory does not grow with the row, time grows with its size times its depth, which are both
//! limited.

mod walk;

use serde_json::value::RawValue;

use super::{Email, InvalidEmail, MAX_INDEXED_TEXT_BYTES};

/// Limits of a row; the service's settings fill them.
#[derive(Clone, Debug)]
pub struct RowLimits {
    /// The largest row, in bytes as sent. PostgreSQL may print numbers longer than they were sent
    /// (`1e300`); they may add as much again.
    pub max_row_bytes: usize,
    /// How deep arrays and objects may nest, the row itself being the first level.
    pub max_depth: usize,
    /// The longest text that reaches an index, in bytes; at most [`MAX_INDEXED_TEXT_BYTES`].
    pub max_indexed_text_bytes: usize,
}

impl Default for RowLimits {
    fn default() -> Self {
        Self {
            max_row_bytes: 256 * 1024,
            max_depth: 64,
            max_indexed_text_bytes: MAX_INDEXED_TEXT_BYTES,
        }
    }
}

/// Why a row is not stored. The names are those of the API and the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RejectionReason {
    /// No bytes but white space.
    EmptyRow,
    /// Not UTF-8.
    NotUtf8,
    /// Not one JSON value.
    NotJson,
    /// A JSON value, but no object.
    NotAnObject,
    /// No `email`, or a null or blank one.
    MissingEmail,
    /// An `email` that is no address.
    InvalidEmail,
    /// Larger than the limit, as sent or as printed.
    RowTooLarge,
    /// Nested deeper than the limit.
    NestedTooDeeply,
    /// Text with U+0000 or a lone surrogate.
    UnstorableText,
    /// A number that is not finite as a double, or longer than 64 characters.
    NumberOutOfRange,
    /// A text for an index that is longer than 1,000 bytes.
    TextTooLong,
    /// The loader could not read it from its file.
    Unreadable,
}

impl RejectionReason {
    /// Every reason with its name.
    pub const ALL: [(Self, &'static str); 12] = [
        (Self::EmptyRow, "EMPTY_ROW"),
        (Self::NotUtf8, "NOT_UTF8"),
        (Self::NotJson, "NOT_JSON"),
        (Self::NotAnObject, "NOT_AN_OBJECT"),
        (Self::MissingEmail, "MISSING_EMAIL"),
        (Self::InvalidEmail, "INVALID_EMAIL"),
        (Self::RowTooLarge, "ROW_TOO_LARGE"),
        (Self::NestedTooDeeply, "NESTED_TOO_DEEPLY"),
        (Self::UnstorableText, "UNSTORABLE_TEXT"),
        (Self::NumberOutOfRange, "NUMBER_OUT_OF_RANGE"),
        (Self::TextTooLong, "TEXT_TOO_LONG"),
        (Self::Unreadable, "UNREADABLE"),
    ];

    /// Its name in the database.
    pub fn as_str(self) -> &'static str {
        Self::ALL
            .iter()
            .find(|(reason, _)| *reason == self)
            .map_or("", |(_, name)| name)
    }

    /// The reason of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL
            .iter()
            .find(|(_, known)| *known == name)
            .map(|(reason, _)| *reason)
    }
}

impl std::fmt::Display for RejectionReason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why a row is not stored, and where in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowRejection {
    /// What is wrong.
    pub reason: RejectionReason,
    /// Where: a JSON pointer (RFC 6901), empty for the row as a whole; cut at 500 bytes.
    pub pointer: String,
    /// What is wrong and what would be right, for a person. It never repeats the row's data.
    pub detail: String,
}

impl RowRejection {
    /// A rejection of the row as a whole.
    pub fn of_row(reason: RejectionReason, detail: impl Into<String>) -> Self {
        Self {
            reason,
            pointer: String::new(),
            detail: detail.into(),
        }
    }

    fn of_field(reason: RejectionReason, key: &str, detail: impl Into<String>) -> Self {
        Self {
            reason,
            pointer: format!("/{key}"),
            detail: detail.into(),
        }
    }
}

/// What is known of a row that can be stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValidRow {
    /// Its normalized email.
    pub email: Email,
}

/// The keys whose text reaches an index, of contacts, companies or people, once the row is promoted.
pub const INDEXED_KEYS: [&str; 7] = [
    "company",
    "company_linkedin_url",
    "domain",
    "industry",
    "linkedin_url",
    "name",
    "website",
];

/// Says whether a row can be stored, and its email.
///
/// # Errors
/// The first thing that is wrong with it, in the order: size, encoding, JSON, its values from first to
/// last, the texts of indexes, its email.
pub fn validate(raw: &[u8], limits: &RowLimits) -> Result<ValidRow, RowRejection> {
    let row = parse_json(raw, limits)?;
    let fields = walk::walk_row(row, limits)?;
    for (key, text) in fields.indexed_texts() {
        let bytes = text.len();
        if bytes > limits.max_indexed_text_bytes {
            return Err(RowRejection::of_field(
                RejectionReason::TextTooLong,
                key,
                format!(
                    "the text has {bytes} bytes, at most {} are taken (setting max-indexed-text-bytes)",
                    limits.max_indexed_text_bytes
                ),
            ));
        }
    }
    let email = parse_email(fields.email)?;
    Ok(ValidRow { email })
}

/// Says whether an object can be stored as jsonb, whatever its keys mean.
///
/// # Errors
/// As [`validate`], but for the texts of indexes and the email.
pub fn validate_object(raw: &[u8], limits: &RowLimits) -> Result<(), RowRejection> {
    walk::walk_row(parse_json(raw, limits)?, limits).map(drop)
}

fn parse_json<'row>(raw: &'row [u8], limits: &RowLimits) -> Result<&'row RawValue, RowRejection> {
    if raw.trim_ascii().is_empty() {
        return Err(RowRejection::of_row(
            RejectionReason::EmptyRow,
            "the row is empty, a row is a JSON object",
        ));
    }
    if raw.len() > limits.max_row_bytes {
        return Err(RowRejection::of_row(
            RejectionReason::RowTooLarge,
            format!(
                "the row has {} bytes, at most {} are taken (setting max-row-bytes)",
                raw.len(),
                limits.max_row_bytes
            ),
        ));
    }
    let text = std::str::from_utf8(raw).map_err(|error| {
        RowRejection::of_row(
            RejectionReason::NotUtf8,
            format!("byte {} is not UTF-8", error.valid_up_to()),
        )
    })?;
    serde_json::from_str(text).map_err(|error| {
        RowRejection::of_row(RejectionReason::NotJson, format!("not JSON: {error}"))
    })
}

fn parse_email(value: Option<&RawValue>) -> Result<Email, RowRejection> {
    let missing = || {
        RowRejection::of_field(
            RejectionReason::MissingEmail,
            "email",
            "the row has no email",
        )
    };
    let invalid =
        |detail: String| RowRejection::of_field(RejectionReason::InvalidEmail, "email", detail);
    let raw = value.map(RawValue::get).unwrap_or("null");
    if raw == "null" {
        return Err(missing());
    }
    let sent: String =
        serde_json::from_str(raw).map_err(|_| invalid("an email is a JSON string".to_owned()))?;
    Email::parse(&sent).map_err(|error| match error {
        InvalidEmail::Blank => missing(),
        other => invalid(other.to_string()),
    })
}

#[cfg(test)]
mod tests;
