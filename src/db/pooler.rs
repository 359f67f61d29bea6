//! Whether a pooler in transaction mode keeps what the service needs of it: prepared statements.
//!
//! diesel prepares a statement and then executes it, which are two transactions for a pooler: the second may run on
//! a server connection that has never heard of the statement. PgBouncer 1.21 and newer look after that. An older one
//! does not, and a service behind it would fail now and then, as its load falls: better not to start at all.

use std::time::Duration;

use tokio_postgres::{Client, Error as Failure, Statement};

use super::{
    connect,
    error::{Error, describe},
    url::DatabaseUrl,
};

/// How often it is tried: another client of the pool may take the connection that was to be held.
const ATTEMPTS: usize = 3;
/// A pool of one connection makes the second client wait for the first.
const PATIENCE: Duration = Duration::from_secs(3);

/// Refuses a pooler that keeps no prepared statements; a URL with sessions needs none.
///
/// # Errors
/// [`Error::PoolerTooOld`], [`Error::Connect`].
pub async fn verify(url: &DatabaseUrl) -> Result<(), Error> {
    if url.has_sessions() {
        return Ok(());
    }
    let (asker, _driver) = connect::client(url).await?;
    let (holder, _driver) = connect::client(url).await?;
    for _ in 0..ATTEMPTS {
        let statement = asker.prepare("SELECT 1").await.map_err(too_old(url))?;
        execute_elsewhere(&asker, &statement, &holder)
            .await
            .map_err(too_old(url))?;
    }
    Ok(())
}

/// Executes a statement while the server connection that prepared it is held by somebody else.
async fn execute_elsewhere(
    asker: &Client,
    statement: &Statement,
    holder: &Client,
) -> Result<(), Failure> {
    // Poolers lend the connection that came back last.
    holder.batch_execute("BEGIN").await?;
    let executed = tokio::time::timeout(PATIENCE, asker.query_one(statement, &[])).await;
    holder.batch_execute("COMMIT").await?;
    match executed {
        Ok(executed) => executed.map(drop),
        Err(_elapsed) => {
            tracing::warn!(
                "the pooler has one connection to the server: calls wait for each other"
            );
            Ok(())
        }
    }
}

fn too_old(url: &DatabaseUrl) -> impl FnOnce(Failure) -> Error {
    let target = url.to_string();
    move |error| Error::PoolerTooOld {
        target,
        detail: describe(&error),
    }
}
