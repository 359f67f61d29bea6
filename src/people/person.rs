//! People in the messages of intelligence and of the enrichment queue.

use std::collections::BTreeMap;

use diesel_async::AsyncPgConnection;
use uuid::Uuid;

use super::repository::person::{self as repository, Person, PersonKey};
use crate::{
    domain::{Email, LinkedInKind, LinkedInUrl, MAX_INDEXED_TEXT_BYTES},
    proto::people::v1 as pb,
    rpc::{Error, to_timestamp},
};

/// An id, in any of the spellings that a UUID has.
pub(super) fn uuid(field: &'static str, text: &str) -> Result<Uuid, Error> {
    Uuid::parse_str(text).map_err(|_| Error::invalid(field, "must be a UUID"))
}

/// Refuses a text that is too long, or that PostgreSQL cannot store.
pub(super) fn check_text(field: &'static str, text: &str, max_bytes: usize) -> Result<(), Error> {
    let bytes = text.len();
    if bytes > max_bytes {
        let description = format!("has {bytes} bytes, at most {max_bytes} are taken");
        return Err(Error::invalid(field, description));
    }
    if text.contains('\0') {
        return Err(Error::invalid(field, "must not hold the character U+0000"));
    }
    Ok(())
}

pub(super) fn not_found(key: impl ToString) -> Error {
    Error::NotFound {
        resource: "person",
        key: key.to_string(),
    }
}

/// A person's key; `field` is where it stands in the request.
pub(super) fn key(field: &'static str, key: Option<&pb::PersonKey>) -> Result<PersonKey, Error> {
    use pb::person_key::Key;
    match key.and_then(|key| key.key.as_ref()) {
        Some(Key::PersonId(id)) => uuid(field, id).map(PersonKey::Id),
        Some(Key::Email(email)) => Email::parse(email)
            .map(|email| PersonKey::Email(email.to_string()))
            .map_err(|error| Error::invalid(field, error)),
        Some(Key::LinkedinUrl(url)) => LinkedInUrl::parse(LinkedInKind::Person, url)
            .map(|url| PersonKey::LinkedIn(url.to_string()))
            .map_err(|error| Error::invalid(field, error)),
        None => Err(Error::invalid(
            field,
            "give person_id, email or linkedin_url",
        )),
    }
}

/// The one person who has a key.
pub(super) async fn id_of(
    connection: &mut AsyncPgConnection,
    key: &PersonKey,
) -> Result<Uuid, Error> {
    let text = match key {
        PersonKey::Id(id) => id.to_string(),
        PersonKey::Email(text) | PersonKey::LinkedIn(text) => text.clone(),
    };
    match repository::ids(connection, key).await?.as_slice() {
        [] => Err(not_found(text)),
        [id] => Ok(*id),
        ids => Err(Error::AmbiguousKey {
            resource: "person",
            key: text,
            ids: ids
                .iter()
                .map(Uuid::to_string)
                .collect::<Vec<_>>()
                .join(","),
        }),
    }
}

/// The fields in the mask with their new values, checked, as a JSON object of texts by column.
pub(super) fn changes(person: &pb::Person, mask: &[String]) -> Result<String, Error> {
    let mut changes = BTreeMap::new();
    for name in mask {
        let (column, value) = change(person, name)?;
        changes.insert(column, value);
    }
    serde_json::to_string(&changes).map_err(Error::internal)
}

fn change(person: &pb::Person, name: &str) -> Result<(&'static str, String), Error> {
    let (column, field, value) = match name {
        "name" => ("name", "person.name", &person.name),
        "first_name" => ("first_name", "person.first_name", &person.first_name),
        "last_name" => ("last_name", "person.last_name", &person.last_name),
        "title" => ("title", "person.title", &person.title),
        "company_id" => ("company_id", "person.company_id", &person.company_id),
        "linkedin_url" => ("linkedin_url", "person.linkedin_url", &person.linkedin_url),
        "phone" => ("phone", "person.phone", &person.phone),
        "location" => ("location", "person.location", &person.location),
        "seniority" => ("seniority", "person.seniority", &person.seniority),
        "department" => ("department", "person.department", &person.department),
        _ => {
            return Err(Error::invalid(
                "update_mask",
                format!("{name:?} is not a field of a person that can be changed"),
            ));
        }
    };
    check_text(field, value, MAX_INDEXED_TEXT_BYTES)?;
    let value = match column {
        _ if value.trim().is_empty() => String::new(),
        "company_id" => uuid(field, value)?.to_string(),
        "linkedin_url" => LinkedInUrl::parse(LinkedInKind::Person, value)
            .map_err(|error| Error::invalid(field, error))?
            .to_string(),
        _ => value.clone(),
    };
    Ok((column, value))
}

/// A person on the wire.
pub(super) fn person(person: Person) -> pb::Person {
    let status = match person.status.as_str() {
        "active" => pb::PersonStatus::Active,
        "inactive" => pb::PersonStatus::Inactive,
        "bounced" => pb::PersonStatus::Bounced,
        _ => pb::PersonStatus::Unspecified,
    };
    pb::Person {
        person_id: person.id.to_string(),
        email: person.email,
        name: person.name.unwrap_or_default(),
        first_name: person.first_name.unwrap_or_default(),
        last_name: person.last_name.unwrap_or_default(),
        title: person.title.unwrap_or_default(),
        company_id: person
            .company_id
            .map(|id| id.to_string())
            .unwrap_or_default(),
        linkedin_url: person.linkedin_url.unwrap_or_default(),
        phone: person.phone.unwrap_or_default(),
        location: person.location.unwrap_or_default(),
        seniority: person.seniority.unwrap_or_default(),
        department: person.department.unwrap_or_default(),
        create_time: Some(to_timestamp(person.created_at)),
        update_time: Some(to_timestamp(person.updated_at)),
        enrich_time: person.enriched_at.map(to_timestamp),
        status: status.into(),
        pinned_fields: person.pinned_fields,
        etag: person.etag,
    }
}
