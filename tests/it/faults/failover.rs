//! A primary dies in the middle of a load and its standby takes over: with synchronous replication nothing that was
//! acked is lost, and the load ends by itself.

use super::load;
use crate::{
    crash::{
        exact::{assert_exact, stored},
        rows::rows,
    },
    harness::{Postgres, Running, Service, Sql, Workspace, leadvault, until},
};

const BATCH: &str = "failover";

/// A primary whose commits wait for its standby, and a service that knows both.
struct Pair {
    primary: Postgres,
    standby: Postgres,
    service: Service,
}

impl Pair {
    async fn start(workspace: &Workspace) -> Self {
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
}

/// Waits until the load is well on its way.
async fn until_underway(sql: &Sql, loader: &mut Running) {
    until("rows to be stored", async || {
        assert!(!loader.has_ended(), "the load ended early");
        (stored(sql, BATCH).await > 2_000).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn law_2_a_standby_takes_over_in_the_middle_of_a_load() {
    let workspace = Workspace::new();
    let rows = rows(30_000);
    let file = workspace.file("rows.ndjson", &rows.ndjson);
    let pair = Pair::start(&workspace).await;
    let mut loader = load(&file, &pair.service.endpoint(), BATCH, 2);
    let sql = Sql::connect(&pair.primary.url("leads")).await;
    until_underway(&sql, &mut loader).await;

    pair.primary.stop("immediate");
    assert!(
        !loader.has_ended(),
        "the load was over before the primary died"
    );
    pair.standby.promote();

    let report = loader.finish().await.json();
    assert_eq!(report["batches"][0]["received"], rows.count, "{report}");
    let sql = Sql::connect(&pair.standby.url("leads")).await;
    assert_exact(&sql, BATCH, 2, &rows).await;
    assert_eq!(pair.service.stop().await.0.code(), Some(0));
}

/// A primary that lives on and takes no writes any more: its connections work, and are given up all the same.
#[tokio::test(flavor = "multi_thread")]
async fn law_2_an_old_primary_that_lives_on_is_left() {
    let workspace = Workspace::new();
    let rows = rows(30_000);
    let file = workspace.file("rows.ndjson", &rows.ndjson);
    let pair = Pair::start(&workspace).await;
    let mut loader = load(&file, &pair.service.endpoint(), BATCH, 2);
    let sql = Sql::connect(&pair.primary.url("leads")).await;
    until_underway(&sql, &mut loader).await;

    pair.primary.set("default_transaction_read_only = on");
    pair.primary.reload();
    // What began before may still commit; nothing does after that.
    until("the last write to have ended", async || {
        let writing: i64 = sql
            .one(
                "SELECT count(*) FROM pg_stat_activity
                 WHERE backend_xid IS NOT NULL AND datname = current_database()",
                &[],
            )
            .await;
        let read_only: String = sql.one("SHOW default_transaction_read_only", &[]).await;
        (writing == 0 && read_only == "on").then_some(())
    })
    .await;
    assert!(!loader.has_ended(), "the load was over before the switch");
    pair.standby.promote();

    let report = loader.finish().await.json();
    assert_eq!(report["batches"][0]["received"], rows.count, "{report}");
    let sql = Sql::connect(&pair.standby.url("leads")).await;
    assert_exact(&sql, BATCH, 2, &rows).await;
    assert_eq!(pair.service.stop().await.0.code(), Some(0));
}
