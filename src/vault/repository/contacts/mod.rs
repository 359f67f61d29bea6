//! Contacts: the row, its columns, and which of them a filter finds.

mod export;
mod list;
mod point;
mod write;

use chrono::{DateTime, Utc};
use diesel::{
    QueryableByName,
    pg::Pg,
    query_builder::{BoxedSqlQuery, SqlQuery},
    sql_query,
    sql_types::{Array, BigInt, Nullable, Text, Timestamptz},
};

use crate::domain::{Score, Source};

pub(in crate::vault) use export::{fetch_export, open_export};
pub(in crate::vault) use list::{ContactOrder, PageKey, SortBy, list_contacts};
pub(in crate::vault) use point::{ContactKey, find_contacts, get_contact};
pub(in crate::vault) use write::{
    Changes, NewScore, ScoreOutcome, WriteOutcome, delete_contact, score_contacts, update_contact,
};

/// A contact.
#[derive(Debug, QueryableByName)]
pub(in crate::vault) struct Contact {
    #[diesel(sql_type = BigInt)]
    pub(in crate::vault) contact_id: i64,
    #[diesel(sql_type = Text)]
    pub(in crate::vault) email: String,
    #[diesel(sql_type = Nullable<Text>)]
    pub(in crate::vault) name: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    pub(in crate::vault) phone: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    pub(in crate::vault) company: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    pub(in crate::vault) title: Option<String>,
    #[diesel(sql_type = Text)]
    pub(in crate::vault) source: String,
    /// The JSON text of a list.
    #[diesel(sql_type = Text)]
    pub(in crate::vault) tags: String,
    /// The JSON text of an object.
    #[diesel(sql_type = Text)]
    pub(in crate::vault) custom_fields: String,
    #[diesel(sql_type = Nullable<BigInt>)]
    pub(in crate::vault) load_id: Option<i64>,
    #[diesel(sql_type = Timestamptz)]
    pub(in crate::vault) created_at: DateTime<Utc>,
    #[diesel(sql_type = Timestamptz)]
    pub(in crate::vault) updated_at: DateTime<Utc>,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub(in crate::vault) last_activity_at: Option<DateTime<Utc>>,
    /// Decimal text.
    #[diesel(sql_type = Text)]
    pub(in crate::vault) score: String,
    #[diesel(sql_type = Text)]
    pub(in crate::vault) status: String,
    #[diesel(sql_type = Array<Text>)]
    pub(in crate::vault) pinned_fields: Vec<String>,
    #[diesel(sql_type = Text)]
    pub(in crate::vault) etag: String,
}

/// The columns of [`Contact`], of a row called `{c}`.
const COLUMNS: &str = "{c}.contact_id, {c}.email, {c}.name, {c}.phone, {c}.company, {c}.title, {c}.source, \
    {c}.tags::text AS tags, {c}.custom_fields::text AS custom_fields, {c}.load_id, {c}.created_at, \
    {c}.updated_at, {c}.last_activity_at, {c}.score::text AS score, {c}.status, {c}.pinned_fields, \
    vault.f_etag({c}) AS etag";

/// The columns of [`Contact`], of the row that `row` names.
fn columns(row: &str) -> String {
    COLUMNS.replace("{c}", row)
}

/// Which contacts.
#[derive(Clone, Debug, Default)]
pub(in crate::vault) struct ContactFilter {
    pub(in crate::vault) status: Option<&'static str>,
    pub(in crate::vault) source: Option<Source>,
    pub(in crate::vault) company: Option<String>,
    pub(in crate::vault) score_from: Option<Score>,
    pub(in crate::vault) score_to: Option<Score>,
    pub(in crate::vault) created_from: Option<DateTime<Utc>>,
    pub(in crate::vault) created_before: Option<DateTime<Utc>>,
    pub(in crate::vault) updated_from: Option<DateTime<Utc>>,
    pub(in crate::vault) updated_before: Option<DateTime<Utc>>,
    pub(in crate::vault) tag: Option<String>,
}

/// The condition of a filter on a table called `c`, over the parameters that [`filtered`] binds. The
/// statement is planned with their values each time, so that what is not asked for costs nothing and what is
/// finds its index.
const FILTER: &str = "
    ($1 IS NULL OR c.status = $1)
    AND ($2 IS NULL OR c.source = $2)
    AND ($3 IS NULL OR c.company = $3)
    AND ($4 IS NULL OR c.score >= $4::numeric)
    AND ($5 IS NULL OR c.score <= $5::numeric)
    AND ($6 IS NULL OR c.created_at >= $6)
    AND ($7 IS NULL OR c.created_at < $7)
    AND ($8 IS NULL OR c.updated_at >= $8)
    AND ($9 IS NULL OR c.updated_at < $9)
    AND ($10 IS NULL OR c.tags @> to_jsonb($10))";

/// A statement over [`FILTER`], with its parameters bound; further ones begin at `$11`.
fn filtered<'a>(statement: String, filter: &'a ContactFilter) -> BoxedSqlQuery<'a, Pg, SqlQuery> {
    sql_query(statement)
        .into_boxed()
        .bind::<Nullable<Text>, _>(filter.status)
        .bind::<Nullable<Text>, _>(filter.source.as_ref().map(Source::as_str))
        .bind::<Nullable<Text>, _>(filter.company.as_deref())
        .bind::<Nullable<Text>, _>(filter.score_from.map(String::from))
        .bind::<Nullable<Text>, _>(filter.score_to.map(String::from))
        .bind::<Nullable<Timestamptz>, _>(filter.created_from)
        .bind::<Nullable<Timestamptz>, _>(filter.created_before)
        .bind::<Nullable<Timestamptz>, _>(filter.updated_from)
        .bind::<Nullable<Timestamptz>, _>(filter.updated_before)
        .bind::<Nullable<Text>, _>(filter.tag.as_deref())
}
