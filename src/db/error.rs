//! The one error of the database floor.
//!
//! Each message says what is wrong, where, and what would be right, since the person who reads it
//! may be woken by it. None of them is meant for a gRPC client (law 13): the rooms translate.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio_postgres::error::SqlState;

/// What can go wrong between a database URL and a working connection.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The database URL cannot be understood. Never holds the URL itself, which has a password.
    #[error("the database URL cannot be used: {0}")]
    Url(String),

    /// The certificates that are to be trusted cannot be loaded.
    #[error("TLS to PostgreSQL cannot be set up: {0}")]
    Tls(String),

    /// PostgreSQL could not be reached, or refused the connection.
    #[error("cannot connect to PostgreSQL at {target}: {detail}{}", hint_text(.hint))]
    Connect {
        /// Who at which host, port and database, without the password.
        target: String,
        /// What the network, TLS or the server said.
        detail: String,
        /// What would make it work, where that is known; else empty.
        hint: String,
    },

    /// All connections of the pool were busy, or none could be made, for too long.
    #[error(
        "no database connection within {waited:?} (the pool holds at most {max_size}){}",
        last_error.as_deref().map(|e| format!("; the last attempt to connect said: {e}")).unwrap_or_default()
    )]
    PoolTimeout {
        /// How long the caller waited.
        waited: Duration,
        /// The pool's size.
        max_size: u32,
        /// Why connections could not be made; `None` where they were only busy.
        last_error: Option<String>,
    },

    /// A statement of this floor's own failed.
    #[error("{doing}: {detail}")]
    Query {
        /// What was being done.
        doing: String,
        /// What PostgreSQL said.
        detail: String,
    },

    /// The server is older than what the schema needs.
    #[error("PostgreSQL {found} is too old: leadvault needs version 15 or newer")]
    ServerTooOld {
        /// The version that the server reports.
        found: String,
    },

    /// The login may not do what a migration needs.
    #[error("the migrating login {login} lacks a privilege: {missing}. Remedy: {fix}")]
    MissingPrivilege {
        /// The login that migrates.
        login: String,
        /// What it may not do.
        missing: String,
        /// A statement to run as somebody who may.
        fix: String,
    },

    /// The login may not act as the service's role.
    #[error(
        "login {login} may not act as role {role}: {detail}. \
         As an administrator, or who migrated, run: GRANT {role} TO {login}"
    )]
    RoleNotGranted {
        /// The service's login.
        login: String,
        /// The role that it must be able to take.
        role: String,
        /// What PostgreSQL said.
        detail: String,
    },

    /// The login does not act as the service's role by itself, and there are no sessions to set it in.
    #[error(
        "login {login} does not act as role {role}, and behind a pooler in transaction mode the role must come with \
         the login. As an administrator run: GRANT {role} TO {login}; ALTER ROLE {login} SET role = '{role}'; then \
         let the pooler reconnect"
    )]
    RoleNotOfLogin {
        /// The service's login.
        login: String,
        /// The role that it must act as.
        role: String,
    },

    /// The connection is another session at each transaction, and the service was not told.
    #[error(
        "the pooler at {target} is in transaction mode, where the service's role would be lost or left to others. Set \
         --pooler-mode=transaction (LEADVAULT_POOLER_MODE), or give the service a direct URL, or a pool in session mode"
    )]
    PoolerWithoutSessions {
        /// Who at which host, port and database, without the password.
        target: String,
    },

    /// The pooler hands a transaction to another server connection than the one that knows its statements.
    #[error(
        "the pooler at {target} keeps no prepared statements from one transaction to the next ({detail}). \
         PgBouncer 1.21 or newer with max_prepared_statements above 0 does; else give the service a direct URL, or \
         a pool in session mode"
    )]
    PoolerTooOld {
        /// Who at which host, port and database, without the password.
        target: String,
        /// What it said to a statement that had been prepared.
        detail: String,
    },

    /// The role that the service acts as does not exist yet.
    #[error("role {role} does not exist in this cluster: run `leadvault migrate` first")]
    RoleMissing {
        /// The role.
        role: String,
    },

    /// A versioned migration failed; it was rolled back, the ones before it stay.
    #[error("migration {name} failed going {direction} and was rolled back: {detail}")]
    Migration {
        /// The migration's folder name.
        name: String,
        /// `up` or `down`.
        direction: &'static str,
        /// What PostgreSQL said.
        detail: String,
    },

    /// The function layer could not be rebuilt; the old one stays in place.
    #[error("the function layer was left as it was: {place}: {detail}")]
    FunctionLayer {
        /// The file and line, or the step.
        place: String,
        /// What PostgreSQL said, with its detail and hint.
        detail: String,
    },

    /// The database is newer than this binary and says that the binary cannot work with it.
    #[error(
        "this leadvault is too old for the database: {detail}. \
         Install the newer release that migrated it; this one changed nothing"
    )]
    BinaryTooOld {
        /// Which versions do not fit.
        detail: String,
    },

    /// The database lacks what this binary needs, and migrating was not allowed.
    #[error(
        "the database is not migrated: {detail}. Run `leadvault migrate`, or `serve` without --no-migrate"
    )]
    NotMigrated {
        /// What is pending.
        detail: String,
    },

    /// There are no PostgreSQL server binaries on this machine.
    #[error(
        "no PostgreSQL server (version 15 or newer) was found on this machine{found}. Install one: \
         `apt-get install postgresql` (Debian, Ubuntu), `dnf install postgresql-server` (Fedora, RHEL), \
         `brew install postgresql@17` (macOS); or set DATABASE_URL to a running one. Looked in PATH and {looked}"
    )]
    BinariesMissing {
        /// What was found and does not do, as text to append; else empty.
        found: String,
        /// The folders that were searched.
        looked: String,
    },

    /// The data folder was made by a major version that is not installed.
    #[error(
        "{} was made by PostgreSQL {wanted}, and its binaries are not installed (found: {found}). \
         Install PostgreSQL {wanted}, move the data with pg_upgrade, or name another --data-dir",
        data_dir.display()
    )]
    WrongMajor {
        /// The service's data folder.
        data_dir: PathBuf,
        /// The version in `PG_VERSION`.
        wanted: u32,
        /// What is installed.
        found: String,
    },

    /// Another leadvault runs on the same data folder.
    #[error(
        "the data folder {} is in use by another leadvault (process {pid}). \
         Stop that one, or give this one its own folder with --data-dir",
        data_dir.display()
    )]
    InUse {
        /// The data folder.
        data_dir: PathBuf,
        /// The process that holds it, as its lock file says.
        pid: String,
    },

    /// The data folder cannot be used as it is.
    #[error("the data folder {} cannot be used: {problem}. {fix}", data_dir.display())]
    DataDir {
        /// The folder.
        data_dir: PathBuf,
        /// What is wrong with it.
        problem: String,
        /// What would be right.
        fix: String,
    },

    /// One of PostgreSQL's programs failed.
    #[error("{program} failed: {detail}{}", log_text(.log))]
    Program {
        /// `initdb`, `pg_ctl start` or `pg_ctl stop`.
        program: &'static str,
        /// Its exit status and what it said.
        detail: String,
        /// The last lines of the server's log; may be empty.
        log: String,
    },

    /// A file or folder could not be read or written.
    #[error("cannot {doing} {}: {source}", path.display())]
    Io {
        /// The verb: `create`, `read`, ...
        doing: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },

    /// A background task of this floor died; always a bug.
    #[error("a background task of the database floor died: {0}")]
    Task(String),
}

