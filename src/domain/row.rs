//! A row: one JSON object that PostgreSQL can store, print and promote.
//!
//! [`validate`] finds per row whatever PostgreSQL would refuse, at once or later, so that one bad row never
//! fails the chunk it came in. It reads the row's own text and changes nothing: what is stored is what was
//! sent. Memory does not grow with the row, time grows with its size times its depth, which are both
//! limited.

mod walk;

pub use walk::Fields;

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
    /// Of a company: neither `domain` nor `website`.
    MissingDomain,
    /// Of a company: a `domain` or `website` without a host name.
    InvalidDomain,
}

impl RejectionReason {
    /// Every reason with its name.
    pub const ALL: [(Self, &'static str); 14] = [
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
        (Self::MissingDomain, "MISSING_DOMAIN"),
        (Self::InvalidDomain, "INVALID_DOMAIN"),
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

    /// A rejection for one of its fields.
    pub fn of_field(reason: RejectionReason, key: &str, detail: impl Into<String>) -> Self {
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

/// The keys of a row that intake looks at: the email, and those whose text reaches an index, of contacts,
/// companies or people, once the row is promoted. Sorted.
pub const INTAKE_KEYS: [&str; 8] = [
    "company",
    "company_linkedin_url",
    "domain",
    EMAIL_KEY,
    "industry",
    "linkedin_url",
    "name",
    "website",
];
/// The key of the email, which has a limit of its own.
const EMAIL_KEY: &str = "email";

/// Says whether a row can be stored, and its email.
///
/// # Errors
/// The first thing that is wrong with it, in the order: size, encoding, JSON, its values from first to
/// last, the texts of indexes, its email.
pub fn validate(raw: &[u8], limits: &RowLimits) -> Result<ValidRow, RowRejection> {
    let fields = walk::walk_row(parse_json(raw, limits)?, limits, &INTAKE_KEYS)?;
    fields.check_indexed_texts(&[EMAIL_KEY], limits)?;
    let email = parse_email(fields.get(EMAIL_KEY))?;
    Ok(ValidRow { email })
}

/// Says whether a row can be staged, and what stands under `keys`, which must be sorted. Texts under them
/// reach an index, but for those under `unindexed`.
///
/// # Errors
/// As [`validate`], but for the email, which is the caller's to read.
pub fn validate_keys<'row, const N: usize>(
    raw: &'row [u8],
    limits: &RowLimits,
    keys: &'static [&'static str; N],
    unindexed: &[&str],
) -> Result<Fields<'row, N>, RowRejection> {
    let fields = walk::walk_row(parse_json(raw, limits)?, limits, keys)?;
    fields.check_indexed_texts(unindexed, limits)?;
    Ok(fields)
}

/// Says whether an object can be stored as jsonb, whatever its keys mean.
///
/// # Errors
/// As [`validate`], but for the texts of indexes and the email.
pub fn validate_object(raw: &[u8], limits: &RowLimits) -> Result<(), RowRejection> {
    walk::walk_row(parse_json(raw, limits)?, limits, &[]).map(drop)
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

/// The email of a row.
///
/// # Errors
/// [`RejectionReason::MissingEmail`] or [`RejectionReason::InvalidEmail`].
pub fn parse_email(value: Option<&RawValue>) -> Result<Email, RowRejection> {
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
