//! Connections that many point reads share.
//!
//! To read one row by its key takes PostgreSQL microseconds; what costs is to wake a connection for each of
//! them. So the statements of all callers are sent down a few connections one after the other without waiting
//! for answers (pipelining), and come back in their order.
//!
//! Guarantees:
//! * Only single statements that find a few rows by a unique key belong here. Whatever takes longer has
//!   the pool, and so cannot hold up a point read.
//! * A read goes where the fewest others are on their way, and PostgreSQL ends one that takes longer than
//!   [`LONGEST_READ`].
//! * A connection that dies takes nothing with it but the reads that were on it, and those are tried again
//!   on another: they changed nothing.
//! * What one caller gives up is not cancelled: PostgreSQL cancels whatever a connection runs when it hears of it,
//!   which may be another caller's read by then. The read ends by itself, within [`LONGEST_READ`], and its connection is
//!   as good as before.
//! * A connection that owes answers for longer than [`LONGEST_SILENCE`] is given up by all, and what it runs is
//!   cancelled. Behind a pooler that keeps no sessions, where PostgreSQL was not told [`LONGEST_READ`] and hears of no
//!   cancel, it ends since its connection is closed, or by the login's own `statement_timeout` (see
//!   [`super::pooler`]).

mod silence;

use std::{
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use diesel::result::{DatabaseErrorKind, Error as QueryError, QueryResult};
use diesel_async::{AsyncPgConnection, SimpleAsyncConnection as _};
use tokio::runtime::Handle;

use self::silence::Silence;
use super::{
    connect::connect_with, error::Error, lent::cancel_on, pool::PoolOptions, pooler::WORDS_OF_LOSS,
    url::DatabaseUrl,
};

/// How long a point read may take. One that takes this long waits for a lock that only an administrator's
/// statement takes.
const LONGEST_READ: Duration = Duration::from_secs(5);
/// A look-up by key has one good plan, which is kept, whatever statistics say of a table that was empty when it
/// was made.
const SETTINGS: &str = "-c plan_cache_mode=force_generic_plan -c enable_seqscan=off";
/// How much longer an answer may be on its way until its connection counts as dead: a network that swallows
/// everything says nothing.
const LONGEST_SILENCE: Duration = Duration::from_secs(7);

/// The shared connections.
#[derive(Debug)]
pub(super) struct PointReads {
    options: Arc<PoolOptions>,
    slots: Box<[Arc<Slot>]>,
}

/// The place of one connection.
#[derive(Debug, Default)]
struct Slot {
    current: Mutex<Option<Arc<Shared>>>,
    /// Held by who connects, so that a hundred callers do not.
    connecting: tokio::sync::Mutex<()>,
}

/// A connection and what is known of it. Each read holds it for as long as it is on its way, so that it is closed
/// after the last one.
struct Shared {
    connection: AsyncPgConnection,
    /// Where its statement is cancelled.
    url: Arc<DatabaseUrl>,
    /// Where it is kept.
    slot: Weak<Slot>,
    dead: AtomicBool,
    silence: Silence,
}

impl Shared {
    fn is_given_up(&self) -> bool {
        self.dead.load(Ordering::Relaxed) || self.silence.is_longer_than(LONGEST_SILENCE)
    }

    /// Nobody asks it any more. Those who still wait on it find their reads cancelled, and ask another. Its slot lets
    /// go of it: behind a pooler that hears of no cancel, to be closed is what ends a statement.
    fn give_up(&self) {
        self.dead.store(true, Ordering::Relaxed);
        cancel_on(&self.connection, &self.url);
        if let Some(slot) = self.slot.upgrade() {
            slot.alive();
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        if self.is_given_up() {
            cancel_on(&self.connection, &self.url);
        }
    }
}

/// A read that is on its way.
///
/// One that is given up still is: a nothing that is sent after it is answered after it, and says that the connection
/// lives. Without it nobody would hear that, and a healthy connection would count as silent for ever after.
struct OnItsWay<'a> {
    shared: &'a Arc<Shared>,
    is_over: bool,
}

impl<'a> OnItsWay<'a> {
    fn on(shared: &'a Arc<Shared>) -> Self {
        shared.silence.asked();
        Self {
            shared,
            is_over: false,
        }
    }

    fn answered(mut self) {
        self.is_over = true;
        self.shared.silence.answered();
    }
}

impl Drop for OnItsWay<'_> {
    fn drop(&mut self) {
        if self.is_over || self.shared.is_given_up() {
            return;
        }
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(hear_from(Arc::clone(self.shared)));
        }
    }
}

/// Waits until a connection has answered all that was asked so far.
async fn hear_from(shared: Arc<Shared>) {
    let mut connection = &shared.connection;
    let hearing = connection.batch_execute("");
    match tokio::time::timeout(LONGEST_SILENCE, hearing).await {
        Ok(Err(error)) if is_lost(&error) => shared.dead.store(true, Ordering::Relaxed),
        Ok(_) => shared.silence.answered(),
        Err(_elapsed) => shared.give_up(),
    }
}

/// A connection that others use at the same time: what is sent on it goes out at once and is answered in turn.
#[derive(Debug)]
pub struct SharedConnection(Arc<Shared>);

impl std::ops::Deref for SharedConnection {
    type Target = AsyncPgConnection;

    fn deref(&self) -> &AsyncPgConnection {
        &self.0.connection
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared")
            .field("dead", &self.dead)
            .finish_non_exhaustive()
    }
}

