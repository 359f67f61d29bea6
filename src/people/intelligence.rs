//! What is known of people: `PutIntelligence`, `GetIntelligence`.

use std::collections::HashSet;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::value::RawValue;
use uuid::Uuid;

use super::{
    convert,
    repository::intelligence::{self as repository, Intelligence, NewIntelligence},
};
use crate::{
    config::EnrichmentSettings,
    domain::row::{RowLimits, validate_object},
    golden::fields,
    proto::people::v1 as pb,
    room::Room,
    rpc::{Error, from_timestamp, to_timestamp},
};

/// All of the JSON of a person together, in bytes.
const MAX_BYTES: usize = 1024 * 1024;
/// The most skills of a person.
const MAX_SKILLS: usize = 1_000;
/// How far the clock of a worker may run ahead of ours: a time within it is no time in the future.
const CLOCK_SKEW: TimeDelta = TimeDelta::minutes(1);

/// Where an [`pb::Intelligence`] and its fields stand in a request.
pub(super) struct Fields {
    whole: &'static str,
    pub(super) person_id: &'static str,
    profile: &'static str,
    skills: &'static str,
    experience: &'static str,
    education: &'static str,
    fetch_time: &'static str,
}

/// The fields of `PutIntelligence` and `CompleteEnrichment`, which name them alike.
pub(super) const FIELDS: Fields = Fields {
    whole: "intelligence",
    person_id: "intelligence.person_id",
    profile: "intelligence.profile_json",
    skills: "intelligence.skills",
    experience: "intelligence.experience_json",
    education: "intelligence.education_json",
    fetch_time: "intelligence.fetch_time",
};

pub(super) async fn put_intelligence(
    room: &Room,
    settings: &EnrichmentSettings,
    request: pb::PutIntelligenceRequest,
) -> Result<pb::PutIntelligenceResponse, Error> {
    let sent = request
        .intelligence
        .ok_or_else(|| Error::invalid(FIELDS.whole, "is missing"))?;
    let person_id = fields::id(FIELDS.person_id, &sent.person_id)?;
    let new = parse(sent, room.limits.max_depth)?;
    let ttl = settings.intelligence_ttl;
    let mut connection = room.connection().await?;
    let put = room
        .uncut(async move { repository::put(&mut connection, person_id, &new, ttl).await })
        .await?
        .ok_or_else(|| convert::not_found(person_id))?;
    Ok(pb::PutIntelligenceResponse {
        stored: !matches!(put.outcome.as_str(), "older" | "older_than_stale"),
        intelligence: (put.outcome != "older_than_stale").then(|| intelligence(put.intelligence)),
    })
}

pub(super) async fn get_intelligence(
    room: &Room,
    request: pb::GetIntelligenceRequest,
) -> Result<pb::GetIntelligenceResponse, Error> {
    let key = convert::key("key", request.key.as_ref())?;
    let mut connection = room.connection().await?;
    let person_id = convert::person_id(&mut connection, &key).await?;
    let known = repository::get(&mut connection, person_id)
        .await?
        .ok_or_else(|| Error::NotFound {
            resource: "intelligence",
            key: person_id.to_string(),
        })?;
    if known.stale {
        return Err(Error::IntelligenceStale {
            person_id: person_id.to_string(),
            stale_at: known.intelligence.stale_at.to_rfc3339(),
        });
    }
    Ok(pb::GetIntelligenceResponse {
        intelligence: Some(intelligence(known.intelligence)),
    })
}

