//! `leadvault serve`: runs the service.

use std::io::IsTerminal as _;

use clap::Args;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::{Error, database::Database, say};
use crate::{
    config::{DatabaseSettings, DoorSettings, ServiceSettings},
    db::{
        self, DatabaseUrl, Pool, PoolOptions, language, migrate,
        pooler::{self, Connections},
    },
    server::{
        Server,
        doors::{ClientsFile, Doors, Reloaded, TlsFiles},
    },
};

/// Run the service until it is told to stop (Ctrl-C or SIGTERM).
///
/// Without --database-url it starts an embedded PostgreSQL in --data-dir and stops it on the way out. It
/// migrates the database first. A second signal ends it at once. SIGHUP makes it read the clients file and the files
/// of TLS again; without any it means what it always does at a terminal, that the terminal is gone, and nothing elsewhere.
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
    // Before anything that takes long: nobody's reload ends a service that is still starting.
    let hangups = Hangups::listen(&doors)?;
    let database = Database::open(&args.database).await?;
    let mut signals = StopSignals::listen()?;
    let served = serve(&database, &args, doors, hangups, &mut signals).await;
    // Last, and also when serving failed: nothing else would stop it.
    let hurry = async {
        match served {
            Ok(Ended::AtOnce) => {}
            _ => signals.next().await,
        }
    };
    let closed = database.close(hurry).await;
    served?;
    Ok(closed?)
}

/// How the service came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ended {
    InOrder,
    /// A second signal did not wait.
    AtOnce,
}

async fn serve(
    database: &Database,
    args: &ServeArgs,
    doors: Doors,
    hangups: Hangups,
    signals: &mut StopSignals,
) -> Result<Ended, Error> {
    let scheme = doors.scheme();
    let started = tokio::select! {
        server = begin(database, args, doors) => Some(server?),
        () = signals.next() => None,
    };
    let Some(mut server) = started else {
        return Ok(Ended::InOrder);
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
        () = hangups.terminal_is_gone() => {}
    }
    tracing::info!("stopping; a second signal ends at once");
    tokio::select! {
        stopped = server.stop() => stopped.map(|()| Ended::InOrder).map_err(Error::from),
        () = signals.next() => {
            tracing::warn!("a second signal: ending at once");
            Ok(Ended::AtOnce)
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
    warn_of_one_connection(pooler::verify(&database.url).await?);
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

/// Calls that only wait for each other look like a slow database.
fn warn_of_one_connection(found: Connections) {
    if found == Connections::One {
        tracing::warn!(
            "the pooler has one connection to PostgreSQL for the service, or all others are taken: while a call, an \
             export or a chunk keeps it every other call waits, and the database counts as away; raise its pool \
             (PgBouncer: default_pool_size) to what --pool-size and --point-read-connections come to"
        );
    }
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

/// SIGHUP: the files of the doors are read again. Without any it is the terminal's word that it is gone, which stops the
/// service that was started there; a service manager's word then changes nothing, least of all that the service runs.
#[derive(Debug)]
struct Hangups {
    signal: Signal,
    clients: Option<ClientsFile>,
    tls: Option<TlsFiles>,
    has_terminal: bool,
}

impl Hangups {
    /// From here on signals are kept until they are acted on.
    fn listen(doors: &Doors) -> Result<Self, Error> {
        Ok(Self {
            signal: signal(SignalKind::hangup()).map_err(Error::Signal)?,
            clients: doors.clients_file(),
            tls: doors.tls_files(),
            has_terminal: std::io::stderr().is_terminal(),
        })
    }

    /// Acts on each signal, until one ends the service.
    async fn terminal_is_gone(mut self) {
        while self.signal.recv().await.is_some() {
            match (&self.clients, &self.tls) {
                (None, None) if self.has_terminal => return,
                (None, None) => tracing::info!("SIGHUP: there is no file to read again"),
                (clients, tls) => {
                    clients.iter().for_each(read_clients_again);
                    tls.iter().for_each(read_tls_again);
                }
            }
        }
        std::future::pending().await
    }
}

fn read_clients_again(clients: &ClientsFile) {
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

fn read_tls_again(tls: &TlsFiles) {
    match tls.reload() {
        Ok(until) => tracing::info!(%until, "the files of TLS were read again"),
        Err(error) => {
            tracing::error!(%error, "the files of TLS cannot be used; connections are made with what was read before");
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
