//! What a database has, compared with what this binary knows. Reads only.

use std::fmt;

use tokio_postgres::Client;

use super::super::error::Error;
use super::layer::{self, LAYER_VERSION, LayerRow};
use super::versioned::{self, Known};

/// Where one migration stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MigrationState {
    /// It ran on this database.
    Applied,
    /// This binary has it, the database does not.
    Pending,
    /// The database has it, this binary does not: a newer release migrated it.
    Unknown,
}

/// Where the function layer stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LayerState {
    /// It is the one of this binary.
    Current,
    /// It was built from another text of the same release, or an older one.
    Changed,
    /// There is none: never built, or dropped by [`down`](super::down); or migrations were about to
    /// run and the rebuild after them is still owed.
    Missing,
    /// A newer release built it.
    Newer,
}

/// One line of [`Status`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MigrationStatus {
    /// The version, as the database keeps it.
    pub version: String,
    /// The folder's name; the version where this binary does not know the migration.
    pub name: String,
    /// Where it stands.
    pub state: MigrationState,
}

/// What [`status`](super::status) found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// Every migration that the binary or the database knows, oldest first.
    pub migrations: Vec<MigrationStatus>,
    /// Where the function layer stands.
    pub layer: LayerState,
    /// The layer's version in the database; `None` where it has none.
    pub layer_version: Option<i32>,
}

impl Status {
    /// Whether there is nothing to do.
    #[must_use]
    pub fn is_current(&self) -> bool {
        let all_applied = self
            .migrations
            .iter()
            .all(|m| m.state == MigrationState::Applied);
        all_applied && self.layer == LayerState::Current
    }
}

impl fmt::Display for MigrationState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Applied => "applied",
            Self::Pending => "pending",
            Self::Unknown => "unknown to this binary",
        })
    }
}

impl fmt::Display for LayerState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Current => "current",
            Self::Changed => "changed",
            Self::Missing => "missing",
            Self::Newer => "newer than this binary",
        })
    }
}

/// A database's migrations and function layer, beside those of this binary.
pub(super) struct Database {
    known: Vec<Known>,
    applied: Vec<String>,
    row: Option<LayerRow>,
}

impl Database {
    pub(super) async fn read(client: &Client) -> Result<Self, Error> {
        Ok(Self {
            known: versioned::known()?,
            applied: read_applied(client).await?,
            row: layer::read_row(client).await?,
        })
    }

    /// Versions in the database, oldest first.
    pub(super) fn applied(&self) -> &[String] {
        &self.applied
    }

    /// Names of what the binary has and the database has not, oldest first.
    pub(super) fn pending(&self) -> Vec<&str> {
        self.known
            .iter()
            .filter(|k| !self.applied.contains(&k.version))
            .map(|k| k.name.as_str())
            .collect()
    }

    /// Versions that the database has and the binary does not know.
    pub(super) fn unknown(&self) -> Vec<&str> {
        self.applied
            .iter()
            .filter(|version| !self.known.iter().any(|k| k.version == **version))
            .map(String::as_str)
            .collect()
    }

    pub(super) fn layer_state(&self) -> LayerState {
        match &self.row {
            None => LayerState::Missing,
            Some(row) => row.state(),
        }
    }

    /// Whether a newer release has been here.
    pub(super) fn is_newer(&self) -> bool {
        !self.unknown().is_empty() || self.layer_state() == LayerState::Newer
    }

    /// Whether this older binary can work with the newer database.
    pub(super) fn check_compatible(&self) -> Result<(), Error> {
        let needed = self.row.as_ref().map_or(0, |row| row.compatible_from);
        if needed > LAYER_VERSION {
            return Err(Error::BinaryTooOld {
                detail: format!(
                    "its function layer needs a binary with layer version {needed} or newer, and this one has {LAYER_VERSION}"
                ),
            });
        }
        let unknown = self.unknown();
        match self.pending().first() {
            None => Ok(()),
            Some(pending) => Err(Error::BinaryTooOld {
                detail: format!(
                    "it has migrations that this binary does not know ({}) and lacks {pending}, \
                     which this binary needs",
                    if unknown.is_empty() {
                        "a newer function layer".to_owned()
                    } else {
                        unknown.join(", ")
                    }
                ),
            }),
        }
    }

    pub(super) fn too_new_to_revert(&self) -> Error {
        let detail = match self.unknown().as_slice() {
            [] => "its function layer is newer".to_owned(),
            unknown => format!(
                "it has migrations that this binary does not know how to revert ({})",
                unknown.join(", ")
            ),
        };
        Error::BinaryTooOld { detail }
    }

    pub(super) fn status(&self) -> Status {
        let mut migrations: Vec<MigrationStatus> = self
            .known
            .iter()
            .map(|known| MigrationStatus {
                version: known.version.clone(),
                name: known.name.clone(),
                state: if self.applied.contains(&known.version) {
                    MigrationState::Applied
                } else {
                    MigrationState::Pending
                },
            })
            .collect();
        migrations.extend(self.unknown().into_iter().map(|version| MigrationStatus {
            version: version.to_owned(),
            name: version.to_owned(),
            state: MigrationState::Unknown,
        }));
        migrations.sort_by(|a, b| a.version.cmp(&b.version));
        Status {
            migrations,
            layer: self.layer_state(),
            layer_version: self.row.as_ref().map(|row| row.layer_version),
        }
    }
}

/// diesel's own list would make its table; a status must not write.
async fn read_applied(client: &Client) -> Result<Vec<String>, Error> {
    if !super::layer::table_exists(client, "public.__diesel_schema_migrations").await? {
        return Ok(Vec::new());
    }
    let rows = client
        .query(
            "SELECT version::text FROM public.__diesel_schema_migrations ORDER BY version",
            &[],
        )
        .await
        .map_err(Error::query("reading public.__diesel_schema_migrations"))?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn database(known: &[&str], applied: &[&str], row: Option<(i32, i32)>) -> Database {
        Database {
            known: known
                .iter()
                .map(|v| Known {
                    version: (*v).to_owned(),
                    name: format!("{v}_name"),
                })
                .collect(),
            applied: applied.iter().map(|v| (*v).to_owned()).collect(),
            row: row.map(|(layer_version, compatible_from)| LayerRow {
                layer_version,
                compatible_from,
                fingerprint: layer::fingerprint(),
            }),
        }
    }

    #[test]
    fn a_new_database_is_pending_and_not_newer() {
        let new = database(&["1", "2"], &[], None);
        assert_eq!(new.pending(), ["1_name", "2_name"]);
        assert!(!new.is_newer() && !new.status().is_current());
        assert_eq!(new.layer_state(), LayerState::Missing);
    }

    #[test]
    fn a_newer_database_is_served_only_where_it_says_so() {
        let ours = LAYER_VERSION;
        let fine = database(&["1"], &["1", "2"], Some((ours + 1, ours)));
        assert!(fine.is_newer() && fine.check_compatible().is_ok());
        let not = database(&["1"], &["1"], Some((ours + 1, ours + 1)));
        assert!(not.is_newer() && not.check_compatible().is_err());
        let forked = database(&["1", "3"], &["1", "2"], Some((ours, ours)));
        assert!(forked.check_compatible().is_err());
        assert_eq!(forked.status().migrations[1].state, MigrationState::Unknown);
    }

    #[test]
    fn an_equal_database_is_current() {
        let same = database(&["1"], &["1"], Some((LAYER_VERSION, 1)));
        assert!(same.status().is_current());
    }
}
