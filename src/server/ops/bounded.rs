//! Reads for pages and scrapes, which must not become a load of their own.
//!
//! Guarantee: a statement ends within a second, whatever the tables hold.

use diesel::{QueryResult, QueryableByName, pg::Pg, sql_query};
use diesel_async::{AsyncConnection as _, AsyncPgConnection, RunQueryDsl as _};

use crate::{db::Pool, rpc::Error};

/// For one transaction only.
const SETTINGS: &str =
    "SELECT set_config('statement_timeout', '900ms', true), set_config('jit', 'off', true)";
const BY_INDEXES: &str = "SELECT set_config('statement_timeout', '900ms', true),
    set_config('jit', 'off', true), set_config('enable_seqscan', 'off', true)";

/// The rows of a statement, read in a transaction of its own.
pub(super) async fn read<Row>(pool: &Pool, statement: &str) -> Result<Vec<Row>, Error>
where
    Row: QueryableByName<Pg> + Send + 'static,
{
    run(pool, SETTINGS, statement).await
}

/// The same, by indexes wherever there is one.
pub(super) async fn read_by_indexes<Row>(pool: &Pool, statement: &str) -> Result<Vec<Row>, Error>
where
    Row: QueryableByName<Pg> + Send + 'static,
{
    run(pool, BY_INDEXES, statement).await
}

async fn run<Row>(pool: &Pool, settings: &str, statement: &str) -> Result<Vec<Row>, Error>
where
    Row: QueryableByName<Pg> + Send + 'static,
{
    let mut connection = pool.get().await?;
    Ok(connection
        .transaction(async |connection| run_in_txn(connection, settings, statement).await)
        .await?)
}

async fn run_in_txn<Row>(
    connection: &mut AsyncPgConnection,
    settings: &str,
    statement: &str,
) -> QueryResult<Vec<Row>>
where
    Row: QueryableByName<Pg> + Send + 'static,
{
    sql_query(settings).execute(connection).await?;
    sql_query(statement).get_results(connection).await
}
