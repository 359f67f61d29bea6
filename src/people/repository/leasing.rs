//! Leases of the enrichment queue: calls of the functions in `migrations/functions/ple_leasing.sql`.

use std::time::Duration;

use chrono::{DateTime, Utc};
use diesel::{
    QueryableByName,
    deserialize::{self, QueryableByName as Build},
    pg::Pg,
    row::NamedRow,
    sql_query,
    sql_types::{BigInt, Bool, Integer, Text, Timestamptz},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl as _};

use super::{
    intelligence::millis,
    people::{Person, columns as person_columns},
};
use crate::{db::GetCommitted as _, rpc::Error};

/// A leased person.
#[derive(Debug, QueryableByName)]
pub(in crate::people) struct Lease {
    #[diesel(embed)]
    pub(in crate::people) person: Person,
    #[diesel(sql_type = BigInt)]
    pub(in crate::people) lease_token: i64,
    #[diesel(sql_type = Timestamptz)]
    pub(in crate::people) lease_expires_at: DateTime<Utc>,
    #[diesel(sql_type = Integer)]
    pub(in crate::people) priority: i32,
    #[diesel(sql_type = Integer)]
    pub(in crate::people) attempt: i32,
}

/// What a worker asks for.
#[derive(Debug)]
pub(in crate::people) struct Wanted {
    pub(in crate::people) worker: String,
    /// How many people at most.
    pub(in crate::people) most: i32,
    /// Until when, from now on.
    pub(in crate::people) lease: Duration,
    /// Who was overrun as often is dead instead.
    pub(in crate::people) max_overruns: i32,
    /// How much the people may have together.
    pub(in crate::people) max_bytes: i64,
}

/// What one transaction did for a worker.
#[derive(Debug)]
pub(in crate::people) enum Taken {
    /// These are leased; nobody, where nobody waits.
    Leases(Vec<Lease>),
    /// Nothing: too many are due beside the line, which is for [`line_up`].
    Crowded,
    /// Many were set aside and nobody was leased yet: the next call goes on.
    SetAside,
}

/// A row of an answer.
#[derive(Debug)]
enum Row {
    Lease(Box<Lease>),
    Crowded,
    SetAside,
}

impl Build<Pg> for Row {
    fn build<'a>(row: &impl NamedRow<'a, Pg>) -> deserialize::Result<Self> {
        let outcome: String = NamedRow::get::<Text, _>(row, "outcome")?;
        match outcome.as_str() {
            "leased" => Ok(Self::Lease(Box::new(Lease::build(row)?))),
            "crowded" => Ok(Self::Crowded),
            "set_aside" => Ok(Self::SetAside),
            other => Err(format!("f_lease: {other}").into()),
        }
    }
}

/// Leases people, in the order in which they are to be enriched. Strict: not before those who are due beside the
/// line are few.
pub(in crate::people) async fn lease(
    connection: &mut AsyncPgConnection,
    wanted: &Wanted,
    strict: bool,
) -> Result<Taken, Error> {
    let statement = format!(
        "SELECT l.outcome, {}, l.lease_token, l.lease_expires_at, l.priority, l.attempt
         FROM ple.f_lease($1, $2, $3 * interval '1 millisecond', $4, $5, $6) AS l",
        person_columns("(l.person)")
    );
    let rows: Vec<Row> = sql_query(statement)
        .bind::<Text, _>(&wanted.worker)
        .bind::<Integer, _>(wanted.most)
        .bind::<BigInt, _>(millis(wanted.lease))
        .bind::<Integer, _>(wanted.max_overruns)
        .bind::<BigInt, _>(wanted.max_bytes)
        .bind::<Bool, _>(strict)
        .get_results(connection)
        .await?;
    let mut leases = Vec::with_capacity(rows.len());
    for row in rows {
        match row {
            Row::Lease(lease) => leases.push(*lease),
            Row::Crowded => return Ok(Taken::Crowded),
            Row::SetAside => return Ok(Taken::SetAside),
        }
    }
    Ok(Taken::Leases(leases))
}

/// What became of those who are due beside the line.
#[derive(Clone, Copy, Debug, QueryableByName)]
pub(in crate::people) struct LinedUp {
    /// How many were put into it.
    #[diesel(sql_type = BigInt)]
    pub(in crate::people) lined: i64,
    /// They are many, but somebody holds each of them.
    #[diesel(sql_type = Bool)]
    pub(in crate::people) stuck: bool,
}

/// Puts a chunk of those who are due beside the line into it, where they are many.
pub(in crate::people) async fn line_up(
    connection: &mut AsyncPgConnection,
) -> Result<LinedUp, Error> {
    Ok(sql_query("SELECT * FROM ple.f_line_up()")
        .get_committed(connection)
        .await?)
}
