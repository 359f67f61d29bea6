//! A PgBouncer that a test starts.

use std::{
    path::PathBuf,
    process::{Child, Command},
};

use tokio_postgres::NoTls;

use super::{Workspace, as_account, free_port, give, program, until};

/// How the service's login is called behind it.
pub(crate) const LOGIN: &str = "svc";
/// The oldest that keeps prepared statements from one transaction to the next.
const KEEPS_STATEMENTS: (u32, u32) = (1, 21);

/// A PgBouncer that pools transactions. It ends with its handle, or with its workspace.
pub(crate) struct PgBouncer {
    port: u16,
    process: Child,
}

impl PgBouncer {
    /// Starts it in a workspace, with the lines of its `[databases]`, and settings. It has to be on this machine.
    pub(crate) fn start(workspace: &Workspace, databases: &str, settings: &str) -> Self {
        let folder = workspace.path("pgbouncer");
        std::fs::create_dir(&folder).unwrap();
        give(&folder);
        let port = free_port();
        let max_statements = if keeps_statements() {
            "max_prepared_statements = 200"
        } else {
            ""
        };
        let text = format!(
            "[databases]
{databases}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
pidfile = {0}/pgbouncer.pid
logfile = {0}/pgbouncer.log
{max_statements}
{settings}
",
            folder.display()
        );
        let file = workspace.file("pgbouncer/pgbouncer.ini", text);
        let process = as_account(&pgbouncer().unwrap()).arg(file).spawn();
        Self {
            port,
            process: process.unwrap(),
        }
    }

    /// The URL of a database behind it, for the service's login.
    pub(crate) fn url(&self, database: &str) -> String {
        format!(
            "postgresql://{LOGIN}@127.0.0.1:{}/{database}?sslmode=disable",
            self.port
        )
    }

    /// Waits until it has a connection to this database for whoever asks.
    pub(crate) async fn until_it_takes_connections(&self, database: &str) {
        let url = self.url(database);
        until("PgBouncer to take connections", async || {
            tokio_postgres::connect(&url, NoTls).await.ok().map(drop)
        })
        .await;
    }
}

impl Drop for PgBouncer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn pgbouncer() -> Option<PathBuf> {
    program(&["pgbouncer"])
}

/// Its version; nothing where it is missing.
pub(crate) fn version() -> Option<(u32, u32)> {
    let output = Command::new(pgbouncer()?).arg("--version").output();
    let output = output.unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let number = text.lines().next()?.strip_prefix("PgBouncer ")?;
    let mut parts = number.split('.').map(|part| part.parse().unwrap_or(0));
    Some((parts.next()?, parts.next()?))
}

/// Whether the one that is here keeps prepared statements from one transaction to the next.
pub(crate) fn keeps_statements() -> bool {
    version().is_some_and(|version| version >= KEEPS_STATEMENTS)
}
