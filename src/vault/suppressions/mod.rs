//! Suppressions: the ledger of who is not to be contacted.

mod enter;
mod lift;

pub(super) use enter::suppress;
pub(super) use lift::unsuppress;

use super::{
    convert::{self, CHANNELS, REASONS, STATUSES},
    repository::suppressions::{self as repository, Standing, SuppressionFilter},
};
use crate::{
    domain::Email,
    proto::vault::v1::{self as pb, check_contactability_response::Answer},
    room::Room,
    rpc::{Error, PageRequest, check_items, to_timestamp},
};

/// The longest text that shows why, in bytes.
const MAX_EVIDENCE_BYTES: usize = 1_000;
/// The most of an address that is none that goes back to its sender, in bytes.
const MAX_ECHO_BYTES: usize = 320;

pub(super) async fn list(
    room: &Room,
    mut request: pb::ListSuppressionsRequest,
) -> Result<pb::ListSuppressionsResponse, Error> {
    let paging = PageRequest::of("ListSuppressions", &mut request, |request| {
        (&mut request.page_size, &mut request.page_token)
    })?
    .within(room.limits.max_page_bytes);
    let filter = filter(&request)?;
    let mut connection = room.connection().await?;
    let page = repository::list(&mut connection, &filter, &paging).await?;
    let last = page.items.last().filter(|_| page.more);
    Ok(pb::ListSuppressionsResponse {
        next_page_token: match last {
            Some(last) => paging.token(&last.suppression_id)?,
            None => String::new(),
        },
        suppressions: page.items.into_iter().map(suppression).collect(),
    })
}

fn filter(request: &pb::ListSuppressionsRequest) -> Result<SuppressionFilter, Error> {
    let email = match request.email.as_str() {
        "" => None,
        text => Some(Email::parse(text).map_err(|error| Error::invalid("email", error))?),
    };
    Ok(SuppressionFilter {
        email,
        scope: convert::to_name(request.scope, &CHANNELS)
            .map_err(|error| Error::invalid("scope", error))?,
        reason: convert::to_name(request.reason, &REASONS)
            .map_err(|error| Error::invalid("reason", error))?,
        with_lifted: request.show_lifted,
    })
}

pub(super) async fn check(
    room: &Room,
    request: pb::CheckContactabilityRequest,
) -> Result<pb::CheckContactabilityResponse, Error> {
    check_items("emails", request.emails.len())?;
    let channel = convert::to_name(request.channel, &CHANNELS)
        .and_then(|channel| channel.ok_or_else(|| "name a channel, or CHANNEL_ALL".to_owned()))
        .map_err(|error| Error::invalid("channel", error))?;
    let emails: Vec<_> = request
        .emails
        .iter()
        .map(|sent| Email::parse(sent))
        .collect();
    let valid: Vec<&str> = emails.iter().flatten().map(Email::as_str).collect();
    let standings = if valid.is_empty() {
        Vec::new()
    } else {
        let mut connection = room.connection().await?;
        repository::check(&mut connection, &valid, channel).await?
    };
    let mut standings = standings.into_iter();
    let answers = request.emails.iter().zip(emails).map(|(sent, email)| {
        Ok(match email {
            Ok(email) => {
                let standing = standings.next();
                let standing = standing.ok_or_else(|| Error::internal("an answer is missing"))?;
                answer(email, standing, channel)
            }
            Err(error) => Answer {
                email: sent[..sent.floor_char_boundary(MAX_ECHO_BYTES)].to_owned(),
                detail: error.to_string(),
                ..Default::default()
            },
        })
    });
    Ok(pb::CheckContactabilityResponse {
        answers: answers.collect::<Result<_, Error>>()?,
    })
}

/// Whether an address may be contacted. A deleted contact may not at all; what else a status says is about
/// email, which every entry that speaks of other channels leaves alone.
fn answer(email: Email, standing: Standing, channel: &str) -> Answer {
    let status = status(standing.status.as_deref());
    let by_email = matches!(channel, "all" | "email");
    let detail = match status {
        _ if standing.suppression.is_some() => "",
        pb::ContactStatus::Inactive => "the contact is inactive",
        pb::ContactStatus::Unsubscribed if by_email => "the contact is unsubscribed",
        pb::ContactStatus::Bounced if by_email => "mail to the contact bounces",
        _ => "",
    };
    Answer {
        email: email.to_string(),
        contactable: standing.suppression.is_none() && detail.is_empty(),
        suppression: standing.suppression.map(suppression),
        status: status.into(),
        detail: detail.to_owned(),
    }
}

/// The status of an address's contact; unspecified where it has none.
fn status(name: Option<&str>) -> pb::ContactStatus {
    name.map_or(pb::ContactStatus::Unspecified, |name| {
        convert::from_name(name, &STATUSES)
    })
}

fn suppression(entry: repository::Suppression) -> pb::Suppression {
    pb::Suppression {
        suppression_id: entry.suppression_id,
        email: entry.email,
        scope: convert::from_name(&entry.scope, &CHANNELS).into(),
        reason: convert::from_name(&entry.reason, &REASONS).into(),
        evidence: entry.evidence,
        actor: entry.created_by,
        create_time: Some(to_timestamp(entry.created_at)),
        lift_time: entry.lifted_at.map(to_timestamp),
        lifted_by: entry.lifted_by.unwrap_or_default(),
        lift_evidence: entry.lift_evidence.unwrap_or_default(),
    }
}
