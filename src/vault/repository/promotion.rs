//! Promotion: which loads are pending, and the call that promotes some of them.

use std::time::Duration;

use diesel::{
    QueryableByName, sql_query,
    sql_types::{Array, BigInt, Bool, Double, Integer, Nullable, Text},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl as _};

use crate::{
    db::GetCommitted as _,
    domain::{Actor, BatchId},
    rpc::Error,
};

/// Which loads are to be promoted.
#[derive(Clone, Debug)]
pub(in crate::vault) enum Scope {
    /// These, each once, in order.
    Loads(Vec<i64>),
    /// Those of a batch.
    Batch(BatchId),
    /// All that are pending.
    All,
}

/// The pending loads of a scope.
#[derive(Clone, Copy, Debug, Default, QueryableByName)]
pub(in crate::vault) struct Pending {
    /// How many.
    #[diesel(sql_type = BigInt)]
    pub(in crate::vault) count: i64,
    /// The first one, or 0.
    #[diesel(sql_type = BigInt)]
    first: i64,
    /// The last one, or 0.
    #[diesel(sql_type = BigInt)]
    last: i64,
}

/// What became of some loads. Loads that others hold, or that are not pending, are in none of these.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, QueryableByName)]
pub(in crate::vault) struct Promoted {
    /// Loads that made a contact.
    #[diesel(sql_type = BigInt)]
    pub(in crate::vault) promoted: i64,
    /// Loads that changed a contact.
    #[diesel(sql_type = BigInt)]
    pub(in crate::vault) updated: i64,
    /// Loads that found nothing to change.
    #[diesel(sql_type = BigInt)]
    pub(in crate::vault) unchanged: i64,
    /// Loads that were refused.
    #[diesel(sql_type = BigInt)]
    pub(in crate::vault) failed: i64,
    /// Loads that there was no time for: still pending, and not done.
    #[diesel(sql_type = BigInt)]
    pub(in crate::vault) postponed: i64,
}

impl Promoted {
    /// All of them.
    pub(in crate::vault) fn done(&self) -> i64 {
        self.promoted + self.updated + self.unchanged + self.failed
    }
}

impl std::ops::AddAssign for Promoted {
    fn add_assign(&mut self, other: Self) {
        self.promoted += other.promoted;
        self.updated += other.updated;
        self.unchanged += other.unchanged;
        self.failed += other.failed;
        self.postponed += other.postponed;
    }
}

#[derive(QueryableByName)]
struct Known {
    #[diesel(sql_type = Bool)]
    known: bool,
}

/// Whether there is such a batch, or a load that an administrator gave its name.
pub(in crate::vault) async fn batch_exists(
    connection: &mut AsyncPgConnection,
    batch_id: &BatchId,
) -> Result<bool, Error> {
    let row: Known = sql_query(
        "SELECT EXISTS (SELECT FROM intake.batches WHERE batch_id = $1)
                OR EXISTS (SELECT FROM intake.raw_loads WHERE batch_id = $1) AS known",
    )
    .bind::<Text, _>(batch_id.as_str())
    .get_result(connection)
    .await?;
    Ok(row.known)
}

/// Counts the pending loads of a scope: once a job, since there may be ten million.
pub(in crate::vault) async fn count_pending(
    connection: &mut AsyncPgConnection,
    scope: &Scope,
) -> Result<Pending, Error> {
    const COUNT: &str = "
        SELECT count(*) AS count, coalesce(min(load_id), 0) AS first, coalesce(max(load_id), 0) AS last
        FROM intake.raw_loads
        WHERE status = 'pending'";
    let query = match scope {
        Scope::All => sql_query(COUNT).into_boxed(),
        Scope::Batch(batch_id) => sql_query(COUNT)
            .into_boxed()
            .sql(" AND batch_id = $1")
            .bind::<Text, _>(batch_id.as_str()),
        Scope::Loads(load_ids) => sql_query(COUNT)
            .into_boxed()
            .sql(" AND load_id = ANY ($1)")
            .bind::<Array<BigInt>, _>(load_ids),
    };
    Ok(query.get_result(connection).await?)
}

#[derive(QueryableByName)]
struct LoadIdsRow {
    #[diesel(sql_type = Array<BigInt>)]
    load_ids: Vec<i64>,
}

/// The share of one worker of several: the loads of one email are always in the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::vault) struct Part {
    /// Which, from 0 on.
    pub(in crate::vault) number: i32,
    /// Of how many.
    pub(in crate::vault) of: i32,
}

impl Part {
    /// The share of one who works alone.
    pub(in crate::vault) const WHOLE: Self = Self { number: 0, of: 1 };
}

/// The next pending loads of a part of a scope after a load, in order. `pending` bounds where a batch is
/// looked for: beyond its loads all others that are pending would be read.
pub(in crate::vault) async fn next_pending(
    connection: &mut AsyncPgConnection,
    scope: &Scope,
    part: Part,
    pending: &Pending,
    after: i64,
    most: i32,
) -> Result<Vec<i64>, Error> {
    const NEXT: &str = "SELECT vault.f_pending_loads($1, $2, $3, $4, $5, $6) AS load_ids";
    let (batch_id, after, last) = match scope {
        Scope::Loads(load_ids) => {
            let next = load_ids.iter().copied().filter(|load_id| *load_id > after);
            return Ok(next
                .take(usize::try_from(most).map_err(Error::internal)?)
                .collect());
        }
        Scope::Batch(batch_id) => (
            Some(batch_id.as_str()),
            after.max(pending.first.saturating_sub(1)),
            pending.last,
        ),
        Scope::All => (None, after, i64::MAX),
    };
    let row: LoadIdsRow = sql_query(NEXT)
        .bind::<Nullable<Text>, _>(batch_id)
        .bind::<BigInt, _>(after)
        .bind::<BigInt, _>(last)
        .bind::<Integer, _>(part.number)
        .bind::<Integer, _>(part.of)
        .bind::<Integer, _>(most)
        .get_result(connection)
        .await?;
    Ok(row.load_ids)
}

/// Promotes those of the loads that are pending and that nobody else is promoting. What is not begun within
/// `patience` is postponed.
pub(in crate::vault) async fn promote(
    connection: &mut AsyncPgConnection,
    load_ids: &[i64],
    patience: Duration,
    actor: &Actor,
) -> Result<Promoted, Error> {
    const PROMOTE: &str = "SELECT * FROM vault.f_promote_loads($1, make_interval(secs => $2), $3)";
    Ok(sql_query(PROMOTE)
        .bind::<Array<BigInt>, _>(load_ids)
        .bind::<Double, _>(patience.as_secs_f64())
        .bind::<Text, _>(actor.as_str())
        .get_committed(connection)
        .await?)
}

/// Ends a load as failed for a reason that only the service's log knows.
pub(in crate::vault) async fn fail(
    connection: &mut AsyncPgConnection,
    load_id: i64,
    actor: &Actor,
) -> Result<(), Error> {
    const FAIL: &str = "SELECT vault.f_fail_loads(
        ARRAY[$1], 'NOT_PROMOTABLE', 'the service failed on this load; its log has the cause', $2)";
    sql_query(FAIL)
        .bind::<BigInt, _>(load_id)
        .bind::<Text, _>(actor.as_str())
        .execute(connection)
        .await?;
    Ok(())
}
