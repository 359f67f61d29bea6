//! The pool that the rooms take their connections from.
//!
//! Guarantees:
//! * No test query at check-out: that would double the round trips of a point read. A connection
//!   whose socket is known to be dead is thrown away instead, which costs nothing and is what makes
//!   the pool recover after PostgreSQL restarted.
//! * Reads of one row by its key do not take a connection from each other: see [`Pool::point_read`].
//! * Every connection acts as the role that was asked for.
//! * [`Pool::connect`] connects once itself, so that a wrong URL is an error with its reason and
//!   not a timeout; later the reason of failed attempts is logged and comes with the timeout.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicU32, Ordering},
};
use std::time::Duration;

use diesel_async::AsyncPgConnection;
use diesel_async::pooled_connection::{
    AsyncDieselConnectionManager, ManagerConfig, PoolError, PoolableConnection as _,
    RecyclingMethod,
};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use futures_util::pin_mut;

use super::call::Call;
use super::connect::connect_with;
use super::doubt;
use super::error::Error;
use super::lent::{Manager, PooledConnection};
use super::point_reads::{PointReads, SharedConnection};
use super::url::DatabaseUrl;

/// How long a stream or a job waits for a connection: nobody counts its seconds, and to wait is how a full pool
/// holds it back.
const JOB_PATIENCE: Duration = Duration::from_secs(30);
/// How long a transaction may be silent, at the least.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);
/// How long the handshake of one more connection may take, at the least. The first one has longer.
const SHORTEST_HANDSHAKE: Duration = Duration::from_secs(10);

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
        let inner = bb8::Pool::builder()
            .max_size(options.max_size)
            .connection_timeout(
                JOB_PATIENCE
                    .max(options.connection_timeout)
                    .max(options.busy_timeout),
            )
            .error_sink(Box::new(LogSink))
            .build_unchecked(manager(Arc::clone(&options), last_error.clone()));
        // Full or broken cannot be yet; and if, the pool makes its own.
        let _ = inner.add(first);
        Ok(Self {
            inner,
            options,
            url,
            last_error,
            point_reads,
            waiting: Arc::default(),
        })
    }

    /// A connection. A call waits shortly, or for as long as connections are still to be made; a stream or a job of
    /// the server's own is held back until there is one.
    ///
    /// # Errors
    /// [`Error::PoolTimeout`].
    pub async fn get(&self) -> Result<PooledConnection, Error> {
        let _waiting = Waiting::of(&self.waiting);
        let call = Call::current();
        let lent = match call {
            Some(_) => self.lend_to_call().await?,
            None => self.lend(JOB_PATIENCE).await?,
        };
        Ok(PooledConnection::new(lent, Arc::clone(&self.url), call))
    }

    /// A connection for work that several calls wait for: they wait as shortly as for one of their own, and none of
    /// them that is given up cuts it.
    ///
    /// # Errors
    /// [`Error::PoolTimeout`].
    pub(super) async fn get_for_callers(&self) -> Result<PooledConnection, Error> {
        let _waiting = Waiting::of(&self.waiting);
        let lent = self.lend_to_call().await?;
        Ok(PooledConnection::new(lent, Arc::clone(&self.url), None))
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
        if let Ok(lent) = tokio::time::timeout(busy, &mut lending).await {
            return lent;
        }
        if self.inner.state().connections >= self.options.max_size {
            return Err(self.timeout(bb8::RunError::TimedOut, busy));
        }
        let rest = connecting.saturating_sub(busy);
        let lent = tokio::time::timeout(rest, lending).await;
        lent.unwrap_or_else(|_| Err(self.timeout(bb8::RunError::TimedOut, connecting)))
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

    fn timeout(&self, error: bb8::RunError<PoolError>, waited: Duration) -> Error {
        let last_error = match error {
            bb8::RunError::User(error) => Some(error.to_string()),
            bb8::RunError::TimedOut => self.last_error.get(),
        };
        Error::PoolTimeout {
            waited,
            max_size: self.options.max_size,
            last_error,
        }
    }
}

