//! Every query of the room. No proto here.

pub(super) mod promotion;
