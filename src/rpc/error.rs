//! The one enum of everything a call can be refused for, and the one place where it becomes a status.
//!
//! Law 13, errors speak: each variant has its gRPC code, its reason for programs, the values that matter,
//! and a message for people. A fault of ours is logged here, once, with its cause; the caller learns only
//! that it happened.

mod database;

use std::{borrow::Cow, time::Duration};

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

use crate::{db::error::chain, proto::r#type::v1::ErrorReason};

/// The `domain` of every `ErrorInfo`.
const DOMAIN: &str = "leadvault";
/// The longest text of a status. A status travels as headers, percent-encoded and in base64, and clients take
/// 16 KiB of those by default: past that they see a broken stream instead of the error.
const MAX_TEXT_BYTES: usize = 1_000;
/// How long a caller should wait before it tries again.
const RETRY_DELAY: Duration = Duration::from_secs(1);

/// Why a call is refused.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The bytes are no message of this API.
    #[error("the message is malformed: {0}")]
    MalformedMessage(String),
    /// A field is missing or malformed.
    #[error("{field}: {description}")]
    InvalidField {
        /// The field's path in the request; of an item its place too, such as `entries[7].reason`.
        field: Cow<'static, str>,
        /// What is wrong and what would be right.
        description: String,
    },
    /// More than one message may hold.
    #[error("{what}: {actual}, at most {limit} are taken{}", named(*setting))]
    LimitExceeded {
        /// What there is too much of.
        what: &'static str,
        /// The limit.
        limit: usize,
        /// How much there was.
        actual: usize,
        /// The setting that holds the limit; none for one of the API itself.
        setting: Option<&'static str>,
    },
    /// A page token that this call did not give out for these filters.
    #[error("page_token: {0}")]
    InvalidPageToken(&'static str),
    /// A `request_id` that was used with another request.
    #[error("request_id was used within 24 hours with a different request; choose a new one")]
    RequestIdReused,
    /// No such thing.
    #[error("there is no {resource} {key}")]
    NotFound {
        /// What kind of thing.
        resource: &'static str,
        /// Its key.
        key: String,
    },
    /// A record changed since the caller read it.
    #[error("{resource} {key} changed since it was read; read it again and decide again")]
    EtagMismatch {
        /// What kind of thing.
        resource: &'static str,
        /// Its key.
        key: String,
        /// Its etag now.
        current: String,
    },
    /// What is known of a person is past its time.
    #[error("what is known of person {person_id} went stale at {stale_at} and is not served")]
    IntelligenceStale {
        /// The person.
        person_id: String,
        /// When it went stale.
        stale_at: String,
    },
    /// A lease that is its worker's no more.
    #[error(
        "the lease of person {person_id} was given to another worker or has ended ({state}); nothing was changed, do not retry"
    )]
    LeaseLost {
        /// The person.
        person_id: String,
        /// The state of the entry now.
        state: String,
    },
    /// A key that several records have.
    #[error("several {resource} records have the key {key}: {ids}; ask by id")]
    AmbiguousKey {
        /// What kind of thing.
        resource: &'static str,
        /// The key.
        key: String,
        /// Their ids, comma separated.
        ids: String,
    },
    /// The batch was opened with other properties.
    #[error(
        "batch {batch_id:?} was opened with {field} {stored:?}, not {given:?}; give the same, or choose another batch_id"
    )]
    BatchMismatch {
        /// The batch.
        batch_id: String,
        /// The property.
        field: String,
        /// What is stored.
        stored: String,
        /// What was given.
        given: String,
    },
    /// The batch takes no more rows.
    #[error("batch {0:?} was abandoned, it takes no more rows; choose another batch_id")]
    BatchAbandoned(String),
    /// There is nothing to abandon.
    #[error("batch {0:?} is complete, there is nothing to abandon")]
    BatchComplete(String),
    /// The lane takes no more rows.
    #[error("lane {lane} is finished with {row_count} rows, it takes no more")]
    LaneFinished {
        /// The lane.
        lane: i32,
        /// How many rows it holds.
        row_count: i64,
    },
    /// A newer stream took the lane.
    #[error("a newer stream opened lane {0}; this one is over, do not retry")]
    LaneFenced(i32),
    /// Rows were skipped.
    #[error("rows at offset {offset} were sent, but the lane goes on at {expected}")]
    OffsetGap {
        /// Where the lane goes on.
        expected: i64,
        /// What was sent.
        offset: i64,
    },
    /// `finish` with a wrong count.
    #[error("finish says {given} rows, but the lane holds {expected}")]
    RowCountMismatch {
        /// How many rows the lane holds.
        expected: i64,
        /// What was said.
        given: i64,
    },
    /// Messages in a wrong order.
    #[error("{0}")]
    StreamOrder(&'static str),
    /// The stream ended without `finish`.
    #[error(
        "the stream ended without finish: lane {lane} stays open at offset {next_offset}; open it again to go on"
    )]
    StreamUnfinished {
        /// The lane.
        lane: i32,
        /// Where it goes on.
        next_offset: i64,
    },
    /// Nothing was received for too long.
    #[error(
        "nothing was received for {} seconds (setting stream-idle-timeout); an empty rows message is a heartbeat",
        .0.as_secs_f64()
    )]
    StreamIdle(Duration),
    /// What tonic says of a message that it did not take, such as one past its limit; passed on as it is.
    #[error("{0}")]
    Transport(Status),
    /// The server is going away.
    #[error("the server is shutting down; what was acked is stored, try again")]
    ShuttingDown,
    /// The database is away.
    #[error(
        "the database cannot be reached or was interrupted; what was acked is stored, try again"
    )]
    DatabaseUnavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Somebody else held what the call needs for too long.
    #[error(
        "what the call needs was locked for too long (a quarter of setting statement-timeout); what was acked is stored, try again"
    )]
    LockTimeout(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A statement ran for too long.
    #[error(
        "the database needed more time than one statement may take (setting statement-timeout); what was acked is stored"
    )]
    StatementTimeout(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// No connection was free.
    #[error("every database connection was busy for too long; try again")]
    PoolExhausted,
    /// A fault of ours.
    #[error("the service failed; its log has the cause")]
    Internal(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl Error {
    /// A malformed field.
    pub fn invalid(field: impl Into<Cow<'static, str>>, description: impl ToString) -> Self {
        Self::InvalidField {
            field: field.into(),
            description: description.to_string(),
        }
    }

    /// A fault of ours that has no error value of its own.
    pub(crate) fn internal(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Internal(cause.into())
    }

    fn code(&self) -> Code {
        match self {
            Self::MalformedMessage(_)
            | Self::InvalidField { .. }
            | Self::LimitExceeded { .. }
            | Self::InvalidPageToken(_)
            | Self::StreamOrder(_) => Code::InvalidArgument,
            Self::RequestIdReused => Code::AlreadyExists,
            Self::NotFound { .. } | Self::IntelligenceStale { .. } => Code::NotFound,
            Self::BatchMismatch { .. }
            | Self::AmbiguousKey { .. }
            | Self::BatchAbandoned(_)
            | Self::BatchComplete(_)
            | Self::LaneFinished { .. }
            | Self::RowCountMismatch { .. }
            | Self::StreamUnfinished { .. } => Code::FailedPrecondition,
            Self::LaneFenced(_) | Self::EtagMismatch { .. } | Self::LeaseLost { .. } => {
                Code::Aborted
            }
            Self::OffsetGap { .. } => Code::OutOfRange,
            Self::StreamIdle(_) | Self::StatementTimeout(_) => Code::DeadlineExceeded,
            Self::Transport(status) => status.code(),
            Self::ShuttingDown | Self::DatabaseUnavailable(_) | Self::LockTimeout(_) => {
                Code::Unavailable
            }
            Self::PoolExhausted => Code::ResourceExhausted,
            Self::Internal(_) => Code::Internal,
        }
    }

    fn reason(&self) -> ErrorReason {
        match self {
            Self::MalformedMessage(_) => ErrorReason::MalformedMessage,
            Self::InvalidField { .. } => ErrorReason::InvalidField,
            Self::LimitExceeded { .. } => ErrorReason::LimitExceeded,
            Self::InvalidPageToken(_) => ErrorReason::InvalidPageToken,
            Self::RequestIdReused => ErrorReason::RequestIdReused,
            Self::NotFound { .. } => ErrorReason::NotFound,
            Self::EtagMismatch { .. } => ErrorReason::EtagMismatch,
            Self::IntelligenceStale { .. } => ErrorReason::IntelligenceStale,
            Self::LeaseLost { .. } => ErrorReason::LeaseLost,
            Self::AmbiguousKey { .. } => ErrorReason::AmbiguousKey,
            Self::BatchMismatch { .. } => ErrorReason::BatchMismatch,
            Self::BatchAbandoned(_) => ErrorReason::BatchAbandoned,
            Self::BatchComplete(_) => ErrorReason::BatchComplete,
            Self::LaneFinished { .. } => ErrorReason::LaneFinished,
            Self::LaneFenced(_) => ErrorReason::LaneFenced,
            Self::OffsetGap { .. } => ErrorReason::OffsetGap,
            Self::RowCountMismatch { .. } => ErrorReason::RowCountMismatch,
            Self::StreamOrder(_) => ErrorReason::StreamOrder,
            Self::StreamUnfinished { .. } => ErrorReason::StreamUnfinished,
            Self::StreamIdle(_) => ErrorReason::StreamIdle,
            Self::Transport(_) => ErrorReason::Unspecified,
            Self::ShuttingDown => ErrorReason::ShuttingDown,
            Self::DatabaseUnavailable(_) => ErrorReason::DatabaseUnavailable,
            Self::LockTimeout(_) => ErrorReason::LockTimeout,
            Self::StatementTimeout(_) => ErrorReason::StatementTimeout,
            Self::PoolExhausted => ErrorReason::PoolExhausted,
            Self::Internal(_) => ErrorReason::Internal,
        }
    }

    fn metadata(&self) -> Vec<(&'static str, String)> {
        match self {
            Self::InvalidField { field, .. } => vec![("field", field.to_string())],
            Self::LimitExceeded {
                what,
                limit,
                actual,
                setting,
            } => {
                let mut metadata = vec![
                    ("what", (*what).to_owned()),
                    ("limit", limit.to_string()),
                    ("actual", actual.to_string()),
                ];
                metadata.extend(setting.map(|setting| ("setting", setting.to_owned())));
                metadata
            }
            Self::NotFound { resource, key } => {
                vec![("resource", (*resource).to_owned()), ("key", key.clone())]
            }
            Self::EtagMismatch {
                resource,
                key,
                current,
            } => vec![
                ("resource", (*resource).to_owned()),
                ("key", key.clone()),
                ("current_etag", current.clone()),
            ],
            Self::IntelligenceStale {
                person_id,
                stale_at,
            } => vec![
                ("person_id", person_id.clone()),
                ("stale_at", stale_at.clone()),
            ],
            Self::LeaseLost { person_id, state } => {
                vec![("person_id", person_id.clone()), ("state", state.clone())]
            }
            Self::AmbiguousKey { resource, key, ids } => vec![
                ("resource", (*resource).to_owned()),
                ("key", key.clone()),
                ("ids", ids.clone()),
            ],
            Self::BatchMismatch {
                batch_id,
                field,
                stored,
                given,
            } => vec![
                ("batch_id", batch_id.clone()),
                ("field", field.clone()),
                ("stored", stored.clone()),
                ("given", given.clone()),
            ],
            Self::BatchAbandoned(batch_id) | Self::BatchComplete(batch_id) => {
                vec![("batch_id", batch_id.clone())]
            }
            Self::LaneFinished { lane, row_count } => vec![
                ("lane", lane.to_string()),
                ("row_count", row_count.to_string()),
            ],
            Self::LaneFenced(lane) => vec![("lane", lane.to_string())],
            Self::OffsetGap { expected, offset } => vec![
                ("expected_offset", expected.to_string()),
                ("offset", offset.to_string()),
            ],
            Self::RowCountMismatch { expected, given } => vec![
                ("expected_row_count", expected.to_string()),
                ("row_count", given.to_string()),
            ],
            Self::StreamUnfinished { lane, next_offset } => vec![
                ("lane", lane.to_string()),
                ("next_offset", next_offset.to_string()),
            ],
            Self::StreamIdle(idle) => vec![("idle_seconds", idle.as_secs_f64().to_string())],
            Self::LockTimeout(_) | Self::StatementTimeout(_) => {
                vec![("setting", "statement-timeout".to_owned())]
            }
            _ => Vec::new(),
        }
    }

    fn details(&self) -> ErrorDetails {
        let name = self
            .reason()
            .as_str_name()
            .trim_start_matches("ERROR_REASON_");
        let metadata = self
            .metadata()
            .into_iter()
            .map(|(key, value)| (key.to_owned(), cut(value)))
            .collect::<std::collections::HashMap<_, _>>();
        let mut details = ErrorDetails::with_error_info(name, DOMAIN, metadata);
        match self {
            Self::InvalidField { field, description } => {
                details.add_bad_request_violation(field.as_ref(), cut(description.clone()));
            }
            Self::InvalidPageToken(description) => {
                details.add_bad_request_violation("page_token", *description);
            }
            Self::LimitExceeded { what, .. } => {
                details.add_bad_request_violation(
                    what.trim_start_matches("bytes of "),
                    cut(self.to_string()),
                );
            }
            Self::ShuttingDown
            | Self::DatabaseUnavailable(_)
            | Self::LockTimeout(_)
            | Self::PoolExhausted => {
                details.set_retry_info(Some(RETRY_DELAY));
            }
            _ => {}
        }
        details
    }
}

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        match &error {
            Error::Transport(status) => return status.clone(),
            Error::Internal(cause) => {
                tracing::error!(cause = %chain(cause.as_ref()), "call failed")
            }
            Error::DatabaseUnavailable(cause) => {
                tracing::warn!(cause = %chain(cause.as_ref()), "database unavailable");
            }
            Error::LockTimeout(cause) | Error::StatementTimeout(cause) => {
                tracing::warn!(cause = %chain(cause.as_ref()), "database too slow");
            }
            _ => {}
        }
        Self::with_error_details(error.code(), cut(error.to_string()), error.details())
    }
}

/// How an error names the setting that holds its limit.
fn named(setting: Option<&str>) -> String {
    setting.map_or_else(String::new, |setting| format!(" (setting {setting})"))
}

/// A text of a status: one that is longer than [`MAX_TEXT_BYTES`] ends in an ellipsis.
fn cut(mut text: String) -> String {
    if text.len() > MAX_TEXT_BYTES {
        text.truncate(text.floor_char_boundary(MAX_TEXT_BYTES));
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests;
