//! `leadvault serve`: runs the service.

use clap::Args;
use tokio::signal::unix::{SignalKind, signal};

use super::{Error, database::Database};
use crate::{
    config::{DatabaseSettings, ServiceSettings},
    db::{Pool, PoolOptions, migrate},
    server::Server,
};

/// Run the service until it is told to stop (Ctrl-C or SIGTERM).
///
/// Without --database-url it starts an embedded PostgreSQL in --data-dir and stops it on the way out. It
/// migrates the database first. A second signal ends it at once.
#[derive(Args, Debug)]
pub(crate) struct ServeArgs {
    #[command(flatten)]
    database: DatabaseSettings,
    #[command(flatten)]
    service: ServiceSettings,
    /// Do not migrate; refuse to start on a database that is not migrated.
    #[arg(long)]
    no_migrate: bool,
}

pub(crate) async fn run(args: ServeArgs) -> Result<(), Error> {
    let database = Database::open(&args.database).await?;
    let served = serve(&database, &args).await;
    // Last, and also when serving failed: nothing else would stop it.
    let closed = database.close().await;
    served?;
    Ok(closed?)
}

async fn serve(database: &Database, args: &ServeArgs) -> Result<(), Error> {
    if args.no_migrate {
        migrate::check(&database.migration_url).await?;
    } else {
        database.migrate().await?;
    }
    let mut server = start(database, args.service.clone()).await?;
    println!("listening on http://{}", server.address());
    println!("{}", database.describe());
    tokio::select! {
        signal = stop_signal() => signal?,
        failed = server.failed() => failed?,
    }
    tracing::info!("stopping; a second signal ends at once");
    tokio::select! {
        stopped = server.stop() => Ok(stopped?),
        signal = stop_signal() => {
            signal?;
            tracing::warn!("a second signal: ending at once");
            Ok(())
        }
    }
}

/// Starts the service on a migrated database.
pub(super) async fn start(database: &Database, settings: ServiceSettings) -> Result<Server, Error> {
    migrate::verify_role(&database.url).await?;
    let options = PoolOptions {
        max_size: settings.pool_size,
        connection_timeout: settings.pool_timeout,
        ..PoolOptions::new(database.url.clone())
    };
    let pool = Pool::connect(options).await?;
    Ok(Server::start(settings, pool).await?)
}

/// Waits for Ctrl-C or SIGTERM.
pub(super) async fn stop_signal() -> Result<(), Error> {
    let mut interrupt = signal(SignalKind::interrupt()).map_err(Error::Signal)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(Error::Signal)?;
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    Ok(())
}
