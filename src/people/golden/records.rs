//! People: one, many, lists, and how they came to be what they are.

use std::collections::HashMap;

use chrono::{DateTime, Utc};

use super::PEOPLE;
use crate::{
    domain::Email,
    golden::{
        fields,
        history::{self, HistoryQuery},
    },
    people::{
        convert,
        repository::people::{
            self as repository, PageKey, Person, PersonFilter, PersonKey, PersonOrder, SortBy,
            UniqueKey,
        },
    },
    proto::people::v1 as pb,
    room::Room,
    rpc::{Error, PageRequest, from_timestamp},
};

pub(super) async fn get(
    room: &Room,
    request: pb::GetPersonRequest,
) -> Result<pb::GetPersonResponse, Error> {
    let key = convert::key("key", request.key.as_ref())?;
    let person = match from_timestamp("as_of", request.as_of)? {
        Some(at) => get_as_of(room, &key, at).await?,
        None => get_now(room, &key).await?,
    };
    let person = person.ok_or_else(|| convert::no_such(&key))?;
    Ok(pb::GetPersonResponse {
        person: Some(convert::person(person)),
    })
}

async fn get_now(room: &Room, key: &PersonKey) -> Result<Option<Person>, Error> {
    match key {
        PersonKey::Unique(key) => Ok(room
            .point_read(|connection| repository::get_person(connection, key.clone()))
            .await?),
        PersonKey::LinkedIn(url) => {
            let mut connection = room.connection().await?;
            convert::by_linkedin(&mut connection, url).await
        }
    }
}

async fn get_as_of(
    room: &Room,
    key: &PersonKey,
    at: DateTime<Utc>,
) -> Result<Option<Person>, Error> {
    let mut connection = room.connection().await?;
    let person_id = convert::person_id(&mut connection, key).await?;
    repository::get_person_as_of(&mut connection, person_id, at).await
}

pub(super) async fn batch_get(
    room: &Room,
    request: pb::BatchGetPeopleRequest,
) -> Result<pb::BatchGetPeopleResponse, Error> {
    if request.keys.is_empty() {
        return Err(Error::invalid("keys", "give at least one"));
    }
    let limits = &room.limits;
    fields::within(
        "keys",
        request.keys.len(),
        limits.max_ingest_rows,
        "max-ingest-rows",
    )?;
    let keys = request.keys.iter();
    let keys = keys
        .map(|key| convert::key("keys", Some(key)))
        .collect::<Result<Vec<PersonKey>, Error>>()?;
    let mut connection = room.connection().await?;
    let found = repository::find_people(&mut connection, &keys, limits.max_frame_bytes).await?;
    drop(connection);

    let by_key = by_key(&found);
    let mut people: Vec<Option<Person>> = found.iter().cloned().map(Some).collect();
    let mut response = pb::BatchGetPeopleResponse::default();
    for (key, sent) in keys.iter().zip(request.keys) {
        match by_key.get(key) {
            // Named twice, it is there once.
            Some(places) => {
                let named = places.iter().filter_map(|place| people[*place].take());
                response.people.extend(named.map(convert::person));
            }
            None => response.not_found.push(sent),
        }
    }
    Ok(response)
}

/// The places of people in a list by each of their keys.
fn by_key(people: &[Person]) -> HashMap<PersonKey, Vec<usize>> {
    let mut places: HashMap<PersonKey, Vec<usize>> = HashMap::new();
    for (place, person) in people.iter().enumerate() {
        let keys = [
            Some(PersonKey::Unique(UniqueKey::Id(person.id))),
            Some(PersonKey::Unique(UniqueKey::Email(person.email.clone()))),
            person.linkedin_url.clone().map(PersonKey::LinkedIn),
        ];
        for key in keys.into_iter().flatten() {
            places.entry(key).or_default().push(place);
        }
    }
    places
}

