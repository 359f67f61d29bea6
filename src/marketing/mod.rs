//! Marketing: campaigns, the gate before each send, and what came of it.
//!
//! What holds (the numbers are the laws of the design):
//!
//! 6. Consent sticks: no message is recorded to whom the ledger, or the person's own status, forbids it; the
//!    decision is made under the ledger's lock.
//! 8. No-ops write nothing: a message, an event or a move that is repeated changes nothing.
//! 9. Everything leaves a trace: triggers write the history of campaigns, whoever changes one.
//! 10. Counters equal their ledgers: triggers move them with the messages, in the same transaction.
//! 11. Events only move forward, in whatever order they come.

mod attribution;
mod campaigns;
mod conversions;
mod convert;
mod engagements;
mod feedback;
mod outreach;
mod reports;
mod repository;
mod service;

pub use service::Marketing;
