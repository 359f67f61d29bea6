//! Contacts that are new or changed since they were staged, and the call that stages them.

use bytes::Bytes;
use chrono::{DateTime, Utc};
use diesel::{
    QueryableByName, sql_query,
    sql_types::{Array, BigInt, Jsonb, Nullable, Text, Timestamptz},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl as _};

use crate::{
    db::{GetCommitted as _, JsonText},
    domain::Actor,
    golden::Kind,
    rpc::Error,
};

/// A contact, as far as slots are made of it.
#[derive(Debug, QueryableByName)]
pub(crate) struct Contact {
    /// Its id.
    #[diesel(sql_type = BigInt)]
    pub(crate) contact_id: i64,
    /// The normalized email.
    #[diesel(sql_type = Text)]
    pub(crate) email: String,
    /// The name.
    #[diesel(sql_type = Nullable<Text>)]
    pub(crate) name: Option<String>,
    /// The phone number.
    #[diesel(sql_type = Nullable<Text>)]
    pub(crate) phone: Option<String>,
    /// The company's name.
    #[diesel(sql_type = Nullable<Text>)]
    pub(crate) company: Option<String>,
    /// The job title.
    #[diesel(sql_type = Nullable<Text>)]
    pub(crate) title: Option<String>,
    /// Where it comes from.
    #[diesel(sql_type = Text)]
    pub(crate) source: String,
    /// The JSON text of an object.
    #[diesel(sql_type = Text)]
    pub(crate) custom_fields: String,
    /// Its version.
    #[diesel(sql_type = Timestamptz)]
    pub(crate) updated_at: DateTime<Utc>,
}

/// Which contacts are new or changed: of another version than was staged, and not deleted. Of those that
/// unsubscribed or bounced only the audit trail knows whether they were: it is read last.
const CHANGED: &str = "s.contact_updated_at IS DISTINCT FROM c.updated_at
                       AND NOT vault.f_is_gone(c.contact_id, c.status)";

#[derive(QueryableByName)]
struct Count {
    #[diesel(sql_type = BigInt)]
    count: i64,
}

/// Counts those that are new or changed.
pub(in crate::golden) async fn count_changed(
    connection: &mut AsyncPgConnection,
    kind: &Kind,
    contact_ids: Option<&[i64]>,
) -> Result<i64, Error> {
    let statement = format!(
        "SELECT count(*) AS count
         FROM vault.contacts AS c LEFT JOIN {{schema}}.staged_contacts AS s USING (contact_id)
         WHERE {CHANGED} AND ($1 IS NULL OR contact_id = ANY ($1))"
    );
    let row: Count = sql_query(kind.fill(&statement))
        .bind::<Nullable<Array<BigInt>>, _>(contact_ids)
        .get_result(connection)
        .await?;
    Ok(row.count)
}

/// A stretch of contacts.
#[derive(Debug, QueryableByName)]
pub(in crate::golden) struct Stretch {
    /// Its last contact; `None` where there are no more.
    #[diesel(sql_type = Nullable<BigInt>)]
    pub(in crate::golden) last: Option<i64>,
    /// Those of it that are new or changed, in order.
    #[diesel(sql_type = Array<BigInt>)]
    pub(in crate::golden) changed: Vec<i64>,
}

/// Looks at the next contacts after one. All are looked at each time: ids become visible out of order, so that
/// none can stand for those before it.
pub(in crate::golden) async fn next_stretch(
    connection: &mut AsyncPgConnection,
    kind: &Kind,
    contact_ids: Option<&[i64]>,
    after: i64,
    most: i64,
) -> Result<Stretch, Error> {
    let statement = format!(
        "WITH c AS MATERIALIZED (
             SELECT contact_id, status, updated_at FROM vault.contacts
             WHERE contact_id > $2 AND ($1 IS NULL OR contact_id = ANY ($1))
             ORDER BY contact_id
             LIMIT $3
         )
         SELECT max(contact_id) AS last,
                coalesce(array_agg(contact_id ORDER BY contact_id) FILTER (WHERE {CHANGED}), '{{}}') AS changed
         FROM c LEFT JOIN {{schema}}.staged_contacts AS s USING (contact_id)"
    );
    Ok(sql_query(kind.fill(&statement))
        .bind::<Nullable<Array<BigInt>>, _>(contact_ids)
        .bind::<BigInt, _>(after)
        .bind::<BigInt, _>(most)
        .get_result(connection)
        .await?)
}

