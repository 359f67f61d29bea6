//! A person as its history tells.

use chrono::{DateTime, Utc};
use diesel::{
    sql_query,
    sql_types::{Timestamptz, Uuid as SqlUuid},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl as _};
use uuid::Uuid;

use super::{Person, past_columns};
use crate::rpc::Error;

/// A person as it was; `None` where there was none yet.
pub(in crate::people) async fn get_person_as_of(
    connection: &mut AsyncPgConnection,
    person_id: Uuid,
    at: DateTime<Utc>,
) -> Result<Option<Person>, Error> {
    let statement = format!(
        "SELECT {} FROM people.f_person_as_of($1, $2) AS p",
        past_columns("p")
    );
    let people: Vec<Person> = sql_query(statement)
        .bind::<SqlUuid, _>(person_id)
        .bind::<Timestamptz, _>(at)
        .get_results(connection)
        .await?;
    Ok(people.into_iter().next())
}
