//! Queries of intelligence and of the enrichment queue. No proto here.
//!
//! Writes are calls of the functions in `migrations/functions/people_intelligence.sql` and `ple*.sql`, whose
//! outcomes come back as values; reads are one statement each.

pub(super) mod enrichment;
pub(super) mod intelligence;
pub(super) mod person;
