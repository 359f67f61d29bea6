//! The pool that the rooms take their connections from.
//!
//! Guarantees:
//! * No test query at check-out, unless the URL asks for a server that takes writes; see `doubt`.
//! * Reads of one row by its key do not take a connection from each other: see [`Pool::point_read`].
//! * Every connection acts as the role that was asked for.
//! * [`Pool::connect`] connects once itself, so that a wrong URL is an error with its reason and
//!   not a timeout; later the reason of failed attempts is logged and comes with the timeout.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use futures_util::pin_mut;

use super::{
    call::Call,
    doubt,
    error::Error,
    lent::PooledConnection,
    manager::{self, LastError, Manager, connect_as},
    point_reads::{PointReads, SharedConnection},
    url::DatabaseUrl,
};

/// How long a stream or a job waits for a connection: nobody counts its seconds, and to wait is how a full pool
/// holds it back.
const JOB_PATIENCE: Duration = manager::PATIENCE;

/// What a pool is made of.
#[derive(Debug, Clone)]
pub struct PoolOptions {
    /// The server and the login.
    pub url: DatabaseUrl,
    /// The role to act as; the login itself where `None`.
    pub role: Option<String>,
    /// The most connections at a time.
    pub max_size: u32,
    /// How long a call waits while all connections are there and busy.
    pub busy_timeout: Duration,
    /// How long a call waits while connections are still to be made.
    pub connection_timeout: Duration,
    /// How long a statement may run; one that waits for a lock gets a quarter of it.
    pub statement_timeout: Duration,
    /// How many connections point reads share, beside those of the pool; at least one.
    pub point_read_connections: u32,
}

impl PoolOptions {
    /// Ten connections as [`APP_ROLE`](super::APP_ROLE), half a second of patience, five while connections are
    /// made, a minute a statement.
    #[must_use]
    pub fn new(url: DatabaseUrl) -> Self {
        Self {
            url,
            role: Some(super::APP_ROLE.to_owned()),
            max_size: 10,
            busy_timeout: Duration::from_millis(500),
            connection_timeout: Duration::from_secs(5),
            statement_timeout: Duration::from_secs(60),
            point_read_connections: 2,
        }
    }
}

/// A pool of connections; clones share it.
#[derive(Debug, Clone)]
pub struct Pool {
    inner: bb8::Pool<Manager>,
    options: Arc<PoolOptions>,
    url: Arc<DatabaseUrl>,
    last_error: LastError,
    point_reads: Arc<PointReads>,
    waiting: Arc<AtomicU32>,
}

/// How a pool is used at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolUsage {
    /// The most connections that it may have.
    pub max: u32,
    /// Connections that are open.
    pub open: u32,
    /// Those of them that nobody uses.
    pub idle: u32,
    /// Callers that wait for one.
    pub waiting: u32,
    /// The most connections that point reads share, beside those of the pool.
    pub point_read_max: u32,
    /// Those of them that are open.
    pub point_read_open: u32,
    /// Point reads that are on their way.
    pub point_reads: u32,
}

impl Pool {
    /// Makes the pool and one connection in it.
    ///
    /// # Errors
    /// What [`connect`] says about the first connection.
    pub async fn connect(mut options: PoolOptions) -> Result<Self, Error> {
        // Whoever waits for a connection waits until the last of several hosts was tried.
        options.connection_timeout = options.connection_timeout.max(options.url.patience());
        let first = connect_as(&options).await?;
        let last_error = LastError::default();
        let point_reads = Arc::new(PointReads::new(options.clone()));
        let url = Arc::new(options.url.clone());
        let options = Arc::new(options);
        let waiting = Arc::<AtomicU32>::default();
        let manager = Manager::new(
            Arc::clone(&options),
            last_error.clone(),
            Arc::clone(&waiting),
        );
        let inner = bb8::Pool::builder()
            .max_size(options.max_size)
            .connection_timeout(
                JOB_PATIENCE
                    .max(options.connection_timeout)
                    .max(options.busy_timeout),
            )
            // The manager does, and knows for how long.
            .retry_connection(false)
            .build_unchecked(manager);
        // Full or broken cannot be yet; and if, the pool makes its own.
        let _ = inner.add(first);
        Ok(Self {
            inner,
            options,
            url,
            last_error,
            point_reads,
            waiting,
        })
    }

    /// A connection. A call waits shortly, or for as long as connections are still to be made; a stream or a job of
    /// the server's own is held back until there is one.
    ///
    /// # Errors
    /// [`Error::PoolTimeout`]; [`Error::Query`] where connections were lost or took no writes, one after the other.
    pub async fn get(&self) -> Result<PooledConnection, Error> {
        let call = Call::current();
        self.lend_sound(call.is_some(), call).await
    }

    /// A connection for work that several calls wait for: they wait as shortly as for one of their own, and none of
    /// them that is given up cuts it.
    ///
    /// # Errors
    /// As [`Pool::get`].
    pub(super) async fn get_for_callers(&self) -> Result<PooledConnection, Error> {
        self.lend_sound(true, None).await
    }

