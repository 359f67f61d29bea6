//! Company: staged rows and contacts become golden records, one a domain, each with its history.
//!
//! What holds (the numbers are the laws of the design):
//!
//! 3. No row takes another down: a row without a domain is rejected alone; a value without a reading is noted.
//! 7. No lost update: an update against a stale etag is refused.
//! 8. No-ops write nothing: what is staged or promoted again touches no company.
//! 9. Everything leaves a trace: triggers write the history, whoever changes a company.
//!
//! Staging asks whose row it is, promotion whether it is fit. So promotion reads everything again from the
//! slot, with the same code, and slots may be written past the service.

mod convert;
mod promotion;
mod records;
mod repository;
mod service;
mod staging;
mod write;

pub use service::Company;
pub(crate) use staging::staged_key;

use crate::golden::Kind;

/// The words of the database for this room.
const KIND: Kind = Kind {
    schema: "company",
    key: "domain",
    id: "company_id",
    lane: -2,
};
