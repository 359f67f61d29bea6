//! Follows a job of the service that streams its progress, and asks again when the service went away.

use std::ops::Add;

use tonic::{Response, Status, Streaming};

use super::progress::Progress;
use crate::cli::{
    client::Service,
    load,
    retry::{Failure, Patience},
};

/// What a message says of the call so far.
pub(super) struct Step<T> {
    /// What became of the rows.
    pub(super) tally: T,
    /// How many are done.
    pub(super) done: i64,
    /// How many are left.
    pub(super) left: i64,
    /// How fast it is.
    pub(super) rows_per_second: f64,
    /// This is the last message.
    pub(super) finished: bool,
}

/// A message of a job that streams its progress.
pub(super) trait Message {
    /// What it counts.
    type Tally: Copy + Add<Output = Self::Tally>;
    /// What is asked of the service, after "the service refused".
    const ASKED: &'static str;
    /// What is counted.
    const ROWS: &'static str;

    /// What it says.
    fn step(&self) -> Step<Self::Tally>;
}

/// Calls until the service says that it is done, and adds to the tally what it says it did, also where it fails
/// then. How often it went away.
pub(super) async fn follow<M: Message>(
    service: &Service,
    tally: &mut M::Tally,
    call: impl AsyncFn() -> Result<Response<Streaming<M>>, Status>,
) -> Result<u64, load::Error> {
    let mut patience = service.patience();
    let outages = load::Progress::new(None);
    let mut interruptions = 0;
    while let Err(failure) = attempt(&call, tally, &mut patience).await {
        patience.wait(failure, &outages).await?;
        interruptions += 1;
    }
    Ok(interruptions)
}

async fn attempt<M: Message>(
    call: &impl AsyncFn() -> Result<Response<Streaming<M>>, Status>,
    tally: &mut M::Tally,
    patience: &mut Patience,
) -> Result<(), Failure> {
    let failed = |status| Failure::of(M::ASKED, &status);
    let mut stream = call().await.map_err(failed)?.into_inner();
    let before = *tally;
    let mut progress = Progress::begin(M::ROWS);
    while let Some(message) = stream.message().await.map_err(failed)? {
        let step = message.step();
        progress.show(&step);
        // The counts are those of this call so far.
        *tally = before + step.tally;
        if step.finished {
            return Ok(());
        }
        if step.done > 0 {
            patience.restore();
        }
    }
    Err(Failure::connection(
        "the service ended without saying that it was done",
    ))
}
