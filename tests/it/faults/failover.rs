//! A primary dies in the middle of a load and its standby takes over: with synchronous replication nothing that was
//! acked is lost, and the load ends by itself.

use super::{barrier::Barrier, load};
use crate::{
    crash::{
        exact::assert_exact,
        rows::{Rows, rows},
    },
    harness::{Postgres, Running, Service, Sql, Workspace, leadvault, until},
};

const BATCH: &str = "failover";

/// A primary whose commits wait for its standby, and a service that knows both.
pub(super) struct Pair {
    pub(super) primary: Postgres,
    pub(super) standby: Postgres,
    pub(super) service: Service,
}

impl Pair {
    pub(super) async fn start(workspace: &Workspace) -> Self {
        Self::start_with(workspace, &[]).await
    }

    /// The same with flags for the service.
    pub(super) async fn start_with(workspace: &Workspace, flags: &[&str]) -> Self {
        let primary = Postgres::create(workspace, "primary");
        primary.start();
        let standby = primary.standby(workspace, "standby");
        standby.start();
        // Not for the standby, which would wait for one of its own once it is the primary.
        primary.set("synchronous_standby_names = '*'");
        primary.reload();
        let admin = Sql::connect(&primary.url("postgres")).await;
        until("the standby to be synchronous", async || {
            let synchronous: i64 = admin
                .one(
                    "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'",
                    &[],
                )
                .await;
            (synchronous == 1).then_some(())
        })
        .await;
        admin.run("CREATE DATABASE leads").await;
        let hosts = format!("127.0.0.1:{},127.0.0.1:{}", primary.port, standby.port);
        let mut command = leadvault(&["serve", "--listen", "127.0.0.1:0"]);
        command.args(flags);
        command.env(
            "DATABASE_URL",
            format!("postgresql://postgres@{hosts}/leads?target_session_attrs=read-write&sslmode=disable"),
        );
        let service = Service::start(command).await;
        Self {
            primary,
            standby,
            service,
        }
    }

    /// The load ends by itself, and nothing of it is lost or doubled.
    async fn ends_on_the_standby(self, loader: Running, rows: &Rows) {
        let report = loader.finish().await.json();
        assert_eq!(report["batches"][0]["received"], rows.count, "{report}");
        let sql = Sql::connect(&self.standby.url("leads")).await;
        assert_exact(&sql, BATCH, 2, rows).await;
        assert_eq!(self.service.stop().await.0.code(), Some(0));
    }
}

/// Past the first rows of a load.
async fn barrier_at(primary: &Postgres) -> Barrier {
    let condition = "(SELECT sum(next_offset) > 2000 FROM intake.batch_lanes)";
    Barrier::raise(&primary.url("leads"), condition).await
}

/// A primary at which nothing that begins from a moment on can write.
struct Refusing {
    sql: Sql,
    since: String,
}

/// Waits until every connection of a primary was told to take no writes.
async fn until_refusing(primary: &Postgres) -> Refusing {
    // A new connection knows the setting only when every older one has been told of it.
    let sql = until("the setting to be known", async || {
        let sql = Sql::connect(&primary.url("leads")).await;
        let read_only: String = sql.one("SHOW default_transaction_read_only", &[]).await;
        (read_only == "on").then_some(sql)
    })
    .await;
    let since = sql.one("SELECT clock_timestamp()::text", &[]).await;
    Refusing { sql, since }
}

impl Refusing {
    /// What began before may still commit, whether it has written anything yet or not.
    async fn until_nothing_older(&self) {
        until("the last write to have ended", async || {
            let older: i64 = self
                .sql
                .one(
                    "SELECT count(*) FROM pg_stat_activity
                     WHERE xact_start <= $1::text::timestamptz AND datname = current_database()",
                    &[&self.since],
                )
                .await;
            (older == 0).then_some(())
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn law_2_a_standby_takes_over_in_the_middle_of_a_load() {
    let workspace = Workspace::new();
    let rows = rows(30_000);
    let file = workspace.file("rows.ndjson", &rows.ndjson);
    let pair = Pair::start(&workspace).await;
    let barrier = barrier_at(&pair.primary).await;
    let mut loader = load(&file, &pair.service.endpoint(), BATCH, 2);
    barrier.until_reached_by(1).await;

    pair.primary.stop("immediate");
    assert!(
        !loader.has_ended(),
        "the load was over before the primary died"
    );
    pair.standby.promote();

    pair.ends_on_the_standby(loader, &rows).await;
}

/// A primary that lives on and takes no writes any more: its connections work, and are given up all the same.
#[tokio::test(flavor = "multi_thread")]
async fn law_2_an_old_primary_that_lives_on_is_left() {
    let workspace = Workspace::new();
    let rows = rows(30_000);
    let file = workspace.file("rows.ndjson", &rows.ndjson);
    let pair = Pair::start(&workspace).await;
    let barrier = barrier_at(&pair.primary).await;
    let mut loader = load(&file, &pair.service.endpoint(), BATCH, 2);
    barrier.until_reached_by(1).await;

    pair.primary.set("default_transaction_read_only = on");
    pair.primary.reload();
    let refusing = until_refusing(&pair.primary).await;
    barrier.lift().await;
    refusing.until_nothing_older().await;
    assert!(!loader.has_ended(), "the load was over before the switch");
    pair.standby.promote();

    pair.ends_on_the_standby(loader, &rows).await;
}

/// A primary that hangs: its machine takes what is sent and connections, too, and nothing is ever answered.
#[tokio::test(flavor = "multi_thread")]
async fn law_2_a_standby_takes_over_from_a_primary_that_hangs() {
    let workspace = Workspace::new();
    let rows = rows(30_000);
    let file = workspace.file("rows.ndjson", &rows.ndjson);
    let pair = Pair::start_with(&workspace, &["--statement-timeout=2"]).await;
    let barrier = barrier_at(&pair.primary).await;
    let mut loader = load(&file, &pair.service.endpoint(), BATCH, 2);
    barrier.until_reached_by(1).await;

    pair.primary.hang();
    assert!(
        !loader.has_ended(),
        "the load was over before the primary hung"
    );
    pair.standby.promote();

    pair.ends_on_the_standby(loader, &rows).await;
}
