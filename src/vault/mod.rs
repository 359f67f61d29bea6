//! Vault: pending loads become validated, deduplicated, traceable contacts.
//!
//! What holds (the numbers are the laws of the design):
//!
//! 5. No side doors: only the functions of `migrations/functions/vault*.sql` write contacts and the ledger.
//! 6. Consent sticks: nothing but a lift with evidence turns `unsubscribed` or `bounced` back.
//! 7. No lost update: an update against a stale etag is refused.
//! 8. No-ops write nothing: a promotion that changes nothing touches nothing but the load.
//! 9. Everything leaves a trace: each change of a contact writes its audit row in the same transaction.

mod blamed;
mod contacts;
mod convert;
mod promotion;
mod repository;
mod service;
mod suppressions;

pub use service::Vault;
