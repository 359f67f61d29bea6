//! `SuppressContacts`.

use diesel_async::{AsyncConnection as _, AsyncPgConnection};
use prost::Message as _;

use super::{
    super::{
        convert::{self, CHANNELS, REASONS},
        repository::suppressions::{self as repository, Entered, NewEntries},
    },
    MAX_EVIDENCE_BYTES,
};
use crate::{
    config::Limits,
    db::PooledConnection,
    domain::{Actor, Email},
    proto::vault::v1::{
        self as pb, suppress_contacts_request::Entry, suppress_contacts_response as outcomes,
    },
    room::Room,
    rpc::{Answers, Error, check_items},
};

pub(in crate::vault) async fn suppress(
    room: &Room,
    request: pb::SuppressContactsRequest,
    actor: Actor,
) -> Result<pb::SuppressContactsResponse, Error> {
    let call = SuppressCall::parse(request, &room.limits)?;
    let connection = room.connection().await?;
    room.uncut(call.run(connection, actor)).await
}

/// One call of `SuppressContacts`, parsed.
struct SuppressCall {
    request: pb::SuppressContactsRequest,
    /// The entries with an address.
    entries: NewEntries,
    /// For each entry of the request what is wrong with its address, if something is.
    invalid: Vec<Option<String>>,
}

impl SuppressCall {
    fn parse(request: pb::SuppressContactsRequest, limits: &Limits) -> Result<Self, Error> {
        check_items("entries", request.entries.len())?;
        let (bytes, limit) = (request.encoded_len(), limits.max_frame_bytes);
        if bytes > limit {
            return Err(Error::LimitExceeded {
                what: "bytes of entries",
                limit,
                actual: bytes,
                setting: Some("max-frame-bytes"),
            });
        }
        let mut entries = NewEntries::default();
        let mut invalid = Vec::with_capacity(request.entries.len());
        for (nth, entry) in request.entries.iter().enumerate() {
            let (scope, reason) = checked(nth, entry)?;
            invalid.push(match Email::parse(&entry.email) {
                Ok(email) => {
                    entries.push(&email, scope, reason, &entry.evidence);
                    None
                }
                Err(error) => Some(error.to_string()),
            });
        }
        Ok(Self {
            request,
            entries,
            invalid,
        })
    }

    /// Enters everything and keeps the answer, in one transaction.
    async fn run(
        self,
        mut connection: PooledConnection,
        actor: Actor,
    ) -> Result<pb::SuppressContactsResponse, Error> {
        let request_id = &self.request.request_id;
        let answers = Answers::parse(&actor, "SuppressContacts", request_id, &self.request)?;
        connection
            .transaction(async |connection| {
                Answers::once(answers, connection, async |connection| {
                    self.enter(connection, &actor).await
                })
                .await
            })
            .await
    }

    async fn enter(
        &self,
        connection: &mut AsyncPgConnection,
        actor: &Actor,
    ) -> Result<pb::SuppressContactsResponse, Error> {
        let entered = repository::suppress(connection, &self.entries, actor).await?;
        let mut entered = entered.into_iter();
        let outcomes = self.invalid.iter().map(|invalid| match invalid {
            Some(detail) => Ok(outcomes::Outcome {
                result: outcomes::outcome::Result::InvalidEmail.into(),
                detail: detail.clone(),
                ..Default::default()
            }),
            None => entered
                .next()
                .map(outcome)
                .ok_or_else(|| Error::internal("an outcome is missing")),
        });
        Ok(pb::SuppressContactsResponse {
            outcomes: outcomes.collect::<Result<_, Error>>()?,
        })
    }
}

/// Scope and reason of an entry whose fields, but for its address, are right.
fn checked(nth: usize, entry: &Entry) -> Result<(&'static str, &'static str), Error> {
    let wrong =
        |field| move |error: String| Error::invalid(format!("entries[{nth}].{field}"), error);
    let scope = convert::to_name(entry.scope, &CHANNELS).map_err(wrong("scope"))?;
    let reason = convert::to_name(entry.reason, &REASONS)
        .and_then(|reason| reason.ok_or_else(|| "say why".to_owned()))
        .map_err(wrong("reason"))?;
    convert::check_text(&entry.evidence, MAX_EVIDENCE_BYTES).map_err(wrong("evidence"))?;
    Ok((scope.unwrap_or("all"), reason))
}

fn outcome(entered: Entered) -> outcomes::Outcome {
    let result = if entered.added {
        outcomes::outcome::Result::Suppressed
    } else {
        outcomes::outcome::Result::AlreadySuppressed
    };
    outcomes::Outcome {
        result: result.into(),
        suppression_id: entered.suppression_id,
        ..Default::default()
    }
}
