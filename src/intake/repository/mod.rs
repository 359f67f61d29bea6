//! Every query of the room. No proto here.
//!
//! Writes are calls of the functions in `migrations/functions/intake*.sql`, whose outcomes come back as
//! values; reads are one statement each. Statements are text, since a person who wonders what the service
//! asks should be able to paste it into psql.

mod audit;
mod batches;
mod ingest;
mod loads;
mod rejected;
mod trace;

pub(super) use audit::{AuditEntry, AuditFilter, list_audit_log};
pub(super) use batches::{
    Batch, BatchFilter, BatchKey, Lane, abandon_batch, get_batch, list_batches,
};
pub(super) use ingest::{
    Appended, LaneOutcome, NewBatch, OpenedLane, append_rows, finish_lane, ingest_chunk, open_lane,
    replay,
};
pub(super) use loads::{
    LoadFilter, RawLoad, Retried, failed_loads, get_load, list_loads, retry_failed_loads,
};
pub(super) use rejected::{RejectedFilter, StoredRejection, get_rejected, list_rejected};
pub(super) use trace::{Contact, Person, RowIdentity, find_row, find_slot, follow_email};

/// The order of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// Oldest first.
    OldestFirst,
    /// Newest first.
    NewestFirst,
}

impl Order {
    /// Fills a statement's `{after}` (the comparison that goes on) and `{direction}`.
    fn fill(self, statement: &str) -> String {
        let (after, direction) = match self {
            Self::OldestFirst => (">", "ASC"),
            Self::NewestFirst => ("<", "DESC"),
        };
        statement
            .replace("{after}", after)
            .replace("{direction}", direction)
    }
}
