//! The ledger of suppressions: who is not to be contacted, and what that does to contacts.

mod checking;
mod command;
mod consent;
mod entering;
mod lifting;
mod lifting_again;
mod listing;
mod own_status;
mod races;

use std::collections::BTreeMap;

use leadvault::proto::vault::v1::{
    Channel, SuppressContactsRequest, SuppressContactsResponse, SuppressionReason,
    UnsuppressContactRequest, UnsuppressContactResponse, suppress_contacts_request::Entry,
    suppress_contacts_response::outcome::Result as Outcome,
    vault_service_client::VaultServiceClient,
};
use tonic::{Response, Status, transport};

use crate::harness::{App, Sql};

async fn vault(app: &App) -> VaultServiceClient<transport::Channel> {
    VaultServiceClient::new(app.channel().await)
}

/// An entry for all channels.
fn entry(email: &str, reason: SuppressionReason) -> Entry {
    scoped(email, Channel::All, reason)
}

fn scoped(email: &str, scope: Channel, reason: SuppressionReason) -> Entry {
    Entry {
        email: email.to_owned(),
        scope: scope.into(),
        reason: reason.into(),
        evidence: "said so".to_owned(),
    }
}

fn call(entries: Vec<Entry>) -> SuppressContactsRequest {
    SuppressContactsRequest {
        entries,
        request_id: String::new(),
    }
}

/// Suppresses, which must be taken.
async fn suppress(app: &App, entries: Vec<Entry>) -> SuppressContactsResponse {
    let answer = vault(app).await.suppress_contacts(call(entries)).await;
    answer.unwrap().into_inner()
}

async fn lift(
    app: &App,
    email: &str,
    scope: Channel,
    evidence: &str,
) -> Result<Response<UnsuppressContactResponse>, Status> {
    let request = UnsuppressContactRequest {
        email: email.to_owned(),
        scope: scope.into(),
        evidence: evidence.to_owned(),
        request_id: String::new(),
    };
    vault(app).await.unsuppress_contact(request).await
}

/// Outcomes, a letter each: `s`uppressed, `a`lready suppressed, `i`nvalid.
fn letters(response: &SuppressContactsResponse) -> String {
    let outcomes = response.outcomes.iter();
    outcomes
        .map(|outcome| match outcome.result() {
            Outcome::Suppressed => 's',
            Outcome::AlreadySuppressed => 'a',
            Outcome::InvalidEmail => 'i',
            Outcome::Unspecified => '?',
        })
        .collect()
}

/// Ingests rows with these emails and promotes everything that is pending.
async fn arrive(app: &App, batch_id: &str, emails: &[&str]) {
    app.ingest_emails(batch_id, "apollo", emails).await;
    promote(&app.sql().await).await;
}

async fn promote(sql: &Sql) {
    sql.rows("SELECT * FROM vault.f_promote_contacts()", &[])
        .await;
}

async fn status(sql: &Sql, email: &str) -> String {
    sql.one(
        "SELECT status FROM vault.contacts WHERE email = $1",
        &[&email],
    )
    .await
}

/// Every row that a suppression may touch, whole.
async fn contents(sql: &Sql) -> BTreeMap<&'static str, Vec<String>> {
    let mut contents = BTreeMap::new();
    for table in [
        "vault.suppressions",
        "vault.contacts",
        "people.master",
        "people.history",
        "intake.audit_log",
        "intake.request_answers",
        "(SELECT last_value, is_called FROM vault.suppressions_suppression_id_seq)",
    ] {
        let query = format!("SELECT t::text AS row FROM {table} AS t ORDER BY row");
        let rows = sql.rows(&query, &[]).await;
        contents.insert(table, rows.iter().map(|row| row.get(0)).collect());
    }
    contents
}

/// The audit rows with an action, as `contact email: details` without actor and ids.
async fn audit(sql: &Sql, action: &str) -> Vec<String> {
    let rows = sql
        .rows(
            "SELECT format('%s %s', coalesce(c.email, '-'),
                           a.details - 'actor' - 'suppression_id' - 'person_id')
             FROM intake.audit_log AS a LEFT JOIN vault.contacts AS c USING (contact_id)
             WHERE a.action = $1 AND a.details ->> 'actor' = 'anonymous'
             ORDER BY a.log_id",
            &[&action],
        )
        .await;
    rows.iter().map(|row| row.get(0)).collect()
}
