//! Pending slots: how many there are, and those that a promotion takes next.

use diesel::{
    QueryableByName, sql_query,
    sql_types::{Array, BigInt, Bool, Integer, Nullable, Text, Uuid as SqlUuid},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl as _};
use uuid::Uuid;

use crate::{domain::BatchId, golden::Kind, rpc::Error};

/// Which slots are to be promoted.
#[derive(Clone, Debug)]
pub(in crate::golden) enum Scope {
    /// These.
    Slots(Vec<Uuid>),
    /// Those of a batch.
    Batch(BatchId),
    /// All that are pending.
    All,
}

#[derive(QueryableByName)]
struct Count {
    #[diesel(sql_type = BigInt)]
    count: i64,
}

#[derive(QueryableByName)]
struct Known {
    #[diesel(sql_type = Bool)]
    known: bool,
}

/// Whether there is such a batch, or a slot that somebody gave its name.
pub(in crate::golden) async fn batch_exists(
    connection: &mut AsyncPgConnection,
    kind: &Kind,
    batch_id: &BatchId,
) -> Result<bool, Error> {
    let row: Known = sql_query(kind.fill(
        "SELECT EXISTS (SELECT FROM intake.batches WHERE batch_id = $1)
                OR EXISTS (SELECT FROM {schema}.slot WHERE batch_id = $1) AS known",
    ))
    .bind::<Text, _>(batch_id.as_str())
    .get_result(connection)
    .await?;
    Ok(row.known)
}

/// Counts the pending slots of a scope.
pub(in crate::golden) async fn count_pending(
    connection: &mut AsyncPgConnection,
    kind: &Kind,
    scope: &Scope,
) -> Result<i64, Error> {
    let count = kind
        .fill("SELECT count(*) AS count FROM {schema}.slot WHERE validation_status = 'pending'");
    let query = match scope {
        Scope::All => sql_query(count).into_boxed(),
        Scope::Batch(batch_id) => sql_query(count)
            .into_boxed()
            .sql(" AND batch_id = $1")
            .bind::<Text, _>(batch_id.as_str()),
        Scope::Slots(slot_ids) => sql_query(count)
            .into_boxed()
            .sql(" AND id = ANY ($1)")
            .bind::<Array<SqlUuid>, _>(slot_ids),
    };
    let row: Count = query.get_result(connection).await?;
    Ok(row.count)
}

/// A slot that this transaction took.
#[derive(Debug, QueryableByName)]
pub(crate) struct PendingSlot {
    /// Its id.
    #[diesel(sql_type = SqlUuid)]
    pub(crate) id: Uuid,
    /// Its place in the order of staging.
    #[diesel(sql_type = BigInt)]
    pub(crate) slot_number: i64,
    /// Its key; nobody may have normalized it.
    #[diesel(sql_type = Text)]
    pub(crate) key: String,
    /// Its row, the JSON text of anything.
    #[diesel(sql_type = Text)]
    pub(crate) raw_data: String,
}

/// Takes the next pending slots of a scope after a slot, in order, until the transaction ends. Those that
/// somebody else took are left to them.
pub(in crate::golden) async fn take_pending(
    connection: &mut AsyncPgConnection,
    kind: &Kind,
    scope: &Scope,
    after: i64,
    most: i32,
    max_bytes: i64,
) -> Result<Vec<PendingSlot>, Error> {
    let (slot_ids, batch_id) = match scope {
        Scope::Slots(slot_ids) => (Some(slot_ids), None),
        Scope::Batch(batch_id) => (None, Some(batch_id.as_str())),
        Scope::All => (None, None),
    };
    Ok(sql_query(kind.fill(
        "SELECT id, slot_number, {key} AS key, raw_data FROM {schema}.f_take_pending($1, $2, $3, $4, $5)",
    ))
    .bind::<Nullable<Array<SqlUuid>>, _>(slot_ids)
    .bind::<Nullable<Text>, _>(batch_id)
    .bind::<BigInt, _>(after)
    .bind::<Integer, _>(most)
    .bind::<BigInt, _>(max_bytes)
    .get_results(connection)
    .await?)
}
