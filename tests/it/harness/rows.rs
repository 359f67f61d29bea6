//! Rows to send.

use leadvault::proto::intake::v1::bulk_ingest_request::{Row, row};

/// A row with nothing but an email.
pub(crate) fn row(email: &str) -> String {
    format!(r#"{{"email":"{email}"}}"#)
}

/// Rows with emails of their own: `p<n>@x.example`.
pub(crate) fn people(numbers: std::ops::Range<usize>) -> Vec<String> {
    numbers
        .map(|number| row(&format!("p{number}@x.example")))
        .collect()
}

/// A row of a `rows` message.
pub(crate) fn json(text: impl AsRef<[u8]>) -> Row {
    Row {
        row: Some(row::Row::Json(text.as_ref().to_vec().into())),
    }
}
