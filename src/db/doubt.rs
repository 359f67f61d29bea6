//! Doubt about connections that were made before their server stopped taking writes.
//!
//! A primary that becomes a standby, or whose administrator made it read only, keeps its connections: they work,
//! and refuse every write. Where the URL asks for a server that takes writes (`target_session_attrs=read-write`),
//! such a connection is as good as lost, so each is looked at when it is lent, by who has it then: one that answers
//! nothing is closed, and its place in the pool is free. That costs those who asked for it a round trip a call; point
//! reads have connections of their own, which [`super::pool::Pool::doubt`] renews.

use std::time::Duration;

use diesel::{QueryResult, dsl::sql, select, sql_types::Bool};
use diesel_async::{AsyncPgConnection, RunQueryDsl as _};

use super::error::Error;

/// Whether writes are taken, of a connection.
const TAKES_WRITES: &str = "current_setting('transaction_read_only') = 'off'";
/// How long a server may take to say so. One that is silent for longer is not waited for.
const PATIENCE: Duration = Duration::from_secs(2);

/// Refuses a connection that takes no writes, or does not answer.
///
/// # Errors
/// Why it is refused.
pub(super) async fn check(connection: &AsyncPgConnection) -> Result<(), Error> {
    let asked = tokio::time::timeout(PATIENCE, takes_writes(connection)).await;
    let detail = match asked {
        Ok(Ok(true)) => return Ok(()),
        Ok(Ok(false)) => "it takes none any more".to_owned(),
        Ok(Err(error)) => error.to_string(),
        Err(_elapsed) => format!("no answer within {PATIENCE:?}"),
    };
    Err(Error::Query {
        doing: "looking whether the server of a connection takes writes".to_owned(),
        detail,
    })
}

/// Whether the server behind a connection takes writes.
pub(super) async fn takes_writes(mut connection: &AsyncPgConnection) -> QueryResult<bool> {
    select(sql::<Bool>(TAKES_WRITES))
        .get_result(&mut connection)
        .await
}
