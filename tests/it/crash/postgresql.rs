//! PostgreSQL goes down, crashes or throws the service out in the middle of a load; the service runs on.

use leadvault::db::{Embedded, EmbeddedOptions};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tokio_postgres::NoTls;

use super::{BATCH, Moment, assert_ended_well, assert_told, exact::assert_exact, load, rows::rows};
use crate::harness::{Service, Sql, Workspace, leadvault, until};

/// What happens to a PostgreSQL whose service runs on.
#[derive(Clone, Copy, Debug)]
enum Blow {
    /// `pg_ctl stop -m immediate`, and start.
    ImmediateRestart,
    /// `pg_ctl stop -m fast`, and start.
    FastRestart,
    /// A backend is killed, and PostgreSQL recovers by itself.
    BackendCrash,
    /// An administrator ends every connection of the service.
    Terminate,
    /// An administrator cancels what the service is doing.
    Cancel,
}

#[tokio::test(flavor = "multi_thread")]
async fn law_2_postgresql_goes_down_under_a_running_service() {
    let workspace = Workspace::new();
    // Enough that a machine which is busy with something else does not finish between two blows.
    let rows = rows(60_000);
    let file = workspace.file("rows.ndjson", &rows.ndjson);
    let mut cluster = start_cluster(&workspace).await;
    let mut command = leadvault(&["serve", "--listen", "127.0.0.1:0"]);
    command.env("DATABASE_URL", cluster.url());
    let mut service = Service::start(command).await;
    let mut loader = load(&file, &service.endpoint(), 2);
    let blows = [
        Blow::ImmediateRestart,
        Blow::Terminate,
        Blow::FastRestart,
        Blow::Cancel,
        Blow::BackendCrash,
        Blow::ImmediateRestart,
        Blow::FastRestart,
    ];
    let mut opens = 0;
    for blow in blows {
        let sql = Sql::connect(&cluster.url()).await;
        opens = Moment::WhileStoring.wait(&sql, &mut loader, opens).await;
        cluster = blow.strike(&workspace, cluster).await;
        assert!(!loader.has_ended(), "the load was over before {blow:?}");
        assert!(!service.has_ended(), "the service ended at {blow:?}");
    }
    assert_ended_well(loader, &rows).await;
    let sql = Sql::connect(&cluster.url()).await;
    assert_exact(&sql, BATCH, 2, &rows).await;
    assert_told(&service, &rows).await;
    assert_eq!(service.stop().await.0.code(), Some(0));
    cluster.stop().await.unwrap();
}

async fn start_cluster(workspace: &Workspace) -> Embedded {
    // Durable as it comes: `fsync` is on.
    Embedded::start(&EmbeddedOptions::new(workspace.data_dir()))
        .await
        .unwrap()
}

impl Blow {
    /// Strikes, and waits until PostgreSQL takes connections again.
    async fn strike(self, workspace: &Workspace, cluster: Embedded) -> Embedded {
        let postmaster = workspace.postmaster().unwrap();
        let signal = match self {
            // The signals that pg_ctl sends.
            Self::ImmediateRestart => Signal::SIGQUIT,
            Self::FastRestart => Signal::SIGINT,
            _ => {
                self.strike_backends(&cluster.url()).await;
                return cluster;
            }
        };
        kill(postmaster, signal).unwrap();
        until("PostgreSQL to stop", async || {
            workspace.postmaster().is_none().then_some(())
        })
        .await;
        drop(cluster);
        start_cluster(workspace).await
    }

    async fn strike_backends(self, url: &str) {
        let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
        tokio::spawn(connection);
        let act = match self {
            Self::Terminate => "pg_terminate_backend(pid)",
            Self::Cancel => "pg_cancel_backend(pid)",
            _ => "pid",
        };
        let query = format!(
            "SELECT pid, {act} FROM pg_stat_activity
             WHERE backend_type = 'client backend' AND datname = current_database()
                 AND pid <> pg_backend_pid()
             ORDER BY state"
        );
        let others = client.query(&query, &[]).await.unwrap();
        let Self::BackendCrash = self else { return };
        // The first one is active.
        kill(Pid::from_raw(others[0].get(0)), Signal::SIGKILL).unwrap();
        until("the crash to end every connection", async || {
            client.is_closed().then_some(())
        })
        .await;
        let _ = until("PostgreSQL to have recovered", async || {
            tokio_postgres::connect(url, NoTls).await.ok()
        })
        .await;
    }
}