/// Reads what is to be stored; `max_depth` is how deep its JSON may nest.
pub(super) fn parse(sent: pb::Intelligence, max_depth: usize) -> Result<NewIntelligence, Error> {
    let skills = skills(sent.skills)?;
    let texts = [
        &sent.profile_json,
        &sent.experience_json,
        &sent.education_json,
    ];
    let bytes: usize = texts.into_iter().chain(&skills).map(String::len).sum();
    if bytes > MAX_BYTES {
        return Err(Error::invalid(
            FIELDS.whole,
            format!("has {bytes} bytes of JSON, at most {MAX_BYTES} are taken"),
        ));
    }
    let limits = RowLimits {
        max_row_bytes: MAX_BYTES,
        max_depth,
        ..RowLimits::default()
    };
    object(FIELDS.profile, &sent.profile_json, &limits)?;
    Ok(NewIntelligence {
        profile: sent.profile_json,
        skills,
        experience: list_or_object(FIELDS.experience, sent.experience_json, &limits)?,
        education: list_or_object(FIELDS.education, sent.education_json, &limits)?,
        fetched_at: fetched_at(from_timestamp(FIELDS.fetch_time, sent.fetch_time)?)?,
    })
}

fn fetched_at(time: Option<DateTime<Utc>>) -> Result<Option<DateTime<Utc>>, Error> {
    if time.is_some_and(|time| time > Utc::now() + CLOCK_SKEW) {
        return Err(Error::invalid(
            FIELDS.fetch_time,
            "is in the future: give the time at which it was fetched",
        ));
    }
    Ok(time)
}

/// The skills, each once, in their order.
fn skills(sent: Vec<String>) -> Result<Vec<String>, Error> {
    if sent.len() > MAX_SKILLS {
        let description = format!("holds {}, at most {MAX_SKILLS} are taken", sent.len());
        return Err(Error::invalid(FIELDS.skills, description));
    }
    for skill in &sent {
        fields::indexed(FIELDS.skills, skill.clone())?;
        if skill.trim().is_empty() {
            return Err(Error::invalid(FIELDS.skills, "a skill must not be blank"));
        }
    }
    let mut seen = HashSet::new();
    let mut skills = sent;
    skills.retain(|skill| seen.insert(skill.clone()));
    Ok(skills)
}

/// Checks that a text is a JSON object that PostgreSQL stores and prints.
fn object(field: &'static str, json: &str, limits: &RowLimits) -> Result<(), Error> {
    if json.trim().is_empty() {
        return Err(Error::invalid(field, "is missing: give a JSON object"));
    }
    validate_object(json.as_bytes(), limits).map_err(|rejection| {
        let place = match rejection.pointer.as_str() {
            "" => String::new(),
            pointer => format!("{pointer}: "),
        };
        Error::invalid(field, format!("{place}{}", rejection.detail))
    })
}

/// A JSON array or object; `None` for the empty text.
fn list_or_object(
    field: &'static str,
    json: String,
    limits: &RowLimits,
) -> Result<Option<String>, Error> {
    if json.trim().is_empty() {
        return Ok(None);
    }
    // One value, so that it can be looked at as the value of an object.
    let value: &RawValue = serde_json::from_str(&json)
        .map_err(|error| Error::invalid(field, format!("not JSON: {error}")))?;
    if !value.get().starts_with(['[', '{']) {
        return Err(Error::invalid(field, "must be a JSON array or object"));
    }
    let wrapped = format!("{{\"value\":{}}}", value.get());
    let limits = RowLimits {
        max_row_bytes: limits.max_row_bytes + wrapped.len() - value.get().len(),
        max_depth: limits.max_depth + 1,
        ..limits.clone()
    };
    object(field, &wrapped, &limits)?;
    Ok(Some(json))
}

fn intelligence(known: Intelligence) -> pb::Intelligence {
    pb::Intelligence {
        person_id: known.person_id.to_string(),
        profile_json: known.profile,
        skills: known.skills,
        experience_json: known.experience.unwrap_or_default(),
        education_json: known.education.unwrap_or_default(),
        fetch_time: Some(to_timestamp(known.fetched_at)),
        stale_time: Some(to_timestamp(known.stale_at)),
    }
}

/// Refuses intelligence of somebody else than the person in question; its id may be left out.
pub(super) fn check_owner(sent: &pb::Intelligence, person_id: Uuid) -> Result<(), Error> {
    if !sent.person_id.is_empty() && fields::id(FIELDS.person_id, &sent.person_id)? != person_id {
        return Err(Error::invalid(
            FIELDS.person_id,
            "is another person than person_id; leave it out",
        ));
    }
    Ok(())
}
