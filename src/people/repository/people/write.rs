//! Changes of people: calls of the functions in `migrations/functions/people_writes.sql`.

use std::collections::BTreeMap;

use diesel::{
    QueryableByName, sql_query,
    sql_types::{Array, Bool, Text, Uuid as SqlUuid},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl as _};
use uuid::Uuid;

use super::{Person, columns};
use crate::{domain::Actor, rpc::Error};

/// New values of fields by column; an empty one clears.
pub(in crate::people) type Changes = BTreeMap<&'static str, String>;

/// What a function did to a person.
#[derive(Debug, QueryableByName)]
pub(in crate::people) struct WriteOutcome {
    /// `etag_mismatch`, `no_company`, or what was done.
    #[diesel(sql_type = Text)]
    pub(in crate::people) outcome: String,
    /// As it is now.
    #[diesel(embed)]
    pub(in crate::people) person: Person,
}

/// Changes fields, as an edit that pins them or as an enrichment; `None` where there is no such person.
pub(in crate::people) async fn update_person(
    connection: &mut AsyncPgConnection,
    person_id: Uuid,
    etag: &str,
    changes: &Changes,
    unpin: &[&str],
    enrichment: bool,
    actor: &Actor,
) -> Result<Option<WriteOutcome>, Error> {
    let statement = format!(
        "SELECT u.outcome, {} FROM people.f_update_person($1, $2, $3::jsonb, $4, $5, $6) AS u",
        columns("(u.person)")
    );
    let rows: Vec<WriteOutcome> = sql_query(statement)
        .bind::<SqlUuid, _>(person_id)
        .bind::<Text, _>(etag)
        .bind::<Text, _>(serde_json::to_string(changes).map_err(Error::internal)?)
        .bind::<Array<Text>, _>(unpin)
        .bind::<Bool, _>(enrichment)
        .bind::<Text, _>(actor.as_str())
        .get_results(connection)
        .await?;
    Ok(rows.into_iter().next())
}

/// Sets a person to inactive; `None` where there is no such person.
pub(in crate::people) async fn archive_person(
    connection: &mut AsyncPgConnection,
    person_id: Uuid,
    etag: &str,
    actor: &Actor,
) -> Result<Option<WriteOutcome>, Error> {
    let statement = format!(
        "SELECT a.outcome, {} FROM people.f_archive_person($1, $2, $3) AS a",
        columns("(a.person)")
    );
    let rows: Vec<WriteOutcome> = sql_query(statement)
        .bind::<SqlUuid, _>(person_id)
        .bind::<Text, _>(etag)
        .bind::<Text, _>(actor.as_str())
        .get_results(connection)
        .await?;
    Ok(rows.into_iter().next())
}
