//! `PromoteContacts`: pending loads become contacts, by the rules of the design.

mod chunks;
mod consent;
mod failing;
mod fields;
mod hostile;
mod merging;
mod trace;
mod two_at_once;

use leadvault::proto::{
    intake::v1::{DuplicatePolicy, IngestRowsRequest},
    vault::v1::{PromoteContactsRequest, PromoteContactsResponse},
};
use serde_json::Value;

use crate::harness::{App, Sql};

/// Promotes, and returns the last message.
async fn promote(app: &App, request: PromoteContactsRequest) -> PromoteContactsResponse {
    let mut client = app.vault().await;
    let mut stream = client.promote_contacts(request).await.unwrap().into_inner();
    let mut last = None;
    while let Some(message) = stream.message().await.unwrap() {
        last = Some(message);
    }
    let last = last.unwrap();
    assert!(last.finished);
    last
}

/// Promotes all that is pending; promoted, updated, unchanged, failed.
async fn promote_all(app: &App) -> [i64; 4] {
    counts(&promote(app, PromoteContactsRequest::default()).await)
}

/// Promotes loads in a chunk of their own.
async fn promote_loads(app: &App, load_ids: &[i64]) -> [i64; 4] {
    let request = PromoteContactsRequest {
        load_ids: load_ids.to_vec(),
        ..Default::default()
    };
    counts(&promote(app, request).await)
}

fn counts(message: &PromoteContactsResponse) -> [i64; 4] {
    let counts = [
        message.promoted,
        message.updated,
        message.unchanged,
        message.failed,
    ];
    assert_eq!(message.done, counts.iter().sum::<i64>());
    counts
}

/// Ingests rows of which each is accepted, whatever came before; the loads.
async fn ingest(app: &App, source: &str, rows: &[Value]) -> Vec<i64> {
    let request = IngestRowsRequest {
        batch_id: format!("accept-{source}"),
        source: source.to_owned(),
        json_rows: rows.iter().map(|row| row.to_string().into()).collect(),
        on_duplicate: DuplicatePolicy::AcceptChanged.into(),
        ..Default::default()
    };
    let response = app.intake().await.ingest_rows(request).await.unwrap();
    let response = response.into_inner();
    assert_eq!(response.tally.unwrap().accepted, rows.len() as i64);
    let outcomes = response.outcomes.into_iter();
    outcomes.map(|outcome| outcome.load_id).collect()
}

/// Ingests one row, and promotes it.
async fn bring(app: &App, source: &str, row: Value) -> [i64; 4] {
    let loads = ingest(app, source, &[row]).await;
    promote_loads(app, &loads).await
}

/// A contact's whole row.
async fn contact(sql: &Sql, email: &str) -> Value {
    let text: String = sql
        .one(
            "SELECT to_jsonb(c)::text FROM vault.contacts AS c WHERE email = $1",
            &[&email],
        )
        .await;
    serde_json::from_str(&text).unwrap()
}

/// The audit rows of promotion: action, load, details.
async fn audit(sql: &Sql) -> Vec<(String, i64, Value)> {
    let rows = sql
        .rows(
            "SELECT action, load_id, details::text FROM intake.audit_log
             WHERE action <> 'contact_ingested' AND load_id IS NOT NULL ORDER BY log_id",
            &[],
        )
        .await;
    let entries = rows.iter().map(|row| {
        let details = serde_json::from_str(row.get(2)).unwrap();
        (row.get(0), row.get(1), details)
    });
    entries.collect()
}

/// The status of a load.
async fn status(sql: &Sql, load_id: i64) -> String {
    sql.one(
        "SELECT status FROM intake.raw_loads WHERE load_id = $1",
        &[&load_id],
    )
    .await
}
