//! One person, and many by their keys.

use std::sync::LazyLock;

use diesel::{
    OptionalExtension as _, QueryableByName,
    pg::Pg,
    query_builder::{AstPass, Query, QueryFragment, QueryId},
    result::QueryResult,
    sql_query,
    sql_types::{Array, BigInt, Integer, Text, Untyped, Uuid as SqlUuid},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl as _};
use futures_util::TryStreamExt as _;
use uuid::Uuid;

use super::{Person, columns};
use crate::{db::SharedConnection, rpc::Error};

/// What names a person.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::people) enum PersonKey {
    /// A key that one person has.
    Unique(UniqueKey),
    /// Its LinkedIn profile, normalized, which several may have.
    LinkedIn(String),
}

/// What names one person.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::people) enum UniqueKey {
    /// Its id.
    Id(Uuid),
    /// Its email, normalized.
    Email(String),
}

static SELECT: LazyLock<String> =
    LazyLock::new(|| format!("SELECT {} FROM people.master AS p", columns("p")));

/// The statement of a point read. Not an `sql_query`, which is prepared anew for each call and so takes two
/// round trips: this one stays prepared on its connection.
#[derive(Debug)]
struct PointRead(UniqueKey);

impl QueryFragment<Pg> for PointRead {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql(&SELECT);
        match &self.0 {
            UniqueKey::Id(person_id) => {
                out.push_sql(" WHERE p.id = ");
                out.push_bind_param::<SqlUuid, _>(person_id)
            }
            UniqueKey::Email(email) => {
                out.push_sql(" WHERE p.email = ");
                out.push_bind_param::<Text, _>(email)
            }
        }
    }
}

impl QueryId for PointRead {
    // The connection keeps it by its text.
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl Query for PointRead {
    type SqlType = Untyped;
}

/// One person.
pub(in crate::people) async fn get_person(
    connection: SharedConnection,
    key: UniqueKey,
) -> QueryResult<Option<Person>> {
    let people: Vec<Person> = PointRead(key).load(&mut &*connection).await?;
    Ok(people.into_iter().next())
}

/// The people who have a LinkedIn profile, oldest first, at most `limit`.
pub(in crate::people) async fn find_by_linkedin(
    connection: &mut AsyncPgConnection,
    url: &str,
    limit: i64,
) -> Result<Vec<Person>, Error> {
    let statement = format!(
        "{} WHERE p.linkedin_url = $1 ORDER BY p.created_at, p.id LIMIT $2",
        *SELECT
    );
    Ok(sql_query(statement)
        .bind::<Text, _>(url)
        .bind::<BigInt, _>(limit)
        .get_results(connection)
        .await?)
}

/// Whether there is such a person.
pub(in crate::people) async fn person_exists(
    connection: &mut AsyncPgConnection,
    person_id: Uuid,
) -> Result<bool, Error> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Integer)]
        #[allow(dead_code, reason = "that there is a row says it all")]
        one: i32,
    }
    let row: Option<Row> = sql_query("SELECT 1 AS one FROM people.master WHERE id = $1")
        .bind::<SqlUuid, _>(person_id)
        .get_result(connection)
        .await
        .optional()?;
    Ok(row.is_some())
}

/// The people who have one of these keys, oldest first. Ends with an error as soon as they have more than
/// `max_bytes`.
pub(in crate::people) async fn find_people(
    connection: &mut AsyncPgConnection,
    keys: &[PersonKey],
    max_bytes: usize,
) -> Result<Vec<Person>, Error> {
    let (mut ids, mut emails, mut urls) = (Vec::new(), Vec::new(), Vec::new());
    for key in keys {
        match key {
            PersonKey::Unique(UniqueKey::Id(person_id)) => ids.push(*person_id),
            PersonKey::Unique(UniqueKey::Email(email)) => emails.push(email.as_str()),
            PersonKey::LinkedIn(url) => urls.push(url.as_str()),
        }
    }
    let statement = format!(
        "{} WHERE p.id = ANY ($1) OR p.email = ANY ($2) OR p.linkedin_url = ANY ($3)
         ORDER BY p.created_at, p.id",
        *SELECT
    );
    let mut stream = sql_query(statement)
        .bind::<Array<SqlUuid>, _>(ids)
        .bind::<Array<Text>, _>(emails)
        .bind::<Array<Text>, _>(urls)
        .load_stream::<Person>(connection)
        .await?;
    let (mut people, mut bytes) = (Vec::new(), 0);
    while let Some(person) = stream.try_next().await? {
        bytes += person.size();
        if bytes > max_bytes {
            return Err(Error::LimitExceeded {
                what: "bytes of people",
                limit: max_bytes,
                actual: bytes,
                setting: Some("max-frame-bytes"),
            });
        }
        people.push(person);
    }
    Ok(people)
}
