//! Campaigns: made, read, changed, moved from state to state.
