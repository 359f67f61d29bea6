//! What the doctor says of servers that the service cannot work well with: a standby, one behind a pooler without TLS,
//! one that speaks German.

use std::process::Stdio;

use leadvault::db::{DatabaseUrl, migrate};
use rcgen::{CertificateParams, KeyPair};

use super::{checks, examine, in_state, only_failure};
use crate::harness::{
    Postgres, Ran, Service, Sql, Workspace, as_account, free_port, fresh_database, give, leadvault,
    program, until,
};

/// Everything that was checked under a name, and said of it.
#[track_caller]
fn said(ran: &Ran, check: &str) -> String {
    let checks = checks(ran);
    let found = checks.iter().find(|seen| seen["check"] == check);
    found.unwrap().to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_takes_no_writes_has_failed() {
    let url = fresh_database().await;
    let sql = Sql::connect(&url).await;
    let name: String = sql.one("SELECT current_database()::text", &[]).await;
    let set = |to: &str| format!("ALTER DATABASE {name} SET default_transaction_read_only = {to}");
    sql.run(&set("on")).await;
    let ran = examine(&url, &[]).await;
    only_failure(ran, "takes writes", &["default_transaction_read_only"]);
    // That session may change it, which takes a transaction that writes.
    sql.run(&set("off")).await;
    examine(&url, &[]).await.ok();
}

/// What is left of a failover where the URL names one host, the one that is no primary any more.
#[tokio::test(flavor = "multi_thread")]
async fn a_standby_has_failed() {
    let workspace = Workspace::new();
    let primary = Postgres::create(&workspace, "primary");
    primary.start();
    let admin = Sql::connect(&primary.url("postgres")).await;
    admin.run("CREATE DATABASE leads").await;
    migrate::up(&DatabaseUrl::parse(&primary.url("leads")).unwrap())
        .await
        .unwrap();
    let standby = primary.standby(&workspace, "standby");
    standby.start();
    let ran = examine(&standby.url("leads"), &[]).await;
    only_failure(
        ran,
        "takes writes",
        &["standby", "target_session_attrs=read-write"],
    );
    examine(&primary.url("leads"), &[]).await.ok();
}

/// PostgreSQL knows of the pooler's TLS, which is not ours.
#[tokio::test(flavor = "multi_thread")]
async fn plain_text_to_a_pooler_is_not_taken_for_its_tls_to_postgresql() {
    let workspace = Workspace::new();
    let Some(pgbouncer) = program(&["pgbouncer"]) else {
        return;
    };
    let postgres = Postgres::create(&workspace, "postgres");
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let certificate = certificate.self_signed(&key).unwrap().pem();
    postgres.file("server.crt", &certificate);
    postgres.file("server.key", &key.serialize_pem());
    postgres.set("ssl = on");
    postgres.start();
    let (port, folder) = (free_port(), workspace.path("pgbouncer"));
    std::fs::create_dir(&folder).unwrap();
    give(&folder);
    let settings = format!(
        "[databases]
         postgres = host=127.0.0.1 port={} user=postgres
         [pgbouncer]
         listen_addr = 127.0.0.1
         listen_port = {port}
         unix_socket_dir =
         auth_type = any
         server_tls_sslmode = require
         pidfile = {}/pgbouncer.pid",
        postgres.port,
        folder.display()
    );
    let settings = workspace.file("pgbouncer/pgbouncer.ini", settings);
    let mut bouncer = as_account(&pgbouncer).arg(settings).spawn().unwrap();
    let url = |params| format!("postgresql://postgres@127.0.0.1:{port}/postgres{params}");
    until("PgBouncer to take connections", async || {
        let plain = tokio_postgres::connect(&url(""), tokio_postgres::NoTls).await;
        plain.ok().map(drop)
    })
    .await;
    let (client, connection) = tokio_postgres::connect(&url(""), tokio_postgres::NoTls)
        .await
        .unwrap();
    tokio::spawn(connection);
    let row = client.query_one(
        "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()",
        &[],
    );
    assert!(row.await.unwrap().get::<_, bool>(0), "PgBouncer's own TLS");
    for params in ["", "?sslmode=disable"] {
        let ran = examine(&url(params), &[]).await;
        let tls = said(&ran, "database tls");
        assert!(tls.contains("\"off: "), "{tls}");
    }
    // Past the pooler it is on, as far as its certificate can be verified.
    let ca = workspace.file("ca.pem", certificate);
    let direct = format!(
        "postgresql://postgres@localhost:{}/postgres?sslrootcert={ca}",
        postgres.port
    );
    for mode in ["", "&sslmode=require"] {
        let ran = examine(&format!("{direct}{mode}"), &[]).await;
        let tls = said(&ran, "database tls");
        assert!(tls.contains("\"on, and the certificate"), "{tls}");
    }
    bouncer.kill().unwrap();
    bouncer.wait().unwrap();
}

/// Debian's clusters speak the language of their machine.
#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_speaks_german_is_told_to_speak_english() {
    let Some(localedef) = program(&["localedef"]) else {
        return;
    };
    let workspace = Workspace::new();
    let locales = workspace.path("locales");
    std::fs::create_dir(&locales).unwrap();
    let mut made = as_account(&localedef);
    made.args(["-i", "de_DE", "-f", "UTF-8"])
        .arg(workspace.path("locales/de_DE.UTF-8"))
        .stderr(Stdio::null());
    give(&locales);
    // It says by its exit code that it warned, too.
    made.status().unwrap();
    let postgres = Postgres::create(&workspace, "german");
    postgres.set("lc_messages = 'de_DE.UTF-8'");
    postgres.start_with(&[("LOCPATH", &locales)]);
    let admin = Sql::connect(&postgres.url("postgres")).await;
    let (client, connection) =
        tokio_postgres::connect(&postgres.url("postgres"), tokio_postgres::NoTls)
            .await
            .unwrap();
    tokio::spawn(connection);
    let error = client.simple_query("SELECT 1 / 0").await.unwrap_err();
    assert_eq!(
        error.as_db_error().unwrap().message(),
        "Division durch Null"
    );
    let url = postgres.url("postgres");
    migrate::up(&DatabaseUrl::parse(&url).unwrap())
        .await
        .unwrap();

    let mend = "ALTER ROLE postgres SET lc_messages = 'C'";
    let mut serve = leadvault(&["serve", "--listen", "127.0.0.1:0", "--database-url"]);
    serve.arg(&url);
    let (status, log) = Service::start(serve).await.stop().await;
    assert!(status.success(), "{log}");
    assert!(log.contains("WARN") && log.contains(mend), "{log}");

    let ran = examine(&url, &[]).await;
    only_failure(ran, "language", &["de_DE.UTF-8", mend]);
    // As told:
    admin.run(mend).await;
    let ran = examine(&url, &[]).await;
    assert_eq!(in_state(&ran, "failed"), []);
}
