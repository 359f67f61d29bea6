//! What an error says on the wire: its code, its reason, the values that matter, and what would be right.

use std::{sync::Arc, time::Duration};

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

use super::{Error, cause, database::Interruption, too_many_setting};
use crate::proto::r#type::v1::ErrorReason;

/// The `domain` of every `ErrorInfo`.
const DOMAIN: &str = "leadvault";
/// The longest text of a status. A status travels as headers, percent-encoded and in base64, and clients take
/// 16 KiB of those by default: past that they see a broken stream instead of the error.
const MAX_TEXT_BYTES: usize = 1_000;
/// How long a caller should wait before it tries again.
const RETRY_DELAY: Duration = Duration::from_secs(1);

impl Error {
    fn code(&self) -> Code {
        match self {
            Self::MalformedMessage(_)
            | Self::InvalidField { .. }
            | Self::LimitExceeded { .. }
            | Self::InvalidPageToken(_)
            | Self::StreamOrder(_) => Code::InvalidArgument,
            Self::RequestIdReused | Self::CampaignExists(_) => Code::AlreadyExists,
            Self::NotFound { .. } | Self::IntelligenceStale { .. } => Code::NotFound,
            Self::BatchMismatch { .. }
            | Self::AmbiguousKey { .. }
            | Self::CampaignState { .. }
            | Self::CampaignStarted { .. }
            | Self::BatchAbandoned(_)
            | Self::BatchComplete(_)
            | Self::LaneFinished { .. }
            | Self::RowCountMismatch { .. }
            | Self::StreamUnfinished { .. } => Code::FailedPrecondition,
            Self::LaneFenced(_) | Self::EtagMismatch { .. } | Self::LeaseLost { .. } => {
                Code::Aborted
            }
            Self::OffsetGap { .. } => Code::OutOfRange,
            Self::StreamIdle(_)
            | Self::StreamStalled(_)
            | Self::StatementTimeout(_)
            | Self::DeadlineExceeded { .. } => Code::DeadlineExceeded,
            Self::Transport(status) => status.code(),
            Self::ShuttingDown | Self::DatabaseUnavailable(_) | Self::LockTimeout(_) => {
                Code::Unavailable
            }
            Self::PoolExhausted
            | Self::TooMany { .. }
            | Self::QueueFull { .. }
            | Self::TooManyExports { .. } => Code::ResourceExhausted,
            Self::NoCredentials | Self::InvalidToken | Self::UnknownCertificate { .. } => {
                Code::Unauthenticated
            }
            Self::PermissionDenied { .. } => Code::PermissionDenied,
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
            Self::CampaignState { .. } => ErrorReason::CampaignState,
            Self::CampaignStarted { .. } => ErrorReason::CampaignStarted,
            Self::CampaignExists(_) => ErrorReason::CampaignExists,
            Self::BatchMismatch { .. } => ErrorReason::BatchMismatch,
            Self::BatchAbandoned(_) => ErrorReason::BatchAbandoned,
            Self::BatchComplete(_) => ErrorReason::BatchComplete,
            Self::LaneFinished { .. } => ErrorReason::LaneFinished,
            Self::LaneFenced(_) => ErrorReason::LaneFenced,
            Self::OffsetGap { .. } => ErrorReason::OffsetGap,
            Self::RowCountMismatch { .. } => ErrorReason::RowCountMismatch,
            Self::StreamOrder(_) => ErrorReason::StreamOrder,
            Self::StreamUnfinished { .. } => ErrorReason::StreamUnfinished,
            Self::StreamIdle(_) | Self::StreamStalled(_) => ErrorReason::StreamIdle,
            Self::Transport(_) => ErrorReason::Unspecified,
            Self::ShuttingDown => ErrorReason::ShuttingDown,
            Self::DatabaseUnavailable(_) => ErrorReason::DatabaseUnavailable,
            Self::LockTimeout(_) => ErrorReason::LockTimeout,
            Self::StatementTimeout(_) => ErrorReason::StatementTimeout,
            Self::DeadlineExceeded { .. } => ErrorReason::DeadlineExceeded,
            Self::TooMany { .. } | Self::QueueFull { .. } | Self::TooManyExports { .. } => {
                ErrorReason::TooMany
            }
            Self::PoolExhausted => ErrorReason::PoolExhausted,
            Self::NoCredentials => ErrorReason::NoCredentials,
            Self::InvalidToken => ErrorReason::InvalidToken,
            Self::UnknownCertificate { .. } => ErrorReason::UnknownCertificate,
            Self::PermissionDenied { .. } => ErrorReason::PermissionDenied,
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
            Self::DatabaseUnavailable(cause) => {
                let outcome = match Interruption::by(cause.as_ref()) {
                    None | Some(Interruption::RolledBack) => "not_done",
                    Some(Interruption::Unknown) => "unknown",
                };
                vec![("outcome", outcome.to_owned())]
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
            Self::CampaignState {
                campaign_id,
                state,
                wanted,
                moves,
            } => vec![
                ("campaign_id", campaign_id.clone()),
                ("state", state.clone()),
                ("move", (*wanted).to_owned()),
                ("moves", moves.join(",")),
            ],
            Self::CampaignStarted {
                campaign_id,
                state,
                field,
            } => vec![
                ("campaign_id", campaign_id.clone()),
                ("state", state.clone()),
                ("field", (*field).to_owned()),
            ],
            Self::CampaignExists(campaign_id) => vec![("campaign_id", campaign_id.clone())],
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
            Self::StreamIdle(idle) | Self::StreamStalled(idle) => {
                vec![("idle_seconds", idle.as_secs_f64().to_string())]
            }
            Self::LockTimeout(_) | Self::StatementTimeout(_) => {
                vec![("setting", "statement-timeout".to_owned())]
            }
            Self::UnknownCertificate { names } => vec![("names", names.join(","))],
            Self::PermissionDenied {
                client,
                role,
                method,
                roles,
            } => vec![
                ("client", client.clone()),
                ("role", (*role).to_owned()),
                ("method", method.clone()),
                ("roles", roles.join(",")),
            ],
            Self::DeadlineExceeded { given, by_caller } => {
                let mut metadata = vec![("deadline_seconds", given.as_secs_f64().to_string())];
                if !by_caller {
                    metadata.push(("setting", "default-deadline".to_owned()));
                }
                metadata
            }
            Self::TooMany {
                what,
                limit,
                of_client,
            } => {
                let mut metadata = vec![("what", (*what).to_owned()), ("limit", limit.to_string())];
                let setting = too_many_setting(what, *of_client);
                metadata.extend(setting.map(|setting| ("setting", setting.to_owned())));
                metadata
            }
            Self::QueueFull { limit } => vec![
                ("what", "messages".to_owned()),
                ("limit", limit.to_string()),
            ],
            Self::TooManyExports {
                limit, pool_size, ..
            } => vec![
                ("what", "exports".to_owned()),
                ("limit", limit.to_string()),
                ("pool_size", pool_size.to_string()),
                ("setting", "pool-size".to_owned()),
            ],
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
            | Self::PoolExhausted
            | Self::TooMany { .. }
            | Self::QueueFull { .. }
            | Self::TooManyExports { .. } => {
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
                tracing::error!(cause = %cause::cause(cause.as_ref()), "call failed")
            }
            Error::DatabaseUnavailable(cause) => {
                tracing::warn!(cause = %cause::cause(cause.as_ref()), "database unavailable");
            }
            Error::LockTimeout(cause) | Error::StatementTimeout(cause) => {
                tracing::warn!(cause = %cause::cause(cause.as_ref()), "database too slow");
            }
            _ => {}
        }
        let mut status =
            Self::with_error_details(error.code(), cut(error.to_string()), error.details());
        if let Error::DatabaseUnavailable(cause) = &error
            && let Some(interruption) = Interruption::by(cause.as_ref())
        {
            status.set_source(Arc::new(interruption));
        }
        status
    }
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
