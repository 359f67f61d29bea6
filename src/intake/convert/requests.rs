//! From requests to the values of the domain and the repository, or why they are refused.

use bytes::Bytes;

use crate::{
    domain::{
        BatchId, DuplicatePolicy, Source,
        row::{self, RejectionReason, RowLimits},
    },
    intake::{
        chunk::SentRow,
        repository::{LaneOutcome, NewBatch, Order, RowIdentity},
    },
    proto::{
        intake::v1::{self as pb, bulk_ingest_request as request},
        r#type::v1::RejectionReason as PbReason,
    },
    rpc::{Error, struct_json},
};

/// The most lanes of a batch.
const MAX_LANES: i32 = 64;
/// The largest notes of a batch, in bytes of JSON.
const MAX_METADATA_BYTES: usize = 64 * 1024;
/// The longest detail that a loader gives, and the longest head of an oversize row.
const MAX_DETAIL_BYTES: usize = 1_000;
const MAX_HEAD_BYTES: usize = 1_024;
const SHA256_BYTES: usize = 32;

pub(in crate::intake) fn batch_id(text: &str) -> Result<BatchId, Error> {
    BatchId::parse(text).map_err(|error| Error::invalid("batch_id", error))
}

pub(in crate::intake) fn source(text: &str) -> Result<Source, Error> {
    Source::parse(text).map_err(|error| Error::invalid("source", error))
}

pub(in crate::intake) fn action(text: &str) -> Result<String, Error> {
    match BatchId::parse(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(error) => Err(Error::invalid("action", error)),
    }
}

/// `None` for the text that stands for "no filter".
pub(in crate::intake) fn optional<T>(
    text: &str,
    parse: impl FnOnce(&str) -> Result<T, Error>,
) -> Result<Option<T>, Error> {
    (!text.is_empty()).then(|| parse(text)).transpose()
}

/// A number of an enum that this version knows; the unspecified one is `None`.
pub(in crate::intake) fn known<E: TryFrom<i32>>(
    field: &'static str,
    number: i32,
) -> Result<Option<E>, Error> {
    match number {
        0 => Ok(None),
        _ => E::try_from(number)
            .map(Some)
            .map_err(|_| Error::invalid(field, format!("{number} is not a value of its enum"))),
    }
}

pub(in crate::intake) fn duplicate_policy(number: i32) -> Result<Option<DuplicatePolicy>, Error> {
    let policy = known("on_duplicate", number)?;
    Ok(policy.and_then(|policy| match policy {
        pb::DuplicatePolicy::Mark => Some(DuplicatePolicy::Mark),
        pb::DuplicatePolicy::AcceptChanged => Some(DuplicatePolicy::AcceptChanged),
        pb::DuplicatePolicy::Unspecified => None,
    }))
}

pub(in crate::intake) fn load_status(number: i32) -> Result<Option<&'static str>, Error> {
    let status = known("status", number)?;
    Ok(status.and_then(|status| match status {
        pb::LoadStatus::Pending => Some("pending"),
        pb::LoadStatus::Promoted => Some("promoted"),
        pb::LoadStatus::Failed => Some("failed"),
        pb::LoadStatus::Duplicate => Some("duplicate"),
        pb::LoadStatus::Unspecified => None,
    }))
}

pub(in crate::intake) fn batch_state(number: i32) -> Result<Option<&'static str>, Error> {
    let state = known("state", number)?;
    Ok(state.and_then(|state| match state {
        pb::BatchState::Open => Some("open"),
        pb::BatchState::Complete => Some("complete"),
        pb::BatchState::Abandoned => Some("abandoned"),
        pb::BatchState::Unspecified => None,
    }))
}

pub(in crate::intake) fn rejection_reason(number: i32) -> Result<Option<RejectionReason>, Error> {
    let reason: Option<PbReason> = known("reason", number)?;
    Ok(reason.and_then(|reason| {
        RejectionReason::from_name(reason.as_str_name().trim_start_matches("REJECTION_REASON_"))
    }))
}

pub(in crate::intake) fn order(number: i32) -> Result<Order, Error> {
    Ok(match known("order_by", number)? {
        Some(pb::ListOrder::NewestFirst) => Order::NewestFirst,
        _ => Order::OldestFirst,
    })
}

/// `open`, and the lane that it opens.
pub(in crate::intake) fn open(open: request::Open) -> Result<(NewBatch, i32), Error> {
    let lane_count = match open.lane_count {
        0 => None,
        count @ 1..=MAX_LANES => Some(count),
        count => {
            return Err(Error::invalid(
                "open.lane_count",
                format!(
                    "{count} is not between 1 and {MAX_LANES}; 0 stands for what the batch has"
                ),
            ));
        }
    };
    let lanes = lane_count.unwrap_or(MAX_LANES);
    if !(0..lanes).contains(&open.lane) {
        return Err(Error::invalid(
            "open.lane",
            format!("{} is not between 0 and {}", open.lane, lanes - 1),
        ));
    }
    let batch = NewBatch {
        batch_id: batch_id(&open.batch_id)?,
        source: source(&open.source)?,
        lane_count,
        metadata: open.metadata.map(metadata).transpose()?,
        on_duplicate: duplicate_policy(open.on_duplicate)?,
    };
    Ok((batch, open.lane))
}

