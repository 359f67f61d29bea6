//! The front-door tests once more, with PgBouncer in transaction mode between the service and its database.
//!
//! Where [`THROUGH`] says so, one PgBouncer stands before the run's cluster for the whole run, and every service that
//! a test starts over a database of that cluster goes through it, as a login that acts as the role by itself.
//! Migrations, and the SQL by which tests look behind the service, go past it. Each transaction runs on another
//! server connection than the one before: what needs a session does not pass by luck.
//!
//! What has a PostgreSQL, a network or a `leadvault serve` of its own stays as it is; so do the few tests of
//! [`EXCUSED`], each of which says so in the run.

use std::io::Write as _;

use leadvault::db::DatabaseUrl;
use tokio::sync::OnceCell;
use tokio_postgres::{Config, config::Host};

use super::{
    App, Sql, Workspace,
    pgbouncer::{LOGIN, PgBouncer, keeps_statements, version},
    row,
};

/// `pgbouncer`, or not set.
const THROUGH: &str = "LEADVAULT_TESTS_THROUGH";

/// Tests that cannot pass behind it, by what they are, and why.
const EXCUSED: &[(&str, &str)] = &[
    (
        "contacts::point_reads::a_read_that_was_given_up_costs_no_connection",
        "it looks whether the service keeps its connections, and sees the pooler's",
    ),
    (
        "suppressions::entering::without_a_valid_address_nobody_waits_for_the_ledger",
        OF_THE_LOGIN,
    ),
    (
        "timeouts::a_chunk_that_takes_too_long_can_be_sent_again",
        OF_THE_LOGIN,
    ),
    (
        "timeouts::a_lock_may_be_tried_again_and_a_statement_would_take_as_long",
        OF_THE_LOGIN,
    ),
];
const OF_THE_LOGIN: &str =
    "it sets --statement-timeout, which ends no statement there: the login has its own";

/// Fewer than the service's pool and its point reads want, so that they share; more than one, so that transactions
/// of one client move. A test that is over gives its connections back soon: the cluster has some hundred.
const SETTINGS: &str = "
default_pool_size = 8
server_round_robin = 1
server_idle_timeout = 2
max_client_conn = 2000
";
/// How many server connections are there before the service comes.
const WARM: usize = 3;

/// What README tells an operator to give the login.
const ROLE: &str = "
CREATE ROLE svc LOGIN;
GRANT leadvault_app TO svc;
ALTER ROLE svc SET role = leadvault_app;
ALTER ROLE svc SET statement_timeout = '60s';
ALTER ROLE svc SET lock_timeout = '15s';
ALTER ROLE svc SET idle_in_transaction_session_timeout = '300s';
ALTER ROLE svc SET client_connection_check_interval = '1s';
ALTER ROLE svc SET jit = off;
";

/// The PgBouncer of this run. A static is never dropped: the workspace's watchdog ends it with the run.
struct Through {
    bouncer: PgBouncer,
    _workspace: Workspace,
}

static RUN: OnceCell<Through> = OnceCell::const_new();

/// How the service gets to a database of the run's cluster, whose own URL is `cluster`; nothing where it goes straight.
pub(super) async fn url_of(database: &str, cluster: &str) -> Option<DatabaseUrl> {
    if !is_asked_for() || is_excused() {
        return None;
    }
    let through = RUN.get_or_init(|| start(cluster)).await;
    through.bouncer.until_it_takes_connections(database).await;
    let url = through.bouncer.url(database);
    warm(&url).await;
    Some(DatabaseUrl::parse(&url).unwrap().without_sessions())
}

fn is_asked_for() -> bool {
    let Ok(asked) = std::env::var(THROUGH) else {
        return false;
    };
    assert_eq!(asked, "pgbouncer", "{THROUGH} knows nothing else");
    let found = version();
    assert!(
        keeps_statements(),
        "{THROUGH} needs PgBouncer 1.21 or newer, which keeps prepared statements; found: {found:?}"
    );
    true
}

fn is_excused() -> bool {
    // A test runs on a thread of its name.
    let thread = std::thread::current();
    let test = thread.name().unwrap_or_default();
    let excuse = EXCUSED.iter().find(|(name, _)| *name == test);
    if let Some((_, why)) = excuse {
        let said = format!("PAST PGBOUNCER {test}: {why}\n");
        let _ = std::io::stderr().write_all(said.as_bytes());
    }
    excuse.is_some()
}

async fn start(cluster: &str) -> Through {
    Sql::connect(cluster).await.run(ROLE).await;
    let workspace = Workspace::new();
    let config: Config = cluster.parse().unwrap();
    let host = match &config.get_hosts()[0] {
        Host::Unix(folder) => folder.to_str().unwrap().to_owned(),
        Host::Tcp(name) => name.clone(),
    };
    let port = config.get_ports().first().copied().unwrap_or(5432);
    let databases = format!("* = host={host} port={port} user={LOGIN}");
    Through {
        bouncer: PgBouncer::start(&workspace, &databases, SETTINGS),
        _workspace: workspace,
    }
}

/// Has server connections made, and gives them back.
async fn warm(url: &str) {
    let mut holders = Vec::new();
    for _ in 0..WARM {
        let holder = Sql::connect(url).await;
        holder.run("BEGIN").await;
        holders.push(holder);
    }
    for holder in holders {
        holder.run("COMMIT").await;
    }
}

/// An excuse for a test that is gone excuses nobody.
#[test]
fn every_excused_test_is_there() {
    let this = std::env::current_exe().unwrap();
    let listed = std::process::Command::new(this).arg("--list").output();
    let listed = String::from_utf8(listed.unwrap().stdout).unwrap();
    for (test, _) in EXCUSED {
        let line = format!("{test}: test");
        assert!(listed.lines().any(|listed| listed == line), "{test}");
    }
}

/// A run that asked for the way through it and went straight would show nothing.
#[tokio::test(flavor = "multi_thread")]
async fn the_service_goes_the_way_that_was_asked_for() {
    let app = App::start().await;
    app.ingest("b", "apollo", &[row("a@x.example")]).await;
    let logins = "SELECT DISTINCT usename::text FROM pg_stat_activity
                  WHERE datname = current_database() AND backend_type = 'client backend'
                  AND pid <> pg_backend_pid()";
    let sql = app.sql().await;
    let expected = if is_asked_for() { LOGIN } else { "postgres" };
    assert_eq!(sql.one::<String>(logins, &[]).await, expected);
    app.stop().await;
}
