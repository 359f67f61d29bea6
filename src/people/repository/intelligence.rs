//! What is known of people: the function of `migrations/functions/people_intelligence.sql`, and reads.

use std::time::Duration;

use chrono::{DateTime, Utc};
use diesel::{
    QueryableByName, sql_query,
    sql_types::{Array, BigInt, Bool, Nullable, Text, Timestamptz, Uuid as SqlUuid},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl as _};
use uuid::Uuid;

use crate::rpc::Error;

/// What is known of a person.
#[derive(Debug, QueryableByName)]
pub(in crate::people) struct Intelligence {
    #[diesel(sql_type = SqlUuid)]
    pub(in crate::people) person_id: Uuid,
    #[diesel(sql_type = Text)]
    pub(in crate::people) profile: String,
    #[diesel(sql_type = Array<Text>)]
    pub(in crate::people) skills: Vec<String>,
    #[diesel(sql_type = Nullable<Text>)]
    pub(in crate::people) experience: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    pub(in crate::people) education: Option<String>,
    #[diesel(sql_type = Timestamptz)]
    pub(in crate::people) fetched_at: DateTime<Utc>,
    #[diesel(sql_type = Timestamptz)]
    pub(in crate::people) stale_at: DateTime<Utc>,
}

/// The columns of an [`Intelligence`]. A list of skills written past the service may hold NULLs.
fn columns(row: &str) -> String {
    format!(
        "{row}.person_id, {row}.linkedin_data::text AS profile,
         coalesce(array_remove({row}.skills, NULL), '{{}}') AS skills,
         {row}.experience::text AS experience, {row}.education::text AS education,
         {row}.fetched_at, {row}.stale_at"
    )
}

/// What is to be stored, checked.
#[derive(Debug, Default)]
pub(in crate::people) struct NewIntelligence {
    pub(in crate::people) profile: String,
    pub(in crate::people) skills: Vec<String>,
    pub(in crate::people) experience: Option<String>,
    pub(in crate::people) education: Option<String>,
    /// The time of the call where it is not said.
    pub(in crate::people) fetched_at: Option<DateTime<Utc>>,
}

/// What became of what was to be stored.
#[derive(Debug, QueryableByName)]
pub(in crate::people) struct PutOutcome {
    /// `stored`, `unchanged` or `older`.
    #[diesel(sql_type = Text)]
    pub(in crate::people) outcome: String,
    /// What is stored now.
    #[diesel(embed)]
    pub(in crate::people) intelligence: Intelligence,
}

/// Milliseconds as SQL takes them; every setting has far fewer than fit.
pub(in crate::people) fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// Stores what is known of a person; `None` where there is no such person.
pub(in crate::people) async fn put(
    connection: &mut AsyncPgConnection,
    person_id: Uuid,
    new: &NewIntelligence,
    ttl: Duration,
) -> Result<Option<PutOutcome>, Error> {
    let statement = format!(
        "SELECT p.outcome, {}
         FROM people.f_put_intelligence(
             $1, $2::jsonb, $3, $4::jsonb, $5::jsonb, $6, $7 * interval '1 millisecond') AS p",
        columns("(p.intelligence)")
    );
    let rows: Vec<PutOutcome> = sql_query(statement)
        .bind::<SqlUuid, _>(person_id)
        .bind::<Text, _>(&new.profile)
        .bind::<Array<Text>, _>(&new.skills)
        .bind::<Nullable<Text>, _>(new.experience.as_deref())
        .bind::<Nullable<Text>, _>(new.education.as_deref())
        .bind::<Nullable<Timestamptz>, _>(new.fetched_at)
        .bind::<BigInt, _>(millis(ttl))
        .get_results(connection)
        .await?;
    Ok(rows.into_iter().next())
}

/// What is known, and whether it may be served.
#[derive(Debug, QueryableByName)]
pub(in crate::people) struct Known {
    #[diesel(embed)]
    pub(in crate::people) intelligence: Intelligence,
    /// Its time is up: law 14.
    #[diesel(sql_type = Bool)]
    pub(in crate::people) stale: bool,
}

/// What is known of a person. The newest counts; where several were written past the service, the newest of
/// those that are not stale.
pub(in crate::people) async fn get(
    connection: &mut AsyncPgConnection,
    person_id: Uuid,
) -> Result<Option<Known>, Error> {
    let statement = format!(
        "SELECT {}, i.stale_at <= clock_timestamp() AS stale
         FROM people.intelligence AS i
         WHERE i.person_id = $1
         ORDER BY stale, i.fetched_at DESC, i.id
         LIMIT 1",
        columns("i")
    );
    let rows: Vec<Known> = sql_query(statement)
        .bind::<SqlUuid, _>(person_id)
        .get_results(connection)
        .await?;
    Ok(rows.into_iter().next())
}
