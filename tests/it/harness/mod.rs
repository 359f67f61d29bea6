//! What every test stands on: a cluster for the run, a database and a server for the test, clients.
//!
//! A test reads like a story: start the app, act as a client, look at what is there.

mod app;
mod cluster;
pub(crate) mod evidence;
mod lane;
mod refusal;
pub(crate) mod rows;

pub(crate) use app::{App, Sql};
pub(crate) use lane::{Lane, ack, open};
pub(crate) use refusal::refusal;
