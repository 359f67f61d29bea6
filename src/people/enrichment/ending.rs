//! How a lease ends, and how a dead entry comes back: `CompleteEnrichment`, `FailEnrichment`,
//! `ReviveEnrichment`.

use pb::revive_enrichment_response::Outcome;
use uuid::Uuid;

use super::{
    super::{
        convert as people, intelligence,
        repository::enrichment::{self as repository, Backoff, Completion},
    },
    convert,
};
use crate::{
    config::EnrichmentSettings, domain::Actor, golden::fields, proto::people::v1 as pb, room::Room,
    rpc::Error,
};

pub(in crate::people) async fn complete_enrichment(
    room: &Room,
    settings: &EnrichmentSettings,
    request: pb::CompleteEnrichmentRequest,
    actor: Actor,
) -> Result<pb::CompleteEnrichmentResponse, Error> {
    let completion = completion(request, room)?;
    let (person_id, ttl) = (completion.person_id, settings.intelligence_ttl);
    let mut connection = room.connection().await?;
    let completed = room
        .uncut(async move { repository::complete(&mut connection, &completion, ttl, &actor).await })
        .await?
        .ok_or_else(|| convert::no_entry(person_id))?;
    match completed.outcome.as_str() {
        "completed" => Ok(pb::CompleteEnrichmentResponse {
            entry: Some(convert::entry(completed.entry)),
            person: Some(people::person(completed.person)),
        }),
        "lost" => Err(lost(person_id, completed.entry.state)),
        "no_company" => Err(Error::invalid(
            "person.company_id",
            "no company has this id",
        )),
        other => Err(Error::internal(format!("f_complete: {other}"))),
    }
}

fn lost(person_id: Uuid, state: String) -> Error {
    Error::LeaseLost {
        person_id: person_id.to_string(),
        state,
    }
}

/// Reads what a worker found, or why it found nothing.
fn completion(request: pb::CompleteEnrichmentRequest, room: &Room) -> Result<Completion, Error> {
    let person_id = fields::id("person_id", &request.person_id)?;
    let lease_token = lease_token(request.lease_token)?;
    let mask = request.update_mask.unwrap_or_default().paths;
    let found = !mask.is_empty() || request.intelligence.is_some();
    check_reason(&request.not_found_reason, found)?;
    let sent = request.person.unwrap_or_default();
    if !sent.person_id.is_empty() && fields::id("person.person_id", &sent.person_id)? != person_id {
        return Err(Error::invalid(
            "person.person_id",
            "is another person than person_id; leave it out",
        ));
    }
    let mask = people::columns("update_mask", &mask)?;
    let changes = people::changes(&sent, &mask)?;
    let intelligence = request
        .intelligence
        .map(|sent| {
            intelligence::check_owner(&sent, person_id)?;
            intelligence::parse(sent, room.limits.max_depth)
        })
        .transpose()?;
    Ok(Completion {
        person_id,
        lease_token,
        changes: found.then_some(changes),
        intelligence,
        reason: Some(request.not_found_reason).filter(|reason| !reason.is_empty()),
    })
}

fn check_reason(reason: &str, found: bool) -> Result<(), Error> {
    const FIELD: &str = "not_found_reason";
    fields::indexed(FIELD, reason.to_owned())?;
    match (reason.trim().is_empty(), found) {
        (true, false) => Err(Error::invalid(
            FIELD,
            "give what was found (update_mask, intelligence), or why nothing was",
        )),
        (false, true) => Err(Error::invalid(
            FIELD,
            "something was found; leave it out, or leave out update_mask and intelligence",
        )),
        _ => Ok(()),
    }
}

/// A token as `LeaseEnrichment` gives them out: from 1 on.
fn lease_token(token: i64) -> Result<i64, Error> {
    if token < 1 {
        return Err(Error::invalid(
            "lease_token",
            "is required: pass the token of the lease",
        ));
    }
    Ok(token)
}

pub(in crate::people) async fn fail_enrichment(
    room: &Room,
    settings: &EnrichmentSettings,
    request: pb::FailEnrichmentRequest,
) -> Result<pb::FailEnrichmentResponse, Error> {
    let person_id = fields::id("person_id", &request.person_id)?;
    let lease_token = lease_token(request.lease_token)?;
    fields::indexed("error", request.error.clone())?;
    if request.error.trim().is_empty() {
        return Err(Error::invalid("error", "say what went wrong"));
    }
    let backoff = Backoff {
        base: settings.enrichment_backoff,
        cap: settings.enrichment_backoff_cap,
    };
    let (error, permanent) = (request.error, request.permanent);
    let mut connection = room.connection().await?;
    let failed = room
        .uncut(async move {
            repository::fail(
                &mut connection,
                person_id,
                lease_token,
                &error,
                permanent,
                backoff,
            )
            .await
        })
        .await?
        .ok_or_else(|| convert::no_entry(person_id))?;
    match failed.outcome.as_str() {
        "failed" => Ok(pb::FailEnrichmentResponse {
            entry: Some(convert::entry(failed.entry)),
        }),
        "lost" => Err(lost(person_id, failed.entry.state)),
        other => Err(Error::internal(format!("f_fail: {other}"))),
    }
}

pub(in crate::people) async fn revive_enrichment(
    room: &Room,
    settings: &EnrichmentSettings,
    request: pb::ReviveEnrichmentRequest,
    actor: Actor,
) -> Result<pb::ReviveEnrichmentResponse, Error> {
    convert::some_within(
        "person_ids",
        request.person_ids.len(),
        room.limits.max_ingest_rows,
    )?;
    let person_ids = request
        .person_ids
        .iter()
        .map(|text| fields::id("person_ids", text))
        .collect::<Result<Vec<Uuid>, Error>>()?;
    let max_failures = settings.enrichment_max_failures;
    let mut connection = room.connection().await?;
    let outcomes = room
        .uncut(async move {
            repository::revive(&mut connection, &person_ids, max_failures, &actor).await
        })
        .await?;
    let outcomes = outcomes.iter().map(|outcome| {
        Ok(i32::from(match outcome.as_str() {
            "revived" => Outcome::Revived,
            "not_dead" => Outcome::NotDead,
            "not_found" => Outcome::NotFound,
            "suppressed" => Outcome::Suppressed,
            other => return Err(Error::internal(format!("f_revive: {other}"))),
        }))
    });
    Ok(pb::ReviveEnrichmentResponse {
        outcomes: outcomes.collect::<Result<_, Error>>()?,
    })
}
