//! `leadvault doctor`: a real process against real databases, healthy and ill.

mod server;

use std::{fs::Permissions, os::unix::fs::PermissionsExt as _, path::Path};

use leadvault::db::{DatabaseUrl, migrate};
use rcgen::{CertificateParams, KeyPair};
use serde_json::Value;

use crate::harness::{
    Ran, Running, Service, Sql, Workspace, empty_database, free_port, fresh_database, leadvault,
    private_cluster, run, url_as,
};

fn set_mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

/// What the doctor says of a database, with more flags.
async fn examine(url: &str, flags: &[&str]) -> Ran {
    let args = ["doctor", "--json", "--database-url", url];
    run(&[&args, flags].concat()).await
}

fn checks(ran: &Ran) -> Vec<Value> {
    let report: Value = serde_json::from_str(&ran.stdout).unwrap();
    report["checks"].as_array().unwrap().clone()
}

/// Those that ended in a state: what was checked, and all that is said of it.
fn in_state(ran: &Ran, state: &str) -> Vec<(String, String)> {
    let checks = checks(ran)
        .into_iter()
        .filter(|check| check["state"] == state);
    checks
        .map(|check| {
            let text = |name: &str| check[name].as_str().unwrap_or_default().to_owned();
            (
                text("check"),
                format!("{} {}", text("detail"), text("mend")),
            )
        })
        .collect()
}

