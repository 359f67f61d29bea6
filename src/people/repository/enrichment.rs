//! The enrichment queue: calls of the functions in `migrations/functions/ple*.sql`, and reads.

use std::time::Duration;

use chrono::{DateTime, Utc};
use diesel::{
    QueryableByName, sql_query,
    sql_types::{Array, BigInt, Bool, Integer, Nullable, Text, Timestamptz, Uuid as SqlUuid},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl as _};
use uuid::Uuid;

use super::{
    intelligence::{NewIntelligence, millis},
    people::{Changes, Person, columns as person_columns},
};
use crate::{
    db::GetCommitted as _,
    domain::Actor,
    rpc::{Error, Page, PageRequest},
};

/// An entry of the queue.
#[derive(Debug, QueryableByName)]
pub(in crate::people) struct Entry {
    #[diesel(sql_type = SqlUuid)]
    pub(in crate::people) person_id: Uuid,
    #[diesel(sql_type = Text)]
    pub(in crate::people) state: String,
    #[diesel(sql_type = Integer)]
    pub(in crate::people) priority: i32,
    #[diesel(sql_type = Timestamptz)]
    pub(in crate::people) available_at: DateTime<Utc>,
    #[diesel(sql_type = Integer)]
    pub(in crate::people) attempts: i32,
    #[diesel(sql_type = Integer)]
    pub(in crate::people) failures: i32,
    #[diesel(sql_type = Integer)]
    pub(in crate::people) max_failures: i32,
    #[diesel(sql_type = BigInt)]
    pub(in crate::people) lease_token: i64,
    #[diesel(sql_type = Nullable<Text>)]
    pub(in crate::people) leased_by: Option<String>,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub(in crate::people) lease_expires_at: Option<DateTime<Utc>>,
    #[diesel(sql_type = Nullable<Text>)]
    pub(in crate::people) last_error: Option<String>,
    #[diesel(sql_type = Timestamptz)]
    pub(in crate::people) enqueued_at: DateTime<Utc>,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub(in crate::people) ended_at: Option<DateTime<Utc>>,
}

/// The columns of an [`Entry`].
fn columns(row: &str) -> String {
    [
        "person_id",
        "state",
        "priority",
        "available_at",
        "attempts",
        "failures",
        "max_failures",
        "lease_token",
        "leased_by",
        "lease_expires_at",
        "last_error",
        "enqueued_at",
        "ended_at",
    ]
    .map(|column| format!("{row}.{column}"))
    .join(", ")
}

#[derive(QueryableByName)]
struct OutcomeRow {
    #[diesel(sql_type = Text)]
    outcome: String,
}

fn outcomes(rows: Vec<OutcomeRow>) -> Vec<String> {
    rows.into_iter().map(|row| row.outcome).collect()
}

/// Puts people on the queue, each with a priority; one outcome each, in order.
pub(in crate::people) async fn enqueue(
    connection: &mut AsyncPgConnection,
    person_ids: &[Uuid],
    priorities: &[i32],
    max_failures: i32,
    actor: &Actor,
) -> Result<Vec<String>, Error> {
    let rows = sql_query("SELECT outcome FROM ple.f_enqueue($1, $2, $3, $4)")
        .bind::<Array<SqlUuid>, _>(person_ids)
        .bind::<Array<Integer>, _>(priorities)
        .bind::<Integer, _>(max_failures)
        .bind::<Text, _>(actor.as_str())
        .get_results(connection)
        .await?;
    Ok(outcomes(rows))
}

/// Lets dead entries wait anew; one outcome each, in order.
pub(in crate::people) async fn revive(
    connection: &mut AsyncPgConnection,
    person_ids: &[Uuid],
    max_failures: i32,
    actor: &Actor,
) -> Result<Vec<String>, Error> {
    let rows = sql_query("SELECT outcome FROM ple.f_revive($1, $2, $3)")
        .bind::<Array<SqlUuid>, _>(person_ids)
        .bind::<Integer, _>(max_failures)
        .bind::<Text, _>(actor.as_str())
        .get_results(connection)
        .await?;
    Ok(outcomes(rows))
}

/// How a lease is completed.
#[derive(Debug)]
pub(in crate::people) struct Completion {
    pub(in crate::people) person_id: Uuid,
    pub(in crate::people) lease_token: i64,
    /// New values of fields by column; `None` where nothing was found.
    pub(in crate::people) changes: Option<Changes>,
    pub(in crate::people) intelligence: Option<NewIntelligence>,
    /// Why nothing was found.
    pub(in crate::people) reason: Option<String>,
}

