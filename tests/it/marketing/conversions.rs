//! Conversions and their touchpoints.