/// Contacts by their ids, in order. Ends with the one that makes them `max_bytes`: those after it are not read,
/// which may be large.
pub(in crate::golden) async fn get_contacts(
    connection: &mut AsyncPgConnection,
    contact_ids: &[i64],
    max_bytes: i64,
) -> Result<Vec<Contact>, Error> {
    Ok(sql_query(
        "WITH RECURSIVE walk AS (
             SELECT 0 AS nth, 0::bigint AS bytes, NULL::text AS custom_fields
             UNION ALL
             SELECT w.nth + 1, w.bytes + coalesce(octet_length(c.custom_fields), 0), c.custom_fields
             FROM walk AS w
             LEFT JOIN LATERAL (SELECT custom_fields::text AS custom_fields FROM vault.contacts
                                WHERE contact_id = ($1::bigint[])[w.nth + 1]
                                OFFSET 0) AS c ON true
             WHERE w.nth < cardinality($1) AND w.bytes < $2
         )
         SELECT c.contact_id, c.email, c.name, c.phone, c.company, c.title, c.source, w.custom_fields, c.updated_at
         FROM walk AS w
         JOIN vault.contacts AS c ON c.contact_id = ($1::bigint[])[w.nth]
         ORDER BY w.nth",
    )
    .bind::<Array<BigInt>, _>(contact_ids)
    .bind::<BigInt, _>(max_bytes)
    .get_results(connection)
    .await?)
}

/// Contacts to be staged, column by column, in the order of their ids.
#[derive(Debug, Default)]
pub(in crate::golden) struct ContactRows {
    pub(in crate::golden) contact_ids: Vec<i64>,
    pub(in crate::golden) versions: Vec<DateTime<Utc>>,
    /// `None` for those that make no slot.
    pub(in crate::golden) keys: Vec<Option<String>>,
    pub(in crate::golden) rows: Vec<Option<String>>,
    pub(in crate::golden) sources: Vec<String>,
}

/// What became of some contacts. Those that changed again meanwhile, or that somebody else staged, are in none.
#[derive(Clone, Copy, Debug, Default, QueryableByName)]
pub(crate) struct StagedContacts {
    /// Those that made a slot.
    #[diesel(sql_type = BigInt)]
    pub(crate) staged: i64,
    /// Those that changed in nothing that matters.
    #[diesel(sql_type = BigInt)]
    pub(crate) unchanged: i64,
    /// Those that make no slot.
    #[diesel(sql_type = BigInt)]
    pub(crate) skipped: i64,
}

/// Stages contacts that are still as they were read.
pub(in crate::golden) async fn stage(
    connection: &mut AsyncPgConnection,
    kind: &Kind,
    contacts: ContactRows,
    actor: &Actor,
) -> Result<StagedContacts, Error> {
    let rows: Vec<Option<JsonText>> = contacts
        .rows
        .into_iter()
        .map(|row| row.map(|row| JsonText(Bytes::from(row))))
        .collect();
    Ok(
        sql_query(kind.fill("SELECT * FROM {schema}.f_stage_contacts($1, $2, $3, $4, $5, $6)"))
            .bind::<Array<BigInt>, _>(contacts.contact_ids)
            .bind::<Array<Timestamptz>, _>(contacts.versions)
            .bind::<Array<Nullable<Text>>, _>(contacts.keys)
            .bind::<Array<Nullable<Jsonb>>, _>(rows)
            .bind::<Array<Text>, _>(contacts.sources)
            .bind::<Text, _>(actor.as_str())
            .get_committed(connection)
            .await?,
    )
}
