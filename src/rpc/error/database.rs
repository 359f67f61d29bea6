//! What the database says, as an error of ours.

use std::{error::Error as StdError, sync::Arc};

use diesel::result::{DatabaseErrorKind, Error as Diesel};

use tonic::Status;

use super::Error;
use crate::db::pooler::WORDS_OF_LOSS;

impl From<Diesel> for Error {
    fn from(error: Diesel) -> Self {
        if says(&error, &["canceling statement due to lock timeout"]) {
            Self::LockTimeout(Box::new(error))
        } else if says(&error, &["canceling statement due to statement timeout"]) {
            Self::StatementTimeout(Box::new(error))
        } else if is_interruption(&error) {
            Self::DatabaseUnavailable(Box::new(error))
        } else {
            Self::Internal(Box::new(error))
        }
    }
}

impl From<crate::db::Error> for Error {
    fn from(error: crate::db::Error) -> Self {
        Arc::new(error).into()
    }
}

/// One that several calls are told.
impl From<Arc<crate::db::Error>> for Error {
    fn from(error: Arc<crate::db::Error>) -> Self {
        match *error {
            // Every connection was busy, or none could be made: the pool knows which.
            crate::db::Error::PoolTimeout {
                last_error: None, ..
            } => Self::PoolExhausted,
            _ => Self::DatabaseUnavailable(Box::new(error)),
        }
    }
}

/// What an interruption did to the work that it hit. A status of ours carries it for the server's own layers; it
/// does not go over the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Interruption {
    /// Nothing was done.
    #[error("rolled back")]
    RolledBack,
    /// It may be done.
    #[error("perhaps done")]
    Unknown,
}

impl Interruption {
    /// What the cause of [`Error::DatabaseUnavailable`] did. A connection that could not be had is not among
    /// them: who waited for one has waited.
    pub(super) fn by(cause: &(dyn StdError + Send + Sync + 'static)) -> Option<Self> {
        let error = cause.downcast_ref::<Diesel>()?;
        Some(if is_rolled_back(error) {
            Self::RolledBack
        } else {
            Self::Unknown
        })
    }

    /// What interrupted the call that ended with a status.
    pub(crate) fn of(status: &Status) -> Option<Self> {
        status.source()?.downcast_ref().copied()
    }
}

/// Whether PostgreSQL said that it took the transaction back.
fn is_rolled_back(error: &Diesel) -> bool {
    const WORDS: [&str; 2] = ["deadlock detected", "could not serialize"];
    matches!(
        error,
        Diesel::DatabaseError(
            DatabaseErrorKind::SerializationFailure | DatabaseErrorKind::ReadOnlyTransaction,
            _,
        )
    ) || says(error, &WORDS)
}

/// Whether the database went away, rather than refused. diesel drops the SQLSTATE, so the errors of
/// PostgreSQL's classes 57P (operator intervention), 40 (rollback) and 53 (resources) are known by the
/// server's words; a server that speaks another language makes them internal errors, which loses only the
/// hint to retry.
fn is_interruption(error: &Diesel) -> bool {
    const WORDS: [&str; 11] = [
        "terminating connection",
        "the database system is",
        "deadlock detected",
        "could not serialize",
        "too many connections",
        "remaining connection slots",
        "canceling statement due to",
        "connection closed",
        "could not extend file",
        "could not write",
        "out of memory",
    ];
    match error {
        // Its commit or its rollback was cut.
        Diesel::BrokenTransactionManager | Diesel::RollbackErrorOnCommit { .. } => true,
        Diesel::DatabaseError(
            DatabaseErrorKind::UnableToSendCommand
            | DatabaseErrorKind::ClosedConnection
            | DatabaseErrorKind::SerializationFailure
            | DatabaseErrorKind::ReadOnlyTransaction,
            _,
        ) => true,
        _ => says(error, &WORDS) || says(error, &WORDS_OF_LOSS),
    }
}

/// Whether the server's message begins with one of these.
fn says(error: &Diesel, words: &[&str]) -> bool {
    match error {
        Diesel::DatabaseError(_, information) => {
            let message = information.message();
            words.iter().any(|word| message.starts_with(word))
        }
        _ => false,
    }
}
