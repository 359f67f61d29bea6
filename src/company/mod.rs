//! Company: staged rows and contacts become golden records, one a domain.

mod service;

pub use service::Company;
