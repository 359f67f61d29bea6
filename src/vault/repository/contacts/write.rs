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
#[derive(Debug)]
pub(in crate::vault) enum WriteOutcome {
    /// It is as the caller wants it, whether or not that took a change.
    Done(Contact),
    /// It changed since the caller read it, so that nothing was done; this is how it is now.
    EtagMismatch(Contact),
}

#[derive(QueryableByName)]
struct WriteRow {
    #[diesel(sql_type = Text)]
    outcome: String,
    #[diesel(embed)]
    contact: Contact,
}

impl TryFrom<WriteRow> for WriteOutcome {
    type Error = Error;

    fn try_from(row: WriteRow) -> Result<Self, Error> {
        match row.outcome.as_str() {
            "updated" | "deleted" | "unchanged" => Ok(Self::Done(row.contact)),
            "etag_mismatch" => Ok(Self::EtagMismatch(row.contact)),
            other => Err(Error::internal(format!("a write of a contact: {other}"))),
        }
    }
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
    let rows: Vec<WriteRow> = sql_query(statement)
        .bind::<BigInt, _>(contact_id)
        .bind::<Text, _>(etag)
        .bind::<Text, _>(serde_json::to_string(changes).map_err(Error::internal)?)
        .bind::<Array<Text>, _>(unpin)
        .bind::<Text, _>(actor.as_str())
        .get_results(connection)
        .await?;
    rows.into_iter().next().map(TryFrom::try_from).transpose()
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
    let rows: Vec<WriteRow> = sql_query(statement)
        .bind::<BigInt, _>(contact_id)
        .bind::<Text, _>(etag)
        .bind::<Text, _>(actor.as_str())
        .get_results(connection)
        .await?;
    rows.into_iter().next().map(TryFrom::try_from).transpose()
}

/// A score to be set.
#[derive(Debug)]
pub(in crate::vault) struct NewScore {
    pub(in crate::vault) contact_id: i64,
    pub(in crate::vault) score: Score,
    /// Why, for the audit trail.
    pub(in crate::vault) reason: String,
}

/// What became of a score.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::vault) enum ScoreOutcome {
    /// It was set.
    Scored,
    /// The contact had it.
    Unchanged,
    /// There is no such contact.
    NotFound,
}

impl ScoreOutcome {
    fn of(name: &str) -> Result<Self, Error> {
        match name {
            "scored" => Ok(Self::Scored),
            "unchanged" => Ok(Self::Unchanged),
            "not_found" => Ok(Self::NotFound),
            other => Err(Error::internal(format!("f_score_contacts: {other}"))),
        }
    }
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
) -> Result<Vec<ScoreOutcome>, Error> {
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
    let outcomes = rows.iter().map(|row| ScoreOutcome::of(&row.outcome));
    outcomes.collect()
}
