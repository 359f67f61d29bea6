//! Every setting, once: flag, environment variable, default, meaning. [`ops`] has those of the port for operators.
//!
//! Reads:
//! - `DATABASE_URL`, `LEADVAULT_MIGRATION_DATABASE_URL`, `LEADVAULT_POOLER_MODE`, `LEADVAULT_DATA_DIR`
//! - `LEADVAULT_LISTEN`, `LEADVAULT_LOG`, `LEADVAULT_LOG_JSON`, `LEADVAULT_POOL_SIZE`, `LEADVAULT_POOL_TIMEOUT_SECONDS`,
//!   `LEADVAULT_STATEMENT_TIMEOUT_SECONDS`, `LEADVAULT_STREAM_IDLE_TIMEOUT_SECONDS`, `LEADVAULT_WORKER_THREADS`,
//!   `LEADVAULT_POINT_READ_CONNECTIONS`
//! - `LEADVAULT_MAX_INGEST_ROWS`, `LEADVAULT_MAX_FRAME_ROWS`, `LEADVAULT_MAX_FRAME_BYTES`,
//!   `LEADVAULT_MAX_ROW_BYTES`, `LEADVAULT_MAX_DEPTH`, `LEADVAULT_MAX_INDEXED_TEXT_BYTES`,
//!   `LEADVAULT_MAX_PAGE_BYTES`
//! - `LEADVAULT_INTELLIGENCE_TTL_DAYS`, `LEADVAULT_SWEEP_PERIOD_SECONDS`, `LEADVAULT_ENRICHMENT_MAX_FAILURES`,
//!   `LEADVAULT_ENRICHMENT_MAX_OVERRUNS`, `LEADVAULT_ENRICHMENT_BACKOFF_SECONDS`,
//!   `LEADVAULT_ENRICHMENT_BACKOFF_CAP_SECONDS`, `LEADVAULT_ENRICHMENT_LEASE_SECONDS`,
//!   `LEADVAULT_ENRICHMENT_MAX_LEASE_SECONDS`
//! - `LEADVAULT_SOFT_BOUNCE_LIMIT`
//! - those of the doors, of deadlines and of calls in flight, in files of their own

mod calls;
mod doors;
mod ops;

use std::{net::SocketAddr, num::NonZeroUsize, path::PathBuf, time::Duration};

use clap::{Args, ValueEnum, builder::BoolishValueParser};

pub use self::{
    calls::CallSettings,
    doors::{DoorSettings, Reflection},
    ops::{OpsListen, OpsSettings},
};

use crate::{
    db::DatabaseUrl,
    domain::{MAX_INDEXED_TEXT_BYTES, row::RowLimits},
};

/// Where the database is.
#[derive(Args, Clone, Debug)]
pub struct DatabaseSettings {
    /// PostgreSQL 15 or newer, as a URL. Without it an embedded PostgreSQL is started.
    #[arg(long, env = "DATABASE_URL", hide_env_values = true)]
    pub database_url: Option<String>,

    /// The URL that migrations use, where the service's own login may not change the schema.
    #[arg(
        long,
        env = "LEADVAULT_MIGRATION_DATABASE_URL",
        hide_env_values = true,
        requires = "database_url"
    )]
    pub migration_database_url: Option<String>,

    /// How a pooler between the service and PostgreSQL shares its connections: `session`, which is also right where
    /// there is none, or `transaction`, where the service uses nothing of a session: its login must act as
    /// `leadvault_app` by itself, and `PgBouncer` must be 1.21 or newer with `max_prepared_statements` above 0.
    /// Migrations need another URL then.
    #[arg(
        long,
        env = "LEADVAULT_POOLER_MODE",
        default_value = "session",
        requires = "database_url"
    )]
    pub pooler_mode: PoolerMode,

    /// Where the embedded PostgreSQL keeps its data [default: /var/lib/leadvault for root, else
    /// ~/.local/share/leadvault].
    #[arg(long, env = "LEADVAULT_DATA_DIR", conflicts_with = "database_url")]
    pub data_dir: Option<PathBuf>,
}

/// How a pooler shares its connections, in the words of `PgBouncer`'s `pool_mode`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum PoolerMode {
    /// A client keeps its server connection; also where there is no pooler.
    #[default]
    Session,
    /// A client gets a server connection for each transaction.
    Transaction,
}

impl DatabaseSettings {
    /// Whether the database shares this machine's processors with the service.
    pub(crate) fn is_here(&self) -> bool {
        // A URL that cannot be read is refused, with its reason, by whoever opens it.
        let is_loopback = |url: &String| DatabaseUrl::parse(url).is_ok_and(|url| url.is_loopback());
        self.database_url.as_ref().is_none_or(is_loopback)
    }
}

/// How the service runs.
#[derive(Args, Clone, Debug)]
pub struct ServiceSettings {
    /// The address that gRPC listens on; port 0 takes a free one. One that other machines reach needs TLS and
    /// clients.
    #[arg(long, env = "LEADVAULT_LISTEN", default_value = "127.0.0.1:50051")]
    pub listen: SocketAddr,

