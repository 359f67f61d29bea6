//! A connection that is not waited for for ever.
//!
//! PostgreSQL ends a statement that takes too long, and TCP a connection whose other side acknowledges nothing. A
//! balancer, a proxy or a machine that hangs may acknowledge and bring nothing: then no answer ever comes, and who has no
//! deadline (a batch that several callers share, a chunk, a sweep) would wait, and keep its place, until a restart.
//!
//! Guarantees:
//! * A statement that is not answered within [`MARGIN`] after PostgreSQL was to have ended it ends its connection; so
//!   does a loan on which nothing more is asked for longer than a transaction may be silent. Whoever waits hears that
//!   the connection is closed: what was asked may be done.
//! * What waits for a synchronous standby goes on, however long: nothing of PostgreSQL's ends that wait either, and who
//!   cancelled it would show to others what a failover loses (law 2). The database is asked whether it is that.
//! * Nothing is sent for all this where answers come in time.

use std::{
    future::poll_fn,
    ops::{Deref, DerefMut},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use diesel::{
    connection::{Instrumentation, InstrumentationEvent},
    dsl::sql,
    result::{ConnectionError, ConnectionResult},
    select,
    sql_types::Integer,
};
use diesel_async::{AsyncConnection as _, AsyncPgConnection, RunQueryDsl as _};
use tokio_postgres::{Client, Connection, Socket, tls::TlsStream};
use tokio_util::task::AbortOnDropHandle;

use super::{
    connect,
    error::{Error, describe},
    url::DatabaseUrl,
};

/// How much longer than PostgreSQL lets a statement run its answer may be on its way.
const MARGIN: Duration = Duration::from_secs(5);
/// How long the database may take to say what an overdue statement waits for.
const LONGEST_LOOK: Duration = Duration::from_secs(10);

const WAITS_FOR_STANDBY: &str =
    "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE pid = $1 AND wait_event = 'SyncRep')";

/// How long a connection is waited for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    answer: Duration,
    pause: Duration,
}

impl Patience {
    /// For PostgreSQL that ends a statement, and a transaction that is silent, after so long.
    pub(super) fn with(statement_timeout: Duration, idle_timeout: Duration) -> Self {
        Self {
            answer: statement_timeout.saturating_add(MARGIN),
            pause: idle_timeout.saturating_add(MARGIN),
        }
    }
}

/// A connection whose answers are waited for within bounds. It is closed when dropped.
pub(super) struct Watched {
    connection: AsyncPgConnection,
    silence: Arc<Silence>,
    _driver: AbortOnDropHandle<()>,
}

impl Watched {
    /// Takes over a connection that was just opened.
    ///
    /// # Errors
    /// What PostgreSQL says to its first statements.
    pub(super) async fn over<S>(
        (client, connection): (Client, Connection<Socket, S>),
        url: &DatabaseUrl,
        patience: Patience,
    ) -> ConnectionResult<Self>
    where
        S: TlsStream + Unpin + Send + 'static,
    {
        let silence = Arc::new(Silence::new(patience));
        let driving = drive(connection, Arc::clone(&silence), url.clone());
        let driver = AbortOnDropHandle::new(tokio::spawn(driving));
        let mut connection = AsyncPgConnection::try_from(client).await?;
        if url.has_sessions() {
            let backend = select(sql::<Integer>("pg_backend_pid()"));
            let backend = backend.get_result(&mut connection).await;
            let backend = backend.map_err(ConnectionError::CouldntSetupConfiguration)?;
            // Nobody else has set it.
            let _ = silence.backend.set(backend);
        }
        connection.set_instrumentation(Listener(Arc::clone(&silence)));
        Ok(Self {
            connection,
            silence,
            _driver: driver,
        })
    }

    /// Says that nobody has it, so that its silence means nothing.
    pub(super) fn rests(&self) {
        self.silence.ends();
    }
}

impl Deref for Watched {
    type Target = AsyncPgConnection;

    fn deref(&self) -> &AsyncPgConnection {
        &self.connection
    }
}