impl PointReads {
    /// Room for connections, which are made when they are first wanted.
    pub(super) fn new(options: PoolOptions) -> Self {
        let slots = (0..options.point_read_connections.max(1)).map(|_| Arc::default());
        Self {
            slots: slots.collect(),
            options: Arc::new(options),
        }
    }

    /// How many there are at the most.
    pub(super) fn connections(&self) -> usize {
        self.slots.len()
    }

    /// How many connections are open, and how many reads are on their way.
    pub(super) fn usage(&self) -> (u32, u32) {
        let alive = self.slots.iter().filter_map(|slot| slot.alive());
        alive.fold((0, 0), |(open, reads), shared| {
            (open + 1, reads + shared.silence.owed())
        })
    }

    /// Makes new connections from here on; what is on its way on the old ones goes on.
    pub(super) fn renew(&self) {
        for slot in &self.slots {
            if let Some(shared) = slot.alive() {
                shared.dead.store(true, Ordering::Relaxed);
            }
        }
    }

    /// Runs a point read; again on another connection if the first was lost.
    ///
    /// # Errors
    /// Outside: no connection could be made, or several died in a row. Inside: what PostgreSQL said.
    pub(super) async fn run<T, Read>(
        &self,
        read: impl Fn(SharedConnection) -> Read,
    ) -> Result<QueryResult<T>, Error>
    where
        Read: Future<Output = QueryResult<T>>,
    {
        let mut last = lost("every connection was lost while it read".to_owned());
        let begun = Instant::now();
        // When PostgreSQL restarts, each of the connections has died, and so may one that is just being made.
        for _ in 0..=self.slots.len() {
            let shared = match self.least_busy().await {
                Ok(shared) => shared,
                Err(error) if begun.elapsed() >= self.options.connection_timeout => {
                    return Err(error);
                }
                Err(error) => {
                    last = error;
                    continue;
                }
            };
            let reading = read(SharedConnection(Arc::clone(&shared)));
            let on_its_way = OnItsWay::on(&shared);
            match tokio::time::timeout(LONGEST_SILENCE, reading).await {
                Ok(Err(error)) if is_lost(&error) => shared.dead.store(true, Ordering::Relaxed),
                Ok(Err(error)) if shared.is_given_up() && is_cancelled(&error) => {}
                Ok(result) => {
                    on_its_way.answered();
                    return Ok(result);
                }
                Err(_elapsed) => {
                    shared.give_up();
                    return Err(lost(format!("no answer within {LONGEST_SILENCE:?}")));
                }
            }
        }
        Err(last)
    }

    async fn least_busy(&self) -> Result<Arc<Shared>, Error> {
        let mut best: Option<Arc<Shared>> = None;
        for slot in &self.slots {
            let Some(shared) = slot.alive() else {
                return slot.connect(&self.options).await;
            };
            if best
                .as_ref()
                .is_none_or(|best| shared.silence.owed() < best.silence.owed())
            {
                best = Some(shared);
            }
        }
        best.ok_or_else(|| lost("there is no room for one".to_owned()))
    }
}

impl Slot {
    fn alive(&self) -> Option<Arc<Shared>> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        // Let go at once: a pooler may need its place for the next one.
        current.take_if(|shared| shared.is_given_up());
        current.clone()
    }

    /// Connects in a task of its own: callers whose deadlines are shorter than a handshake would never get one.
    async fn connect(self: &Arc<Self>, options: &Arc<PoolOptions>) -> Result<Arc<Shared>, Error> {
        let (slot, options) = (Arc::clone(self), Arc::clone(options));
        let patience = options.connection_timeout;
        let connecting = tokio::spawn(async move {
            tokio::time::timeout(patience, slot.connect_alone(&options))
                .await
                .unwrap_or_else(|_| Err(lost(format!("none could be made within {patience:?}"))))
        });
        let task_died = |error: tokio::task::JoinError| Error::Task(error.to_string());
        connecting.await.map_err(task_died)?
    }

    async fn connect_alone(self: &Arc<Self>, options: &PoolOptions) -> Result<Arc<Shared>, Error> {
        let _alone = self.connecting.lock().await;
        if let Some(shared) = self.alive() {
            return Ok(shared);
        }
        let timeout = LONGEST_READ.as_millis();
        let settings = format!("-c statement_timeout={timeout} {SETTINGS}");
        let connection = connect_with(&options.url, options.role.as_deref(), &settings).await?;
        let shared = Arc::new(Shared {
            connection,
            url: Arc::new(options.url.clone()),
            slot: Arc::downgrade(self),
            dead: AtomicBool::new(false),
            silence: Silence::default(),
        });
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&shared));
        Ok(shared)
    }
}

fn lost(detail: String) -> Error {
    Error::Query {
        doing: "a point read needs a connection".to_owned(),
        detail,
    }
}

/// Whether the connection is gone, rather than the statement refused. A server that ends says so first, and so does a
/// pooler that lost it.
fn is_lost(error: &QueryError) -> bool {
    match error {
        QueryError::DatabaseError(
            DatabaseErrorKind::UnableToSendCommand | DatabaseErrorKind::ClosedConnection,
            _,
        ) => true,
        QueryError::DatabaseError(_, said) => {
            let message = said.message();
            message.starts_with("terminating connection")
                || WORDS_OF_LOSS.iter().any(|words| message.starts_with(words))
        }
        _ => false,
    }
}

/// Whether somebody's cancel hit it.
fn is_cancelled(error: &QueryError) -> bool {
    matches!(error, QueryError::DatabaseError(_, said)
        if said.message().starts_with("canceling statement due to user request"))
}
