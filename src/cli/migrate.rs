//! `leadvault migrate`: the database's schema, up, down, and how it stands.

use clap::{Args, Subcommand};

use super::{Error, database::Database, say};
use crate::{config::DatabaseSettings, db::migrate};

/// Bring the database's schema up to date.
///
/// Needs the database's owner, no superuser. Where a privilege is missing it says which, and how to grant
/// it.
#[derive(Args, Debug)]
pub(crate) struct MigrateArgs {
    #[command(flatten)]
    database: DatabaseSettings,
    #[command(subcommand)]
    action: Option<Action>,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Apply what is pending (the default).
    Up,
    /// Show each migration, and the function layer.
    Status,
    /// Revert the last N migrations, and drop the function layer until the next `migrate`.
    Down {
        /// How many.
        count: usize,
    },
}

pub(crate) async fn run(args: MigrateArgs) -> Result<(), Error> {
    let database = Database::open(&args.database).await?;
    let done = act(&database, args.action.unwrap_or(Action::Up)).await;
    let closed = database.close(std::future::pending()).await;
    say(done?.trim_end());
    Ok(closed?)
}

async fn act(database: &Database, action: Action) -> Result<String, Error> {
    let url = &database.migration_url;
    Ok(match action {
        Action::Up => describe(&migrate::up(url).await?),
        Action::Down { count } => describe(&migrate::down(url, count).await?),
        Action::Status => {
            let status = migrate::status(url).await?;
            let mut lines = String::new();
            for migration in &status.migrations {
                lines += &format!(
                    "{:<8} {} {}\n",
                    migration.state, migration.version, migration.name
                );
            }
            lines + &format!("function layer: {}\n", status.layer)
        }
    })
}

fn describe(report: &migrate::Report) -> String {
    let mut lines = String::new();
    for migration in &report.applied {
        lines += &format!("applied  {migration}\n");
    }
    for migration in &report.reverted {
        lines += &format!("reverted {migration}\n");
    }
    let layer = match report.layer {
        migrate::LayerChange::Unchanged => "unchanged",
        migrate::LayerChange::Rebuilt => "rebuilt",
        migrate::LayerChange::Dropped => "dropped until the next migrate",
    };
    lines += &format!("function layer: {layer}\n");
    if report.database_is_newer {
        lines += "the database is newer than this leadvault, which leaves it alone\n";
    }
    lines
}
