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

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use diesel_async::AsyncPgConnection;
use diesel_async::pooled_connection::{
    AsyncDieselConnectionManager, ManagerConfig, PoolError, PoolableConnection as _,
    RecyclingMethod,
};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;

use super::connect::connect_with;
use super::doubt::{self, Doubt};
use super::error::Error;
use super::point_reads::{PointReads, SharedConnection};
use super::url::DatabaseUrl;

type Manager = AsyncDieselConnectionManager<AsyncPgConnection>;

/// A connection on loan; it goes back when dropped. With lifetime `'static` it can move into a
/// spawned task: see [`Pool::get_owned`].
pub type PooledConnection<'a> = bb8::PooledConnection<'a, Manager>;

/// What a pool is made of.
#[derive(Debug, Clone)]
pub struct PoolOptions {
    /// The server and the login.
    pub url: DatabaseUrl,
    /// The role to act as; the login itself where `None`.
    pub role: Option<String>,
    /// The most connections at a time.
    pub max_size: u32,
    /// How long a caller waits for a connection.
    pub connection_timeout: Duration,
    /// How long a statement may run; one that waits for a lock gets a quarter of it.
    pub statement_timeout: Duration,
    /// How many connections point reads share, beside those of the pool; at least one.
    pub point_read_connections: u32,
}

impl PoolOptions {
    /// Ten connections as [`APP_ROLE`](super::APP_ROLE), five seconds of patience, a minute a statement.
    #[must_use]
    pub fn new(url: DatabaseUrl) -> Self {
        Self {
            url,
            role: Some(super::APP_ROLE.to_owned()),
            max_size: 10,
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
    max_size: u32,
    patience: Duration,
    last_error: LastError,
    point_reads: Arc<PointReads>,
    /// Raised where the URL asks for a server that takes writes.
    doubt: Option<Doubt>,
}

impl Pool {
    /// Makes the pool and one connection in it.
    ///
    /// # Errors
    /// What [`connect`] says about the first connection.
    pub async fn connect(options: PoolOptions) -> Result<Self, Error> {
        let first = connect_as(&options).await?;
        let last_error = LastError::default();
        let point_reads = Arc::new(PointReads::new(options.clone()));
        let doubt = options.url.asks_for_writes().then(Doubt::default);
        let PoolOptions {
            max_size,
            connection_timeout: patience,
            ..
        } = options;
        let inner = bb8::Pool::builder()
            .max_size(max_size)
            .connection_timeout(patience)
            .error_sink(Box::new(LogSink))
            .build_unchecked(manager(options, last_error.clone(), doubt.clone()));
        // Full or broken cannot be yet; and if, the pool makes its own.
        let _ = inner.add(first);
        Ok(Self {
            inner,
            max_size,
            patience,
            last_error,
            point_reads,
            doubt,
        })
    }

    /// A connection, for as long as the pool is borrowed.
    ///
    /// # Errors
    /// [`Error::PoolTimeout`].
    pub async fn get(&self) -> Result<PooledConnection<'_>, Error> {
        self.inner.get().await.map_err(|e| self.timeout(e))
    }

    /// A connection that may move into a spawned task, which no dropped handler can cut short.
    ///
    /// # Errors
    /// [`Error::PoolTimeout`].
    pub async fn get_owned(&self) -> Result<PooledConnection<'static>, Error> {
        self.inner.get_owned().await.map_err(|e| self.timeout(e))
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
        if let Some(doubt) = &self.doubt {
            doubt.raise();
            self.point_reads.renew();
        }
    }

    /// How many connections point reads share.
    pub(super) fn point_read_connections(&self) -> usize {
        self.point_reads.connections()
    }

    /// Connections that are open, and those of them that nobody uses; for metrics.
    #[must_use]
    pub fn open_and_idle(&self) -> (u32, u32) {
        let state = self.inner.state();
        (state.connections, state.idle_connections)
    }

    fn timeout(&self, error: bb8::RunError<PoolError>) -> Error {
        let last_error = match error {
            bb8::RunError::User(error) => Some(error.to_string()),
            bb8::RunError::TimedOut => self.last_error.get(),
        };
        Error::PoolTimeout {
            waited: self.patience,
            max_size: self.max_size,
            last_error,
        }
    }
}

fn manager(options: PoolOptions, last_error: LastError, doubt: Option<Doubt>) -> Manager {
    let target = options.url.to_string();
    let options = Arc::new(options);
    let mut config = ManagerConfig::default();
    config.custom_setup = Box::new(move |_target| {
        let (options, last_error) = (Arc::clone(&options), last_error.clone());
        establish(options, last_error).boxed()
    });
    config.recycling_method = RecyclingMethod::CustomFunction(Box::new(move |connection| {
        throw_away_dead(connection, doubt.clone())
    }));
    // The manager keeps this text and gives it to the setup, which knows better: no password in it.
    AsyncDieselConnectionManager::new_with_config(target, config)
}

/// Law 12, bounded work: whatever a caller asks for, its statement ends, and nobody waits for ever behind a
/// lock that somebody else forgot. No statement is compiled: that takes longer than most of ours.
async fn connect_as(options: &PoolOptions) -> Result<AsyncPgConnection, Error> {
    let timeout = options.statement_timeout.as_millis();
    let settings = format!(
        "-c jit=off -c statement_timeout={timeout} -c lock_timeout={}",
        (timeout / 4).max(1)
    );
    connect_with(&options.url, options.role.as_deref(), &settings).await
}

async fn establish(
    options: Arc<PoolOptions>,
    last_error: LastError,
) -> diesel::ConnectionResult<AsyncPgConnection> {
    let result = connect_as(&options).await;
    last_error.set(result.as_ref().err().map(ToString::to_string));
    result.map_err(|e| diesel::ConnectionError::BadConnection(e.to_string()))
}

/// Like `RecyclingMethod::Fast`, and looks whether the socket is closed: no query, unless in doubt.
fn throw_away_dead(
    connection: &mut AsyncPgConnection,
    doubt: Option<Doubt>,
) -> BoxFuture<'_, diesel::QueryResult<()>> {
    if connection.is_broken() {
        return std::future::ready(Err(diesel::result::Error::BrokenTransactionManager)).boxed();
    }
    match doubt {
        Some(doubt) => async move { doubt.check(connection).await }.boxed(),
        None => std::future::ready(Ok(())).boxed(),
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
