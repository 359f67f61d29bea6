//! What was done before an end that came too early.

use std::fmt;

use super::{Tally, golden_tally as golden};
use crate::cli::report::count;

/// What was done, as the end of an error's message.
#[derive(Debug)]
pub(crate) struct SoFar(Box<Done>);

/// What was done.
#[derive(Debug)]
pub(super) enum Done {
    /// Loads became contacts.
    Loads(Tally),
    /// Contacts became slots.
    Contacts(golden::Staged),
    /// Slots became golden records.
    Slots(golden::Tally),
}

impl SoFar {
    /// Says that this was done.
    pub(super) fn new(done: Done) -> Self {
        Self(Box::new(done))
    }
}

impl fmt::Display for SoFar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.0 {
            Done::Loads(Tally { done: 0, .. })
            | Done::Contacts(golden::Staged { done: 0, .. })
            | Done::Slots(golden::Tally { done: 0, .. }) => return Ok(()),
            Done::Loads(tally) => write!(
                f,
                "; {} loads made a contact, {} changed one, {} changed nothing, {} failed",
                count(tally.promoted),
                count(tally.updated),
                count(tally.unchanged),
                count(tally.failed)
            ),
            Done::Contacts(tally) => write!(
                f,
                "; {} contacts made a slot, {} none",
                count(tally.staged),
                count(tally.done.saturating_sub(tally.staged))
            ),
            Done::Slots(tally) => write!(
                f,
                "; {} slots made a golden record, {} changed one, {} changed nothing, {} were rejected",
                count(tally.promoted),
                count(tally.updated),
                count(tally.unchanged),
                count(tally.rejected)
            ),
        }?;
        f.write_str(", and that stays so: running it again goes on")
    }
}
