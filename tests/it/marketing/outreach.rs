//! The gate before each send, and the list of what passed it.
