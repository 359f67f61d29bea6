//! Conversions, and the touches before them.
