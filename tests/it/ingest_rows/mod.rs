//! `IngestRows`: a few rows in one call, for people and small callers.

mod outcomes;
mod refusals;
mod request_id;

use leadvault::proto::intake::v1::{IngestRowsRequest, IngestRowsResponse};

use crate::harness::evidence;

const REQUEST_ID: &str = "0197a5e2-6f0c-7000-8000-000000000001";

fn call(rows: &[impl AsRef<str>]) -> IngestRowsRequest {
    IngestRowsRequest {
        batch_id: "b".into(),
        source: "manual".into(),
        json_rows: rows
            .iter()
            .map(|row| row.as_ref().to_owned().into())
            .collect(),
        ..Default::default()
    }
}

/// Fates, a letter each.
fn fates(response: &IngestRowsResponse) -> String {
    evidence::outcome_fates(&response.outcomes)
}
