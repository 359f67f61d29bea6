//! What is counted of slots and of contacts that become slots, and the messages that say it.

use std::ops::Add;

use serde::Serialize;

use super::follow::{Message, Step};
use crate::proto::{
    company::v1::{PromoteCompaniesResponse, StageCompaniesFromVaultResponse},
    people::v1::{PromotePeopleResponse, StagePeopleFromVaultResponse},
};

/// What became of slots. The names of its fields are those of the JSON output and do not change.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct Tally {
    pub(super) done: u64,
    /// Slots that made a golden record.
    pub(crate) promoted: u64,
    /// Slots that changed one.
    pub(crate) updated: u64,
    /// Slots that found nothing to change.
    pub(crate) unchanged: u64,
    /// Slots that were refused.
    pub(crate) rejected: u64,
    /// Of these slots: those of which some field could not be read.
    pub(super) noted: u64,
    /// People who were linked to a company.
    pub(super) people_linked: u64,
}

/// What became of contacts. The names of its fields are those of the JSON output and do not change.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct Staged {
    pub(super) done: u64,
    /// Contacts that made a slot.
    pub(super) staged: u64,
    pub(super) unchanged: u64,
    pub(super) skipped: u64,
}

impl Add for Tally {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            done: self.done + other.done,
            promoted: self.promoted + other.promoted,
            updated: self.updated + other.updated,
            unchanged: self.unchanged + other.unchanged,
            rejected: self.rejected + other.rejected,
            noted: self.noted + other.noted,
            people_linked: self.people_linked + other.people_linked,
        }
    }
}

impl Add for Staged {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            done: self.done + other.done,
            staged: self.staged + other.staged,
            unchanged: self.unchanged + other.unchanged,
            skipped: self.skipped + other.skipped,
        }
    }
}

fn number(count: i64) -> u64 {
    u64::try_from(count).unwrap_or(0)
}

/// The two rooms have messages of their own which say the same.
macro_rules! promotion_message {
    ($message:ty) => {
        impl Message for $message {
            type Tally = Tally;
            const ASKED: &'static str = "to promote";
            const ROWS: &'static str = "slots";

            fn step(&self) -> Step<Tally> {
                Step {
                    tally: Tally {
                        done: number(self.done),
                        promoted: number(self.promoted),
                        updated: number(self.updated),
                        unchanged: number(self.unchanged),
                        rejected: number(self.rejected),
                        noted: number(self.noted),
                        people_linked: number(self.people_linked),
                    },
                    done: self.done,
                    left: self.left,
                    rows_per_second: self.rows_per_second,
                    finished: self.finished,
                }
            }
        }
    };
}

promotion_message!(PromoteCompaniesResponse);
promotion_message!(PromotePeopleResponse);

/// Of people no contact is skipped, and their message does not say so.
macro_rules! staging_message {
    ($message:ty, $skipped:expr) => {
        impl Message for $message {
            type Tally = Staged;
            const ASKED: &'static str = "to stage the contacts";
            const ROWS: &'static str = "contacts";

            fn step(&self) -> Step<Staged> {
                let skipped: fn(&Self) -> i64 = $skipped;
                Step {
                    tally: Staged {
                        done: number(self.done),
                        staged: number(self.staged),
                        unchanged: number(self.unchanged),
                        skipped: number(skipped(self)),
                    },
                    done: self.done,
                    left: self.left,
                    rows_per_second: self.rows_per_second,
                    finished: self.finished,
                }
            }
        }
    };
}

staging_message!(StageCompaniesFromVaultResponse, |message| message.skipped);
staging_message!(StagePeopleFromVaultResponse, |_| 0);
