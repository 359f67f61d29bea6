//! How the pool makes its connections, and which of them it keeps.
//!
//! Guarantees:
//! * While the database is away it is tried again after a second at the latest, for as long as somebody waits. Pauses
//!   that grow further, as bb8's own do, would let calls fail that come when the database is back.
//! * No test query at check-out: that would double the round trips of a short call. A connection whose socket is known
//!   to be dead is thrown away instead, which costs nothing and is what makes the pool recover after PostgreSQL
//!   restarted.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use diesel_async::pooled_connection::PoolableConnection as _;

use super::{
    connect::connect_watched,
    error::Error,
    pool::PoolOptions,
    watch::{Patience, Watched},
};

/// How long a connection is tried for where nobody waits for it.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);
/// How long the handshake of one more connection may take, at the least. The first one has longer.
const SHORTEST_HANDSHAKE: Duration = Duration::from_secs(10);
/// Between two attempts to connect.
const SHORTEST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// How long a transaction may be silent, at the least.
const LONGEST_PAUSE_IN_TXN: Duration = Duration::from_secs(300);

/// What makes the connections of a pool.
pub(super) struct Manager {
    options: Arc<PoolOptions>,
    last_error: LastError,
    /// How many callers wait for a connection.
    waiting: Arc<AtomicU32>,
}

impl Manager {
    pub(super) fn new(
        options: Arc<PoolOptions>,
        last_error: LastError,
        waiting: Arc<AtomicU32>,
    ) -> Self {
        Self {
            options,
            last_error,
            waiting,
        }
    }

    async fn attempt(&self) -> Result<Watched, Error> {
        let patience = self.options.connection_timeout.max(SHORTEST_HANDSHAKE);
        let connecting = Box::pin(connect_as(&self.options));
        let attempt = tokio::time::timeout(patience, connecting).await;
        attempt.unwrap_or_else(|_elapsed| {
            Err(Error::Connect {
                target: self.options.url.to_string(),
                detail: format!("the server was not ready within {patience:?}"),
                hint: String::new(),
            })
        })
    }

    /// Each reason is logged once, however often it is met again.
    fn failed(&self, error: &Error) {
        if self.last_error.set(Some(error.to_string())) {
            tracing::warn!(%error, "the pool could not connect; it tries again");
        }
    }

    fn is_wanted_since(&self, begun: Instant) -> bool {
        self.waiting.load(Ordering::Relaxed) > 0 || begun.elapsed() <= PATIENCE
    }
}

impl bb8::ManageConnection for Manager {
    type Connection = Watched;
    type Error = Error;

    async fn connect(&self) -> Result<Watched, Error> {
        let begun = Instant::now();
        let mut pause = SHORTEST_PAUSE;
        loop {
            match self.attempt().await {
                Ok(connection) => {
                    self.last_error.set(None);
                    return Ok(connection);
                }
                Err(error) => {
                    self.failed(&error);
                    if !self.is_wanted_since(begun) {
                        return Err(error);
                    }
                }
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    async fn is_valid(&self, connection: &mut Watched) -> Result<(), Error> {
        if !connection.is_broken() {
            return Ok(());
        }
        tracing::info!("the pool threw away a connection that the server had closed");
        Err(Error::Query {
            doing: "lending a connection".to_owned(),
            detail: "the server had closed it".to_owned(),
        })
    }

    fn has_broken(&self, connection: &mut Watched) -> bool {
        std::thread::panicking() || connection.is_broken()
    }
}

/// Law 12, bounded work: whatever a caller asks for, its statement ends, and nobody waits for ever behind a
/// lock that somebody else forgot. No statement is compiled: that takes longer than most of ours.
pub(super) async fn connect_as(options: &PoolOptions) -> Result<Watched, Error> {
    let timeout = options.statement_timeout;
    // A transaction of a service that the network swallowed must not keep its locks: no statement of ours is as
    // far from the next one as twice what it may take, and the idle time of a stream.
    let idle = timeout.saturating_mul(2).max(LONGEST_PAUSE_IN_TXN);
    let settings = format!(
        "-c jit=off -c statement_timeout={} -c lock_timeout={} -c idle_in_transaction_session_timeout={}",
        timeout.as_millis(),
        (timeout.as_millis() / 4).max(1),
        idle.as_millis()
    );
    let patience = Patience::with(timeout, idle);
    connect_watched(&options.url, options.role.as_deref(), &settings, patience).await
}

/// Why the last attempt to connect failed; nothing after one that worked.
#[derive(Debug, Clone, Default)]
pub(super) struct LastError(Arc<Mutex<Option<String>>>);

impl LastError {
    /// Says whether it is another one than before.
    fn set(&self, error: Option<String>) -> bool {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_new = *last != error;
        *last = error;
        is_new
    }

    pub(super) fn get(&self) -> Option<String> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}
