//! What the database floor fails with, as a refusal.

use super::Error;

impl From<diesel::result::Error> for Error {
    fn from(error: diesel::result::Error) -> Self {
        if is_interruption(&error) {
            Self::DatabaseUnavailable(Box::new(error))
        } else {
            Self::Internal(Box::new(error))
        }
    }
}

impl From<crate::db::Error> for Error {
    fn from(error: crate::db::Error) -> Self {
        match error {
            // Every connection was busy, or none could be made: the pool knows which.
            crate::db::Error::PoolTimeout {
                last_error: None, ..
            } => Self::PoolExhausted,
            other => Self::DatabaseUnavailable(Box::new(other)),
        }
    }
}

/// Whether the database went away, rather than refused. diesel drops the SQLSTATE, so the errors of
/// PostgreSQL's classes 57P (operator intervention), 40 (rollback) and 53 (resources) are known by the
/// server's words; a server that speaks another language makes them internal errors, which loses only the
/// hint to retry.
fn is_interruption(error: &diesel::result::Error) -> bool {
    use diesel::result::{DatabaseErrorKind, Error as Diesel};
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
        Diesel::BrokenTransactionManager => true,
        Diesel::DatabaseError(kind, information) => match kind {
            DatabaseErrorKind::UnableToSendCommand
            | DatabaseErrorKind::ClosedConnection
            | DatabaseErrorKind::SerializationFailure
            | DatabaseErrorKind::ReadOnlyTransaction => true,
            _ => WORDS
                .iter()
                .any(|word| information.message().starts_with(word)),
        },
        _ => false,
    }
}
