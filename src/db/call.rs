//! What a call tells the connections that it borrows: that it was given up.
//!
//! A call is given up when its caller goes away, or when its deadline passes; its future is dropped then,
//! wherever it is. A connection that is dropped with it may be in the middle of a statement. It cannot know
//! that from itself, so it asks the call: see [`PooledConnection`](super::PooledConnection).

use std::sync::{
    Arc,
    atomic::{AtomicU8, Ordering},
};

use tokio::task::futures::TaskLocalFuture;

const RUNNING: u8 = 0;
const LEFT: u8 = 1;
const EXPIRED: u8 = 2;

tokio::task_local! {
    static CURRENT: Arc<Call>;
}

/// A call, as far as its connections need to know it.
#[derive(Debug, Default)]
pub struct Call(AtomicU8);

impl Call {
    /// Runs a future as part of the call. What it spawns is not.
    pub fn scope<F: Future>(self: Arc<Self>, future: F) -> TaskLocalFuture<Arc<Self>, F> {
        CURRENT.scope(self, future)
    }

    /// The call that this runs as a part of; none in a job of the server's own.
    pub fn current() -> Option<Arc<Self>> {
        CURRENT.try_with(Arc::clone).ok()
    }

    /// Says that the caller went away: reads end, writes of their own task go on.
    pub fn leave(&self) {
        // Only what still runs can be left: past its deadline it stays that.
        let _ = self
            .0
            .compare_exchange(RUNNING, LEFT, Ordering::AcqRel, Ordering::Acquire);
    }

    /// Says that the deadline passed: reads and writes end.
    pub fn expire(&self) {
        self.0.store(EXPIRED, Ordering::Release);
    }

    /// Whether nobody waits for its answer any more.
    pub fn is_given_up(&self) -> bool {
        self.0.load(Ordering::Acquire) != RUNNING
    }

    /// Whether that is because its time is over.
    pub fn is_expired(&self) -> bool {
        self.0.load(Ordering::Acquire) == EXPIRED
    }
}
