//! Between the messages of the queue and the values of the repository.

use uuid::Uuid;

use super::super::{
    convert,
    repository::{enrichment::Entry, leasing::Lease},
};
use crate::{
    golden::fields,
    proto::people::v1 as pb,
    rpc::{Error, to_timestamp},
};

/// Refuses a list that is empty or longer than one call may hold.
pub(super) fn some_within(what: &'static str, actual: usize, limit: usize) -> Result<(), Error> {
    if actual == 0 {
        return Err(Error::invalid(what, "give at least one"));
    }
    fields::within(what, actual, limit, "max-ingest-rows")
}

pub(super) fn no_entry(person_id: Uuid) -> Error {
    Error::NotFound {
        resource: "enrichment entry",
        key: person_id.to_string(),
    }
}

/// A state by its name in the database; `None` for the unspecified one.
pub(super) fn state(field: &'static str, number: i32) -> Result<Option<&'static str>, Error> {
    use pb::EnrichmentState as State;
    Ok(match fields::known(field, number)? {
        State::Unspecified => None,
        State::Queued => Some("queued"),
        State::Leased => Some("leased"),
        State::Completed => Some("completed"),
        State::Dead => Some("dead"),
        State::Suppressed => Some("suppressed"),
    })
}

pub(super) fn entry(entry: Entry) -> pb::EnrichmentEntry {
    let state = match entry.state.as_str() {
        "queued" => pb::EnrichmentState::Queued,
        "leased" => pb::EnrichmentState::Leased,
        "completed" => pb::EnrichmentState::Completed,
        "dead" => pb::EnrichmentState::Dead,
        "suppressed" => pb::EnrichmentState::Suppressed,
        _ => pb::EnrichmentState::Unspecified,
    };
    let waits_after_failure = state == pb::EnrichmentState::Queued && entry.failures > 0;
    pb::EnrichmentEntry {
        person_id: entry.person_id.to_string(),
        state: state.into(),
        priority: entry.priority,
        attempts: entry.attempts,
        failures: entry.failures,
        max_failures: entry.max_failures,
        lease_token: entry.lease_token,
        leased_by: entry.leased_by.unwrap_or_default(),
        lease_expire_time: entry.lease_expires_at.map(to_timestamp),
        next_attempt_time: waits_after_failure.then(|| to_timestamp(entry.available_at)),
        last_error: entry.last_error.unwrap_or_default(),
        enqueue_time: Some(to_timestamp(entry.enqueued_at)),
        end_time: entry.ended_at.map(to_timestamp),
    }
}

pub(super) fn lease(lease: Lease) -> pb::lease_enrichment_response::Lease {
    pb::lease_enrichment_response::Lease {
        person: Some(convert::person(lease.person)),
        lease_token: lease.lease_token,
        lease_expire_time: Some(to_timestamp(lease.lease_expires_at)),
        priority: lease.priority,
        attempt: lease.attempt,
    }
}
