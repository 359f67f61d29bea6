//! leadvault: the system of record for B2B lead data. Raw rows stream in, golden records come out.

pub mod proto;
