//! Versioned migrations, run by diesel's harness.
//!
//! The caller holds the lock. Each migration is a transaction of its own.

use std::sync::{Arc, Mutex, PoisonError};

use diesel::connection::{Instrumentation, InstrumentationEvent};
use diesel::migration::{Migration, MigrationSource as _};
use diesel::pg::Pg;
use diesel::result::{DatabaseErrorInformation, Error as DieselError};
use diesel_async::{
    AsyncConnection as _, AsyncMigrationHarness, AsyncPgConnection, SimpleAsyncConnection as _,
};
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};

use super::super::connect::connect;
use super::super::error::Error;
use super::super::url::DatabaseUrl;

/// The files, as they were when this binary was built.
const MIGRATIONS: EmbeddedMigrations = embed_migrations!("migrations/versioned");

type Harness = AsyncMigrationHarness<AsyncPgConnection>;
type Boxed = Box<dyn Migration<Pg>>;

/// A migration that this binary knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Known {
    pub(super) version: String,
    pub(super) name: String,
}

/// All migrations of this binary, oldest first.
pub(super) fn known() -> Result<Vec<Known>, Error> {
    let migrations: Vec<Boxed> = MIGRATIONS.migrations().map_err(|e| listing(&*e))?;
    let mut known: Vec<Known> = migrations
        .iter()
        .map(|migration| Known {
            version: migration.name().version().to_string(),
            name: migration.name().to_string(),
        })
        .collect();
    known.sort_by(|a, b| a.version.cmp(&b.version));
    Ok(known)
}

/// Runs what is pending, oldest first.
pub(super) async fn apply(url: &DatabaseUrl) -> Result<Vec<String>, Error> {
    with_harness(url, |harness| {
        let pending = harness.pending_migrations(MIGRATIONS);
        let mut done = Vec::new();
        for migration in pending.map_err(|e| listing(&*e))? {
            let name = migration.name().to_string();
            let result = harness.run_migration(&*migration);
            result.map_err(|e| failed(&name, "up", &*e))?;
            tracing::info!(migration = name, "applied");
            done.push(name);
        }
        Ok(done)
    })
    .await
}

/// Reverts the newest `count`.
pub(super) async fn revert(url: &DatabaseUrl, count: usize) -> Result<Vec<String>, Error> {
    with_harness(url, move |harness| {
        let applied = harness.applied_migrations().map_err(|e| listing(&*e))?;
        let known: Vec<Boxed> = MIGRATIONS.migrations().map_err(|e| listing(&*e))?;
        let mut done = Vec::new();
        for version in applied.iter().take(count) {
            let Some(migration) = known.iter().find(|m| m.name().version() == *version) else {
                break;
            };
            let name = migration.name().to_string();
            let result = harness.revert_migration(migration);
            result.map_err(|e| failed(&name, "down", &*e))?;
            tracing::info!(migration = name, "reverted");
            done.push(name);
        }
        Ok(done)
    })
    .await
}

/// Runs the harness on a thread where it may block: it would block a worker of the runtime in
/// place, which a single-threaded runtime does not survive.
async fn with_harness<T: Send + 'static>(
    url: &DatabaseUrl,
    work: impl FnOnce(&mut Harness) -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    let mut conn = connect(url, None).await?;
    let prepared = conn.batch_execute(super::SESSION).await;
    prepared.map_err(|e| listing(&e))?;
    let heard = Heard::default();
    conn.set_instrumentation(heard.clone());
    let task = tokio::task::spawn_blocking(move || work(&mut AsyncMigrationHarness::new(conn)));
    match task.await {
        Ok(result) => result.map_err(|error| heard.complete(error)),
        Err(error) => Err(Error::Task(error.to_string())),
    }
}

/// What the server said about the last failed statement: the harness keeps only the message, and
/// drops the detail and the hint that say what to do.
#[derive(Clone, Default)]
struct Heard(Arc<Mutex<Option<String>>>);

impl Instrumentation for Heard {
    fn on_connection_event(&mut self, event: InstrumentationEvent<'_>) {
        if let InstrumentationEvent::FinishQuery {
            error: Some(DieselError::DatabaseError(_, info)),
            ..
        } = event
        {
            let mut said = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            // The first one is the reason, those after it only say that the transaction is over.
            said.get_or_insert_with(|| explain(&**info));
        }
    }
}

impl Heard {
    fn complete(&self, error: Error) -> Error {
        let said = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        match (error, said) {
            (
                Error::Migration {
                    name, direction, ..
                },
                Some(detail),
            ) => Error::Migration {
                name,
                direction,
                detail,
            },
            (error, _) => error,
        }
    }
}

fn explain(info: &dyn DatabaseErrorInformation) -> String {
    let mut text = info.message().to_owned();
    let position = info
        .statement_position()
        .map(|at| format!("at character {at} of the file"));
    let parts = [
        info.details().map(str::to_owned),
        info.hint().map(|hint| format!("hint: {hint}")),
        position,
    ];
    for part in parts.into_iter().flatten() {
        text.push_str("; ");
        text.push_str(&part);
    }
    text
}

fn listing(error: &dyn std::error::Error) -> Error {
    Error::Query {
        doing: "reading the list of migrations".to_owned(),
        detail: error.to_string(),
    }
}

fn failed(name: &str, direction: &'static str, error: &dyn std::error::Error) -> Error {
    Error::Migration {
        name: name.to_owned(),
        direction,
        detail: error.to_string(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    #[test]
    fn migrations_have_versions_of_their_own_and_can_be_reverted() {
        let known = known().unwrap();
        assert!(!known.is_empty());
        let mut versions: Vec<_> = known.iter().map(|k| &k.version).collect();
        versions.dedup();
        assert_eq!(versions.len(), known.len());
    }
}
