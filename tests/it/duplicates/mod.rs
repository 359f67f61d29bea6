//! The duplicate window: 30 days from the last accepted row of an email, by the policy of the batch.

mod chunking;
mod window;

use leadvault::proto::intake::v1::{DuplicatePolicy, IngestRowsRequest, bulk_ingest_request::Open};

use crate::harness::{App, evidence, open};

/// Appends rows to a batch in one call; the fates, a letter each.
async fn fates(app: &App, batch_id: &str, policy: DuplicatePolicy, rows: &[String]) -> String {
    let request = IngestRowsRequest {
        batch_id: batch_id.to_owned(),
        source: "feed".into(),
        json_rows: rows.iter().map(|row| row.clone().into()).collect(),
        on_duplicate: policy.into(),
        ..Default::default()
    };
    evidence::outcome_fates(&evidence::ingest(app, request).await.unwrap().outcomes)
}

/// A row of an email with some content.
fn row_with(email: &str, content: &str) -> String {
    format!(r#"{{"email":"{email}","title":"{content}"}}"#)
}

/// `open` of a batch with a policy.
fn open_with(batch_id: &str, policy: DuplicatePolicy) -> Open {
    Open {
        on_duplicate: policy.into(),
        ..open(batch_id, "feed")
    }
}