/// What became of a completion.
#[derive(Debug, QueryableByName)]
pub(in crate::people) struct Completed {
    /// `completed`, `lost` or `no_company`.
    #[diesel(sql_type = Text)]
    pub(in crate::people) outcome: String,
    #[diesel(embed)]
    pub(in crate::people) entry: Entry,
    /// As it is now.
    #[diesel(embed)]
    pub(in crate::people) person: Person,
}

/// Completes a lease; `None` where the person is not on the queue.
pub(in crate::people) async fn complete(
    connection: &mut AsyncPgConnection,
    completion: &Completion,
    ttl: Duration,
    actor: &Actor,
) -> Result<Option<Completed>, Error> {
    let statement = format!(
        "SELECT c.outcome, {}, {}
         FROM ple.f_complete($1, $2, $3::jsonb, $4::jsonb, $5, $6::jsonb, $7::jsonb, $8,
                             $9 * interval '1 millisecond', $10, $11) AS c",
        columns("(c.entry)"),
        person_columns("(c.person)")
    );
    let new = completion.intelligence.as_ref();
    let changes = completion.changes.as_ref().map(serde_json::to_string);
    let changes = changes.transpose().map_err(Error::internal)?;
    let rows: Vec<Completed> = sql_query(statement)
        .bind::<SqlUuid, _>(completion.person_id)
        .bind::<BigInt, _>(completion.lease_token)
        .bind::<Nullable<Text>, _>(changes)
        .bind::<Nullable<Text>, _>(new.map(|new| new.profile.as_str()))
        .bind::<Nullable<Array<Text>>, _>(new.map(|new| new.skills.as_slice()))
        .bind::<Nullable<Text>, _>(new.and_then(|new| new.experience.as_deref()))
        .bind::<Nullable<Text>, _>(new.and_then(|new| new.education.as_deref()))
        .bind::<Nullable<Timestamptz>, _>(new.and_then(|new| new.fetched_at))
        .bind::<BigInt, _>(millis(ttl))
        .bind::<Nullable<Text>, _>(completion.reason.as_deref())
        .bind::<Text, _>(actor.as_str())
        .get_results(connection)
        .await?;
    Ok(rows.into_iter().next())
}

/// What became of a failure.
#[derive(Debug, QueryableByName)]
pub(in crate::people) struct Failed {
    /// `failed` or `lost`.
    #[diesel(sql_type = Text)]
    pub(in crate::people) outcome: String,
    #[diesel(embed)]
    pub(in crate::people) entry: Entry,
}

/// How long a person waits after failures.
#[derive(Clone, Copy, Debug)]
pub(in crate::people) struct Backoff {
    pub(in crate::people) base: Duration,
    pub(in crate::people) cap: Duration,
}

/// Ends a lease without a result; `None` where the person is not on the queue.
pub(in crate::people) async fn fail(
    connection: &mut AsyncPgConnection,
    person_id: Uuid,
    lease_token: i64,
    error: &str,
    permanent: bool,
    backoff: Backoff,
) -> Result<Option<Failed>, Error> {
    let statement = format!(
        "SELECT f.outcome, {}
         FROM ple.f_fail($1, $2, $3, $4, $5 * interval '1 millisecond', $6 * interval '1 millisecond') AS f",
        columns("(f.entry)")
    );
    let rows: Vec<Failed> = sql_query(statement)
        .bind::<SqlUuid, _>(person_id)
        .bind::<BigInt, _>(lease_token)
        .bind::<Text, _>(error)
        .bind::<Bool, _>(permanent)
        .bind::<BigInt, _>(millis(backoff.base))
        .bind::<BigInt, _>(millis(backoff.cap))
        .get_results(connection)
        .await?;
    Ok(rows.into_iter().next())
}

/// Which entries.
#[derive(Debug)]
pub(in crate::people) struct EntryFilter {
    pub(in crate::people) state: Option<&'static str>,
    pub(in crate::people) person_id: Option<Uuid>,
}

/// A row of a page.
#[derive(QueryableByName)]
struct Listed {
    #[diesel(embed)]
    entry: Entry,
    /// How many rows the statement found before it cut the page by bytes.
    #[diesel(sql_type = BigInt)]
    found: i64,
}