pub(super) async fn list(
    room: &Room,
    mut request: pb::ListPeopleRequest,
) -> Result<pb::ListPeopleResponse, Error> {
    let paging = PageRequest::<PageKey>::of("ListPeople", &mut request, |request| {
        (&mut request.page_size, &mut request.page_token)
    })?
    .within(room.limits.max_page_bytes);
    let order = order(request.order_by)?;
    let filter = filter(request.filter.unwrap_or_default())?;
    let mut connection = room.connection().await?;
    let page = repository::list_people(&mut connection, &filter, order, &paging).await?;
    let next_page_token = match page.items.last().filter(|_| page.more) {
        Some(last) => paging.token(&PageKey::of(last, order))?,
        None => String::new(),
    };
    Ok(pb::ListPeopleResponse {
        people: page.items.into_iter().map(convert::person).collect(),
        next_page_token,
    })
}

fn order(number: i32) -> Result<PersonOrder, Error> {
    use pb::PersonOrder as Pb;
    let order: Pb = fields::known("order_by", number)?;
    let by = match order {
        Pb::Unspecified | Pb::CreatedAsc | Pb::CreatedDesc => SortBy::Created,
        Pb::UpdatedAsc | Pb::UpdatedDesc => SortBy::Updated,
    };
    let descending = matches!(order, Pb::CreatedDesc | Pb::UpdatedDesc);
    Ok(PersonOrder { by, descending })
}

fn filter(filter: pb::PersonFilter) -> Result<PersonFilter, Error> {
    let company_id = (!filter.company_id.is_empty())
        .then(|| fields::id("filter.company_id", &filter.company_id));
    let prefix =
        |field, text| Ok::<_, Error>(fields::indexed(field, text)?.map(|text| like(&text)));
    if filter.unlinked && company_id.is_some() {
        return Err(Error::invalid(
            "filter.unlinked",
            "whoever has this company_id has a company",
        ));
    }
    Ok(PersonFilter {
        status: status(filter.status)?,
        company_id: company_id.transpose()?,
        email_domain: email_domain(&filter.email_domain)?,
        name_prefix: prefix("filter.name_prefix", filter.name_prefix)?,
        location_prefix: prefix("filter.location_prefix", filter.location_prefix)?,
        seniority: fields::indexed("filter.seniority", filter.seniority)?,
        department: fields::indexed("filter.department", filter.department)?,
        enriched_before: from_timestamp("filter.enriched_before", filter.enriched_before)?,
        unlinked: filter.unlinked,
    })
}

/// The pattern of LIKE for what begins with a text.
fn like(prefix: &str) -> String {
    let mut pattern = String::with_capacity(prefix.len() + 1);
    for char in prefix.chars() {
        if matches!(char, '\\' | '%' | '_') {
            pattern.push('\\');
        }
        pattern.push(char);
    }
    pattern.push('%');
    pattern
}

/// The domain of emails, in any spelling; `None` for the empty text.
fn email_domain(text: &str) -> Result<Option<String>, Error> {
    if text.is_empty() {
        return Ok(None);
    }
    let email = Email::parse(&format!("x@{}", text.trim()))
        .map_err(|_| Error::invalid("filter.email_domain", "must be a host name with a dot"))?;
    Ok(Some(email.domain().to_owned()))
}

fn status(number: i32) -> Result<Option<&'static str>, Error> {
    Ok(match fields::known("filter.status", number)? {
        pb::PersonStatus::Unspecified => None,
        pb::PersonStatus::Active => Some("active"),
        pb::PersonStatus::Inactive => Some("inactive"),
        pb::PersonStatus::Bounced => Some("bounced"),
    })
}

pub(super) async fn list_history(
    room: &Room,
    mut request: pb::ListPersonHistoryRequest,
) -> Result<pb::ListPersonHistoryResponse, Error> {
    let paging = PageRequest::of("ListPersonHistory", &mut request, |request| {
        (&mut request.page_size, &mut request.page_token)
    })?;
    let key = convert::key("key", request.key.as_ref())?;
    let mut connection = room.connection().await?;
    let query = HistoryQuery {
        id: convert::person_id(&mut connection, &key).await?,
        changed_from: request.changed_from,
        changed_before: request.changed_before,
        order_by: request.order_by,
    };
    drop(connection);
    let (entries, next_page_token) = history::list(room, &PEOPLE, query, paging).await?;
    Ok(pb::ListPersonHistoryResponse {
        entries,
        next_page_token,
    })
}