/// The only check that failed, and what is said of it.
#[track_caller]
fn only_failure(ran: Ran, check: &str, says: &[&str]) {
    let failed = in_state(&ran, "failed");
    assert_eq!(failed.len(), 1, "{ran:#?}");
    assert_eq!(failed[0].0, check, "{failed:?}");
    for text in says {
        assert!(failed[0].1.contains(text), "{text} in {failed:?}");
    }
    assert!(ran.failed(1).contains("error: a check failed"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_healthy_database_has_nothing_wrong() {
    let url = fresh_database().await;
    let ran = examine(&url, &[]).await;
    assert_eq!(in_state(&ran, "failed"), []);
    assert_eq!(in_state(&ran, "skipped"), []);
    let names: Vec<String> = checks(&ran)
        .iter()
        .map(|check| check["check"].as_str().unwrap().to_owned())
        .collect();
    for name in [
        "listen",
        "operators",
        "tls",
        "clients",
        "database",
        "takes writes",
        "database tls",
        "language",
        "pooler",
        "connections",
        "role",
        "privileges",
        "migrations",
        "clock",
        "disk",
    ] {
        assert!(names.iter().any(|n| n == name), "{name} in {names:?}");
    }
    ran.ok();

    let text = run(&["doctor", "--database-url", &url]).await.ok();
    assert!(text.contains("ok       migrations "), "{text}");
    assert!(text.contains(" 0 failed, 0 skipped"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_not_there_is_said_and_the_rest_is_skipped() {
    let port = free_port();
    let url = format!("postgresql://u:secret@127.0.0.1:{port}/d");
    let ran = examine(&url, &[]).await;
    assert!(!ran.stdout.contains("secret"));
    assert!(in_state(&ran, "skipped").len() >= 5, "{ran:#?}");
    only_failure(
        ran,
        "database",
        &["cannot connect to PostgreSQL", &port.to_string()],
    );
    let nonsense = examine("nonsense", &[]).await;
    only_failure(nonsense, "database", &["database URL cannot be used"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn pending_migrations_are_named_with_the_command() {
    let url = empty_database().await;
    let ran = examine(&url, &[]).await;
    only_failure(
        ran,
        "migrations",
        &[
            "migrations are pending",
            "create_roles",
            "Run `leadvault migrate`",
        ],
    );
    let url = fresh_database().await;
    migrate::down(&DatabaseUrl::parse(&url).unwrap(), 1)
        .await
        .unwrap();
    let ran = examine(&url, &[]).await;
    only_failure(ran, "migrations", &["1 migrations are pending"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newer_database_is_a_warning_while_this_binary_can_work_with_it() {
    let url = fresh_database().await;
    let sql = Sql::connect(&url).await;
    sql.run("INSERT INTO public.__diesel_schema_migrations (version) VALUES ('29991231000000')")
        .await;
    let ran = examine(&url, &[]).await;
    let warnings = in_state(&ran, "warning");
    let newer = warnings.iter().find(|(check, _)| check == "migrations");
    assert!(
        newer.unwrap().1.contains("a newer leadvault"),
        "{warnings:?}"
    );
    ran.ok();
    sql.run(
        "UPDATE public.leadvault_function_layer SET layer_version = 999, compatible_from = 999",
    )
    .await;
    let ran = examine(&url, &[]).await;
    only_failure(
        ran,
        "migrations",
        &["too old for the database", "Install the newer release"],
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_without_the_role_is_told_the_grant() {
    let url = fresh_database().await;
    let sql = Sql::connect(&url).await;
    let login: String = sql.one("SELECT current_database() || '_login'", &[]).await;
    sql.run(&format!("CREATE ROLE {login} LOGIN")).await;
    let own = url_as(&url, &login);
    let ran = examine(&own, &["--migration-database-url", &url]).await;
    let grant = format!("GRANT leadvault_app TO {login}");
    only_failure(ran, "role", &[&grant]);
    // As told:
    sql.run(&grant).await;
    examine(&own, &["--migration-database-url", &url])
        .await
        .ok();
    sql.run(&format!("DROP ROLE {login}")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn privileges_that_open_a_side_door_are_named_with_what_shuts_it() {
    let url = fresh_database().await;
    let sql = Sql::connect(&url).await;
    sql.run(
        "GRANT INSERT, DELETE ON vault.contacts TO leadvault_app;
         GRANT UPDATE (status) ON intake.raw_loads TO PUBLIC;
         ALTER TABLE intake.raw_loads DISABLE ROW LEVEL SECURITY;
         REVOKE SELECT ON people.master FROM leadvault_app;
         GRANT EXECUTE ON FUNCTION intake.f_ingest_json TO PUBLIC",
    )
    .await;
    let ran = examine(&url, &[]).await;
    let failed = in_state(&ran, "failed");
    let said: Vec<&str> = failed.iter().map(|(_, said)| said.as_str()).collect();
    let said = said.join("\n");
    for text in [
        "UPDATE ON intake.raw_loads, INSERT ON vault.contacts, DELETE ON vault.contacts",
        "REVOKE UPDATE ON intake.raw_loads FROM leadvault_app",
        "cannot read people.master",
        "GRANT SELECT ON people.master TO leadvault_app",
        "ALTER TABLE intake.raw_loads ENABLE ROW LEVEL SECURITY",
        "everybody may execute intake.f_ingest_json(",
    ] {
        assert!(said.contains(text), "{text} in\n{said}");
    }
    assert!(failed.iter().all(|(check, _)| check == "privileges"));
    assert!(ran.failed(1).contains("error: 4 checks failed"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_that_passes_row_level_security_is_named() {
    let cluster = private_cluster().await;
    let url = cluster.url();
    migrate::up(&DatabaseUrl::parse(&url).unwrap())
        .await
        .unwrap();
    let sql = Sql::connect(&url).await;
    sql.run("ALTER ROLE leadvault_app BYPASSRLS").await;
    let ran = examine(&url, &[]).await;
    only_failure(
        ran,
        "privileges",
        &["ALTER ROLE leadvault_app NOSUPERUSER NOBYPASSRLS"],
    );
    cluster.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_of_the_doors_are_checked() {
    let (url, workspace) = (fresh_database().await, Workspace::new());
    let clients = workspace.file("clients", "crm loader\nanna boss sha256:00\n");
    let ran = examine(&url, &["--clients", &clients]).await;
    only_failure(ran, "clients", &["line 1", "nothing proves this client"]);

    let (line, open) = ("crm loader sha256:00", workspace.path("clients"));
    workspace.file("clients", line.replace("00", &"0".repeat(64)));
    set_mode(&open, 0o644);
    examine(&url, &["--clients", &clients]).await.ok();
    for mode in [0o664, 0o646] {
        set_mode(&open, mode);
        let ran = examine(&url, &["--clients", &clients]).await;
        only_failure(ran, "clients", &["can be written by others", "chmod go-w"]);
    }

    let ran = examine(&url, &["--listen", "0.0.0.0:50051"]).await;
    only_failure(
        ran,
        "listen",
        &["--tls-certificate, --tls-key and --clients"],
    );
    let ran = examine(&url, &["--listen", "0.0.0.0:50051", "--insecure"]).await;
    assert!(
        in_state(&ran, "warning")
            .iter()
            .any(|(check, _)| check == "listen")
    );
    ran.ok();
    let ran = examine(&url, &["--ops-listen", "0.0.0.0:50052"]).await;
    let warnings = in_state(&ran, "warning");
    let operators = warnings.iter().find(|(check, _)| check == "operators");
    let (_, said) = operators.unwrap();
    for text in ["0.0.0.0:50052", "no authentication", "firewall"] {
        assert!(said.contains(text), "{text} in {said}");
    }
    ran.ok();

    let certificate = |from: (i32, u8), until: (i32, u8)| {
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        params.not_before = rcgen::date_time_ymd(from.0, from.1, 1);
        params.not_after = rcgen::date_time_ymd(until.0, until.1, 1);
        let key = KeyPair::generate().unwrap();
        (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
    };
    let (old, old_key) = certificate((2001, 1), (2002, 1));
    let (good, good_key) = certificate((2001, 1), (2999, 1));
    let old = workspace.file("old.pem", old);
    let old_key = workspace.file("old.key", old_key);
    let good = workspace.file("good.pem", good);
    let good_key = workspace.file("good.key", good_key);
    for key in [&old_key, &good_key] {
        set_mode(Path::new(key), 0o600);
    }
    let tls = async |certificate: &str, key: &str| {
        examine(&url, &["--tls-certificate", certificate, "--tls-key", key]).await
    };
    only_failure(
        tls(&old, &old_key).await,
        "tls",
        &["expired on 2002-01-01", "renew it"],
    );
    only_failure(
        tls(&good, &old_key).await,
        "tls",
        &["is not the key of the certificate"],
    );
    let nowhere = tls("/nowhere.pem", &good_key).await;
    only_failure(nowhere, "tls", &["/nowhere.pem", "cannot be read"]);
    tls(&good, &good_key).await.ok();
    set_mode(Path::new(&good_key), 0o604);
    only_failure(
        tls(&good, &good_key).await,
        "tls",
        &["can be read by others", "chmod go-rwx"],
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_embedded_postgresql_is_looked_at_while_it_serves_and_never_started() {
    let workspace = Workspace::new();
    let doctor = || {
        let mut command = leadvault(&["doctor", "--json", "--data-dir"]);
        command.arg(workspace.data_dir());
        Running::spawn(command).finish()
    };
    let ran = doctor().await;
    // Nothing was asked: that is no good news.
    only_failure(
        ran,
        "database",
        &["no embedded PostgreSQL", "EnvironmentFile="],
    );
    assert!(!workspace.data_dir().exists());

    let service = Service::start(workspace.serve(0)).await;
    let ran = doctor().await;
    assert_eq!(in_state(&ran, "skipped"), []);
    ran.ok();
    let (status, log) = service.stop().await;
    assert!(status.success(), "{log}");
    let ran = doctor().await;
    only_failure(ran, "database", &["does not run"]);
    assert!(workspace.postmaster().is_none());
}
