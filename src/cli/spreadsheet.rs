//! What spreadsheets do to CSV.

use std::borrow::Cow;

/// A cell of text that no spreadsheet takes for a formula, unless `raw`: anyone can write one into a form, and
/// whoever opens the file would run it. The sign before it is what OWASP advises.
pub(crate) fn cell(text: &str, raw: bool) -> Cow<'_, str> {
    if !raw && text.starts_with(['=', '+', '-', '@', '\t', '\r']) {
        Cow::Owned(format!("'{text}"))
    } else {
        Cow::Borrowed(text)
    }
}
