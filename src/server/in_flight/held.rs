//! What an answer holds until it is sent, and for how long its client has been asked to take it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use crate::{
    rpc::Permit,
    server::connections::{Unread, Waiting},
};

/// The place of an answer. It waits for its client from when nothing else is left to do; one that waits for too long
/// loses its connection.
#[derive(Debug)]
pub(super) struct Held {
    _permit: Permit,
    /// Nothing for who watches: it may be silent for as long as it likes.
    unread: Option<Unread>,
    waiting: Mutex<Option<Waiting>>,
}

impl Held {
    pub(super) fn new(permit: Permit, unread: Option<Unread>) -> Arc<Self> {
        Arc::new(Self {
            _permit: permit,
            unread,
            waiting: Mutex::default(),
        })
    }

    /// From now on it waits.
    pub(super) fn wait(&self) {
        *self.waiting() = self.unread.as_ref().map(Unread::wait);
    }

    /// Some of it was taken: where it waits, its time begins anew.
    pub(super) fn taken(&self) {
        let mut waiting = self.waiting();
        if waiting.is_some() {
            *waiting = self.unread.as_ref().map(Unread::wait);
        }
    }

    fn waiting(&self) -> MutexGuard<'_, Option<Waiting>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The place of a job. When it has ended, its answer waits.
pub(super) struct Job {
    _permit: Permit,
    answer: Weak<Held>,
}

impl Job {
    pub(super) fn new(permit: Permit, answer: &Arc<Held>) -> Self {
        Self {
            _permit: permit,
            answer: Arc::downgrade(answer),
        }
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        if let Some(answer) = self.answer.upgrade() {
            answer.wait();
        }
    }
}
