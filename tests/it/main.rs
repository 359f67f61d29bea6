//! The tests through the front door: a real client against a real server over a real PostgreSQL.
//!
//! One binary, so that one PostgreSQL cluster serves the whole run. A file a promise; a test that shows a
//! law of the design names it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    missing_docs,
    reason = "a test that cannot go on has failed, and its name says what it shows"
)]

mod bad_rows;
mod bulk_stream;
mod command_line;
mod company;
mod contacts;
mod crash;
mod doors;
mod duplicates;
mod embedded;
mod enrichment;
mod eyes;
mod faults;
mod front_doors;
mod fuzz;
mod harness;
mod ingest_rows;
mod json_function;
mod laws;
mod limits;
mod looking;
mod marketing;
mod migrations;
mod operations;
mod people;
mod plans;
mod promotion;
mod reference;
mod service;
mod suppressions;
mod timeouts;
