//! Conversions, and whose they are.

mod convert;
mod reading;
mod record;
mod report;

pub(super) use record::record;
pub(super) use report::attribution_report;

use super::repository::conversions::{self as repository, PageKey};
use crate::{
    proto::marketing::v1 as pb,
    room::Room,
    rpc::{Error, PageRequest},
};

pub(super) async fn list(
    room: &Room,
    mut request: pb::ListConversionsRequest,
) -> Result<pb::ListConversionsResponse, Error> {
    let paging = PageRequest::of("ListConversions", &mut request, |request| {
        (&mut request.page_size, &mut request.page_token)
    })?
    .within(room.limits.max_page_bytes);
    let filter = convert::filter(&request)?;
    let mut connection = room.connection().await?;
    let page = repository::list(&mut connection, &filter, &paging).await?;
    let last = page.items.last().filter(|_| page.more);
    Ok(pb::ListConversionsResponse {
        next_page_token: match last {
            Some(last) => paging.token(&PageKey::of(last))?,
            None => String::new(),
        },
        conversions: page.items.into_iter().map(convert::conversion).collect(),
    })
}
