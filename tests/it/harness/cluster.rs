//! One PostgreSQL cluster for the run, gone after it; a fresh database for each test, copied from a
//! template that was migrated once.

use std::{
    path::PathBuf,
    process::{Command, Stdio},
    sync::atomic::{AtomicUsize, Ordering},
};

use leadvault::db::{DatabaseUrl, Embedded, EmbeddedOptions, migrate};
use tokio::sync::OnceCell;
use tokio_postgres::Config;

use super::through;

const TEMPLATE: &str = "leadvault_template";

/// The cluster of this run.
struct Cluster {
    embedded: Embedded,
    next_database: AtomicUsize,
}

static CLUSTER: OnceCell<Cluster> = OnceCell::const_new();

/// The URL of a fresh, migrated database.
pub(crate) async fn fresh_database() -> String {
    create(&format!("TEMPLATE {TEMPLATE}")).await
}

/// The URL of a fresh database that nobody migrated.
pub(crate) async fn empty_database() -> String {
    create("").await
}

/// A cluster that one test has to itself, for what is the cluster's: roles. The test stops it; if it
/// fails before, the watchdog does.
pub(crate) async fn private_cluster() -> Embedded {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    start_in(format!("leadvault-test-{}-{number}", std::process::id())).await
}

/// How the service gets to a database: straight, unless this run goes through a pooler and the database is of its cluster.
pub(super) async fn the_way_to(url: &str) -> DatabaseUrl {
    let pooled = match of_this_run(url) {
        Some((cluster, database)) => through::url_of(&database, &cluster.embedded.url()).await,
        None => None,
    };
    pooled.unwrap_or_else(|| DatabaseUrl::parse(url).unwrap())
}

/// The run's cluster, where a URL is of one of its databases, and which one.
fn of_this_run(url: &str) -> Option<(&'static Cluster, String)> {
    let cluster = CLUSTER.get()?;
    let config: Config = url.parse().ok()?;
    let database = config.get_dbname()?;
    (url == url_of(&cluster.embedded, database)).then(|| (cluster, database.to_owned()))
}

async fn create(options: &str) -> String {
    let cluster = CLUSTER.get_or_init(start).await;
    let number = cluster.next_database.fetch_add(1, Ordering::Relaxed);
    let name = format!("test_{number}");
    super::Sql::connect(&cluster.embedded.url())
        .await
        .run(&format!("CREATE DATABASE {name} {options}"))
        .await;
    url_of(&cluster.embedded, &name)
}

/// The URL of another database of the cluster.
fn url_of(embedded: &Embedded, database: &str) -> String {
    embedded
        .url()
        .replacen("/leadvault?", &format!("/{database}?"), 1)
}

async fn start() -> Cluster {
    let embedded = start_in(format!("leadvault-test-{}", std::process::id())).await;
    super::Sql::connect(&embedded.url())
        .await
        .run(&format!("CREATE DATABASE {TEMPLATE}"))
        .await;
    let template = DatabaseUrl::parse(&url_of(&embedded, TEMPLATE)).unwrap();
    migrate::up(&template).await.unwrap();
    Cluster {
        embedded,
        next_database: AtomicUsize::new(0),
    }
}

async fn start_in(folder: String) -> Embedded {
    // Not below a private folder: as root PostgreSQL runs as another user, who must be able to get there.
    let data_dir = std::env::temp_dir().join(folder);
    watch(&data_dir);
    Embedded::start(&EmbeddedOptions {
        // Nothing here must survive the machine.
        settings: [
            ("fsync", "off"),
            ("full_page_writes", "off"),
            ("max_connections", "400"),
            // Its workers count among what tests measure, and hold snapshots.
            ("autovacuum", "off"),
            ("timezone", "UTC"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .to_vec(),
        ..EmbeddedOptions::new(data_dir)
    })
    .await
    .unwrap()
}

/// Stops the cluster and removes its folder when this process ends, however it ends: a static is never
/// dropped, and a killed process runs no code, but its end of a pipe is always closed.
fn watch(data_dir: &PathBuf) {
    const SCRIPT: &str = r#"
        cat > /dev/null
        pid=$(head -n 1 "$1/cluster/postmaster.pid" 2> /dev/null)
        [ -z "$pid" ] || kill -QUIT "$pid"
        while [ -n "$pid" ] && kill -0 "$pid" 2> /dev/null; do sleep 0.1; done
        rm -rf "$1"
    "#;
    let watchdog = Command::new("sh")
        .args(["-c", SCRIPT, "watchdog"])
        .arg(data_dir)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    // The pipe stays open for as long as this process lives.
    std::mem::forget(watchdog);
}
