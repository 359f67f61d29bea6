//! Every query that both rooms have, over the schema of either.

pub(super) mod contacts;
pub(super) mod history;
pub(super) mod pending;
pub(super) mod slots;
pub(super) mod staging;
