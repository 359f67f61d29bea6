//! Requests that may be repeated: the first answer is kept for 24 hours and given again.
//!
//! The answer is stored in the transaction that did the work, so that either both are there or neither. A
//! repetition that arrives while the first call runs waits for it.

use diesel::{
    QueryableByName, sql_query,
    sql_types::{Binary, Nullable, Text, Uuid as SqlUuid},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl as _};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::Error;
use crate::domain::Actor;

/// The place of one request among the kept answers.
pub(crate) struct Answers<'a> {
    actor: &'a Actor,
    method: &'static str,
    request_id: Uuid,
    fingerprint: Vec<u8>,
}

/// How a request begins.
pub(crate) enum Begun<Response> {
    /// It is the first: do the work, then [`Answers::keep`] the answer.
    New,
    /// It was answered before.
    Answered(Response),
}

#[derive(QueryableByName)]
struct Row {
    #[diesel(sql_type = Text)]
    outcome: String,
    #[diesel(sql_type = Nullable<Binary>)]
    answer: Option<Vec<u8>>,
}

impl<'a> Answers<'a> {
    /// Reads a request's id; `None` where it has none. `request` is the whole request message.
    ///
    /// # Errors
    /// [`Error::InvalidField`] for an id that is no UUID.
    pub(crate) fn parse(
        actor: &'a Actor,
        method: &'static str,
        request_id: &str,
        request: &impl prost::Message,
    ) -> Result<Option<Self>, Error> {
        if request_id.is_empty() {
            return Ok(None);
        }
        let request_id = Uuid::parse_str(request_id)
            .map_err(|_| Error::invalid("request_id", "must be a UUID"))?;
        Ok(Some(Self {
            actor,
            method,
            request_id,
            fingerprint: Sha256::digest(request.encode_to_vec()).to_vec(),
        }))
    }

    /// Does a request's work and keeps its answer, or finds the one that is kept; inside the transaction
    /// that does the work. Without an id (`None`) the work is done each time.
    ///
    /// # Errors
    /// [`Error::RequestIdReused`], those of the work, and those of the database.
    pub(crate) async fn once<Response: prost::Message + Default>(
        answers: Option<Self>,
        connection: &mut AsyncPgConnection,
        work: impl AsyncFnOnce(&mut AsyncPgConnection) -> Result<Response, Error>,
    ) -> Result<Response, Error> {
        let Some(answers) = answers else {
            return work(connection).await;
        };
        if let Begun::Answered(response) = answers.begin(connection).await? {
            return Ok(response);
        }
        let response = work(connection).await?;
        answers.keep(connection, &response).await?;
        Ok(response)
    }

    /// Begins the request, inside the transaction that does its work.
    ///
    /// # Errors
    /// [`Error::RequestIdReused`], and those of the database.
    pub(crate) async fn begin<Response: prost::Message + Default>(
        &self,
        connection: &mut AsyncPgConnection,
    ) -> Result<Begun<Response>, Error> {
        let row: Row = sql_query("SELECT * FROM intake.f_begin_request($1, $2, $3, $4)")
            .bind::<Text, _>(self.actor.as_str())
            .bind::<Text, _>(self.method)
            .bind::<SqlUuid, _>(self.request_id)
            .bind::<Binary, _>(&self.fingerprint)
            .get_result(connection)
            .await?;
        match (row.outcome.as_str(), row.answer) {
            ("new", _) => Ok(Begun::New),
            ("answered", Some(answer)) => Response::decode(answer.as_slice())
                .map(Begun::Answered)
                .map_err(Error::internal),
            ("reused", _) => Err(Error::RequestIdReused),
            (outcome, _) => Err(Error::internal(format!("f_begin_request: {outcome}"))),
        }
    }

    /// Keeps the answer, in the same transaction.
    ///
    /// # Errors
    /// Those of the database.
    pub(crate) async fn keep(
        &self,
        connection: &mut AsyncPgConnection,
        response: &impl prost::Message,
    ) -> Result<(), Error> {
        sql_query("SELECT intake.f_answer_request($1, $2, $3, $4)")
            .bind::<Text, _>(self.actor.as_str())
            .bind::<Text, _>(self.method)
            .bind::<SqlUuid, _>(self.request_id)
            .bind::<Binary, _>(response.encode_to_vec())
            .execute(connection)
            .await?;
        Ok(())
    }
}
