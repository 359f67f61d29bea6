//! People: staged rows and contacts become golden records, one an email, linked to their companies.
//!
//! What holds (the numbers are the laws of the design):
//!
//! 3. No row takes another down: a row without an email is rejected alone; a value without a reading is noted.
//! 6. Consent sticks: a person arrives with the status that the ledger implies, and no promotion turns it back.
//! 7. No lost update: an update against a stale etag is refused.
//! 8. No-ops write nothing: what is staged or promoted again touches nobody.
//! 9. Everything leaves a trace: triggers write the history, whoever changes a person.

mod convert;
mod enrichment;
mod golden;
mod intelligence;
mod repository;
mod service;
mod sweep;

pub(crate) use golden::staged_key;
pub use service::People;
pub use sweep::Sweep;
