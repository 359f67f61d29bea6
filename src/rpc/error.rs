//! The one enum of everything a call can be refused for, and the one place where it becomes a status.
//!
//! Law 13, errors speak: each variant has its gRPC code, its reason for programs, the values that matter,
//! and a message for people. A fault of ours is logged here, once, with its cause; the caller learns only
//! that it happened.

mod cause;
mod database;
mod status;

use std::{borrow::Cow, time::Duration};

use tonic::Status;

pub(crate) use self::{cause::cause, database::Interruption};

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
    /// A move that a campaign does not have.
    #[error(
        "campaign {campaign_id} is {state} and cannot {wanted}; it can {}",
        either(moves)
    )]
    CampaignState {
        /// The campaign.
        campaign_id: String,
        /// The state that it is in.
        state: String,
        /// The move that was asked for.
        wanted: &'static str,
        /// The moves that it has.
        moves: Vec<&'static str>,
    },
    /// A field that only a draft's may change.
    #[error(
        "campaign {campaign_id} is {state}; its {field} can be changed only while it is a draft"
    )]
    CampaignStarted {
        /// The campaign.
        campaign_id: String,
        /// The state that it is in.
        state: String,
        /// The field.
        field: &'static str,
    },
    /// An id that is another campaign's.
    #[error("campaign {0} was made with another name, type or target; choose a new id")]
    CampaignExists(String),
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
    /// Nothing was taken for too long.
    #[error(
        "no answer was taken for {} seconds (setting stream-idle-timeout); what was done so far stays, call again for the rest",
        .0.as_secs_f64()
    )]
    StreamStalled(Duration),
    /// What tonic says of a message that it did not take, such as one past its limit; passed on as it is.
    #[error("{0}")]
    Transport(Status),
    /// The server is going away.
    #[error("the server is shutting down; what was acked is stored, try again")]
    ShuttingDown,
    /// The database is away.
    #[error("{}", unavailable(.0.as_ref()))]
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
    /// The caller's time, or the default, is over.
    #[error(
        "the call was not done within its deadline of {} seconds ({}); what it was doing was given up. A write may be done all the same: with the same request_id or message ids it may be sent again",
        .given.as_secs_f64(),
        if *.by_caller { "grpc-timeout" } else { "setting default-deadline; give a grpc-timeout" }
    )]
    DeadlineExceeded {
        /// How long was given.
        given: Duration,
        /// Whether the caller gave it.
        by_caller: bool,
    },
    /// As many calls or streams as there may be.
    #[error(
        "{limit} {what}{} are on their way, as many as are taken{}; try again",
        of_yours(*of_client),
        named(too_many_setting(what, *of_client))
    )]
    TooMany {
        /// `calls`, `streams` or `probes`.
        what: &'static str,
        /// How many there may be.
        limit: u32,
        /// Whether of one client, or over all.
        of_client: bool,
    },
    /// As many messages wait to be recorded as may.
    #[error(
        "{limit} messages wait to be recorded, as many as may; none of this call's was recorded, try again"
    )]
    QueueFull {
        /// How many may wait.
        limit: usize,
    },
    /// As many exports run as may.
    #[error(
        "{limit} exports{} run or wait to be read, as many as may ({} of setting pool-size, {pool_size}, and at least one: each keeps a database connection until all of it is read); try again when one has ended",
        of_yours(*of_client),
        if *.of_client { "a quarter" } else { "half" }
    )]
    TooManyExports {
        /// How many may run.
        limit: u32,
        /// Whether of one client, or over all.
        of_client: bool,
        /// How many connections the pool has.
        pool_size: u32,
    },
    /// No connection was free.
    #[error("every database connection was busy for too long; try again")]
    PoolExhausted,
    /// Nothing says who calls.
    #[error(
        "nothing says who calls; give a client's token as metadata `authorization: Bearer lv_...` (leadvault: --token or --token-file), or a client certificate where the service takes them"
    )]
    NoCredentials,
    /// A token that is no client's.
    #[error(
        "the token is no client's; it may have been removed or replaced. Give it as `authorization: Bearer lv_...`; whoever runs the service makes one with `leadvault token new`"
    )]
    InvalidToken,
    /// A certificate that is good, of somebody who is no client.
    #[error(
        "no client comes by a certificate with the name {}; give a token, or have the name entered in the clients file with `certificate`",
        if names.is_empty() { "(it has none)".to_owned() } else { names.join(" or ") }
    )]
    UnknownCertificate {
        /// The names in it.
        names: Vec<String>,
    },
    /// A client whose role may not make the call.
    #[error(
        "client {client} is a {role} and may not call {method}; that takes the role {}",
        roles.join(" or ")
    )]
    PermissionDenied {
        /// The client.
        client: String,
        /// The role that it has.
        role: &'static str,
        /// The RPC.
        method: String,
        /// The roles that may.
        roles: Vec<&'static str>,
    },
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
}

/// What an interruption means for whoever thinks of trying again.
fn unavailable(cause: &(dyn std::error::Error + Send + Sync + 'static)) -> &'static str {
    match Interruption::by(cause) {
        None | Some(Interruption::RolledBack) => {
            "the database cannot be reached or took the work back; nothing of what was not acked is done, try again"
        }
        Some(Interruption::Unknown) => {
            "the database was interrupted: a write may be done all the same, with the same request_id or message ids it may be sent again; what was acked is stored"
        }
    }
}

/// The setting that limits calls or streams; probes have none.
fn too_many_setting(what: &str, of_client: bool) -> Option<&'static str> {
    match (what, of_client) {
        ("calls", false) => Some("max-calls"),
        ("calls", true) => Some("max-calls-per-client"),
        ("streams", false) => Some("max-streams"),
        ("streams", true) => Some("max-streams-per-client"),
        _ => None,
    }
}

/// Whose there are too many of.
fn of_yours(of_client: bool) -> &'static str {
    if of_client { " of yours" } else { "" }
}

/// How an error names the setting that holds its limit.
fn named(setting: Option<&str>) -> String {
    setting.map_or_else(String::new, |setting| format!(" (setting {setting})"))
}

/// Names of which one may be chosen.
fn either(names: &[&str]) -> String {
    if names.is_empty() {
        "do nothing more".to_owned()
    } else {
        names.join(" or ")
    }
}
