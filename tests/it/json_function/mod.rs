//! `intake.f_ingest_json`, as a person at psql calls it.

mod agreement;
mod batch;
mod rows;

use crate::harness::Sql;

/// What one row of the answer says.
#[derive(Debug, PartialEq, Eq)]
struct Answer {
    load_id: Option<i64>,
    status: String,
    message: String,
}

/// Calls the function with named parameters, as the reference prints it.
async fn ingest(sql: &Sql, batch_id: &str, source: &str, rows: &[&str]) -> Vec<Answer> {
    let rows: Vec<String> = rows.iter().map(|&row| row.to_owned()).collect();
    let answers = sql
        .rows(
            "SELECT * FROM intake.f_ingest_json(
                 p_rows := $1::text[]::jsonb[], p_source := $2, p_batch_id := $3)",
            &[&rows, &source, &batch_id],
        )
        .await;
    answers
        .iter()
        .map(|row| Answer {
            load_id: row.get("load_id"),
            status: row.get("status"),
            message: row.get("message"),
        })
        .collect()
}
