//! People: staged rows and contacts become golden records, one an email.

mod enrichment;
mod golden;
mod intelligence;
mod person;
mod repository;
mod service;
mod sweep;

pub use service::People;
pub use sweep::Sweep;
