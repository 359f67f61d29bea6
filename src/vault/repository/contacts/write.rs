//! Changes of contacts: calls of the functions in `migrations/functions/vault_contacts.sql`.

use std::collections::BTreeMap;

use diesel::{
    QueryableByName, sql_query,
    sql_types::{Array, BigInt, Text},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl as _};
use serde_json::value::RawValue;

use super::{Contact, columns};
use crate::{
    domain::{Actor, Score},
    rpc::Error,
};

/// New values of fields by column, as JSON: `custom_fields` goes in exactly as it was sent.
pub(in crate::vault) type Changes = BTreeMap<&'static str, Box<RawValue>>;

/// What a function did to a contact.
#[derive(Debug, QueryableByName)]
pub(in crate::vault) struct WriteOutcome {
    /// `etag_mismatch`, or what was done.
    #[diesel(sql_type = Text)]
    pub(in crate::vault) outcome: String,
    /// As it is now.
    #[diesel(embed)]
    pub(in crate::vault) contact: Contact,
}

/// Changes and pins fields; `None` where there is no such contact.
pub(in crate::vault) async fn update_contact(
    connection: &mut AsyncPgConnection,
    contact_id: i64,
    etag: &str,
    changes: &Changes,
    unpin: &[&str],
    actor: &Actor,
) -> Result<Option<WriteOutcome>, Error> {
    let statement = format!(
        "SELECT u.outcome, {} FROM vault.f_update_contact($1, $2, $3::jsonb, $4, $5) AS u",
        columns("(u.contact)")
    );
    let rows: Vec<WriteOutcome> = sql_query(statement)
        .bind::<BigInt, _>(contact_id)
        .bind::<Text, _>(etag)
        .bind::<Text, _>(serde_json::to_string(changes).map_err(Error::internal)?)
        .bind::<Array<Text>, _>(unpin)
        .bind::<Text, _>(actor.as_str())
        .get_results(connection)
        .await?;
    Ok(rows.into_iter().next())
}

/// Sets a contact to inactive; `None` where there is no such contact.
pub(in crate::vault) async fn delete_contact(
    connection: &mut AsyncPgConnection,
    contact_id: i64,
    etag: &str,
    actor: &Actor,
) -> Result<Option<WriteOutcome>, Error> {
    let statement = format!(
        "SELECT d.outcome, {} FROM vault.f_delete_contact($1, $2, $3) AS d",
        columns("(d.contact)")
    );
    let rows: Vec<WriteOutcome> = sql_query(statement)
        .bind::<BigInt, _>(contact_id)
        .bind::<Text, _>(etag)
        .bind::<Text, _>(actor.as_str())
        .get_results(connection)
        .await?;
    Ok(rows.into_iter().next())
}

/// A score to be set.
#[derive(Debug)]
pub(in crate::vault) struct NewScore {
    pub(in crate::vault) contact_id: i64,
    pub(in crate::vault) score: Score,
    /// Why, for the audit trail.
    pub(in crate::vault) reason: String,
}

#[derive(QueryableByName)]
struct OutcomeRow {
    #[diesel(sql_type = Text)]
    outcome: String,
}

/// Sets scores, each of another contact; one outcome each, in order.
pub(in crate::vault) async fn score_contacts(
    connection: &mut AsyncPgConnection,
    scores: &[NewScore],
    actor: &Actor,
) -> Result<Vec<String>, Error> {
    let ids: Vec<i64> = scores.iter().map(|new| new.contact_id).collect();
    let values: Vec<String> = scores.iter().map(|new| new.score.to_string()).collect();
    let reasons: Vec<&str> = scores.iter().map(|new| new.reason.as_str()).collect();
    let rows: Vec<OutcomeRow> =
        sql_query("SELECT outcome FROM vault.f_score_contacts($1, $2::numeric[], $3, $4)")
            .bind::<Array<BigInt>, _>(ids)
            .bind::<Array<Text>, _>(values)
            .bind::<Array<Text>, _>(reasons)
            .bind::<Text, _>(actor.as_str())
            .get_results(connection)
            .await?;
    Ok(rows.into_iter().map(|row| row.outcome).collect())
}
