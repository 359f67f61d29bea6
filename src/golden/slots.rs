//! Lists of slots.

use prost_types::Timestamp;
use serde::Deserialize;

use super::{
    Kind, fields,
    repository::slots::{self as repository, SlotFilter},
};
use crate::{
    proto::r#type::v1::{
        Slot, SlotNote, SlotOrder, SlotRejectionReason, SlotStatus, slot_note::Reason,
    },
    room::Room,
    rpc::{Error, PageRequest, from_timestamp, to_timestamp},
};

/// The filters and the order of a list, as a request has them; the key is the room's to normalize.
#[derive(Debug, Default)]
pub(crate) struct SlotQuery {
    pub(crate) status: i32,
    pub(crate) key: Option<String>,
    pub(crate) source: String,
    pub(crate) batch_id: String,
    pub(crate) created_from: Option<Timestamp>,
    pub(crate) created_before: Option<Timestamp>,
    pub(crate) rejection_reason: i32,
    pub(crate) order_by: i32,
}

/// A page of slots, each with its key, and the token of the next page.
///
/// # Errors
/// [`Error::InvalidField`], and those of the database.
pub(crate) async fn list(
    room: &Room,
    kind: &Kind,
    query: SlotQuery,
    paging: PageRequest<i64>,
) -> Result<(Vec<(String, Slot)>, String), Error> {
    let filter = filter(query)?;
    let paging = paging.within(room.limits.max_page_bytes);
    let mut connection = room.connection().await?;
    let page = repository::list(&mut connection, kind, &filter, &paging).await?;
    let token = match page.items.last().filter(|_| page.more) {
        Some(last) => paging.token(&last.slot_number)?,
        None => String::new(),
    };
    Ok((page.items.into_iter().map(slot).collect(), token))
}

fn filter(query: SlotQuery) -> Result<SlotFilter, Error> {
    let status = match fields::known("status", query.status)? {
        SlotStatus::Unspecified => None,
        SlotStatus::Pending => Some("pending"),
        SlotStatus::Validated => Some("validated"),
        SlotStatus::Rejected => Some("rejected"),
    };
    let reason: SlotRejectionReason = fields::known("rejection_reason", query.rejection_reason)?;
    let reason = (reason != SlotRejectionReason::Unspecified).then(|| {
        reason
            .as_str_name()
            .trim_start_matches("SLOT_REJECTION_REASON_")
    });
    let order: SlotOrder = fields::known("order_by", query.order_by)?;
    Ok(SlotFilter {
        status,
        key: query.key,
        source: fields::source(&query.source)?,
        batch_id: fields::batch_id(&query.batch_id)?,
        created_from: from_timestamp("created_from", query.created_from)?,
        created_before: from_timestamp("created_before", query.created_before)?,
        rejection_reason: reason,
        newest_first: order == SlotOrder::NewestFirst,
    })
}

fn slot(slot: repository::Slot) -> (String, Slot) {
    let status = match slot.validation_status.as_str() {
        "pending" => SlotStatus::Pending,
        "validated" => SlotStatus::Validated,
        "rejected" => SlotStatus::Rejected,
        _ => SlotStatus::Unspecified,
    };
    let reason = slot.rejection_reason.and_then(|reason| {
        SlotRejectionReason::from_str_name(&format!("SLOT_REJECTION_REASON_{reason}"))
    });
    let message = Slot {
        slot_id: slot.id.to_string(),
        slot_number: slot.slot_number,
        status: status.into(),
        source: slot.source.unwrap_or_default(),
        batch_id: slot.batch_id.unwrap_or_default(),
        offset: slot.row_offset.unwrap_or_default(),
        contact_id: slot.contact_id.unwrap_or_default(),
        raw_data_json: slot.raw_data,
        rejection_reason: reason.unwrap_or(SlotRejectionReason::Unspecified).into(),
        rejection_detail: slot.rejection_detail.unwrap_or_default(),
        notes: notes(&slot.notes),
        staged_by: slot.staged_by.unwrap_or_default(),
        create_time: Some(to_timestamp(slot.created_at)),
        promote_time: slot.promoted_at.map(to_timestamp),
    };
    (slot.key, message)
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct StoredNote {
    field: String,
    pointer: String,
    reason: String,
    detail: String,
}

/// Notes as the API has them; an administrator may have written something else there, which is left out.
fn notes(json: &str) -> Vec<SlotNote> {
    let notes: Vec<StoredNote> = serde_json::from_str(json).unwrap_or_default();
    let notes = notes.into_iter().map(|note| SlotNote {
        field: note.field,
        pointer: note.pointer,
        reason: Reason::from_str_name(&format!("REASON_{}", note.reason))
            .unwrap_or(Reason::Unspecified)
            .into(),
        detail: note.detail,
    });
    notes.collect()
}
