//! PgBouncer in transaction mode. What Debian has (1.18) keeps no prepared statements from one transaction to the
//! next: the service refuses to start on it. Everything else that it needs works there.

mod one_connection;
mod work;

use std::time::Duration;

use diesel::{dsl::sql, sql_types::Text};
use diesel_async::RunQueryDsl as _;
use leadvault::db::{DatabaseUrl, Pool, PoolOptions, migrate};
use tokio_postgres::NoTls;

use super::load;
use crate::harness::{
    Postgres, Running, Service, Sql, Workspace, leadvault,
    pgbouncer::{self, PgBouncer},
};

/// A PgBouncer before a database whose login acts as the service's role by itself.
struct Bouncer {
    postgres: Postgres,
    pgbouncer: PgBouncer,
}

impl Bouncer {
    /// Nothing where the program is missing.
    async fn start(workspace: &Workspace, pool_size: u32) -> Option<Self> {
        pgbouncer::version()?;
        let postgres = Postgres::create(workspace, "postgres");
        postgres.start();
        let admin = Sql::connect(&postgres.url("postgres")).await;
        admin.run("CREATE DATABASE leads").await;
        migrate::up(&DatabaseUrl::parse(&postgres.url("leads")).unwrap())
            .await
            .unwrap();
        admin
            .run(
                "CREATE ROLE svc LOGIN; CREATE ROLE bare LOGIN; GRANT leadvault_app TO svc, bare;
                  ALTER ROLE svc SET role = leadvault_app",
            )
            .await;
        let pgbouncer = spawn(workspace, &postgres, pool_size);
        pgbouncer.until_it_takes_connections("leads").await;
        Some(Self {
            postgres,
            pgbouncer,
        })
    }

    fn url(&self, database: &str) -> String {
        self.pgbouncer.url(database)
    }

    /// How many connections to PostgreSQL it has.
    async fn server_connections(&self) -> i64 {
        let sql = Sql::connect(&self.postgres.url("leads")).await;
        let query = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'svc'";
        sql.one(query, &[]).await
    }

    /// `leadvault serve` behind it, and its migrations past it.
    fn serve(&self, database: &str) -> tokio::process::Command {
        let mut command = leadvault(&["serve", "--listen", "127.0.0.1:0"]);
        self.settings(&mut command, database);
        command
    }

    fn settings(&self, command: &mut tokio::process::Command, database: &str) {
        command.env("LEADVAULT_POOLER_MODE", "transaction");
        command.env("DATABASE_URL", self.url(database)).env(
            "LEADVAULT_MIGRATION_DATABASE_URL",
            self.postgres.url("leads"),
        );
    }
}

fn spawn(workspace: &Workspace, postgres: &Postgres, pool_size: u32) -> PgBouncer {
    let server = format!("host=127.0.0.1 port={} dbname=leads", postgres.port);
    let databases = format!(
        "leads = {server} user=svc
bare = {server} user=bare
sessions = {server} user=svc pool_mode=session"
    );
    let settings = format!("default_pool_size = {pool_size}");
    PgBouncer::start(workspace, &databases, &settings)
}

