//! The messages of an answer that wait for its client.
//!
//! Guarantee: their maker can drop them where the client does not take them, and does not keep them from being dropped
//! with the answer.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use futures_util::stream::{self, Stream};
use tokio::sync::mpsc;

/// What the answer has of them.
pub(super) struct Queue<T>(Arc<Mutex<mpsc::Receiver<T>>>);

/// What their maker has.
pub(super) struct Unread<T>(Weak<Mutex<mpsc::Receiver<T>>>);

impl<T> Queue<T> {
    pub(super) fn new(messages: mpsc::Receiver<T>) -> Self {
        Self(Arc::new(Mutex::new(messages)))
    }

    pub(super) fn unread(&self) -> Unread<T> {
        Unread(Arc::downgrade(&self.0))
    }

    pub(super) fn stream(self) -> impl Stream<Item = T> {
        stream::poll_fn(move |context| lock(&self.0).poll_recv(context))
    }
}

impl<T> Unread<T> {
    /// Drops what waits; nothing more is taken.
    pub(super) fn drop_all(self) {
        if let Some(messages) = self.0.upgrade() {
            let mut messages = lock(&messages);
            messages.close();
            while messages.try_recv().is_ok() {}
        }
    }
}

fn lock<T>(messages: &Mutex<mpsc::Receiver<T>>) -> MutexGuard<'_, mpsc::Receiver<T>> {
    messages.lock().unwrap_or_else(PoisonError::into_inner)
}