    /// How many threads answer calls [default: one a processor; one for two where the database is on this
    /// machine, since it needs the others].
    #[arg(long, env = "LEADVAULT_WORKER_THREADS")]
    pub worker_threads: Option<NonZeroUsize>,

    /// How many database connections are kept at the most. Exports have half of them at the most, one client half of
    /// that, and each at least one: in a pool of one an export is in the way of everything else until it ends.
    #[arg(long, env = "LEADVAULT_POOL_SIZE", default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..))]
    pub pool_size: u32,

    /// How many more connections are shared by all calls that read one record by its key.
    #[arg(long, env = "LEADVAULT_POINT_READ_CONNECTIONS", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..))]
    pub point_read_connections: u32,

    /// How long a call waits while every connection is busy, in seconds; a stream is held back for longer.
    #[arg(long, env = "LEADVAULT_POOL_TIMEOUT_SECONDS", default_value = "0.5", value_parser = seconds)]
    pub pool_timeout: Duration,

    /// How long one statement may run in PostgreSQL, in seconds; one that waits for a lock gets a quarter of
    /// it. Who waited for a lock is told to try again; what ran for too long may do so again.
    #[arg(long, env = "LEADVAULT_STATEMENT_TIMEOUT_SECONDS", default_value = "60", value_parser = seconds)]
    pub statement_timeout: Duration,

    /// How long calls may take, and how many there may be.
    #[command(flatten)]
    pub calls: CallSettings,

    /// Limits of requests.
    #[command(flatten)]
    pub limits: Limits,

    /// How people are enriched.
    #[command(flatten)]
    pub enrichment: EnrichmentSettings,

    /// How operators look into the service.
    #[command(flatten)]
    pub ops: OpsSettings,

    /// With how many soft bounces in a row on one channel an address is suppressed there, as with a hard one.
    #[arg(long, env = "LEADVAULT_SOFT_BOUNCE_LIMIT", default_value_t = 3, value_parser = clap::value_parser!(i32).range(1..=1_000))]
    pub soft_bounce_limit: i32,
}

/// How people are enriched, and how long what is known of them is served.
#[derive(Args, Clone, Debug)]
pub struct EnrichmentSettings {
    /// How long after it was fetched intelligence is served, in days. What is stored already keeps the time
    /// that it was stored with.
    #[arg(long, env = "LEADVAULT_INTELLIGENCE_TTL_DAYS", default_value = "30", value_parser = days)]
    pub intelligence_ttl: Duration,

    /// How often stale intelligence is purged and its people are enqueued, in seconds. Every server may do
    /// it; together they do nothing twice.
    #[arg(long, env = "LEADVAULT_SWEEP_PERIOD_SECONDS", default_value = "300", value_parser = seconds)]
    pub sweep_period: Duration,

    /// With how many failures an entry of the enrichment queue is dead. An entry keeps what was set when it
    /// was enqueued or revived.
    #[arg(long, env = "LEADVAULT_ENRICHMENT_MAX_FAILURES", default_value_t = 5, value_parser = clap::value_parser!(i32).range(1..=1_000))]
    pub enrichment_max_failures: i32,

    /// With how many overrun leases an entry of the enrichment queue is dead: its workers must die of it. An
    /// overrun is no failure, and workers may be slow: it takes many.
    #[arg(long, env = "LEADVAULT_ENRICHMENT_MAX_OVERRUNS", default_value_t = 1_000, value_parser = clap::value_parser!(i32).range(1..))]
    pub enrichment_max_overruns: i32,

    /// How long a person waits after the first failure, in seconds; twice as long after each further one.
    #[arg(long, env = "LEADVAULT_ENRICHMENT_BACKOFF_SECONDS", default_value = "60", value_parser = seconds_of_a_year)]
    pub enrichment_backoff: Duration,

    /// The longest that a person waits after a failure, in seconds.
    #[arg(long, env = "LEADVAULT_ENRICHMENT_BACKOFF_CAP_SECONDS", default_value = "21600", value_parser = seconds_of_a_year)]
    pub enrichment_backoff_cap: Duration,

    /// How long a lease is where the worker does not say, in seconds.
    #[arg(long, env = "LEADVAULT_ENRICHMENT_LEASE_SECONDS", default_value = "300", value_parser = seconds_of_a_day)]
    pub enrichment_lease: Duration,

    /// The longest lease that a worker may ask for, in seconds; at most a day.
    #[arg(long, env = "LEADVAULT_ENRICHMENT_MAX_LEASE_SECONDS", default_value = "86400", value_parser = seconds_of_a_day)]
    pub enrichment_max_lease: Duration,
}

