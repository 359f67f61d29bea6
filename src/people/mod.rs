//! People: staged rows and contacts become golden records, one an email.

mod convert;
mod enrichment;
mod golden;
mod intelligence;
mod repository;
mod service;
mod sweep;

pub use service::People;
pub use sweep::Sweep;
