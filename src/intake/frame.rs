//! A frame: the rows of one message, within its limits.

use super::{
    chunk::{SentRow, split_ndjson},
    convert,
};
use crate::{proto::intake::v1::bulk_ingest_request as request, rpc::Error};

/// The rows of a message, within its limits.
pub(super) fn sent_rows(
    rows: request::Rows,
    max_rows: usize,
    max_bytes: usize,
) -> Result<Vec<SentRow>, Error> {
    if !rows.rows.is_empty() && !rows.ndjson.is_empty() {
        return Err(Error::invalid(
            "rows",
            "give either rows or ndjson, not both",
        ));
    }
    let lines = memchr::memchr_iter(b'\n', &rows.ndjson).count()
        + usize::from(!rows.ndjson.is_empty() && !rows.ndjson.ends_with(b"\n"));
    let bytes = rows.ndjson.len() + rows.rows.iter().map(row_bytes).sum::<usize>();
    within("rows", rows.rows.len() + lines, max_rows, "max-frame-rows")?;
    within("bytes of rows", bytes, max_bytes, "max-frame-bytes")?;
    if lines > 0 {
        return Ok(split_ndjson(&rows.ndjson).map(SentRow::Json).collect());
    }
    rows.rows.into_iter().map(convert::sent_row).collect()
}

fn row_bytes(row: &request::Row) -> usize {
    match &row.row {
        Some(request::row::Row::Json(text)) => text.len(),
        Some(request::row::Row::Oversize(row)) => row.head.len(),
        Some(request::row::Row::Unreadable(row)) => row.original.len(),
        None => 0,
    }
}

/// Refuses what is past a limit.
pub(super) fn within(
    what: &'static str,
    actual: usize,
    limit: usize,
    setting: &'static str,
) -> Result<(), Error> {
    if actual <= limit {
        return Ok(());
    }
    Err(Error::LimitExceeded {
        what,
        limit,
        actual,
        setting: Some(setting),
    })
}
