//! Doubt about connections that were made before their server stopped taking writes.
//!
//! A primary that becomes a standby, or whose administrator made it read only, keeps its connections: they work,
//! and refuse every write. Where the URL asks for a server that takes writes (`target_session_attrs=read-write`),
//! such a connection is as good as lost. A look at each check-out would double the round trips of a point read,
//! so connections are looked at only for a while after one was found out.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use diesel::{QueryResult, dsl::sql, result::Error as QueryError, select, sql_types::Bool};
use diesel_async::{AsyncPgConnection, RunQueryDsl as _};

/// Whether writes are taken, of a connection.
const TAKES_WRITES: &str = "current_setting('transaction_read_only') = 'off'";
/// How long it lasts: longer than a connection may lie idle in the pool.
const LASTS: Duration = Duration::from_secs(900);

/// Until when connections are looked at before they are lent.
#[derive(Clone, Debug, Default)]
pub(super) struct Doubt(Arc<Mutex<Option<Instant>>>);

impl Doubt {
    /// From now on connections are looked at.
    pub(super) fn raise(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now().checked_add(LASTS);
    }

    fn holds(&self) -> bool {
        let until = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        until.is_some_and(|until| Instant::now() < until)
    }

    /// Refuses a connection that is in doubt and takes no writes.
    pub(super) async fn check(&self, connection: &mut AsyncPgConnection) -> QueryResult<()> {
        if !self.holds() || takes_writes(connection).await? {
            return Ok(());
        }
        Err(QueryError::BrokenTransactionManager)
    }
}

/// Whether the server behind a connection takes writes.
pub(super) async fn takes_writes(mut connection: &AsyncPgConnection) -> QueryResult<bool> {
    select(sql::<Bool>(TAKES_WRITES))
        .get_result(&mut connection)
        .await
}
