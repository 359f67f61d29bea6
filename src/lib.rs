//! leadvault: the system of record for B2B lead data. Raw rows stream in, golden records come out.
//!
//! The map of the house, from the top floor down; nothing looks up:
//!
//! - [`cli`] — a file a subcommand: serve, migrate, load, demo
//! - [`config`] — every setting, once
//! - [`server`] — assembles services and layers: the log of calls, doors, health, reflection, shutdown; the port for
//!   operators
//! - rooms, one for each schema of the database: [`intake`], [`vault`], [`company`], [`people`], [`marketing`]
//! - `golden` — what companies and people have in common: slots, promotion, history
//! - `room` — what a room's service stands on
//! - [`metrics`] — what the service counts of itself
//! - [`rpc`] — what the services share: the error model, paging
//! - [`db`] — pool, TLS, embedded PostgreSQL, migrations
//! - [`domain`] — values that cannot be wrong once made
//!
//! [`proto`] is generated from the API's definition in `proto/`.

pub mod cli;
pub mod company;
pub mod config;
pub mod db;
pub mod domain;
mod golden;
pub mod intake;
pub mod marketing;
pub mod metrics;
pub mod people;
pub mod proto;
mod room;
pub mod rpc;
pub mod server;
pub mod vault;
