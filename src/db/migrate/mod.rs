//! Migrations: what brings a database to the schema that this binary was built with.
//!
//! Two kinds. *Versioned* migrations (`migrations/versioned`: tables, indexes, roles, policies) run
//! once, in order. The *function layer* (`migrations/functions/<schema>.sql`: functions, triggers,
//! views) is dropped and rebuilt in one transaction whenever its text changed, since
//! `CREATE OR REPLACE` cannot change a function's result columns.
//!
//! Guarantees:
//! * Of several servers that start at once, one migrates; the others wait and find it done.
//! * A failed migration is rolled back and named; a failed rebuild leaves the old layer in place.
//! * Nothing of a user's is destroyed: there is no CASCADE, and who depends on a function of ours
//!   is named in the error.
//! * A binary that is older than the database never touches it.
//! * Nobody but the roles that the files name may execute a function (law 5).
//!
//! All of this needs a direct connection: behind a pooler in transaction mode the lock that keeps
//! servers apart has no session to live in.

mod layer;
mod lock;
mod preflight;
mod state;
mod versioned;

use tokio_postgres::Client;

use super::connect;
use super::error::{Error, describe};
use super::url::DatabaseUrl;
use lock::Lock;
use state::Database;

pub use layer::{COMPATIBLE_FROM, LAYER_VERSION};
pub use state::{LayerState, MigrationState, MigrationStatus, Status};

/// What a call of [`up`] or [`down`] did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Migrations that ran, in their order.
    pub applied: Vec<String>,
    /// Migrations that were reverted, in their order.
    pub reverted: Vec<String>,
    /// What happened to the function layer.
    pub layer: LayerChange,
    /// The database is newer than this binary (which can work with it): nothing was touched.
    pub database_is_newer: bool,
}

/// What happened to the function layer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum LayerChange {
    /// It was up to date, or not ours to touch.
    #[default]
    Unchanged,
    /// It was rebuilt from this binary's text.
    Rebuilt,
    /// It was dropped and stays off until the next [`up`].
    Dropped,
}

/// Applies what is pending and rebuilds the function layer where needed. The URL is the owner's.
///
/// # Errors
/// [`Error::MissingPrivilege`] before anything is touched, [`Error::Migration`],
/// [`Error::FunctionLayer`], [`Error::BinaryTooOld`].
pub async fn up(url: &DatabaseUrl) -> Result<Report, Error> {
    let mut client = session(url).await?;
    let lock = Lock::take(&client).await?;
    let result = up_locked(url, &mut client).await;
    lock.release(&client).await;
    result
}

async fn up_locked(url: &DatabaseUrl, client: &mut Client) -> Result<Report, Error> {
    let database = Database::read(client).await?;
    if database.is_newer() {
        return stand_aside(&database);
    }
    let mut report = Report::default();
    if database.pending().is_empty() && database.layer_state() == LayerState::Current {
        return Ok(report);
    }
    preflight::check(client, &database).await?;
    if !database.pending().is_empty() {
        // A migration may take a view of the layer away to change its table: the layer is rebuilt
        // after this, also if we are killed in between and the next start finds no change of text.
        layer::mark_stale(client).await?;
        report.applied = versioned::apply(url).await?;
    }
    layer::rebuild(client).await?;
    report.layer = LayerChange::Rebuilt;
    tracing::info!(applied = report.applied.len(), "the database is migrated");
    Ok(report)
}

/// What an older binary does: nothing, and it serves only if the database says that it can.
fn stand_aside(database: &Database) -> Result<Report, Error> {
    database.check_compatible()?;
    tracing::warn!(
        unknown = ?database.unknown(),
        "the database is newer than this leadvault, which can work with it and leaves it alone"
    );
    Ok(Report {
        database_is_newer: true,
        ..Report::default()
    })
}

/// Drops the function layer and reverts the last `count` migrations (all, if there are fewer). The
/// layer stays off until the next [`up`].
///
/// # Errors
/// As [`up`]; [`Error::BinaryTooOld`] whenever the database is newer, since this binary does not
/// know how to revert what it does not know.
pub async fn down(url: &DatabaseUrl, count: usize) -> Result<Report, Error> {
    let mut client = session(url).await?;
    let lock = Lock::take(&client).await?;
    let result = down_locked(url, &mut client, count).await;
    lock.release(&client).await;
    result
}

