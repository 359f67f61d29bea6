//! Changes of companies.

use std::collections::BTreeMap;

use diesel::{
    QueryableByName, sql_query,
    sql_types::{Array, Bool, Text, Uuid as SqlUuid},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl as _};
use uuid::Uuid;

use super::{StoredCompany, columns};
use crate::{domain::Actor, rpc::Error};

/// New values of columns, numbers as their texts; `None` clears.
pub(in crate::company) type Changes = BTreeMap<&'static str, Option<String>>;

/// A change, as it was asked for.
#[derive(Debug)]
pub(in crate::company) struct Update {
    pub(in crate::company) id: Uuid,
    pub(in crate::company) etag: String,
    pub(in crate::company) changes: Changes,
    pub(in crate::company) unpin: Vec<&'static str>,
    pub(in crate::company) enrichment: bool,
}

/// What a function did to a company.
#[derive(Debug, QueryableByName)]
pub(in crate::company) struct WriteOutcome {
    /// `etag_mismatch`, or what was done.
    #[diesel(sql_type = Text)]
    pub(in crate::company) outcome: String,
    /// As it is now.
    #[diesel(embed)]
    pub(in crate::company) company: StoredCompany,
}

/// Changes fields, and pins them or enriches; `None` where there is no such company.
pub(in crate::company) async fn update(
    connection: &mut AsyncPgConnection,
    update: &Update,
    actor: &Actor,
) -> Result<Option<WriteOutcome>, Error> {
    let statement = format!(
        "SELECT u.outcome, {} FROM company.f_update_company($1, $2, $3::jsonb, $4, $5, $6) AS u",
        columns("(u.golden)")
    );
    let rows: Vec<WriteOutcome> = sql_query(statement)
        .bind::<SqlUuid, _>(update.id)
        .bind::<Text, _>(&update.etag)
        .bind::<Text, _>(serde_json::to_string(&update.changes).map_err(Error::internal)?)
        .bind::<Array<Text>, _>(&update.unpin)
        .bind::<Bool, _>(update.enrichment)
        .bind::<Text, _>(actor.as_str())
        .get_results(connection)
        .await?;
    Ok(rows.into_iter().next())
}

/// Sets a company to archived; `None` where there is no such company.
pub(in crate::company) async fn archive(
    connection: &mut AsyncPgConnection,
    id: Uuid,
    etag: &str,
    actor: &Actor,
) -> Result<Option<WriteOutcome>, Error> {
    let statement = format!(
        "SELECT a.outcome, {} FROM company.f_archive_company($1, $2, $3) AS a",
        columns("(a.golden)")
    );
    let rows: Vec<WriteOutcome> = sql_query(statement)
        .bind::<SqlUuid, _>(id)
        .bind::<Text, _>(etag)
        .bind::<Text, _>(actor.as_str())
        .get_results(connection)
        .await?;
    Ok(rows.into_iter().next())
}
