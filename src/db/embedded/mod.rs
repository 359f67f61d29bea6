//! A private PostgreSQL for those who set no `DATABASE_URL`.
//!
//! The data folder holds `cluster/` (PostgreSQL's data), `run/` (its socket), `postgres.log`
//! and `leadvault.lock`.
//!
//! Guarantees:
//! * One process at a time has a data folder: the lock is the kernel's and dies with its holder,
//!   so that a `kill -9` leaves nothing to clean up.
//! * The cluster outlives a killed service, and the next start finds it: running, crashed, or with
//!   the pid file of a machine that lost its power.
//! * A cluster exists whole or not at all: `initdb` works beside it and is renamed into place.
//!   Data is never deleted; a damaged cluster is an error.
//! * Only a folder that is new, empty or ours is used, and as root only that is given to the
//!   account that PostgreSQL runs as.
//! * Nobody but root and that account reaches the server: it listens on no port, and its socket is
//!   in a folder with mode 0700. `fsync` and `synchronous_commit` are on.

mod account;
mod binaries;
mod cluster;
mod folder;
mod pidfile;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::connect;
use super::error::Error;
use super::url::{DatabaseUrl, percent_encode};
use cluster::Cluster;
use folder::Folder;
use pidfile::{Address, Server};

pub use folder::default_data_dir;

/// How long it may take to stop: it writes out what only its log has yet.
const STOP_PATIENCE: Duration = Duration::from_secs(60);

/// What a private cluster is made of.
#[derive(Debug, Clone)]
pub struct EmbeddedOptions {
    /// Where its data lives; made if missing.
    pub data_dir: PathBuf,
    /// The database to connect to; made if missing.
    pub database: String,
    /// PostgreSQL settings beside ours; they win over ours. A cluster that already runs keeps those
    /// it was started with.
    pub settings: Vec<(String, String)>,
}

impl EmbeddedOptions {
    /// Database `leadvault` in this folder, with no settings of the caller's own.
    #[must_use]
    pub fn new(data_dir: impl Into<PathBuf>) -> Self {
        Self {
            data_dir: data_dir.into(),
            database: "leadvault".to_owned(),
            settings: Vec::new(),
        }
    }
}

/// What is in a data folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// No cluster yet.
    Nothing,
    /// A cluster that does not run, or does not take connections.
    Stopped,
    /// One that runs, and its URL.
    Running(String),
}

/// Looks into a data folder and changes nothing: somebody else may be working there.
#[must_use]
pub fn look(options: &EmbeddedOptions) -> Found {
    let cluster = options.data_dir.join("cluster");
    match pidfile::look(&cluster) {
        Server::Ready(address) => Found::Running(url(&address, &options.database)),
        _ if cluster.join("PG_VERSION").exists() => Found::Stopped,
        _ => Found::Nothing,
    }
}

/// A private cluster that runs. Dropping it lets PostgreSQL run on (the next [`Embedded::start`]
/// finds it) and frees the folder; [`Embedded::stop`] is the clean way out.
#[derive(Debug)]
pub struct Embedded {
    cluster: Arc<Cluster>,
    address: Address,
    database: String,
}

impl Embedded {
    /// Makes the cluster if there is none, starts it if it does not run, and makes the database.
    ///
    /// # Errors
    /// [`Error::BinariesMissing`], [`Error::WrongMajor`], [`Error::InUse`], [`Error::DataDir`],
    /// [`Error::Program`] with the end of the server's log, or what connecting says.
    pub async fn start(options: &EmbeddedOptions) -> Result<Self, Error> {
        let (data_dir, settings) = (options.data_dir.clone(), options.settings.clone());
        let (cluster, address) = blocking(move || launch(&data_dir, &settings)).await?;
        let embedded = Self {
            cluster: Arc::new(cluster),
            address,
            database: options.database.clone(),
        };
        embedded.create_database().await?;
        Ok(embedded)
    }

    /// A URL for the database that psql and this service both understand.
    #[must_use]
    pub fn url(&self) -> String {
        url(&self.address, &self.database)
    }

    /// The data folder, as an absolute path.
    #[must_use]
    pub fn data_dir(&self) -> &Path {
        self.cluster.folder().root()
    }

    /// Stops the server within a minute: see [`Embedded::stop_within`].
    ///
    /// # Errors
    /// Those of [`Embedded::stop_within`].
    pub async fn stop(&self) -> Result<(), Error> {
        self.stop_within(STOP_PATIENCE).await
    }

    /// Stops the server: running transactions are rolled back, everything committed is on disk. One that takes
    /// longer than that is ended at once, and recovers at its next start. Beside a stop that is under way it may be
    /// asked for again, with less patience.
    ///
    /// # Errors
    /// [`Error::Program`] where it does not even end then, within ten seconds.
    pub async fn stop_within(&self, patience: Duration) -> Result<(), Error> {
        let cluster = Arc::clone(&self.cluster);
        blocking(move || cluster.stop(patience)).await
    }

    async fn create_database(&self) -> Result<(), Error> {
        let admin = DatabaseUrl::parse(&url(&self.address, "postgres"))?;
        let (client, _driver) = connect::client(&admin).await?;
        let found = client
            .query_opt(
                "SELECT 1 FROM pg_database WHERE datname = $1",
                &[&self.database],
            )
            .await
            .map_err(Error::query("looking for the private cluster's database"))?;
        if found.is_none() {
            let statement = format!(
                "CREATE DATABASE {}",
                connect::quote_identifier(&self.database)
            );
            let created = client.batch_execute(&statement).await;
            created.map_err(Error::query("making the private cluster's database"))?;
        }
        Ok(())
    }
}

fn url(address: &Address, database: &str) -> String {
    let port = match address.port {
        5432 => String::new(),
        port => format!("&port={port}"),
    };
    format!(
        "postgresql://postgres@/{}?host={}{port}",
        percent_encode(database),
        percent_encode(&address.socket_dir)
    )
}

/// All that may block: files, `initdb`, waiting for the server.
fn launch(data_dir: &Path, settings: &[(String, String)]) -> Result<(Cluster, Address), Error> {
    let folder = Folder::open(data_dir)?;
    let binaries = binaries::find(&folder)?;
    tracing::debug!(bin = %binaries.dir.display(), major = binaries.major, "PostgreSQL's binaries");
    let cluster = Cluster::new(folder, binaries);
    cluster.init_if_missing()?;
    let address = cluster.ensure_running(settings)?;
    Ok((cluster, address))
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(Error::Task(error.to_string())),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    #[test]
    fn the_url_is_understood_by_our_own_parser() {
        let mut address = Address {
            socket_dir: "/var/lib/my data@home/run".to_owned(),
            port: 5432,
        };
        assert_eq!(
            url(&address, "leadvault"),
            "postgresql://postgres@/leadvault?host=/var/lib/my%20data%40home/run"
        );
        address.port = 6000;
        let parsed = DatabaseUrl::parse(&url(&address, "a/b c")).unwrap();
        assert_eq!(
            parsed.to_string(),
            "postgres@/var/lib/my data@home/run:6000/a/b c"
        );
    }
}