const LIST: &str = "
    WITH page AS MATERIALIZED (
        SELECT q.*
        FROM ple.enrichment_queue AS q
        WHERE ($1 IS NULL OR q.person_id > $1)
          AND ($2 IS NULL OR q.state = $2)
          AND ($3 IS NULL OR q.person_id = $3)
        ORDER BY q.person_id
        LIMIT $4
    ), measured AS (
        SELECT *, row_number() OVER in_order AS nth, count(*) OVER () AS found,
               sum(150 + coalesce(octet_length(leased_by), 0) + coalesce(octet_length(last_error), 0))
                   OVER in_order AS bytes
        FROM page
        WINDOW in_order AS (ORDER BY person_id)
    )
    SELECT * FROM measured WHERE nth = 1 OR bytes <= $5 ORDER BY nth";

/// A page of the queue that ends at its size or at the request's bytes.
pub(in crate::people) async fn list(
    connection: &mut AsyncPgConnection,
    filter: &EntryFilter,
    request: &PageRequest<String>,
) -> Result<Page<Entry>, Error> {
    // An id as its text, which is what a page token holds.
    let after = request.after.as_deref().map(Uuid::parse_str);
    let after = after.transpose().map_err(Error::internal)?;
    let rows: Vec<Listed> = sql_query(LIST)
        .bind::<Nullable<SqlUuid>, _>(after)
        .bind::<Nullable<Text>, _>(filter.state)
        .bind::<Nullable<SqlUuid>, _>(filter.person_id)
        .bind::<BigInt, _>(request.size + 1)
        .bind::<BigInt, _>(request.max_bytes)
        .get_results(connection)
        .await?;
    let page = Page::cut(rows, |row| row.found, request.size);
    Ok(Page {
        more: page.more,
        items: page.items.into_iter().map(|row| row.entry).collect(),
    })
}

/// How many entries are in which state.
#[derive(Debug, QueryableByName)]
pub(in crate::people) struct Stats {
    #[diesel(sql_type = BigInt)]
    pub(in crate::people) ready: i64,
    #[diesel(sql_type = BigInt)]
    pub(in crate::people) delayed: i64,
    #[diesel(sql_type = BigInt)]
    pub(in crate::people) leased: i64,
    #[diesel(sql_type = BigInt)]
    pub(in crate::people) completed: i64,
    #[diesel(sql_type = BigInt)]
    pub(in crate::people) dead: i64,
    #[diesel(sql_type = BigInt)]
    pub(in crate::people) suppressed: i64,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub(in crate::people) oldest_ready_at: Option<DateTime<Utc>>,
}

/// The whole queue, counted in one snapshot.
pub(in crate::people) async fn stats(connection: &mut AsyncPgConnection) -> Result<Stats, Error> {
    Ok(sql_query("SELECT * FROM ple.f_stats()")
        .get_result(connection)
        .await?)
}

/// What a chunk of the sweep did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, QueryableByName)]
pub(in crate::people) struct Swept {
    /// Stale intelligence that is gone.
    #[diesel(sql_type = BigInt)]
    pub(in crate::people) purged: i64,
    /// People who wait for enrichment because of it.
    #[diesel(sql_type = BigInt)]
    pub(in crate::people) enqueued: i64,
    /// People who wait again, since their suppression was lifted.
    #[diesel(sql_type = BigInt)]
    pub(in crate::people) returned: i64,
}

/// A chunk of the sweep.
#[derive(Clone, Copy, Debug, QueryableByName)]
pub(in crate::people) struct Chunk {
    #[diesel(embed)]
    pub(in crate::people) swept: Swept,
    /// The last person whom it looked at of those who are suppressed.
    #[diesel(sql_type = SqlUuid)]
    pub(in crate::people) looked_to: Uuid,
}

/// Does a chunk of the sweep; of those who are suppressed it looks at the ones after a person.
pub(in crate::people) async fn sweep(
    connection: &mut AsyncPgConnection,
    most: i32,
    priority: i32,
    max_failures: i32,
    actor: &Actor,
    after: Uuid,
) -> Result<Chunk, Error> {
    Ok(sql_query("SELECT * FROM ple.f_sweep($1, $2, $3, $4, $5)")
        .bind::<Integer, _>(most)
        .bind::<Integer, _>(priority)
        .bind::<Integer, _>(max_failures)
        .bind::<Text, _>(actor.as_str())
        .bind::<SqlUuid, _>(after)
        .get_committed(connection)
        .await?)
}

impl std::ops::AddAssign for Swept {
    fn add_assign(&mut self, other: Self) {
        self.purged += other.purged;
        self.enqueued += other.enqueued;
        self.returned += other.returned;
    }
}
