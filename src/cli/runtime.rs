//! The threads that a command runs on.
//!
//! A call is a few microseconds of work between two waits, and a thread more than there is a processor for costs
//! more in wake-ups than it adds: with PostgreSQL on the same two processors, one thread answers 8 callers 8 to
//! 20 % faster than two do.

use std::{num::NonZeroUsize, thread::available_parallelism};

use tokio::runtime::{Builder, Runtime};

use super::{Command, Error};

/// The runtime of a command.
pub(super) fn build(command: &Command) -> Result<Runtime, Error> {
    let (wanted, shares) = match command {
        Command::Serve(args) => (args.service.worker_threads, args.database.is_here()),
        Command::Demo(args) => (args.service.worker_threads, true),
        _ => (None, false),
    };
    let mut builder = Builder::new_multi_thread();
    if let Some(threads) = wanted {
        builder.worker_threads(threads.get());
    } else if shares {
        builder.worker_threads(half_of_the_processors());
    }
    builder.enable_all().build().map_err(Error::Runtime)
}

fn half_of_the_processors() -> usize {
    available_parallelism()
        .map_or(1, NonZeroUsize::get)
        .div_ceil(2)
}
