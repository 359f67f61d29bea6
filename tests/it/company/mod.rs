//! Companies: staged, promoted, read, changed, and their history.

mod bad_rows;
mod from_vault;
mod history;
mod large_rows;
mod linking;
mod listing;
mod promoting;
mod reading;
mod staging;
mod updating;
mod versions;

use leadvault::proto::{
    company::v1::{
        Company, CompanyKey, CompanySlot, GetCompanyRequest, ListCompanyHistoryRequest,
        ListCompanySlotsRequest, PromoteCompaniesRequest, PromoteCompaniesResponse,
        StageCompaniesRequest, StageCompaniesResponse, company_key::Key,
    },
    r#type::v1::{HistoryEntry, StageOutcome, stage_outcome::Result as Outcome},
};
use serde_json::Value;
use tonic::Status;

use crate::harness::{App, Sql};

/// A request that stages rows of a source in a batch.
fn rows(batch_id: &str, source: &str, rows: &[impl AsRef<[u8]>]) -> StageCompaniesRequest {
    StageCompaniesRequest {
        batch_id: batch_id.to_owned(),
        source: source.to_owned(),
        json_rows: rows
            .iter()
            .map(|row| row.as_ref().to_vec().into())
            .collect(),
        ..Default::default()
    }
}

async fn try_stage(
    app: &App,
    request: StageCompaniesRequest,
) -> Result<StageCompaniesResponse, Status> {
    let response = app.company().await.stage_companies(request).await?;
    let response = response.into_inner();
    let tally = response.tally.unwrap();
    assert_eq!(
        tally.received,
        tally.staged + tally.unchanged + tally.rejected
    );
    assert_eq!(tally.received, response.outcomes.len() as i64);
    Ok(response)
}

/// Stages rows; the outcomes, a letter each: `s`taged, `u`nchanged, `r`ejected.
async fn stage(app: &App, source: &str, values: &[Value]) -> String {
    let texts: Vec<String> = values.iter().map(Value::to_string).collect();
    let request = rows(&format!("b-{source}"), source, &texts);
    letters(&try_stage(app, request).await.unwrap().outcomes)
}

fn letters(outcomes: &[StageOutcome]) -> String {
    let letter = |outcome: &StageOutcome| match outcome.result() {
        Outcome::Staged => 's',
        Outcome::Unchanged => 'u',
        Outcome::Rejected => 'r',
        Outcome::Unspecified => '?',
    };
    outcomes.iter().map(letter).collect()
}

async fn promote(app: &App, request: PromoteCompaniesRequest) -> PromoteCompaniesResponse {
    let mut client = app.company().await;
    let mut stream = client
        .promote_companies(request)
        .await
        .unwrap()
        .into_inner();
    let mut last = None;
    while let Some(message) = stream.message().await.unwrap() {
        last = Some(message);
    }
    let last: PromoteCompaniesResponse = last.unwrap();
    assert!(last.finished);
    assert_eq!(
        last.done,
        last.promoted + last.updated + last.unchanged + last.rejected
    );
    last
}

/// Promotes all that is pending: promoted, updated, unchanged, rejected.
async fn promote_all(app: &App) -> [i64; 4] {
    let done = promote(app, PromoteCompaniesRequest::default()).await;
    [done.promoted, done.updated, done.unchanged, done.rejected]
}

/// Stages one row, and promotes it.
async fn bring(app: &App, source: &str, row: Value) -> [i64; 4] {
    assert_eq!(stage(app, source, &[row]).await, "s");
    promote_all(app).await
}

fn by_domain(domain: &str) -> Option<CompanyKey> {
    Some(CompanyKey {
        key: Some(Key::Domain(domain.to_owned())),
    })
}

fn by_id(id: &str) -> Option<CompanyKey> {
    Some(CompanyKey {
        key: Some(Key::CompanyId(id.to_owned())),
    })
}

async fn get(app: &App, domain: &str) -> Company {
    let request = GetCompanyRequest {
        key: by_domain(domain),
        as_of: None,
    };
    let response = app.company().await.get_company(request).await.unwrap();
    response.into_inner().company.unwrap()
}

/// Every slot that a request finds.
async fn slots(app: &App, mut request: ListCompanySlotsRequest) -> Vec<CompanySlot> {
    let mut client = app.company().await;
    let mut slots = Vec::new();
    loop {
        let page = client.list_company_slots(request.clone()).await.unwrap();
        let page = page.into_inner();
        slots.extend(page.slots);
        if page.next_page_token.is_empty() {
            return slots;
        }
        request.page_token = page.next_page_token;
    }
}

/// The whole history of a company.
async fn history(app: &App, domain: &str) -> Vec<HistoryEntry> {
    let request = ListCompanyHistoryRequest {
        key: by_domain(domain),
        page_size: 1_000,
        ..Default::default()
    };
    let response = app.company().await.list_company_history(request).await;
    response.unwrap().into_inner().entries
}

/// What must not move when nothing is written: the versions of the companies, and the length of their history.
async fn writes(sql: &Sql) -> (String, i64) {
    let versions = sql
        .one(
            "SELECT coalesce(string_agg(xmin::text || updated_at::text, ',' ORDER BY id), '')
             FROM company.master",
            &[],
        )
        .await;
    let entries = sql.one("SELECT count(*) FROM company.history", &[]).await;
    (versions, entries)
}
