//! Contacts: reading, changing, scoring.

mod convert;
mod export;
mod score;
mod write;

use std::collections::HashMap;

pub(super) use export::{Export, Exports};
pub(super) use score::score;
pub(super) use write::{delete, update};

use super::repository::contacts::{self as repository, Contact, ContactKey, PageKey, PointReads};
use crate::{
    proto::vault::v1 as pb,
    room::Room,
    rpc::{Error, PageRequest, check_items},
};

pub(super) async fn get(
    point_reads: &PointReads,
    request: pb::GetContactRequest,
) -> Result<pb::GetContactResponse, Error> {
    let key = convert::key(request.key.as_ref()).map_err(|error| Error::invalid("key", error))?;
    let contact = point_reads
        .get(key.clone())
        .await?
        .ok_or_else(|| convert::not_found(&key))?;
    Ok(pb::GetContactResponse {
        contact: Some(convert::contact(contact)),
    })
}

pub(super) async fn batch_get(
    room: &Room,
    request: pb::BatchGetContactsRequest,
) -> Result<pb::BatchGetContactsResponse, Error> {
    check_items("keys", request.keys.len())?;
    // What names nothing is not found: one slip does not cost the caller the others.
    let keys = request.keys.iter().map(|key| convert::key(Some(key)).ok());
    let keys: Vec<Option<ContactKey>> = keys.collect();
    let named: Vec<&ContactKey> = keys.iter().flatten().collect();
    let found = if named.is_empty() {
        Vec::new()
    } else {
        let mut connection = room.connection().await?;
        let max_bytes = room.limits.max_frame_bytes;
        repository::find_contacts(&mut connection, &named, max_bytes).await?
    };
    Ok(in_order(request.keys, keys, found))
}

/// The contacts in the order of the keys that were sent, and the keys that none has. One that is named twice
/// is there once.
fn in_order(
    sent: Vec<pb::ContactKey>,
    keys: Vec<Option<ContactKey>>,
    found: Vec<Contact>,
) -> pb::BatchGetContactsResponse {
    let ids: HashMap<ContactKey, i64> = found
        .iter()
        .flat_map(|contact| {
            let id = contact.contact_id;
            let email = ContactKey::Email(contact.email.clone());
            [(ContactKey::Id(id), id), (email, id)]
        })
        .collect();
    let found = found
        .into_iter()
        .map(|contact| (contact.contact_id, contact));
    let mut found: HashMap<i64, Contact> = found.collect();
    let mut response = pb::BatchGetContactsResponse::default();
    for (sent, key) in sent.into_iter().zip(keys) {
        match key.and_then(|key| ids.get(&key)) {
            Some(id) => response
                .contacts
                .extend(found.remove(id).map(convert::contact)),
            None => response.not_found.push(sent),
        }
    }
    response
}

pub(super) async fn list(
    room: &Room,
    mut request: pb::ListContactsRequest,
) -> Result<pb::ListContactsResponse, Error> {
    let paging = PageRequest::<PageKey>::of("ListContacts", &mut request, |request| {
        (&mut request.page_size, &mut request.page_token)
    })?
    .within(room.limits.max_page_bytes);
    let order = convert::order(request.order_by)?;
    let filter = convert::filter(request.filter.unwrap_or_default())?;
    let mut connection = room.connection().await?;
    let page = repository::list_contacts(&mut connection, &filter, order, &paging).await?;
    let next_page_token = match page.items.last().filter(|_| page.more) {
        Some(last) => paging.token(&PageKey::of(&last.contact, order)?)?,
        None => String::new(),
    };
    let contacts = page.items.into_iter();
    Ok(pb::ListContactsResponse {
        contacts: contacts.map(|row| convert::contact(row.contact)).collect(),
        next_page_token,
    })
}
