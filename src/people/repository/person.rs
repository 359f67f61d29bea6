//! People as the queue hands them out, and who has a key.

use chrono::{DateTime, Utc};
use diesel::{
    QueryableByName, sql_query,
    sql_types::{Array, Nullable, Text, Timestamptz, Uuid as SqlUuid},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl as _};
use uuid::Uuid;

use crate::rpc::Error;

/// A person.
#[derive(Debug, QueryableByName)]
pub(in crate::people) struct Person {
    #[diesel(sql_type = SqlUuid)]
    pub(in crate::people) id: Uuid,
    #[diesel(sql_type = Text)]
    pub(in crate::people) email: String,
    #[diesel(sql_type = Nullable<Text>)]
    pub(in crate::people) name: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    pub(in crate::people) first_name: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    pub(in crate::people) last_name: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    pub(in crate::people) title: Option<String>,
    #[diesel(sql_type = Nullable<SqlUuid>)]
    pub(in crate::people) company_id: Option<Uuid>,
    #[diesel(sql_type = Nullable<Text>)]
    pub(in crate::people) linkedin_url: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    pub(in crate::people) phone: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    pub(in crate::people) location: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    pub(in crate::people) seniority: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    pub(in crate::people) department: Option<String>,
    #[diesel(sql_type = Timestamptz)]
    pub(in crate::people) created_at: DateTime<Utc>,
    #[diesel(sql_type = Timestamptz)]
    pub(in crate::people) updated_at: DateTime<Utc>,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub(in crate::people) enriched_at: Option<DateTime<Utc>>,
    #[diesel(sql_type = Text)]
    pub(in crate::people) status: String,
    #[diesel(sql_type = Array<Text>)]
    pub(in crate::people) pinned_fields: Vec<String>,
    #[diesel(sql_type = Text)]
    pub(in crate::people) etag: String,
}

/// The columns of a [`Person`].
pub(super) fn columns(row: &str) -> String {
    let columns = [
        "id",
        "email",
        "name",
        "first_name",
        "last_name",
        "title",
        "company_id",
        "linkedin_url",
        "phone",
        "location",
        "seniority",
        "department",
        "created_at",
        "updated_at",
        "enriched_at",
        "status",
        "pinned_fields",
    ]
    .map(|column| format!("{row}.{column}"))
    .join(", ");
    format!("{columns}, people.f_etag({row}) AS etag")
}

/// What names a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::people) enum PersonKey {
    /// Its id.
    Id(Uuid),
    /// Its email, normalized.
    Email(String),
    /// Its LinkedIn profile, normalized; several people may have one.
    LinkedIn(String),
}

#[derive(QueryableByName)]
struct IdRow {
    #[diesel(sql_type = SqlUuid)]
    id: Uuid,
}

/// More people than this with one LinkedIn profile need not all be named.
const MAX_NAMESAKES: i64 = 20;

/// The ids of the people who have a key.
pub(in crate::people) async fn ids(
    connection: &mut AsyncPgConnection,
    key: &PersonKey,
) -> Result<Vec<Uuid>, Error> {
    const SELECT: &str = "SELECT p.id FROM people.master AS p WHERE";
    let rows: Vec<IdRow> = match key {
        PersonKey::Id(id) => {
            sql_query(format!("{SELECT} p.id = $1"))
                .bind::<SqlUuid, _>(id)
                .get_results(connection)
                .await?
        }
        PersonKey::Email(email) => {
            sql_query(format!("{SELECT} p.email = $1"))
                .bind::<Text, _>(email)
                .get_results(connection)
                .await?
        }
        PersonKey::LinkedIn(url) => {
            sql_query(format!(
                "{SELECT} p.linkedin_url = $1 ORDER BY p.id LIMIT {MAX_NAMESAKES}"
            ))
            .bind::<Text, _>(url)
            .get_results(connection)
            .await?
        }
    };
    Ok(rows.into_iter().map(|row| row.id).collect())
}
