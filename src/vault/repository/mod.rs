//! Every query of the room. No proto here.
//!
//! Writes are calls of the functions in `migrations/functions/vault*.sql`, whose outcomes come back as
//! values; reads are one statement each.

pub(super) mod contacts;
pub(super) mod promotion;
pub(super) mod suppressions;