/// What exactly fails: a statement is prepared on one server connection and executed on another.
#[tokio::test(flavor = "multi_thread")]
async fn a_pgbouncer_that_keeps_no_statements_is_refused_with_the_version_that_does() {
    let workspace = Workspace::new();
    let Some(bouncer) = Bouncer::start(&workspace, 20).await else {
        return;
    };
    let (asker, connection) = tokio_postgres::connect(&bouncer.url("leads"), NoTls)
        .await
        .unwrap();
    tokio::spawn(connection);
    let holder = Sql::connect(&bouncer.url("leads")).await;
    let statement = asker.prepare("SELECT 1").await.unwrap();
    holder.run("BEGIN").await;
    let executed = asker.query_one(&statement, &[]).await;
    holder.run("COMMIT").await;
    if pgbouncer::keeps_statements() {
        executed.unwrap();
        work::is_exact(&workspace, &bouncer).await;
        assert!(bouncer.server_connections().await > 1);
        return;
    }
    let code = executed.unwrap_err().code().unwrap().code().to_owned();
    assert_eq!(code, "26000", "invalid_sql_statement_name");
    let said = Running::spawn(bouncer.serve("leads"))
        .finish()
        .await
        .failed(1);
    for words in ["1.21", "max_prepared_statements", "prepared statements"] {
        assert!(said.contains(words), "{words}: {said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_pool_that_nobody_told_of_is_found_out() {
    let workspace = Workspace::new();
    let Some(bouncer) = Bouncer::start(&workspace, 20).await else {
        return;
    };
    let mut command = bouncer.serve("leads");
    command.args(["--pooler-mode=session"]);
    let said = Running::spawn(command).finish().await.failed(1);
    assert!(said.contains("--pooler-mode=transaction"), "{said}");
}

/// With one server connection even an old PgBouncer finds the statements, and shows that nothing else of a session
/// is needed: no startup option, no SET, no lock of a session.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_else_of_a_session_is_needed() {
    let workspace = Workspace::new();
    let Some(bouncer) = Bouncer::start(&workspace, 1).await else {
        return;
    };
    work::is_exact(&workspace, &bouncer).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_that_does_not_act_as_the_role_is_told_what_to_run() {
    let workspace = Workspace::new();
    let Some(bouncer) = Bouncer::start(&workspace, 1).await else {
        return;
    };
    let said = Running::spawn(bouncer.serve("bare"))
        .finish()
        .await
        .failed(1);
    assert!(
        said.contains("ALTER ROLE bare SET role = 'leadvault_app'"),
        "{said}"
    );
}

const RECONNECT: &str =
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'svc'";

/// Law 12: what the service cannot set for a session comes with the login, and who starts it is told what is missing.
#[tokio::test(flavor = "multi_thread")]
async fn a_login_whose_statements_nothing_bounds_is_told_what_to_run() {
    const RUN: &str = "ALTER ROLE svc SET statement_timeout = '60s'; ALTER ROLE svc SET lock_timeout = '15s'; \
                       ALTER ROLE svc SET idle_in_transaction_session_timeout = '300s'; \
                       ALTER ROLE svc SET client_connection_check_interval = '1s'";
    let workspace = Workspace::new();
    let Some(bouncer) = Bouncer::start(&workspace, 1).await else {
        return;
    };
    let doctor = || {
        let mut command = leadvault(&["doctor"]);
        bouncer.settings(&mut command, "leads");
        Running::spawn(command).finish()
    };
    let (_, log) = Service::start(bouncer.serve("leads")).await.stop().await;
    assert!(log.contains(RUN), "{log}");
    assert!(doctor().await.ok().contains(RUN));

    Sql::connect(&bouncer.postgres.url("leads"))
        .await
        .run(&format!("{RUN}; {RECONNECT}"))
        .await;
    let (_, log) = Service::start(bouncer.serve("leads")).await.stop().await;
    assert!(!log.contains("ALTER ROLE"), "{log}");
    assert!(!doctor().await.ok().contains("ALTER ROLE"));
}

/// Law 12: what a pool in session mode refuses at the start of a connection is set afterwards.
#[tokio::test(flavor = "multi_thread")]
async fn behind_a_pool_of_sessions_no_statement_runs_for_ever() {
    let workspace = Workspace::new();
    let Some(bouncer) = Bouncer::start(&workspace, 20).await else {
        return;
    };
    let url = DatabaseUrl::parse(&bouncer.url("sessions")).unwrap();
    let pool = Pool::connect(PoolOptions {
        statement_timeout: Duration::from_secs(8),
        ..PoolOptions::new(url)
    })
    .await
    .unwrap();
    let mut connection = pool.get().await.unwrap();
    for (setting, value) in [
        ("statement_timeout", "8s"),
        ("lock_timeout", "2s"),
        ("jit", "off"),
        ("role", "leadvault_app"),
    ] {
        let set: String = diesel::select(sql::<Text>(&format!("current_setting('{setting}')")))
            .get_result(&mut *connection)
            .await
            .unwrap();
        assert_eq!(set, value, "{setting}");
    }
}
