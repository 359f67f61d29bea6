//! Panics: faults of ours like any other, which end one call and nothing else.
//!
//! Guarantee: of a panic the log has its place in the code, and never its words, which may quote a row: a text that
//! is cut within a letter is in them.

use std::panic::{self, AssertUnwindSafe};

use futures_util::FutureExt as _;

use super::Error;

/// What is known of a panic outside of the log.
#[derive(Debug, thiserror::Error)]
#[error("it panicked; another line of the log says where")]
struct Panicked;

impl Panicked {
    fn fault<Words>(_: Words) -> Error {
        Error::internal(Self)
    }
}

/// From here on panics are lines of the log, in the words of this service and of nobody else.
pub(crate) fn log_panics() {
    panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(tracing::field::display);
        tracing::error!(place, "a panic, which is a bug: please report its place");
    }));
}

/// What a future comes to. Whoever panicked is not asked again, so that nothing half done is seen.
///
/// # Errors
/// It panicked.
pub(crate) async fn unless_it_panics<T>(work: impl Future<Output = T>) -> Result<T, Error> {
    let done = AssertUnwindSafe(work).catch_unwind().await;
    done.map_err(Panicked::fault)
}

/// The same of work that does not wait.
///
/// # Errors
/// It panicked.
pub(crate) fn now_unless_it_panics<T>(work: impl FnOnce() -> T) -> Result<T, Error> {
    panic::catch_unwind(AssertUnwindSafe(work)).map_err(Panicked::fault)
}