impl DerefMut for Watched {
    fn deref_mut(&mut self) -> &mut AsyncPgConnection {
        &mut self.connection
    }
}

/// Reads and writes for a connection until it is closed, or silent for too long.
async fn drive<S>(mut connection: Connection<Socket, S>, silence: Arc<Silence>, url: DatabaseUrl)
where
    S: TlsStream + Unpin + Send + 'static,
{
    let driving = async {
        while let Some(message) = poll_fn(|context| connection.poll_message(context)).await {
            // What it says beside its answers is for nobody.
            message?;
        }
        Ok::<_, tokio_postgres::Error>(())
    };
    tokio::select! {
        ended = driving => {
            if let Err(error) = ended {
                tracing::debug!(error = %describe(&error), "a connection of the pool ended");
            }
        }
        () = silence.too_long(&url) => {
            tracing::warn!("a connection of the pool is closed: its answer is overdue, the network may have lost it");
        }
    }
}

/// Hears from diesel what is asked and answered.
struct Listener(Arc<Silence>);

impl Instrumentation for Listener {
    fn on_connection_event(&mut self, event: InstrumentationEvent<'_>) {
        match event {
            InstrumentationEvent::StartQuery { .. } => self.0.is_bounded_by(self.0.patience.answer),
            // Its rows may still be on their way, and in a transaction more is to follow.
            InstrumentationEvent::FinishQuery { .. } => self.0.is_bounded_by(self.0.patience.pause),
            _ => {}
        }
    }
}

/// Until when something has to be heard.
struct Silence {
    made: Instant,
    patience: Patience,
    /// In milliseconds since it was made; 0 while nothing is waited for.
    due: AtomicU64,
    /// The process of PostgreSQL's that answers, where it is always the same.
    backend: OnceLock<i32>,
}

impl Silence {
    fn new(patience: Patience) -> Self {
        Self {
            made: Instant::now(),
            patience,
            due: AtomicU64::new(0),
            backend: OnceLock::new(),
        }
    }

    fn after(&self, time: Duration) -> u64 {
        let due = self.made.elapsed().saturating_add(time);
        u64::try_from(due.as_millis()).unwrap_or(u64::MAX)
    }

    fn is_bounded_by(&self, time: Duration) {
        self.due.store(self.after(time), Ordering::Relaxed);
    }

    fn ends(&self) {
        self.due.store(0, Ordering::Relaxed);
    }

    /// Ends when what is waited for is overdue.
    async fn too_long(&self, url: &DatabaseUrl) {
        loop {
            // By its full name: diesel's `load` is in scope.
            let due = AtomicU64::load(&self.due, Ordering::Relaxed);
            let left = Duration::from_millis(due.saturating_sub(self.after(Duration::ZERO)));
            if due == 0 || !left.is_zero() {
                // Nothing that is asked meanwhile is due before the end of this.
                let most = self.patience.answer;
                tokio::time::sleep(if due == 0 { most } else { left.min(most) }).await;
                continue;
            }
            let goes_on = self.waits_for_standby(url).await;
            let next = self.after(self.patience.answer);
            let is_still_due = self
                .due
                .compare_exchange(due, next, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok();
            if is_still_due && !goes_on {
                return;
            }
        }
    }

    /// Asks on a connection of its own; where that fails, it is not known to wait for a standby.
    async fn waits_for_standby(&self, url: &DatabaseUrl) -> bool {
        let Some(backend) = self.backend.get() else {
            return false;
        };
        let looking = Box::pin(async {
            let (client, _driver) = connect::client(url).await?;
            let doing = "asking what a connection waits for";
            let row = client.query_one(WAITS_FOR_STANDBY, &[backend]).await;
            row.map_err(Error::query(doing))?
                .try_get(0)
                .map_err(Error::query(doing))
        });
        let looked = tokio::time::timeout(LONGEST_LOOK.max(url.patience()), looking).await;
        matches!(looked, Ok(Ok(true)))
    }
}
