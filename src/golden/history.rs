//! Lists of changes.

use prost_types::Timestamp;
use uuid::Uuid;

use super::{
    Kind, fields,
    repository::history::{self as repository, Change, ChangeFilter},
};
use crate::{
    proto::r#type::v1::{HistoryEntry, HistoryOrder},
    room::Room,
    rpc::{Error, PageRequest, from_timestamp, to_timestamp},
};

/// The filters and the order of a list, as a request has them.
#[derive(Debug, Default)]
pub(crate) struct HistoryQuery {
    /// Whose changes.
    pub(crate) id: Uuid,
    pub(crate) changed_from: Option<Timestamp>,
    pub(crate) changed_before: Option<Timestamp>,
    pub(crate) order_by: i32,
}

/// A page of changes, and the token of the next page. Whether there is such a record is the room's to say.
///
/// # Errors
/// [`Error::InvalidField`], and those of the database.
pub(crate) async fn list(
    room: &Room,
    kind: &Kind,
    query: HistoryQuery,
    paging: PageRequest<i64>,
) -> Result<(Vec<HistoryEntry>, String), Error> {
    let order: HistoryOrder = fields::known("order_by", query.order_by)?;
    let filter = ChangeFilter {
        id: query.id,
        changed_from: from_timestamp("changed_from", query.changed_from)?,
        changed_before: from_timestamp("changed_before", query.changed_before)?,
        newest_first: order == HistoryOrder::NewestFirst,
    };
    let paging = paging.within(room.limits.max_page_bytes);
    let mut connection = room.connection().await?;
    let page = repository::list(&mut connection, kind, &filter, &paging).await?;
    let token = match page.items.last().filter(|_| page.more) {
        Some(last) => paging.token(&last.history_id)?,
        None => String::new(),
    };
    Ok((page.items.into_iter().map(entry).collect(), token))
}

fn entry(change: Change) -> HistoryEntry {
    HistoryEntry {
        history_id: change.history_id,
        changed_fields: serde_json::from_str(&change.changed_fields).unwrap_or_default(),
        old_values_json: change.old_values,
        new_values_json: change.new_values,
        changed_by: change.changed_by.unwrap_or_default(),
        change_time: Some(to_timestamp(change.changed_at)),
    }
}
