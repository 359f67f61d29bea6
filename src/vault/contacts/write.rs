//! `UpdateContact`, `DeleteContact`, `BatchScoreContacts`.

use std::collections::HashSet;

use diesel_async::{AsyncConnection as _, AsyncPgConnection};
use pb::batch_score_contacts_response::Outcome;
use serde_json::value::{RawValue, to_raw_value};

use super::{
    super::{
        repository::contacts::{self as repository, Changes, NewScore},
        service::Shared,
    },
    convert::{self, EDITABLE, IMMUTABLE},
};
use crate::{
    domain::{
        Actor, MAX_INDEXED_TEXT_BYTES, Score,
        row::{RowLimits, validate_object},
    },
    proto::vault::v1 as pb,
    rpc::{Answers, Begun, Error},
};

/// The longest tag, in bytes.
const MAX_TAG_BYTES: usize = 100;
/// The most tags of a contact.
const MAX_TAGS: usize = 1_000;
/// The longest reason of a score, in bytes.
const MAX_REASON_BYTES: usize = 1_000;

pub(in crate::vault) async fn update(
    shared: &Shared,
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
    let changes = changes(&contact, &mask, &shared.limits.row())?;
    let mut connection = shared.connection().await?;
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
    shared: &Shared,
    request: pb::DeleteContactRequest,
    actor: Actor,
) -> Result<pb::DeleteContactResponse, Error> {
    let etag = etag("etag", &request.etag)?;
    let contact_id = request.contact_id;
    let mut connection = shared.connection().await?;
    let outcome = repository::delete_contact(&mut connection, contact_id, &etag, &actor).await?;
    Ok(pb::DeleteContactResponse {
        contact: Some(convert::written(contact_id, outcome)?),
    })
}

/// An etag as a caller sent it: it is only ever compared, but what PostgreSQL cannot read it cannot compare.
fn etag(field: &'static str, text: &str) -> Result<String, Error> {
    if text.is_empty() {
        return Err(Error::invalid(
            field,
            "is required: pass the etag of the contact as it was read",
        ));
    }
    Ok(text.replace('\0', "\u{fffd}"))
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
            "name" => text("contact.name", &contact.name)?,
            "phone" => text("contact.phone", &contact.phone)?,
            "company" => text("contact.company", &contact.company)?,
            "title" => text("contact.title", &contact.title)?,
            "tags" => tags(&contact.tags)?,
            _ => custom_fields(&contact.custom_fields_json, limits)?,
        };
        changes.insert(column, value);
    }
    Ok(changes)
}

fn text(field: &'static str, text: &str) -> Result<Box<RawValue>, Error> {
    convert::check_text(field, text, MAX_INDEXED_TEXT_BYTES)?;
    to_raw_value(text).map_err(Error::internal)
}

fn tags(tags: &[String]) -> Result<Box<RawValue>, Error> {
    const FIELD: &str = "contact.tags";
    if tags.len() > MAX_TAGS {
        let description = format!("holds {}, at most {MAX_TAGS} are taken", tags.len());
        return Err(Error::invalid(FIELD, description));
    }
    for tag in tags {
        convert::check_text(FIELD, tag, MAX_TAG_BYTES)?;
        if tag.trim().is_empty() {
            return Err(Error::invalid(FIELD, "a tag must not be blank"));
        }
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

pub(in crate::vault) async fn score(
    shared: &Shared,
    request: pb::BatchScoreContactsRequest,
    actor: Actor,
) -> Result<pb::BatchScoreContactsResponse, Error> {
    let call = ScoreCall::parse(request, shared.limits.max_ingest_rows)?;
    let mut connection = shared.connection().await?;
    shared
        .uncut(async move {
            connection
                .transaction(async |connection| call.in_txn(connection, &actor).await)
                .await
        })
        .await
}

/// One call of `BatchScoreContacts`, parsed.
struct ScoreCall {
    request: pb::BatchScoreContactsRequest,
    scores: Vec<NewScore>,
    /// What is known of each outcome before the database is asked: only that a score is none.
    invalid: Vec<bool>,
}

impl ScoreCall {
    fn parse(request: pb::BatchScoreContactsRequest, limit: usize) -> Result<Self, Error> {
        if request.scores.is_empty() {
            return Err(Error::invalid("scores", "give at least one"));
        }
        convert::within("scores", request.scores.len(), limit)?;
        let (mut scores, mut invalid) = (Vec::new(), Vec::new());
        let mut named = HashSet::new();
        for sent in &request.scores {
            convert::check_text("scores.reason", &sent.reason, MAX_REASON_BYTES)?;
            if !named.insert(sent.contact_id) {
                let description = format!("contact {} is named twice", sent.contact_id);
                return Err(Error::invalid("scores.contact_id", description));
            }
            let score = Score::parse(&sent.score);
            invalid.push(score.is_err());
            scores.extend(score.ok().map(|score| NewScore {
                contact_id: sent.contact_id,
                score,
                reason: sent.reason.clone(),
            }));
        }
        Ok(Self {
            request,
            scores,
            invalid,
        })
    }

    /// Sets the scores and keeps the answer in one transaction.
    async fn in_txn(
        self,
        connection: &mut AsyncPgConnection,
        actor: &Actor,
    ) -> Result<pb::BatchScoreContactsResponse, Error> {
        let request_id = &self.request.request_id;
        let answers = Answers::parse(actor, "BatchScoreContacts", request_id, &self.request)?;
        if let Some(answers) = &answers
            && let Begun::Answered(response) = answers.begin(connection).await?
        {
            return Ok(response);
        }
        let outcomes = repository::score_contacts(connection, &self.scores, actor).await?;
        let mut outcomes = outcomes.into_iter();
        let mut response = pb::BatchScoreContactsResponse::default();
        for invalid in self.invalid {
            let outcome = if invalid {
                Outcome::InvalidScore
            } else {
                match outcomes.next().as_deref() {
                    Some("scored") => Outcome::Scored,
                    Some("unchanged") => Outcome::Unchanged,
                    Some("not_found") => Outcome::NotFound,
                    other => {
                        return Err(Error::internal(format!("f_score_contacts: {other:?}")));
                    }
                }
            };
            response.outcomes.push(outcome.into());
        }
        if let Some(answers) = &answers {
            answers.keep(connection, &response).await?;
        }
        Ok(response)
    }
}
