//! One company, as it is or was, and many by their keys.

use std::sync::LazyLock;

use chrono::{DateTime, Utc};
use diesel::{
    pg::Pg,
    query_builder::{AstPass, Query, QueryFragment, QueryId},
    result::QueryResult,
    sql_query,
    sql_types::{Array, Text, Timestamptz, Untyped, Uuid as SqlUuid},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl as _};
use uuid::Uuid;

use super::{StoredCompany, columns};
use crate::{domain::WebDomain, rpc::Error};

/// What names a company.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::company) enum CompanyKey {
    /// Its id.
    Id(Uuid),
    /// Its domain.
    Domain(WebDomain),
}

static SELECT: LazyLock<String> =
    LazyLock::new(|| format!("SELECT {} FROM company.master AS c", columns("c")));

/// The statement of a point read. Not an `sql_query`, which is prepared anew for each call and so takes two
/// round trips: this one stays prepared on its connection.
#[derive(Debug)]
struct PointRead<'key>(&'key CompanyKey);

impl QueryFragment<Pg> for PointRead<'_> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql(&SELECT);
        match self.0 {
            CompanyKey::Id(id) => {
                out.push_sql(" WHERE c.id = ");
                out.push_bind_param::<SqlUuid, _>(id)
            }
            CompanyKey::Domain(domain) => {
                out.push_sql(" WHERE c.domain = ");
                out.push_bind_param::<Text, _>(domain.as_str())
            }
        }
    }
}

impl QueryId for PointRead<'_> {
    // The connection keeps it by its text.
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl Query for PointRead<'_> {
    type SqlType = Untyped;
}

/// One company.
pub(in crate::company) async fn get(
    connection: &mut AsyncPgConnection,
    key: &CompanyKey,
) -> Result<Option<StoredCompany>, Error> {
    let companies: Vec<StoredCompany> = PointRead(key).load(connection).await?;
    Ok(companies.into_iter().next())
}

/// One company as it was at a time; its etag means nothing.
pub(in crate::company) async fn get_as_of(
    connection: &mut AsyncPgConnection,
    id: Uuid,
    at: DateTime<Utc>,
) -> Result<Option<StoredCompany>, Error> {
    let statement = format!(
        "SELECT {} FROM company.f_company_as_of($1, $2) AS c",
        columns("c")
    );
    let companies: Vec<StoredCompany> = sql_query(statement)
        .bind::<SqlUuid, _>(id)
        .bind::<Timestamptz, _>(at)
        .get_results(connection)
        .await?;
    Ok(companies.into_iter().next())
}

/// The companies that have one of these keys, in no order.
pub(in crate::company) async fn find(
    connection: &mut AsyncPgConnection,
    keys: &[CompanyKey],
) -> Result<Vec<StoredCompany>, Error> {
    let (mut ids, mut domains) = (Vec::new(), Vec::new());
    for key in keys {
        match key {
            CompanyKey::Id(id) => ids.push(*id),
            CompanyKey::Domain(domain) => domains.push(domain.as_str()),
        }
    }
    let statement = format!("{} WHERE c.id = ANY ($1) OR c.domain = ANY ($2)", *SELECT);
    Ok(sql_query(statement)
        .bind::<Array<SqlUuid>, _>(ids)
        .bind::<Array<Text>, _>(domains)
        .get_results(connection)
        .await?)
}
