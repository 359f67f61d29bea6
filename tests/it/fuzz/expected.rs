//! What must become of a row, by the rules of `domain` and by a second reading of its text.

use std::collections::BTreeMap;

use leadvault::domain::{
    Email,
    row::{RejectionReason as Reason, RowLimits, RowRejection, validate},
};
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

/// The email of a row that is stored, or why it is not.
pub(super) type Expected = Result<Email, RowRejection>;

/// The verdict of the rules, held against what a plain parser says of the same bytes.
pub(super) fn expected(row: &[u8]) -> Expected {
    let verdict = validate(row, &RowLimits::default()).map(|row| row.email);
    let text = std::str::from_utf8(row);
    let agrees = match verdict.as_ref().map_err(|rejection| rejection.reason) {
        Ok(email) => is_email_of(email, row),
        Err(Reason::EmptyRow) => row.trim_ascii().is_empty(),
        Err(Reason::NotUtf8) => text.is_err(),
        Err(Reason::RowTooLarge) => row.len() > 2_000,
        Err(Reason::NotJson) => serde_json::from_slice::<IgnoredAny>(row).is_err(),
        Err(Reason::NotAnObject) => !row.trim_ascii_start().starts_with(b"{"),
        Err(_) => row.trim_ascii_start().starts_with(b"{"),
    };
    assert!(agrees, "{verdict:?} of {}", row.escape_ascii());
    verdict
}

/// Numbers stay text here: a plain parser refuses some that PostgreSQL takes.
fn is_email_of(email: &Email, row: &[u8]) -> bool {
    let fields = serde_json::from_slice::<BTreeMap<String, &RawValue>>(row).unwrap();
    let sent = fields.get("email").map(|email| email.get());
    let sent = sent.and_then(|sent| serde_json::from_str::<String>(sent).ok());
    sent.is_some_and(|sent| Email::parse(&sent).as_ref() == Ok(email))
}
