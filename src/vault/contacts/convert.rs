//! Between the messages about contacts and the values of the domain and the repository.

use crate::{
    domain::{Email, MAX_INDEXED_TEXT_BYTES, Score, Source},
    proto::vault::v1 as pb,
    rpc::{Error, from_timestamp, to_timestamp},
    vault::{
        convert::{STATUSES, check_text, from_name, known, to_name},
        repository::contacts::{
            Contact, ContactFilter, ContactKey, ContactOrder, SortBy, WriteOutcome,
        },
    },
};

/// The fields that `UpdateContact` changes, by their name in the API and their column.
pub(super) const EDITABLE: [(&str, &str); 6] = [
    ("name", "name"),
    ("phone", "phone"),
    ("company", "company"),
    ("title", "title"),
    ("tags", "tags"),
    ("custom_fields_json", "custom_fields"),
];

/// The fields that nobody changes.
pub(super) const IMMUTABLE: [&str; 11] = [
    "contact_id",
    "email",
    "source",
    "load_id",
    "create_time",
    "update_time",
    "last_activity_time",
    "score",
    "status",
    "pinned_fields",
    "etag",
];

/// A contact's key, or what is wrong with it.
pub(super) fn key(key: Option<&pb::ContactKey>) -> Result<ContactKey, String> {
    match key.and_then(|key| key.key.as_ref()) {
        Some(pb::contact_key::Key::ContactId(contact_id)) => Ok(ContactKey::Id(*contact_id)),
        Some(pb::contact_key::Key::Email(email)) => Email::parse(email)
            .map(|email| ContactKey::Email(email.to_string()))
            .map_err(|error| error.to_string()),
        None => Err("give either contact_id or email".to_owned()),
    }
}

pub(super) fn not_found(key: &ContactKey) -> Error {
    Error::NotFound {
        resource: "contact",
        key: match key {
            ContactKey::Id(contact_id) => contact_id.to_string(),
            ContactKey::Email(email) => email.clone(),
        },
    }
}

/// The contact after a write, unless the write found another one than the caller had read.
pub(super) fn written(
    contact_id: i64,
    outcome: Option<WriteOutcome>,
) -> Result<pb::Contact, Error> {
    match outcome.ok_or_else(|| not_found(&ContactKey::Id(contact_id)))? {
        WriteOutcome::Done(written) => Ok(contact(written)),
        WriteOutcome::EtagMismatch(current) => Err(Error::EtagMismatch {
            resource: "contact",
            key: contact_id.to_string(),
            current: current.etag,
        }),
    }
}

pub(super) fn filter(filter: pb::ContactFilter) -> Result<ContactFilter, Error> {
    let score = |field, text: String| {
        (!text.is_empty())
            .then(|| Score::parse(&text).map_err(|error| Error::invalid(field, error)))
            .transpose()
    };
    let source = (!filter.source.is_empty())
        .then(|| Source::parse(&filter.source))
        .transpose()
        .map_err(|error| Error::invalid("filter.source", error))?;
    Ok(ContactFilter {
        status: to_name(filter.status, &STATUSES)
            .map_err(|error| Error::invalid("filter.status", error))?,
        source,
        company: indexed("filter.company", filter.company)?,
        score_from: score("filter.score_from", filter.score_from)?,
        score_to: score("filter.score_to", filter.score_to)?,
        created_from: from_timestamp("filter.created_from", filter.created_from)?,
        created_before: from_timestamp("filter.created_before", filter.created_before)?,
        updated_from: from_timestamp("filter.updated_from", filter.updated_from)?,
        updated_before: from_timestamp("filter.updated_before", filter.updated_before)?,
        tag: indexed("filter.tag", filter.tag)?,
    })
}

/// A text that is looked for in an index; `None` for the empty one.
fn indexed(field: &'static str, text: String) -> Result<Option<String>, Error> {
    check_text(&text, MAX_INDEXED_TEXT_BYTES).map_err(|error| Error::invalid(field, error))?;
    Ok(Some(text).filter(|text| !text.is_empty()))
}

pub(super) fn order(number: i32) -> Result<ContactOrder, Error> {
    use pb::ContactOrder as Pb;
    let order: Pb = known(number).map_err(|error| Error::invalid("order_by", error))?;
    let by = match order {
        Pb::Unspecified | Pb::CreatedAsc | Pb::CreatedDesc => SortBy::Created,
        Pb::UpdatedAsc | Pb::UpdatedDesc => SortBy::Updated,
        Pb::ScoreAsc | Pb::ScoreDesc => SortBy::Score,
    };
    let descending = matches!(order, Pb::CreatedDesc | Pb::UpdatedDesc | Pb::ScoreDesc);
    Ok(ContactOrder { by, descending })
}

pub(super) fn contact(contact: Contact) -> pb::Contact {
    let pinned = contact.pinned_fields.into_iter();
    pb::Contact {
        contact_id: contact.contact_id,
        email: contact.email,
        name: contact.name.unwrap_or_default(),
        phone: contact.phone.unwrap_or_default(),
        company: contact.company.unwrap_or_default(),
        title: contact.title.unwrap_or_default(),
        source: contact.source,
        tags: tags(&contact.tags),
        custom_fields_json: contact.custom_fields,
        load_id: contact.load_id.unwrap_or_default(),
        create_time: Some(to_timestamp(contact.created_at)),
        update_time: Some(to_timestamp(contact.updated_at)),
        last_activity_time: contact.last_activity_at.map(to_timestamp),
        score: contact.score,
        status: from_name(&contact.status, &STATUSES).into(),
        pinned_fields: pinned.map(|column| api_name(&column)).collect(),
        etag: contact.etag,
    }
}

/// The name in the API of a column.
fn api_name(column: &str) -> String {
    let known = EDITABLE.iter().find(|(_, own)| *own == column);
    known.map_or(column, |(name, _)| name).to_owned()
}

/// The tags of a contact. An administrator may have put other things than texts among them: those go out as
/// their JSON text.
fn tags(json: &str) -> Vec<String> {
    let tags: Vec<serde_json::Value> = serde_json::from_str(json).unwrap_or_default();
    tags.into_iter()
        .map(|tag| match tag {
            serde_json::Value::String(text) => text,
            other => other.to_string(),
        })
        .collect()
}