fn metadata(notes: prost_types::Struct) -> Result<String, Error> {
    const FIELD: &str = "open.metadata";
    let (json, finite) = struct_json(notes);
    if !finite {
        return Err(Error::invalid(FIELD, "a number is NaN or infinite"));
    }
    let text = json.to_string();
    let limits = RowLimits {
        max_row_bytes: MAX_METADATA_BYTES,
        ..RowLimits::default()
    };
    row::validate_object(text.as_bytes(), &limits)
        .map_err(|rejection| Error::invalid(FIELD, rejection.detail))?;
    Ok(text)
}

/// A row of a `rows` message.
pub(in crate::intake) fn sent_row(row: request::Row) -> Result<SentRow, Error> {
    match row.row {
        Some(request::row::Row::Json(text)) => Ok(SentRow::Json(text)),
        // What protobuf's JSON form makes of `{}`: no bytes are an empty row.
        None => Ok(SentRow::Json(Bytes::new())),
        Some(request::row::Row::Unreadable(row)) => Ok(SentRow::Unreadable {
            detail: storable(&row.detail, MAX_DETAIL_BYTES),
            original: row.original,
        }),
        Some(request::row::Row::Oversize(row)) => oversize(row),
    }
}

fn oversize(row: request::OversizeRow) -> Result<SentRow, Error> {
    if row.bytes <= 0 {
        return Err(Error::invalid("rows.oversize.bytes", "must be above 0"));
    }
    if row.sha256.len() != SHA256_BYTES {
        return Err(Error::invalid("rows.oversize.sha256", "must be 32 bytes"));
    }
    if row.head.len() > MAX_HEAD_BYTES {
        return Err(Error::invalid(
            "rows.oversize.head",
            "must be at most 1024 bytes",
        ));
    }
    Ok(SentRow::Oversize {
        bytes: row.bytes,
        sha256: row
            .sha256
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect(),
        head: row.head,
    })
}

/// Text of a caller's that only people read: cut, and without what PostgreSQL cannot store.
pub(in crate::intake) fn storable(text: &str, max_bytes: usize) -> String {
    text[..text.floor_char_boundary(max_bytes)].replace('\0', "\u{fffd}")
}

/// A row as a person wrote it.
pub(in crate::intake) fn struct_row(object: prost_types::Struct) -> SentRow {
    let (json, finite) = struct_json(object);
    let text = Bytes::from(json.to_string());
    if finite {
        SentRow::Json(text)
    } else {
        SentRow::NotFinite(text)
    }
}

/// The refusal of a call on a lane; `given` tells of a property what the caller gave.
pub(in crate::intake) fn lane_result<T>(
    outcome: LaneOutcome<T>,
    batch: &NewBatch,
    lane: i32,
) -> Result<T, Error> {
    match outcome {
        LaneOutcome::Done(done) => Ok(done),
        LaneOutcome::Mismatch(field, stored) if field == "lane" => Err(Error::InvalidField {
            field: "open.lane".into(),
            description: format!(
                "{lane} is beyond the lanes of batch {:?}, which has {stored}",
                batch.batch_id.as_str()
            ),
        }),
        LaneOutcome::Mismatch(field, stored) => Err(Error::BatchMismatch {
            batch_id: batch.batch_id.to_string(),
            given: given(batch, &field),
            field,
            stored,
        }),
        LaneOutcome::Abandoned => Err(Error::BatchAbandoned(batch.batch_id.to_string())),
        LaneOutcome::Fenced => Err(Error::LaneFenced(lane)),
        LaneOutcome::Finished(row_count) => Err(Error::LaneFinished { lane, row_count }),
        // The stream counts along with the lane, so that only a fault of ours leads here.
        LaneOutcome::OffsetMismatch(next_offset) => Err(Error::internal(format!(
            "lane {lane} goes on at {next_offset}, which its stream did not know"
        ))),
    }
}

fn given(batch: &NewBatch, field: &str) -> String {
    match field {
        "source" => batch.source.to_string(),
        "lane_count" => batch.lane_count.unwrap_or_default().to_string(),
        "on_duplicate" => batch
            .on_duplicate
            .map_or("", DuplicatePolicy::as_str)
            .to_owned(),
        _ => batch.metadata.clone().unwrap_or_default(),
    }
}

pub(in crate::intake) fn row_identity(row: &pb::RowIdentity) -> Result<RowIdentity, Error> {
    if row.lane < -3 {
        return Err(Error::invalid("row.lane", "must be -3 or more"));
    }
    if row.offset < 0 {
        return Err(Error::invalid("row.offset", "must not be negative"));
    }
    Ok(RowIdentity {
        batch_id: BatchId::parse(&row.batch_id)
            .map_err(|error| Error::invalid("row.batch_id", error))?,
        lane: row.lane,
        offset: row.offset,
    })
}
