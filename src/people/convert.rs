//! Between the messages about people and the values of the domain and the repository.

use chrono::{DateTime, Utc};
use diesel_async::AsyncPgConnection;
use uuid::Uuid;

use super::repository::people::{
    self as repository, Changes, Person, PersonKey, UniqueKey, WriteOutcome,
};
use crate::{
    domain::{Email, LinkedInKind, LinkedInUrl},
    golden::fields,
    proto::people::v1 as pb,
    rpc::{Error, to_timestamp},
};

/// The fields that a change sets: their names in the API and their columns are the same.
const EDITABLE: [&str; 10] = [
    "name",
    "first_name",
    "last_name",
    "title",
    "company_id",
    "linkedin_url",
    "phone",
    "location",
    "seniority",
    "department",
];

/// The fields that nobody changes.
const IMMUTABLE: [&str; 8] = [
    "person_id",
    "email",
    "create_time",
    "update_time",
    "enrich_time",
    "status",
    "pinned_fields",
    "etag",
];

/// A person's key; `field` is where it stands in the request.
pub(super) fn key(field: &'static str, key: Option<&pb::PersonKey>) -> Result<PersonKey, Error> {
    use pb::person_key::Key;
    match key.and_then(|key| key.key.as_ref()) {
        Some(Key::PersonId(id)) => Ok(PersonKey::Unique(UniqueKey::Id(fields::id(field, id)?))),
        Some(Key::Email(email)) => Email::parse(email)
            .map(|email| PersonKey::Unique(UniqueKey::Email(email.to_string())))
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

/// The id of the person who has a key.
///
/// # Errors
/// [`Error::NotFound`], [`Error::AmbiguousKey`].
pub(super) async fn person_id(
    connection: &mut AsyncPgConnection,
    key: &PersonKey,
) -> Result<Uuid, Error> {
    let found = match key {
        PersonKey::Unique(UniqueKey::Id(id)) => {
            let exists = repository::person_exists(connection, *id).await?;
            exists.then_some(*id)
        }
        PersonKey::Unique(UniqueKey::Email(_)) => {
            let people =
                repository::find_people(connection, std::slice::from_ref(key), usize::MAX).await?;
            people.first().map(|person| person.id)
        }
        PersonKey::LinkedIn(url) => by_linkedin(connection, url).await?.map(|person| person.id),
    };
    found.ok_or_else(|| no_such(key))
}

/// The person who has a LinkedIn profile.
///
/// # Errors
/// [`Error::AmbiguousKey`] where several have it.
pub(super) async fn by_linkedin(
    connection: &mut AsyncPgConnection,
    url: &str,
) -> Result<Option<Person>, Error> {
    /// How many ids an error names; more do not fit into a status.
    const MOST_NAMED: i64 = 20;
    let mut people = repository::find_by_linkedin(connection, url, MOST_NAMED).await?;
    if people.len() > 1 {
        let ids: Vec<String> = people.iter().map(|person| person.id.to_string()).collect();
        return Err(Error::AmbiguousKey {
            resource: "person",
            key: url.to_owned(),
            ids: ids.join(","),
        });
    }
    Ok(people.pop())
}

/// There is no person with a key.
pub(super) fn no_such(key: &PersonKey) -> Error {
    Error::NotFound {
        resource: "person",
        key: match key {
            PersonKey::Unique(UniqueKey::Id(id)) => id.to_string(),
            PersonKey::Unique(UniqueKey::Email(email)) => email.clone(),
            PersonKey::LinkedIn(url) => url.clone(),
        },
    }
}

/// There is no person with an id.
pub(super) fn not_found(person_id: Uuid) -> Error {
    no_such(&PersonKey::Unique(UniqueKey::Id(person_id)))
}

/// The columns that a list of the API's names stands for.
pub(super) fn columns(field: &'static str, names: &[String]) -> Result<Vec<&'static str>, Error> {
    fields::columns(field, names, &EDITABLE, &IMMUTABLE)
}

/// The new values of the fields in a mask, each checked.
pub(super) fn changes(person: &pb::Person, mask: &[&'static str]) -> Result<Changes, Error> {
    let mut changes = Changes::new();
    for column in mask {
        changes.insert(column, change(person, column)?);
    }
    Ok(changes)
}

fn change(person: &pb::Person, column: &str) -> Result<String, Error> {
    let (field, text) = match column {
        "name" => ("person.name", &person.name),
        "first_name" => ("person.first_name", &person.first_name),
        "last_name" => ("person.last_name", &person.last_name),
        "title" => ("person.title", &person.title),
        "company_id" => ("person.company_id", &person.company_id),
        "linkedin_url" => ("person.linkedin_url", &person.linkedin_url),
        "phone" => ("person.phone", &person.phone),
        "location" => ("person.location", &person.location),
        "seniority" => ("person.seniority", &person.seniority),
        _ => ("person.department", &person.department),
    };
    fields::indexed(field, text.clone())?;
    match column {
        _ if text.trim().is_empty() => Ok(String::new()),
        "company_id" => fields::id(field, text.trim()).map(|id| id.to_string()),
        "linkedin_url" => LinkedInUrl::parse(LinkedInKind::Person, text)
            .map(|url| url.to_string())
            .map_err(|error| Error::invalid(field, error)),
        _ => Ok(text.trim().to_owned()),
    }
}

/// The person after a write, unless it was refused.
pub(super) fn written(person_id: Uuid, outcome: Option<WriteOutcome>) -> Result<pb::Person, Error> {
    let written = outcome.ok_or_else(|| not_found(person_id))?;
    match written.outcome.as_str() {
        "etag_mismatch" => Err(Error::EtagMismatch {
            resource: "person",
            key: person_id.to_string(),
            current: written.person.etag,
        }),
        "no_company" => Err(no_company()),
        _ => Ok(person(written.person)),
    }
}

/// A `company_id` that no company has.
pub(super) fn no_company() -> Error {
    Error::invalid("person.company_id", "no company has this id")
}

/// A person for the wire.
pub(super) fn person(person: Person) -> pb::Person {
    let status = match person.status.as_str() {
        "active" => pb::PersonStatus::Active,
        "inactive" => pb::PersonStatus::Inactive,
        "bounced" => pb::PersonStatus::Bounced,
        _ => pb::PersonStatus::Unspecified,
    };
    let time = |time: DateTime<Utc>| Some(to_timestamp(time));
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
        create_time: time(person.created_at),
        update_time: time(person.updated_at),
        enrich_time: person.enriched_at.and_then(time),
        status: status.into(),
        pinned_fields: person.pinned_fields,
        etag: person.etag,
    }
}
