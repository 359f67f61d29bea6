//! From the values of the domain and the repository to responses.

use crate::{
    domain::{Fate, Tally, row::RowRejection},
    intake::repository::{
        AuditEntry, Batch, Contact, Lane, Person, RawLoad, Retried, RowIdentity, StoredRejection,
    },
    proto::{intake::v1 as pb, r#type::v1::RejectionReason as PbReason},
    rpc::{json_struct, to_timestamp},
};

pub(in crate::intake) fn fate(fate: Fate) -> pb::RowFate {
    match fate {
        Fate::Accepted => pb::RowFate::Accepted,
        Fate::Duplicate => pb::RowFate::Duplicate,
        Fate::Rejected => pb::RowFate::Rejected,
    }
}

pub(in crate::intake) fn tally(tally: Tally) -> pb::RowTally {
    pb::RowTally {
        received: tally.received(),
        accepted: tally.accepted,
        duplicate: tally.duplicate,
        rejected: tally.rejected,
    }
}

pub(in crate::intake) fn rejection(offset: i64, rejection: RowRejection) -> pb::Rejection {
    pb::Rejection {
        offset,
        reason: reason(rejection.reason.as_str()),
        pointer: rejection.pointer,
        detail: rejection.detail,
    }
}

pub(in crate::intake) fn stored_rejection(row: &StoredRejection) -> pb::Rejection {
    pb::Rejection {
        offset: row.row_offset,
        reason: reason(&row.reason),
        pointer: row.pointer.clone(),
        detail: row.detail.clone(),
    }
}

fn reason(name: &str) -> i32 {
    PbReason::from_str_name(&format!("REJECTION_REASON_{name}"))
        .unwrap_or(PbReason::Unspecified)
        .into()
}

pub(in crate::intake) fn rejected_row(row: StoredRejection) -> pb::RejectedRow {
    pb::RejectedRow {
        rejected_id: row.rejected_id,
        rejection: Some(stored_rejection(&row)),
        batch_id: row.batch_id,
        lane: row.lane,
        original: row.original,
        original_size: row.original_size,
        create_time: Some(to_timestamp(row.created_at)),
    }
}

pub(in crate::intake) fn batch(batch: Batch, lanes: Vec<Lane>) -> pb::Batch {
    let state = match batch.state.as_str() {
        "complete" => pb::BatchState::Complete,
        "abandoned" => pb::BatchState::Abandoned,
        _ => pb::BatchState::Open,
    };
    let policy = match batch.on_duplicate.as_str() {
        "accept_changed" => pb::DuplicatePolicy::AcceptChanged,
        _ => pb::DuplicatePolicy::Mark,
    };
    pb::Batch {
        batch_id: batch.batch_id,
        source: batch.source,
        state: state.into(),
        on_duplicate: policy.into(),
        lane_count: batch.lane_count.unwrap_or_default(),
        metadata: json_struct(batch.metadata),
        create_time: Some(to_timestamp(batch.created_at)),
        created_by: batch.created_by,
        tally: Some(tally(Tally {
            accepted: batch.accepted,
            duplicate: batch.duplicate,
            rejected: batch.rejected,
        })),
        lanes: lanes.into_iter().map(self::lane).collect(),
        abandon_time: batch.abandoned_at.map(to_timestamp),
    }
}

fn lane(lane: Lane) -> pb::Lane {
    let state = match lane.state.as_str() {
        "finished" => pb::LaneState::Finished,
        "abandoned" => pb::LaneState::Abandoned,
        _ => pb::LaneState::Open,
    };
    pb::Lane {
        lane: lane.lane,
        state: state.into(),
        next_offset: lane.next_offset,
        tally: Some(tally(Tally {
            accepted: lane.accepted,
            duplicate: lane.duplicate,
            rejected: lane.rejected,
        })),
        create_time: Some(to_timestamp(lane.created_at)),
        finish_time: lane.finished_at.map(to_timestamp),
    }
}

pub(in crate::intake) fn raw_load(load: RawLoad) -> pb::RawLoad {
    let status = match load.status.as_str() {
        "pending" => pb::LoadStatus::Pending,
        "promoted" => pb::LoadStatus::Promoted,
        "failed" => pb::LoadStatus::Failed,
        "duplicate" => pb::LoadStatus::Duplicate,
        _ => pb::LoadStatus::Unspecified,
    };
    pb::RawLoad {
        load_id: load.load_id,
        batch_id: load.batch_id,
        source: load.source,
        status: status.into(),
        email: load.email.unwrap_or_default(),
        lane: load.lane.unwrap_or_default(),
        offset: load.row_offset.unwrap_or_default(),
        raw_data_json: load.raw_data,
        metadata_json: load.metadata,
        create_time: Some(to_timestamp(load.created_at)),
        promote_time: load.promoted_at.map(to_timestamp),
    }
}

pub(in crate::intake) fn retried(retried: &Retried) -> pb::retry_failed_loads_response::Outcome {
    use pb::retry_failed_loads_response::outcome::Result;
    let result = match retried.outcome.as_str() {
        "retried" => Result::Retried,
        "not_found" => Result::NotFound,
        "claimed" => Result::Claimed,
        _ => Result::NotFailed,
    };
    pb::retry_failed_loads_response::Outcome {
        load_id: retried.load_id,
        result: result.into(),
        claim_load_id: retried.claim_load_id.unwrap_or_default(),
    }
}

pub(in crate::intake) fn audit_entry(entry: AuditEntry) -> pb::AuditEntry {
    pb::AuditEntry {
        log_id: entry.log_id,
        action: entry.action,
        load_id: entry.load_id.unwrap_or_default(),
        contact_id: entry.contact_id.unwrap_or_default(),
        details_json: entry.details,
        time: Some(to_timestamp(entry.timestamp)),
    }
}

pub(in crate::intake) fn identity(row: RowIdentity) -> pb::RowIdentity {
    pb::RowIdentity {
        batch_id: row.batch_id.to_string(),
        lane: row.lane,
        offset: row.offset,
    }
}

pub(in crate::intake) fn contact(contact: Contact) -> pb::TracedContact {
    pb::TracedContact {
        contact_id: contact.contact_id,
        status: contact.status,
        load_id: contact.load_id.unwrap_or_default(),
        update_time: Some(to_timestamp(contact.updated_at)),
    }
}

pub(in crate::intake) fn person(person: Person) -> pb::TracedPerson {
    pb::TracedPerson {
        person_id: person.id.to_string(),
        status: person.status,
        update_time: Some(to_timestamp(person.updated_at)),
    }
}
