//! The place that a stream takes among those in flight, handed on to the job that makes its answer.
//!
//! Guarantee: the place of a job is free again when the job has ended, whether or not its client reads the answer to
//! its end: one that does not read keeps the answer, and no longer the place.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::task::futures::TaskLocalFuture;

tokio::task_local! {
    static OF_CALL: Handover;
}

/// A place; given back when dropped.
pub(crate) struct Place {
    _permit: Box<dyn Send>,
}

impl Place {
    /// The place of the call that this runs as a part of, which is the caller's from now on; none where somebody has
    /// it already, and outside of calls.
    pub(crate) fn of_call() -> Option<Self> {
        OF_CALL.try_with(Handover::take).ok().flatten()
    }
}

/// Where the place of a call lies until a job takes it.
#[derive(Clone)]
pub(crate) struct Handover(Arc<Mutex<Option<Place>>>);

impl Handover {
    /// Offers a place that a permit stands for.
    pub(crate) fn new(permit: impl Send + 'static) -> Self {
        let place = Place {
            _permit: Box::new(permit),
        };
        Self(Arc::new(Mutex::new(Some(place))))
    }

    /// Runs a future as part of the call whose place this is. What it spawns is not.
    pub(crate) fn scope<F: Future>(self, future: F) -> TaskLocalFuture<Self, F> {
        OF_CALL.scope(self, future)
    }

    /// The place, where no job has it.
    pub(crate) fn take(&self) -> Option<Place> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}