async fn down_locked(
    url: &DatabaseUrl,
    client: &mut Client,
    count: usize,
) -> Result<Report, Error> {
    let database = Database::read(client).await?;
    if database.is_newer() {
        return Err(database.too_new_to_revert());
    }
    let mut report = Report::default();
    if count == 0 || database.applied().is_empty() {
        return Ok(report);
    }
    layer::drop_all(client).await?;
    report.layer = LayerChange::Dropped;
    report.reverted = versioned::revert(url, count).await?;
    Ok(report)
}

/// What is applied, pending and unknown. Reads only.
///
/// # Errors
/// [`Error::Connect`], or [`Error::Query`] where the login may not read the migrations' tables.
pub async fn status(url: &DatabaseUrl) -> Result<Status, Error> {
    let client = session(url).await?;
    Ok(Database::read(&client).await?.status())
}

/// For a server that must not migrate: fails unless it can work with the database as it is.
///
/// # Errors
/// [`Error::NotMigrated`], [`Error::BinaryTooOld`].
pub async fn check(url: &DatabaseUrl) -> Result<(), Error> {
    let client = session(url).await?;
    let database = Database::read(&client).await?;
    if database.is_newer() {
        return stand_aside(&database).map(|_report| ());
    }
    if let Some(first) = database.pending().first() {
        let count = database.pending().len();
        return Err(Error::NotMigrated {
            detail: format!("{count} migrations are pending, the first is {first}"),
        });
    }
    match database.layer_state() {
        LayerState::Current => Ok(()),
        other => Err(Error::NotMigrated {
            detail: format!("the function layer is {other}"),
        }),
    }
}

/// Makes sure that a login has what the pending migrations need; nothing where none is pending.
///
/// # Errors
/// [`Error::MissingPrivilege`] with what to run.
pub async fn may_migrate(url: &DatabaseUrl) -> Result<(), Error> {
    let client = session(url).await?;
    let database = Database::read(&client).await?;
    if database.is_newer() || database.status().is_current() {
        return Ok(());
    }
    preflight::check(&client, &database).await
}

/// Makes sure that the service's login can act as [`APP_ROLE`](super::APP_ROLE).
///
/// # Errors
/// [`Error::RoleNotGranted`] with the GRANT to run, [`Error::RoleMissing`] before the first
/// migration.
pub async fn verify_role(url: &DatabaseUrl) -> Result<(), Error> {
    use tokio_postgres::error::SqlState;
    if !url.has_sessions() {
        // There is no trying: who connects acts as the role, or is told so.
        return Ok(());
    }
    let role = super::APP_ROLE;
    let client = session(url).await?;
    let login: String = client
        .query_one("SELECT current_user::text", &[])
        .await
        .map_err(Error::query("asking for the login's name"))?
        .get(0);
    let Err(error) = client.batch_execute(&format!("SET ROLE {role}")).await else {
        return Ok(());
    };
    Err(match error.code() {
        Some(code) if *code == SqlState::INVALID_PARAMETER_VALUE => Error::RoleMissing {
            role: role.to_owned(),
        },
        _ => Error::RoleNotGranted {
            login,
            role: role.to_owned(),
            detail: describe(&error),
        },
    })
}

/// What every session of ours begins with. Limits that an administrator set for ordinary work must
/// not cut a migration in half; names are resolved the same way whoever connects.
const SESSION: &str = "SET search_path = public; SET statement_timeout = 0; \
    SET idle_in_transaction_session_timeout = 0; SET idle_session_timeout = 0; \
    SET client_min_messages = warning";

/// A connection to a server that the schema works with.
pub(super) async fn client(url: &DatabaseUrl) -> Result<Client, Error> {
    let (client, _driver) = connect::client(url).await?;
    preflight::server_version(&client).await?;
    Ok(client)
}

async fn session(url: &DatabaseUrl) -> Result<Client, Error> {
    let client = client(url).await?;
    let prepared = client.batch_execute(SESSION).await;
    prepared.map_err(Error::query("preparing the migrations' session"))?;
    Ok(client)
}
