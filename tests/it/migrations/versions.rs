//! Versioned migrations, up and down.

use std::process::Command;

use leadvault::db::migrate::{self, LayerChange, LayerState, MigrationState};

use super::{fingerprint, parsed};
use crate::harness::{App, Sql, empty_database, fresh_database, row};

#[tokio::test(flavor = "multi_thread")]
async fn up_all_the_way_down_and_up_again() {
    let address = empty_database().await;
    let (url, sql) = (parsed(&address), Sql::connect(&address).await);

    let first = migrate::up(&url).await.unwrap();
    assert!(first.applied.len() >= 8, "{first:?}");
    assert_eq!(first.layer, LayerChange::Rebuilt);
    assert!(migrate::status(&url).await.unwrap().is_current());
    let made = fingerprint(&sql).await;
    assert!(made.len() > 200);

    let down = migrate::down(&url, usize::MAX).await.unwrap();
    let mut reverted = down.reverted;
    reverted.reverse();
    assert_eq!(reverted, first.applied);
    assert_eq!(down.layer, LayerChange::Dropped);
    assert_eq!(fingerprint(&sql).await, Vec::<String>::new());

    let again = migrate::up(&url).await.unwrap();
    assert_eq!(again.applied, first.applied);
    assert_eq!(fingerprint(&sql).await, made);
}

#[tokio::test(flavor = "multi_thread")]
async fn up_on_a_current_database_does_nothing() {
    let address = fresh_database().await;
    let sql = Sql::connect(&address).await;
    let before: String = sql
        .one(
            "SELECT applied_at::text FROM public.leadvault_function_layer",
            &[],
        )
        .await;
    let report = migrate::up(&parsed(&address)).await.unwrap();
    assert_eq!(report, migrate::Report::default());
    let after: String = sql
        .one(
            "SELECT applied_at::text FROM public.leadvault_function_layer",
            &[],
        )
        .await;
    assert_eq!(after, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn down_reverts_the_newest_and_status_shows_it() {
    let address = fresh_database().await;
    let (url, sql) = (parsed(&address), Sql::connect(&address).await);
    let before = fingerprint(&sql).await;

    let report = migrate::down(&url, 2).await.unwrap();
    let status = migrate::status(&url).await.unwrap();
    let pending: Vec<&str> = status
        .migrations
        .iter()
        .filter(|migration| migration.state == MigrationState::Pending)
        .map(|migration| migration.name.as_str())
        .collect();
    assert_eq!(pending.len(), 2);
    assert!(pending.iter().rev().eq(&report.reverted), "{report:?}");
    assert_eq!(status.layer, LayerState::Missing);

    let refusal = migrate::check(&url).await.unwrap_err().to_string();
    assert!(refusal.contains("2 migrations are pending"), "{refusal}");
    assert!(refusal.contains(pending[0]), "{refusal}");

    migrate::up(&url).await.unwrap();
    assert_eq!(fingerprint(&sql).await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn down_by_none_does_nothing() {
    let url = parsed(&fresh_database().await);
    assert_eq!(
        migrate::down(&url, 0).await.unwrap(),
        migrate::Report::default()
    );
    assert!(migrate::status(&url).await.unwrap().is_current());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_roles_stay_when_everything_else_goes() {
    let address = fresh_database().await;
    migrate::down(&parsed(&address), usize::MAX).await.unwrap();
    let sql = Sql::connect(&address).await;
    let roles: i64 = sql
        .one(
            "SELECT count(*) FROM pg_roles WHERE rolname IN ('leadvault_app', 'leadvault_monitor')",
            &[],
        )
        .await;
    assert_eq!(roles, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_look_at_the_status_writes_nothing() {
    let address = empty_database().await;
    let status = migrate::status(&parsed(&address)).await.unwrap();
    assert!(
        status
            .migrations
            .iter()
            .all(|m| m.state == MigrationState::Pending)
    );
    let tables: i64 = Sql::connect(&address)
        .await
        .one(
            "SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace",
            &[],
        )
        .await;
    assert_eq!(tables, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_several_that_start_at_once_one_migrates() {
    let address = empty_database().await;
    let racing: Vec<_> = (0..6)
        .map(|_| {
            let url = parsed(&address);
            tokio::spawn(async move { migrate::up(&url).await })
        })
        .collect();
    let mut worked = 0;
    for racer in racing {
        let report = racer.await.unwrap().unwrap();
        worked += usize::from(report.layer == LayerChange::Rebuilt);
        assert_eq!(
            report.applied.is_empty(),
            report.layer == LayerChange::Unchanged
        );
    }
    assert_eq!(worked, 1);
    let app = App::start_on(address, &[]).await;
    app.ingest("b", "apollo", &[row("a@x.example")]).await;
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn databases_of_one_cluster_migrate_side_by_side() {
    let mut racing = Vec::new();
    for _ in 0..3 {
        let url = parsed(&empty_database().await);
        racing.push(tokio::spawn(async move { migrate::up(&url).await }));
    }
    for racer in racing {
        assert_eq!(racer.await.unwrap().unwrap().layer, LayerChange::Rebuilt);
    }
}

/// What `leadvault migrate ARGS` prints.
fn leadvault_migrate(url: &str, args: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_leadvault"))
        .arg("migrate")
        .args(args)
        .env("DATABASE_URL", url)
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{args:?}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_migrates_and_says_what_it_did() {
    let address = empty_database().await;
    let first = "20261122000100_create_roles";
    let status = leadvault_migrate(&address, &["status"]);
    assert!(
        status.lines().next().unwrap().starts_with("pending"),
        "{status}"
    );
    assert!(status.ends_with("function layer: missing\n"), "{status}");

    let up = leadvault_migrate(&address, &[]);
    assert!(up.starts_with(&format!("applied  {first}\n")), "{up}");
    assert!(up.ends_with("function layer: rebuilt\n"), "{up}");
    assert_eq!(
        leadvault_migrate(&address, &["up"]),
        "function layer: unchanged\n"
    );

    let status = leadvault_migrate(&address, &["status"]);
    assert!(!status.contains("pending"), "{status}");
    assert!(status.contains(first), "{status}");
    assert!(status.ends_with("function layer: current\n"), "{status}");

    let down = leadvault_migrate(&address, &["down", "1"]);
    assert_eq!(down.matches("reverted").count(), 1, "{down}");
}
