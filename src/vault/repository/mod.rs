//! Every query of the room. No proto here.

pub(super) mod contacts;
pub(super) mod promotion;
pub(super) mod suppressions;
