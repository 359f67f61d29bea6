//! People: staged rows and contacts become golden records, one an email.

mod enrichment;
mod golden;
mod intelligence;
mod service;

pub use service::People;
