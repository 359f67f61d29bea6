//! What every test stands on: a cluster for the run, a database and a server for the test, clients.
//!
//! A test reads like a story: start the app, act as a client, look at what is there.

mod app;
mod cluster;
mod lane;
mod process;

pub(crate) use app::{App, Sql};
pub(crate) use cluster::empty_database;
pub(crate) use lane::{Lane, ack, open, opened, summary};
pub(crate) use process::{
    Ran, Running, Service, Workspace, free_port, leadvault, run, runs, until,
};
