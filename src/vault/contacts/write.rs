//! `UpdateContact`, `DeleteContact`.

use serde_json::value::{RawValue, to_raw_value};

use super::{
    super::{
        convert::{check_text, storable},
        repository::contacts::{self as repository, Changes},
    },
    convert::{self, EDITABLE, IMMUTABLE},
};
use crate::{
    domain::{
        Actor, MAX_INDEXED_TEXT_BYTES,
        row::{RowLimits, validate_object},
    },
    proto::vault::v1 as pb,
    room::Room,
    rpc::Error,
};

/// The longest tag, in bytes.
const MAX_TAG_BYTES: usize = 100;
/// The most tags of a contact.
const MAX_TAGS: usize = 1_000;

pub(in crate::vault) async fn update(
    room: &Room,
    request: pb::UpdateContactRequest,
    actor: Actor,
) -> Result<pb::UpdateContactResponse, Error> {
    let contact = request
        .contact
        .ok_or_else(|| Error::invalid("contact", "is missing"))?;
    let etag = etag("contact.etag", &contact.etag)?;
    let mask = columns(
        "update_mask",
        &request.update_mask.unwrap_or_default().paths,
    )?;
    let unpin = columns("unpin", &request.unpin)?;
    if mask.is_empty() && unpin.is_empty() {
        return Err(Error::invalid(
            "update_mask",
            "name at least one field, or unpin one",
        ));
    }
    if let Some(both) = unpin.iter().find(|column| mask.contains(column)) {
        return Err(Error::invalid(
            "unpin",
            format!("{both:?} is in update_mask too, which pins it"),
        ));
    }
    let changes = changes(&contact, &mask, &room.limits.row())?;
    let mut connection = room.connection().await?;
    let outcome = repository::update_contact(
        &mut connection,
        contact.contact_id,
        &etag,
        &changes,
        &unpin,
        &actor,
    )
    .await?;
    Ok(pb::UpdateContactResponse {
        contact: Some(convert::written(contact.contact_id, outcome)?),
    })
}

pub(in crate::vault) async fn delete(
    room: &Room,
    request: pb::DeleteContactRequest,
    actor: Actor,
) -> Result<pb::DeleteContactResponse, Error> {
    let etag = etag("etag", &request.etag)?;
    let contact_id = request.contact_id;
    let mut connection = room.connection().await?;
    let outcome = repository::delete_contact(&mut connection, contact_id, &etag, &actor).await?;
    Ok(pb::DeleteContactResponse {
        contact: Some(convert::written(contact_id, outcome)?),
    })
}

/// An etag as a caller sent it: it is only ever compared.
fn etag(field: &'static str, text: &str) -> Result<String, Error> {
    if text.is_empty() {
        return Err(Error::invalid(
            field,
            "is required: pass the etag of the contact as it was read",
        ));
    }
    storable(text).map_err(|error| Error::invalid(field, error))?;
    Ok(text.to_owned())
}

/// The columns that a list of the API's names stands for.
fn columns(field: &'static str, names: &[String]) -> Result<Vec<&'static str>, Error> {
    let column = |name: &String| {
        let known = EDITABLE.iter().find(|(own, _)| own == name);
        known.map(|(_, column)| *column).ok_or_else(|| {
            let description = if IMMUTABLE.contains(&name.as_str()) {
                format!("{name:?} cannot be changed")
            } else {
                format!("{name:?} is not a field of a contact")
            };
            Error::invalid(field, description)
        })
    };
    names.iter().map(column).collect()
}

/// The new values of the fields in the mask, each checked.
fn changes(
    contact: &pb::Contact,
    mask: &[&'static str],
    limits: &RowLimits,
) -> Result<Changes, Error> {
    let mut changes = Changes::new();
    for column in mask {
        let value = match *column {
            "name" => indexed("contact.name", &contact.name, limits)?,
            "phone" => text("contact.phone", &contact.phone)?,
            "company" => indexed("contact.company", &contact.company, limits)?,
            "title" => text("contact.title", &contact.title)?,
            "tags" => tags(&contact.tags)?,
            _ => custom_fields(&contact.custom_fields_json, limits)?,
        };
        changes.insert(column, value);
    }
    Ok(changes)
}

/// A text that reaches an index, here or as that of a company or a person: its limit is that of a row's.
fn indexed(field: &'static str, value: &str, limits: &RowLimits) -> Result<Box<RawValue>, Error> {
    let (bytes, most) = (value.len(), limits.max_indexed_text_bytes);
    if bytes > most {
        let description =
            format!("has {bytes} bytes, at most {most} are taken (setting max-indexed-text-bytes)");
        return Err(Error::invalid(field, description));
    }
    text(field, value)
}

fn text(field: &'static str, text: &str) -> Result<Box<RawValue>, Error> {
    check_text(text, MAX_INDEXED_TEXT_BYTES).map_err(|error| Error::invalid(field, error))?;
    to_raw_value(text).map_err(Error::internal)
}

fn tags(tags: &[String]) -> Result<Box<RawValue>, Error> {
    const FIELD: &str = "contact.tags";
    if tags.len() > MAX_TAGS {
        let description = format!("holds {}, at most {MAX_TAGS} are taken", tags.len());
        return Err(Error::invalid(FIELD, description));
    }
    for (nth, tag) in tags.iter().enumerate() {
        check_text(tag, MAX_TAG_BYTES)
            .and_then(|()| match tag.trim() {
                "" => Err("must not be blank".to_owned()),
                _ => Ok(()),
            })
            .map_err(|error| Error::invalid(format!("{FIELD}[{nth}]"), error))?;
    }
    to_raw_value(tags).map_err(Error::internal)
}

fn custom_fields(json: &str, limits: &RowLimits) -> Result<Box<RawValue>, Error> {
    const FIELD: &str = "contact.custom_fields_json";
    let json = if json.is_empty() { "{}" } else { json };
    validate_object(json.as_bytes(), limits).map_err(|rejection| {
        let place = match rejection.pointer.as_str() {
            "" => String::new(),
            pointer => format!("{pointer}: "),
        };
        Error::invalid(FIELD, format!("{place}{}", rejection.detail))
    })?;
    RawValue::from_string(json.to_owned()).map_err(Error::internal)
}
