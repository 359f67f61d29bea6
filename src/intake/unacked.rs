//! Whose turn it is in a bulk stream: the client's, or the server's.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicUsize, Ordering},
};

use tokio::time::Instant;

/// How many jobs wait for their answer, and when the last one had it: while there are any, the client may be
/// silent, and from then on it is its turn.
#[derive(Clone)]
pub(super) struct Unacked(Arc<(AtomicUsize, Mutex<Instant>)>);

impl Unacked {
    /// A stream of which nothing waits yet.
    pub(super) fn new() -> Self {
        Self(Arc::new((AtomicUsize::new(0), Mutex::new(Instant::now()))))
    }

    /// A job waits.
    pub(super) fn add(&self) {
        self.0.0.fetch_add(1, Ordering::Relaxed);
    }

    /// A job that waited was answered.
    pub(super) fn answered(&self) {
        *self.0.1.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        self.0.0.fetch_sub(1, Ordering::Release);
    }

    /// When the last job was answered; `None` while one waits.
    pub(super) fn silent_since(&self) -> Option<Instant> {
        (self.0.0.load(Ordering::Acquire) == 0)
            .then(|| *self.0.1.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
