//! What companies and people have in common.
