//! `BatchScoreContacts`.

use std::collections::HashSet;

use diesel_async::{AsyncConnection as _, AsyncPgConnection};
use pb::{batch_score_contacts_request as requests, batch_score_contacts_response::Outcome};

use super::super::{
    convert::check_text,
    repository::contacts::{self as repository, NewScore, ScoreOutcome},
};
use crate::{
    db::PooledConnection,
    domain::{Actor, Score},
    proto::vault::v1 as pb,
    room::Room,
    rpc::{Answers, Error, check_items},
};

/// The longest reason of a score, in bytes.
const MAX_REASON_BYTES: usize = 1_000;

pub(in crate::vault) async fn score(
    room: &Room,
    request: pb::BatchScoreContactsRequest,
    actor: Actor,
) -> Result<pb::BatchScoreContactsResponse, Error> {
    let call = ScoreCall::parse(request)?;
    let connection = room.connection().await?;
    room.uncut(call.run(connection, actor)).await
}

/// One call of `BatchScoreContacts`, parsed.
struct ScoreCall {
    request: pb::BatchScoreContactsRequest,
    /// The scores that can be set.
    scores: Vec<NewScore>,
    /// For each score of the request its outcome where it cannot be.
    refused: Vec<Option<Outcome>>,
}

impl ScoreCall {
    fn parse(request: pb::BatchScoreContactsRequest) -> Result<Self, Error> {
        check_items("scores", request.scores.len())?;
        let (mut scores, mut refused) = (Vec::new(), Vec::new());
        let mut named = HashSet::new();
        for sent in &request.scores {
            let checked = checked(sent).and_then(|score| {
                let first = named.insert(score.contact_id);
                first.then_some(score).ok_or(Outcome::Repeated)
            });
            refused.push(checked.as_ref().err().copied());
            scores.extend(checked);
        }
        Ok(Self {
            request,
            scores,
            refused,
        })
    }

    /// Sets the scores and keeps the answer, in one transaction.
    async fn run(
        self,
        mut connection: PooledConnection,
        actor: Actor,
    ) -> Result<pb::BatchScoreContactsResponse, Error> {
        let request_id = &self.request.request_id;
        let answers = Answers::parse(&actor, "BatchScoreContacts", request_id, &self.request)?;
        connection
            .transaction(async |connection| {
                Answers::once(answers, connection, async |connection| {
                    self.set(connection, &actor).await
                })
                .await
            })
            .await
    }

    async fn set(
        &self,
        connection: &mut AsyncPgConnection,
        actor: &Actor,
    ) -> Result<pb::BatchScoreContactsResponse, Error> {
        let outcomes = repository::score_contacts(connection, &self.scores, actor).await?;
        let mut outcomes = outcomes.into_iter().map(outcome);
        let outcomes = self.refused.iter().map(|refused| {
            refused
                .or_else(|| outcomes.next())
                .map(i32::from)
                .ok_or_else(|| Error::internal("an outcome is missing"))
        });
        Ok(pb::BatchScoreContactsResponse {
            outcomes: outcomes.collect::<Result<_, Error>>()?,
        })
    }
}

/// A score that can be set, or the outcome of one that cannot.
fn checked(sent: &requests::Score) -> Result<NewScore, Outcome> {
    check_text(&sent.reason, MAX_REASON_BYTES).map_err(|_| Outcome::InvalidReason)?;
    Ok(NewScore {
        contact_id: sent.contact_id,
        score: Score::parse(&sent.score).map_err(|_| Outcome::InvalidScore)?,
        reason: sent.reason.clone(),
    })
}

fn outcome(outcome: ScoreOutcome) -> Outcome {
    match outcome {
        ScoreOutcome::Scored => Outcome::Scored,
        ScoreOutcome::Unchanged => Outcome::Unchanged,
        ScoreOutcome::NotFound => Outcome::NotFound,
    }
}