impl Error {
    /// Names the verb and the path of an I/O error, for `map_err`.
    pub(crate) fn io(doing: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        move |source| Self::Io {
            doing,
            path: path.to_path_buf(),
            source,
        }
    }

    /// Says what was being done when PostgreSQL refused, for `map_err`.
    pub(crate) fn query(doing: &str) -> impl FnOnce(tokio_postgres::Error) -> Self {
        move |error| Self::Query {
            doing: doing.to_owned(),
            detail: describe(&error),
        }
    }
}

/// Everything that helps of a tokio-postgres error: `Display` alone says only "db error".
pub(crate) fn describe(error: &tokio_postgres::Error) -> String {
    match error.as_db_error() {
        Some(db) => describe_db(db),
        None => chain(error),
    }
}

/// The server's message with its detail, hint, context and SQLSTATE.
fn describe_db(db: &tokio_postgres::error::DbError) -> String {
    let mut text = format!("{} (SQLSTATE {})", db.message(), db.code().code());
    // PostgreSQL's hint there is CASCADE, which would destroy what is not ours.
    let is_dependency = *db.code() == SqlState::DEPENDENT_OBJECTS_STILL_EXIST;
    let parts = [
        ("", db.detail()),
        ("hint: ", db.hint().filter(|_| !is_dependency)),
        ("in ", db.where_()),
    ];
    for (label, part) in parts {
        if let Some(part) = part {
            text.push_str("; ");
            text.push_str(label);
            text.push_str(part);
        }
    }
    text
}

/// An error and its causes in one line, without repeating a cause that is already said.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let said = inner.to_string();
        if !text.contains(&said) {
            text.push_str(": ");
            text.push_str(&said);
        }
        cause = inner.source();
    }
    text
}

fn hint_text(hint: &str) -> String {
    if hint.is_empty() {
        String::new()
    } else {
        format!(". {hint}")
    }
}

fn log_text(log: &str) -> String {
    if log.is_empty() {
        String::new()
    } else {
        format!("\nThe end of the server's log:\n{log}")
    }
}