fn manager(options: Arc<PoolOptions>, last_error: LastError) -> Manager {
    let asks_for_writes = options.url.asks_for_writes();
    let target = options.url.to_string();
    let mut config = ManagerConfig::default();
    config.custom_setup = Box::new(move |_target| {
        let (options, last_error) = (Arc::clone(&options), last_error.clone());
        establish(options, last_error).boxed()
    });
    config.recycling_method = RecyclingMethod::CustomFunction(Box::new(move |connection| {
        throw_away_dead(connection, asks_for_writes)
    }));
    // The manager keeps this text and gives it to the setup, which knows better: no password in it.
    AsyncDieselConnectionManager::new_with_config(target, config)
}

/// Law 12, bounded work: whatever a caller asks for, its statement ends, and nobody waits for ever behind a
/// lock that somebody else forgot. No statement is compiled: that takes longer than most of ours.
async fn connect_as(options: &PoolOptions) -> Result<AsyncPgConnection, Error> {
    let timeout = options.statement_timeout.as_millis();
    // A transaction of a service that the network swallowed must not keep its locks: no statement of ours is as
    // far from the next one as twice what it may take, and the idle time of a stream.
    let settings = format!(
        "-c jit=off -c statement_timeout={timeout} -c lock_timeout={} -c idle_in_transaction_session_timeout={}",
        (timeout / 4).max(1),
        (timeout * 2).max(LONGEST_PAUSE.as_millis())
    );
    connect_with(&options.url, options.role.as_deref(), &settings).await
}

async fn establish(
    options: Arc<PoolOptions>,
    last_error: LastError,
) -> diesel::ConnectionResult<AsyncPgConnection> {
    let patience = options.connection_timeout.max(SHORTEST_HANDSHAKE);
    let connecting = Box::pin(connect_as(&options));
    let result = match tokio::time::timeout(patience, connecting).await {
        Ok(result) => result,
        Err(_elapsed) => Err(Error::Connect {
            target: options.url.to_string(),
            detail: format!("the server was not ready within {patience:?}"),
            hint: String::new(),
        }),
    };
    last_error.set(result.as_ref().err().map(ToString::to_string));
    result.map_err(|e| diesel::ConnectionError::BadConnection(e.to_string()))
}

/// Like `RecyclingMethod::Fast`, and looks whether the socket is closed: no query, unless the URL asks for a server
/// that takes writes.
fn throw_away_dead(
    connection: &mut AsyncPgConnection,
    asks_for_writes: bool,
) -> BoxFuture<'_, diesel::QueryResult<()>> {
    if connection.is_broken() {
        return std::future::ready(Err(diesel::result::Error::BrokenTransactionManager)).boxed();
    }
    if asks_for_writes {
        doubt::check(connection).boxed()
    } else {
        std::future::ready(Ok(())).boxed()
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

/// Why the last attempt to connect failed; nothing after one that worked.
#[derive(Debug, Clone, Default)]
struct LastError(Arc<Mutex<Option<String>>>);

impl LastError {
    fn set(&self, error: Option<String>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = error;
    }

    fn get(&self) -> Option<String> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

/// Logs what bb8 would keep to itself.
#[derive(Debug, Clone, Copy)]
struct LogSink;

impl bb8::ErrorSink<PoolError> for LogSink {
    fn sink(&self, error: PoolError) {
        match error {
            PoolError::ConnectionError(error) => {
                tracing::warn!(%error, "the pool could not connect; it tries again");
            }
            PoolError::QueryError(_) => {
                tracing::info!("the pool threw away a connection that the server had closed");
            }
        }
    }

    fn boxed_clone(&self) -> Box<dyn bb8::ErrorSink<PoolError>> {
        Box::new(*self)
    }
}
