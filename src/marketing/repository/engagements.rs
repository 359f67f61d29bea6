//! The events of providers.
