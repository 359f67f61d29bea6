//! Doubt about connections that were made before their server stopped taking writes.
//!
//! A primary that becomes a standby, or whose administrator made it read only, keeps its connections: they work,
//! and refuse every write. Where the URL asks for a server that takes writes (`target_session_attrs=read-write`),
//! such a connection is as good as lost, so each is looked at before it is lent. That costs those who asked for it a
//! round trip a call; point reads have connections of their own, which [`super::pool::Pool::doubt`] renews.

use diesel::{QueryResult, dsl::sql, result::Error as QueryError, select, sql_types::Bool};
use diesel_async::{AsyncPgConnection, RunQueryDsl as _};

/// Whether writes are taken, of a connection.
const TAKES_WRITES: &str = "current_setting('transaction_read_only') = 'off'";

/// Refuses a connection that takes no writes.
pub(super) async fn check(connection: &mut AsyncPgConnection) -> QueryResult<()> {
    if takes_writes(connection).await? {
        Ok(())
    } else {
        Err(QueryError::BrokenTransactionManager)
    }
}

/// Whether the server behind a connection takes writes.
pub(super) async fn takes_writes(mut connection: &AsyncPgConnection) -> QueryResult<bool> {
    select(sql::<Bool>(TAKES_WRITES))
        .get_result(&mut connection)
        .await
}
