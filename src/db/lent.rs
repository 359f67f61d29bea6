//! A connection on loan, and what becomes of it when its call is given up.
//!
//! Guarantees:
//! * A connection that goes back to the pool has nothing running on it. One whose call was given up may, and so
//!   may one that is let go inside of a transaction: its statement is cancelled and it is closed, which rolls
//!   back.
//! * To close it costs a handshake, and it is rare. To keep it would take two round trips, to know that the cancel
//!   arrived and hits nothing that comes later, and a network that may be what the call was given up for.

use std::{
    ops::{Deref, DerefMut},
    sync::Arc,
    time::Duration,
};

use diesel_async::{
    AsyncConnection, AsyncPgConnection, TransactionManager as _,
    pooled_connection::PoolableConnection as _,
};
use tokio::runtime::Handle;

use super::{call::Call, manager::Manager, url::DatabaseUrl};

type Transactions = <AsyncPgConnection as AsyncConnection>::TransactionManager;

/// How long PostgreSQL may take to hear a cancel. After that the statement's own timeout ends it.
const CANCEL_TIMEOUT: Duration = Duration::from_secs(5);

/// A connection on loan; it goes back when dropped. It may move into a spawned task, which no dropped handler
/// can cut short.
pub struct PooledConnection {
    lent: bb8::PooledConnection<'static, Manager>,
    /// Where its statement is cancelled.
    url: Arc<DatabaseUrl>,
    /// The call that borrowed it; none for a job of the server's own.
    call: Option<Arc<Call>>,
}

impl PooledConnection {
    pub(super) fn new(
        lent: bb8::PooledConnection<'static, Manager>,
        url: Arc<DatabaseUrl>,
        call: Option<Arc<Call>>,
    ) -> Self {
        Self { lent, url, call }
    }

    /// Lends it on: given up is what it does from now on when that call is.
    pub(crate) fn lent_to(mut self, call: Arc<Call>) -> Self {
        self.call = Some(call);
        self
    }

    /// Lets nobody have it again.
    pub(super) fn throw_away(mut self) {
        self.set_broken();
    }

    /// The pool throws away what has failed.
    fn set_broken(&mut self) {
        Transactions::transaction_manager_status_mut(&mut **self.lent).set_in_error();
    }

    /// Whether a statement or a transaction may be on its way.
    fn is_cut(&mut self) -> bool {
        self.lent.is_broken() || self.call.as_ref().is_some_and(|call| call.is_given_up())
    }
}

impl Deref for PooledConnection {
    type Target = AsyncPgConnection;

    fn deref(&self) -> &AsyncPgConnection {
        &self.lent
    }
}

impl DerefMut for PooledConnection {
    fn deref_mut(&mut self) -> &mut AsyncPgConnection {
        &mut self.lent
    }
}

impl std::fmt::Debug for PooledConnection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PooledConnection").finish_non_exhaustive()
    }
}

impl Drop for PooledConnection {
    fn drop(&mut self) {
        self.lent.rests();
        if !self.is_cut() {
            return;
        }
        cancel_on(&self.lent, &self.url);
        self.set_broken();
    }
}

/// Cancels what runs on a connection; whoever asks for it does not wait.
pub(super) fn cancel_on(connection: &AsyncPgConnection, url: &Arc<DatabaseUrl>) {
    if let Ok(runtime) = Handle::try_current() {
        runtime.spawn(cancel(connection.cancel_token(), Arc::clone(url)));
    }
}

async fn cancel(token: tokio_postgres::CancelToken, url: Arc<DatabaseUrl>) {
    let Ok(connector) = url.connector() else {
        return;
    };
    let cancelling = Box::pin(token.cancel_query(connector));
    if !matches!(
        tokio::time::timeout(CANCEL_TIMEOUT, cancelling).await,
        Ok(Ok(()))
    ) {
        tracing::debug!("a statement could not be cancelled; its own timeout ends it");
    }
}
