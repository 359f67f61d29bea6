//! The lock under which a database is migrated.
//!
//! A session's advisory lock: it dies with its holder's connection. It is polled and not waited for,
//! since a session that waits holds a snapshot, and `CREATE INDEX CONCURRENTLY` in the holder's
//! migration would wait for that snapshot in turn, for ever.

use std::time::Duration;

use tokio_postgres::Client;

use super::super::error::Error;

/// "leadvaul" in ASCII: any fixed number that no other program is likely to use.
const KEY: i64 = 0x6c65_6164_7661_756c;

const POLL: Duration = Duration::from_millis(200);

/// The lock, held by a session.
#[must_use = "the lock is held until it is released"]
pub(super) struct Lock(());

impl Lock {
    /// Waits until this session holds the lock.
    pub(super) async fn take(client: &Client) -> Result<Self, Error> {
        let mut told = false;
        loop {
            let row = client
                .query_one("SELECT pg_try_advisory_lock($1)", &[&KEY])
                .await
                .map_err(Error::query("taking the migration lock"))?;
            if row.get(0) {
                return Ok(Self(()));
            }
            if !std::mem::replace(&mut told, true) {
                tracing::info!("another leadvault is migrating this database: waiting for it");
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Gives it back; if that fails, the session's end does.
    pub(super) async fn release(self, client: &Client) {
        let _ = client
            .execute("SELECT pg_advisory_unlock($1)", &[&KEY])
            .await;
    }
}
