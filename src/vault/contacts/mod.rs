//! Contacts: reading, changing, scoring.

mod convert;
mod export;
mod write;

use std::collections::HashMap;

pub(super) use export::Export;
pub(super) use write::{delete, score, update};

use super::{
    repository::contacts::{self as repository, ContactKey, PageKey},
    service::Shared,
};
use crate::{
    proto::vault::v1 as pb,
    rpc::{Error, PageRequest},
};

pub(super) async fn get(
    shared: &Shared,
    request: pb::GetContactRequest,
) -> Result<pb::GetContactResponse, Error> {
    let key = convert::key("key", request.key.as_ref())?;
    let contact = shared
        .pool
        .point_read(|connection| repository::get_contact(connection, key.clone()))
        .await??
        .ok_or_else(|| convert::not_found(&key))?;
    Ok(pb::GetContactResponse {
        contact: Some(convert::contact(contact)),
    })
}

pub(super) async fn batch_get(
    shared: &Shared,
    request: pb::BatchGetContactsRequest,
) -> Result<pb::BatchGetContactsResponse, Error> {
    if request.keys.is_empty() {
        return Err(Error::invalid("keys", "give at least one"));
    }
    convert::within("keys", request.keys.len(), shared.limits.max_ingest_rows)?;
    let keys = request
        .keys
        .iter()
        .map(|key| convert::key("keys", Some(key)));
    let keys = keys.collect::<Result<Vec<ContactKey>, Error>>()?;
    let mut connection = shared.connection().await?;
    let max_bytes = shared.limits.max_frame_bytes;
    let found = repository::find_contacts(&mut connection, &keys, max_bytes).await?;
    drop(connection);

    let by_email: HashMap<String, i64> = found
        .iter()
        .map(|contact| (contact.email.clone(), contact.contact_id))
        .collect();
    let mut by_id: HashMap<i64, pb::Contact> = found
        .into_iter()
        .map(|contact| (contact.contact_id, convert::contact(contact)))
        .collect();
    let mut response = pb::BatchGetContactsResponse::default();
    let mut answered = std::collections::HashSet::new();
    for (key, sent) in keys.iter().zip(request.keys) {
        let contact_id = match key {
            ContactKey::Id(contact_id) => Some(*contact_id),
            ContactKey::Email(email) => by_email.get(email).copied(),
        };
        match contact_id.and_then(|contact_id| by_id.remove(&contact_id)) {
            Some(contact) => {
                answered.insert(contact.contact_id);
                response.contacts.push(contact);
            }
            // Named twice, it is there once.
            None if contact_id.is_some_and(|contact_id| answered.contains(&contact_id)) => {}
            None => response.not_found.push(sent),
        }
    }
    Ok(response)
}

pub(super) async fn list(
    shared: &Shared,
    mut request: pb::ListContactsRequest,
) -> Result<pb::ListContactsResponse, Error> {
    let paging = PageRequest::<PageKey>::of("ListContacts", &mut request, |request| {
        (&mut request.page_size, &mut request.page_token)
    })?
    .within(shared.limits.max_page_bytes);
    let order = convert::order(request.order_by)?;
    let filter = convert::filter(request.filter.unwrap_or_default())?;
    let mut connection = shared.connection().await?;
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
