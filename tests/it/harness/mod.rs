//! What every test stands on: a cluster for the run, a database and a server for the test, clients.
//!
//! A test reads like a story: start the app, act as a client, look at what is there.

mod app;
mod calls;
mod cluster;
mod command;
pub(crate) mod evidence;
mod lane;
pub(crate) mod pgbouncer;
mod postgres;
mod process;
mod program;
mod proxy;
mod refusal;
pub(crate) mod rows;
mod through;

pub(crate) use app::{App, Sql, url_as};
pub(crate) use calls::{assert_field, emails, refused};
pub(crate) use cluster::{empty_database, fresh_database, private_cluster};
pub(crate) use command::{leadvault, leadvault_logging_to, leadvault_with_files};
pub(crate) use lane::{Lane, ack, open, opened, summary};
pub(crate) use postgres::{Postgres, as_account, give};
pub(crate) use process::{
    Ran, Running, Service, Workspace, free_port, run, runs, until, until_dead, until_logged,
};
pub(crate) use program::{program, program_at};
pub(crate) use proxy::{Network, Proxy};
pub(crate) use refusal::{Refusal, heard, refusal};
pub(crate) use rows::row;