/// Limits of requests; an error that names one names its flag.
#[derive(Args, Clone, Debug)]
pub struct Limits {
    /// The most rows of one `IngestRows` call.
    #[arg(long, env = "LEADVAULT_MAX_INGEST_ROWS", default_value_t = 1_000)]
    pub max_ingest_rows: usize,

    /// The most rows of one `rows` message of `BulkIngest`.
    #[arg(long, env = "LEADVAULT_MAX_FRAME_ROWS", default_value_t = 10_000)]
    pub max_frame_rows: usize,

    /// The most bytes of rows in one message.
    #[arg(long, env = "LEADVAULT_MAX_FRAME_BYTES", default_value_t = 8 * 1024 * 1024)]
    pub max_frame_bytes: usize,

    /// The largest row, in bytes.
    #[arg(long, env = "LEADVAULT_MAX_ROW_BYTES", default_value_t = 256 * 1024)]
    pub max_row_bytes: usize,

    /// The longest text of a row that reaches an index, in bytes. An index holds no longer ones than 1000.
    #[arg(long, env = "LEADVAULT_MAX_INDEXED_TEXT_BYTES", default_value_t = 1_000, value_parser = indexed_text_bytes)]
    pub max_indexed_text_bytes: usize,

    /// A page of a list ends once its items have this many bytes, and so does an answer with leases.
    #[arg(long, env = "LEADVAULT_MAX_PAGE_BYTES", default_value_t = 2 * 1024 * 1024)]
    pub max_page_bytes: i64,

    /// How deep a row's arrays and objects may nest.
    #[arg(long, env = "LEADVAULT_MAX_DEPTH", default_value_t = 64, value_parser = depth)]
    pub max_depth: usize,

    /// How long the client of a stream may be silent while nothing of its waits for an answer, or leave an answer
    /// untaken, in seconds.
    #[arg(long, env = "LEADVAULT_STREAM_IDLE_TIMEOUT_SECONDS", default_value = "60", value_parser = seconds)]
    pub stream_idle_timeout: Duration,
}

impl Limits {
    /// The limits of one row.
    pub fn row(&self) -> RowLimits {
        RowLimits {
            max_row_bytes: self.max_row_bytes,
            max_depth: self.max_depth,
            max_indexed_text_bytes: self.max_indexed_text_bytes,
        }
    }

    /// The largest message that is decoded at all. tonic answers a larger one with a bare `OUT_OF_RANGE`, so
    /// it is well above the frame limit, whose error says more.
    pub fn max_message_bytes(&self) -> usize {
        self.max_frame_bytes * 2
    }
}

/// What the log holds.
#[derive(Args, Clone, Debug)]
pub struct LogSettings {
    /// What is logged: a level, or filters such as `info,leadvault::call=warn`, which leaves out the lines of
    /// calls that went well. Dependencies never log below info: some would log rows.
    #[arg(long, env = "LEADVAULT_LOG", default_value = "info", global = true)]
    pub log: String,

    /// Log JSON lines.
    #[arg(long, env = "LEADVAULT_LOG_JSON", global = true, value_parser = BoolishValueParser::new())]
    pub log_json: bool,
}

/// PostgreSQL's own parser stops where its stack ends, which is far beyond this.
fn depth(text: &str) -> Result<usize, String> {
    text.parse()
        .ok()
        .filter(|depth| (1..=512).contains(depth))
        .ok_or_else(|| "must be a number from 1 to 512".to_owned())
}

fn indexed_text_bytes(text: &str) -> Result<usize, String> {
    text.parse()
        .ok()
        .filter(|bytes| (1..=MAX_INDEXED_TEXT_BYTES).contains(bytes))
        .ok_or_else(|| format!("must be a number from 1 to {MAX_INDEXED_TEXT_BYTES}"))
}

fn seconds(text: &str) -> Result<Duration, String> {
    text.parse()
        .ok()
        .and_then(|seconds: f64| Duration::try_from_secs_f64(seconds).ok())
        .filter(|duration| !duration.is_zero())
        .ok_or_else(|| "must be a number of seconds above 0".to_owned())
}

/// A century is as good as for ever, and any more would leave the calendar.
fn days(text: &str) -> Result<Duration, String> {
    text.parse()
        .ok()
        .filter(|days: &f64| *days > 0.0 && *days <= 36_500.0)
        .and_then(|days| Duration::try_from_secs_f64(days * 86_400.0).ok())
        .ok_or_else(|| "must be a number of days above 0, at most 36500".to_owned())
}

fn seconds_of_a_year(text: &str) -> Result<Duration, String> {
    seconds_up_to(text, 365 * 86_400)
}

fn seconds_of_a_day(text: &str) -> Result<Duration, String> {
    seconds_up_to(text, 86_400)
}

fn seconds_up_to(text: &str, most: u64) -> Result<Duration, String> {
    seconds(text)
        .ok()
        .filter(|duration| {
            (Duration::from_millis(1)..=Duration::from_secs(most)).contains(duration)
        })
        .ok_or_else(|| format!("must be a number of seconds from 0.001 to {most}"))
}
