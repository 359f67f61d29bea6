//! The database floor: everything between a `DATABASE_URL`, or none, and a pooled connection.
//!
//! | module | job |
//! |---|---|
//! | [`embedded`] | no `DATABASE_URL`: a private PostgreSQL cluster in a data folder |
//! | [`url`] | a `DATABASE_URL`, also with what tokio-postgres does not parse |
//! | `tls` | certificates verified against the machine's roots or a given CA file |
//! | `hosts` | the hosts of a URL, one after the other, each with its own time |
//! | [`connect`] | one connection, acting as a role |
//! | [`pool`] | many of them, handed out without a test query |
//! | `watch` | a connection whose answer is overdue is closed |
//! | `manager` | how the pool makes them, and tries again while the database is away |
//! | [`pooler`] | a pooler that does not keep what the service needs is refused |
//! | `point_reads` | a few of them, shared by all who read one row by its key |
//! | `coalesce` | those who read one row, or write, at the same time share a statement |
//! | `committed` | the answer of a statement that commits by itself, once it has |
//! | `doubt` | connections whose server takes no writes any more are thrown away |
//! | [`migrate`] | versioned migrations and the function layer |
//! | [`inspect`] | what can be said of a database without changing it |
//! | [`language`] | in which language PostgreSQL speaks |
//! | [`wire`] | whether our own connection is encrypted |
//! | `json_text` | JSON text as a jsonb parameter, exactly as it was sent |
//! | [`error`] | the one error of this floor, written for an operator at night |
//!
//! Rooms get a [`Pool`], bind `JsonText`, and see nothing else of this floor.
//!
//! Guarantees:
//! * No error, log line or `Debug` output of this floor holds a password.
//! * A connection that was asked for with a role acts as that role, or is not handed out (law 5).
//! * Two processes never run one data folder, and never migrate one database at the same time.

pub mod call;
mod coalesce;
mod committed;
pub mod connect;
mod doubt;
pub mod embedded;
pub mod error;
mod hosts;
pub mod inspect;
mod json_text;
pub mod language;
mod lent;
mod manager;
pub mod migrate;
mod point_reads;
pub mod pool;
pub mod pooler;
mod tls;
pub mod url;
mod watch;
pub mod wire;

pub use call::Call;
pub use coalesce::{Batcher, Coalescer, Unwritten};
pub(crate) use committed::{GetCommitted, commit_as_write};
pub use embedded::{Embedded, EmbeddedOptions};
pub use error::Error;
pub(crate) use json_text::JsonText;
pub use lent::PooledConnection;
pub use point_reads::SharedConnection;
pub use pool::{Pool, PoolOptions, PoolUsage};
pub use url::DatabaseUrl;

/// The group role that the service acts as: it reads everything and executes the functions, and
/// writes directly only where the reference allows it.
pub const APP_ROLE: &str = "leadvault_app";

/// The group role for people and dashboards: SELECT only.
pub const MONITOR_ROLE: &str = "leadvault_monitor";
