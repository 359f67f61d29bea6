//! How every command says its result: a table for people, one line of JSON for programs.

use comfy_table::{CellAlignment, Table, presets};
use indicatif::HumanCount;
use serde::Serialize;

/// How results are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum OutputFormat {
    /// A table for people
    Text,
    /// One JSON object for programs
    Json,
}

/// A value as one line of JSON.
pub(crate) fn json_line(value: &impl Serialize) -> String {
    // Numbers and strings always have a JSON text.
    let mut line = serde_json::to_string(value).unwrap_or_default();
    line.push('\n');
    line
}

/// A table with numbers to the right.
pub(crate) fn new_table<'a>(header: impl AsRef<[&'a str]>) -> Table {
    let header = header.as_ref();
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED);
    table.set_header(header.iter().copied());
    for index in 1..header.len() {
        if let Some(column) = table.column_mut(index) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

/// A number with its thousands apart.
pub(crate) fn count(number: u64) -> String {
    HumanCount(number).to_string()
}

/// A call of the service, to be pasted into a shell.
pub(crate) fn grpcurl(endpoint: &str, request: &serde_json::Value, method: &str) -> String {
    let address = endpoint.strip_prefix("http://").unwrap_or(endpoint);
    format!(
        "grpcurl -plaintext -d '{}' {} {method}",
        request.to_string().replace('\'', r"'\''"),
        address.trim_end_matches('/')
    )
}
