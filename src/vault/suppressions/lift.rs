//! `UnsuppressContact`.

use diesel_async::{AsyncConnection as _, AsyncPgConnection};

use super::{
    super::{
        convert::{self, CHANNELS},
        repository::suppressions as repository,
    },
    MAX_EVIDENCE_BYTES, status, suppression,
};
use crate::{
    db::PooledConnection,
    domain::{Actor, Email},
    proto::vault::v1 as pb,
    room::Room,
    rpc::{Answers, Error},
};

pub(in crate::vault) async fn unsuppress(
    room: &Room,
    request: pb::UnsuppressContactRequest,
    actor: Actor,
) -> Result<pb::UnsuppressContactResponse, Error> {
    let call = LiftCall::parse(request)?;
    let connection = room.connection().await?;
    room.uncut(call.run(connection, actor)).await
}

/// One call of `UnsuppressContact`, parsed.
struct LiftCall {
    request: pb::UnsuppressContactRequest,
    email: Email,
    scope: &'static str,
}

impl LiftCall {
    fn parse(request: pb::UnsuppressContactRequest) -> Result<Self, Error> {
        let email = Email::parse(&request.email).map_err(|error| Error::invalid("email", error))?;
        let which = "say which entries to lift, such as CHANNEL_ALL";
        let scope = convert::to_name(request.scope, &CHANNELS)
            .and_then(|scope| scope.ok_or_else(|| which.to_owned()))
            .map_err(|error| Error::invalid("scope", error))?;
        convert::check_text(&request.evidence, MAX_EVIDENCE_BYTES)
            .map_err(|error| Error::invalid("evidence", error))?;
        if request.evidence.trim().is_empty() {
            let description = "say what shows that the suppression may be lifted";
            return Err(Error::invalid("evidence", description));
        }
        Ok(Self {
            request,
            email,
            scope,
        })
    }

    /// Lifts the entries and keeps the answer, in one transaction. A call that found nothing keeps none.
    async fn run(
        self,
        mut connection: PooledConnection,
        actor: Actor,
    ) -> Result<pb::UnsuppressContactResponse, Error> {
        let request_id = &self.request.request_id;
        let answers = Answers::parse(&actor, "UnsuppressContact", request_id, &self.request)?;
        connection
            .transaction(async |connection| {
                Answers::once(answers, connection, async |connection| {
                    self.lift(connection, &actor).await
                })
                .await
            })
            .await
    }

    async fn lift(
        &self,
        connection: &mut AsyncPgConnection,
        actor: &Actor,
    ) -> Result<pb::UnsuppressContactResponse, Error> {
        let (email, scope) = (&self.email, self.scope);
        let evidence = &self.request.evidence;
        let lifted = repository::unsuppress(connection, email, scope, evidence, actor).await?;
        if lifted.is_empty() {
            return Err(Error::NotFound {
                resource: "suppression",
                key: format!("of {email} with scope {scope}"),
            });
        }
        let now = repository::contact_status(connection, email).await?;
        Ok(pb::UnsuppressContactResponse {
            lifted: lifted.into_iter().map(suppression).collect(),
            status: status(now.as_deref()).into(),
        })
    }
}
