//! `leadvault serve`: runs the service.

use clap::Args;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::{Error, database::Database, say};
use crate::{
    config::{DatabaseSettings, DoorSettings, ServiceSettings},
    db::{self, DatabaseUrl, Pool, PoolOptions, language, migrate, pooler},
    server::{
        Server,
        doors::{ClientsFile, Doors, Reloaded},
    },
};

/// Run the service until it is told to stop (Ctrl-C or SIGTERM).
///
/// Without --database-url it starts an embedded PostgreSQL in --data-dir and stops it on the way out. It
/// migrates the database first. A second signal ends it at once. SIGHUP makes it read the clients file again.
#[derive(Args, Debug)]
pub(crate) struct ServeArgs {
    #[command(flatten)]
    pub(super) database: DatabaseSettings,
    #[command(flatten)]
    pub(super) service: ServiceSettings,
    #[command(flatten)]
    doors: DoorSettings,
    /// Do not migrate; refuse to start on a database that is not migrated.
    #[arg(long)]
    no_migrate: bool,
}

pub(crate) async fn run(args: ServeArgs) -> Result<(), Error> {
    // First, and before a database is started or migrated for nothing.
    let doors = Doors::open(&args.doors, args.service.listen)?;
    let database = Database::open(&args.database).await?;
    let served = serve(&database, &args, doors).await;
    // Last, and also when serving failed: nothing else would stop it.
    let closed = database.close().await;
    served?;
    Ok(closed?)
}

async fn serve(database: &Database, args: &ServeArgs, doors: Doors) -> Result<(), Error> {
    let mut signals = StopSignals::listen()?;
    let scheme = doors.scheme();
    let clients = ClientsReload::listen(doors.clients_file())?;
    let started = tokio::select! {
        server = begin(database, args, doors) => Some(server?),
        () = signals.next() => None,
    };
    let Some(mut server) = started else {
        return Ok(());
    };
    say(format_args!("listening on {scheme}://{}", server.address()));
    say(database.describe());
    if let Some(address) = server.ops_address() {
        say(format_args!(
            "status, metrics, health and readiness on http://{address}"
        ));
    }
    tokio::select! {
        () = signals.next() => {}
        failed = server.failed() => failed?,
        () = clients.run() => {}
    }
    tracing::info!("stopping; a second signal ends at once");
    tokio::select! {
        stopped = server.stop() => Ok(stopped?),
        () = signals.next() => {
            tracing::warn!("a second signal: ending at once");
            Ok(())
        }
    }
}

async fn begin(database: &Database, args: &ServeArgs, doors: Doors) -> Result<Server, Error> {
    if args.no_migrate {
        migrate::check(&database.migration_url).await?;
    } else {
        database.migrate().await?;
    }
    start(database, args.service.clone(), doors).await
}

/// Starts the service on a migrated database.
pub(super) async fn start(
    database: &Database,
    settings: ServiceSettings,
    doors: Doors,
) -> Result<Server, Error> {
    pooler::verify(&database.url).await?;
    migrate::verify_role(&database.url).await?;
    warn_of_unbounded(&database.url).await?;
    language::warn_if_foreign(&database.url).await?;
    let options = PoolOptions {
        max_size: settings.pool_size,
        busy_timeout: settings.pool_timeout,
        statement_timeout: settings.statement_timeout,
        point_read_connections: settings.point_read_connections,
        ..PoolOptions::new(database.url.clone())
    };
    let pool = Pool::connect(options).await?;
    Ok(Server::start(settings, doors, pool).await?)
}

/// Law 12, bounded work: behind a pooler without sessions it is the login's, and nobody else looks after it.
async fn warn_of_unbounded(url: &DatabaseUrl) -> Result<(), db::Error> {
    let statements = pooler::unbounded(url).await?;
    if !statements.is_empty() {
        tracing::warn!(
            "behind this pooler the login must bound what it runs, and does not: a statement may run, wait for a lock or \
             leave its transaction open for ever, or go on when its caller is gone. As an \
             administrator run: {}; then let the pooler reconnect",
            statements.join("; ")
        );
    }
    Ok(())
}

/// SIGHUP, and the file that it makes be read again. Without a clients file the signal keeps its meaning, that the
/// terminal is gone.
#[derive(Debug)]
struct ClientsReload(Option<(Signal, ClientsFile)>);

impl ClientsReload {
    /// From here on signals are kept until they are acted on.
    fn listen(clients: Option<ClientsFile>) -> Result<Self, Error> {
        let Some(clients) = clients else {
            return Ok(Self(None));
        };
        let hangups = signal(SignalKind::hangup()).map_err(Error::Signal)?;
        Ok(Self(Some((hangups, clients))))
    }

    /// Reads the file again on each signal, for ever.
    async fn run(self) {
        let Some((mut hangups, clients)) = self.0 else {
            return std::future::pending().await;
        };
        loop {
            if hangups.recv().await.is_none() {
                return std::future::pending().await;
            }
            match clients.reload() {
                Ok(Reloaded {
                    clients,
                    added,
                    removed,
                    changed,
                }) => {
                    tracing::info!(
                        clients,
                        added,
                        removed,
                        changed,
                        "the clients file was read again"
                    );
                }
                Err(error) => {
                    tracing::error!(%error, "the clients file cannot be used; the clients stay as they were");
                }
            }
        }
    }
}

/// Ctrl-C and SIGTERM.
///
/// Made as soon as there is something to stop: a signal that nobody listens to ends the process at once, and
/// an embedded PostgreSQL would run on.
#[derive(Debug)]
pub(super) struct StopSignals {
    interrupt: Signal,
    terminate: Signal,
}

impl StopSignals {
    /// From here on signals are kept until they are asked for.
    pub(super) fn listen() -> Result<Self, Error> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt()).map_err(Error::Signal)?,
            terminate: signal(SignalKind::terminate()).map_err(Error::Signal)?,
        })
    }

    /// Waits for the next one.
    pub(super) async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