    /// Lends a connection, to whoever cannot wait for long or to a job. Where the URL asks for a server that takes
    /// writes it is one that does, and answers: another one is thrown away, and the next is looked at.
    async fn lend_sound(
        &self,
        shortly: bool,
        call: Option<Arc<Call>>,
    ) -> Result<PooledConnection, Error> {
        let _waiting = Waiting::of(&self.waiting);
        let begun = Instant::now();
        loop {
            let lent = if shortly {
                self.lend_to_call().await?
            } else {
                self.lend(JOB_PATIENCE).await?
            };
            let connection = PooledConnection::new(lent, Arc::clone(&self.url), call.clone());
            if !self.options.url.asks_for_writes() {
                return Ok(connection);
            }
            match doubt::check(&connection).await {
                Ok(()) => return Ok(connection),
                Err(error) => {
                    connection.throw_away();
                    if begun.elapsed() >= self.options.connection_timeout {
                        return Err(error);
                    }
                }
            }
        }
    }

    async fn lend(
        &self,
        patience: Duration,
    ) -> Result<bb8::PooledConnection<'static, Manager>, Error> {
        let lending = self.inner.get_owned();
        lending.await.map_err(|error| self.timeout(error, patience))
    }

    async fn lend_to_call(&self) -> Result<bb8::PooledConnection<'static, Manager>, Error> {
        let (busy, connecting) = (self.options.busy_timeout, self.options.connection_timeout);
        // One wait, however long it turns out to be: a second one would begin at the end of the queue.
        let lending = self.lend(JOB_PATIENCE);
        pin_mut!(lending);
        // By then it shows which of them it is that is waited for.
        let shorter = busy.min(connecting);
        if let Ok(lent) = tokio::time::timeout(shorter, &mut lending).await {
            return lent;
        }
        let is_full = self.inner.state().connections >= self.options.max_size;
        let patience = if is_full { busy } else { connecting };
        let lent = tokio::time::timeout(patience.saturating_sub(shorter), lending).await;
        lent.unwrap_or_else(|_| Err(self.timeout(bb8::RunError::TimedOut, patience)))
    }

    /// Runs a single statement that finds at most one row by a unique key, on a connection that many such
    /// reads share. It is run again if the connection is lost, so it must not write.
    ///
    /// # Errors
    /// Outside: [`Error::Connect`], [`Error::Query`] where no connection could be had. Inside: what
    /// PostgreSQL said to the statement.
    pub async fn point_read<T, Read>(
        &self,
        read: impl Fn(SharedConnection) -> Read,
    ) -> Result<diesel::QueryResult<T>, Error>
    where
        Read: Future<Output = diesel::QueryResult<T>>,
    {
        self.point_reads.run(read).await
    }

    /// Whether the database is there and takes writes; asked on a connection of the point reads, so that a
    /// pool whose connections are all busy is no reason to think otherwise.
    ///
    /// # Errors
    /// It cannot be reached, or does not answer.
    pub(crate) async fn takes_writes(&self) -> Result<bool, Error> {
        let asked = self
            .point_read(async |connection| doubt::takes_writes(&connection).await)
            .await?;
        asked.map_err(|error| Error::Query {
            doing: "asking whether the database takes writes".to_owned(),
            detail: error.to_string(),
        })
    }

    /// A server was found out that takes no writes any more. Where the URL asks for one that does, connections to
    /// it are thrown away.
    pub(crate) fn doubt(&self) {
        if self.options.url.asks_for_writes() {
            self.point_reads.renew();
        }
    }

    /// How many connections point reads share.
    pub(super) fn point_read_connections(&self) -> usize {
        self.point_reads.connections()
    }

    /// How it is used now; for metrics.
    #[must_use]
    pub fn usage(&self) -> PoolUsage {
        let state = self.inner.state();
        let (point_read_open, point_reads) = self.point_reads.usage();
        PoolUsage {
            max: self.options.max_size,
            open: state.connections,
            idle: state.idle_connections,
            waiting: self.waiting.load(Ordering::Relaxed),
            point_read_max: u32::try_from(self.point_reads.connections()).unwrap_or(u32::MAX),
            point_read_open,
            point_reads,
        }
    }

    /// Whoever waited while the pool was not even full did not wait for others.
    fn still_connects(&self) -> Option<String> {
        let is_full = self.inner.state().connections >= self.options.max_size;
        (!is_full).then(|| "nothing yet, it goes on".to_owned())
    }

    fn timeout(&self, error: bb8::RunError<Error>, waited: Duration) -> Error {
        let last_error = match error {
            bb8::RunError::User(error) => Some(error.to_string()),
            bb8::RunError::TimedOut => self.last_error.get().or_else(|| self.still_connects()),
        };
        Error::PoolTimeout {
            waited,
            max_size: self.options.max_size,
            last_error,
        }
    }
}

/// Somebody who waits for a connection, until they have it or go away.
struct Waiting<'a>(&'a AtomicU32);

impl<'a> Waiting<'a> {
    fn of(count: &'a AtomicU32) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
