//! The enrichment queue: who waits, who has it, how it ended.

mod convert;
mod ending;
mod leasing;

pub(super) use ending::{complete_enrichment, fail_enrichment, revive_enrichment};
pub(super) use leasing::lease_enrichment;

use diesel_async::{AsyncConnection as _, AsyncPgConnection};
use pb::enqueue_enrichment_response::Outcome;
use uuid::Uuid;

use super::repository::enrichment::{self as repository, EntryFilter};
use crate::{
    config::EnrichmentSettings,
    domain::Actor,
    golden::fields,
    proto::people::v1 as pb,
    room::Room,
    rpc::{Answers, Begun, Error, PageRequest, to_timestamp},
};

/// The highest priority.
const MAX_PRIORITY: i32 = 1_000;

pub(super) async fn enqueue_enrichment(
    room: &Room,
    settings: &EnrichmentSettings,
    request: pb::EnqueueEnrichmentRequest,
    actor: Actor,
) -> Result<pb::EnqueueEnrichmentResponse, Error> {
    let call = EnqueueCall::parse(request, room.limits.max_ingest_rows)?;
    let max_failures = settings.enrichment_max_failures;
    let mut connection = room.connection().await?;
    room.uncut(async move {
        connection
            .transaction(async |connection| call.in_txn(connection, max_failures, &actor).await)
            .await
    })
    .await
}

/// One call of `EnqueueEnrichment`, parsed.
struct EnqueueCall {
    request: pb::EnqueueEnrichmentRequest,
    person_ids: Vec<Uuid>,
    priorities: Vec<i32>,
}

impl EnqueueCall {
    fn parse(request: pb::EnqueueEnrichmentRequest, limit: usize) -> Result<Self, Error> {
        convert::some_within("entries", request.entries.len(), limit)?;
        let (mut person_ids, mut priorities) = (Vec::new(), Vec::new());
        for entry in &request.entries {
            person_ids.push(fields::id("entries.person_id", &entry.person_id)?);
            if !(0..=MAX_PRIORITY).contains(&entry.priority) {
                let description = format!("{} is not from 0 to {MAX_PRIORITY}", entry.priority);
                return Err(Error::invalid("entries.priority", description));
            }
            priorities.push(entry.priority);
        }
        Ok(Self {
            request,
            person_ids,
            priorities,
        })
    }

    /// Enqueues and keeps the answer in one transaction.
    async fn in_txn(
        self,
        connection: &mut AsyncPgConnection,
        max_failures: i32,
        actor: &Actor,
    ) -> Result<pb::EnqueueEnrichmentResponse, Error> {
        let request_id = &self.request.request_id;
        let answers = Answers::parse(actor, "EnqueueEnrichment", request_id, &self.request)?;
        if let Some(answers) = &answers
            && let Begun::Answered(response) = answers.begin(connection).await?
        {
            return Ok(response);
        }
        let outcomes = repository::enqueue(
            connection,
            &self.person_ids,
            &self.priorities,
            max_failures,
            actor,
        )
        .await?;
        let response = pb::EnqueueEnrichmentResponse {
            outcomes: outcomes
                .iter()
                .map(|outcome| enqueue_outcome(outcome).map(i32::from))
                .collect::<Result<_, Error>>()?,
        };
        if let Some(answers) = &answers {
            answers.keep(connection, &response).await?;
        }
        Ok(response)
    }
}

fn enqueue_outcome(outcome: &str) -> Result<Outcome, Error> {
    Ok(match outcome {
        "enqueued" => Outcome::Enqueued,
        "raised" => Outcome::Raised,
        "already_queued" => Outcome::AlreadyQueued,
        "not_found" => Outcome::NotFound,
        "suppressed" => Outcome::Suppressed,
        "dead" => Outcome::Dead,
        other => return Err(Error::internal(format!("f_enqueue: {other}"))),
    })
}

pub(super) async fn list_enrichment(
    room: &Room,
    mut request: pb::ListEnrichmentRequest,
) -> Result<pb::ListEnrichmentResponse, Error> {
    let paging = PageRequest::of("ListEnrichment", &mut request, |request| {
        (&mut request.page_size, &mut request.page_token)
    })?
    .within(room.limits.max_page_bytes);
    let filter = EntryFilter {
        state: convert::state("state", request.state)?,
        person_id: match request.person_id.as_str() {
            "" => None,
            text => Some(fields::id("person_id", text)?),
        },
    };
    let mut connection = room.connection().await?;
    let page = repository::list(&mut connection, &filter, &paging).await?;
    let last = page.items.last().filter(|_| page.more);
    Ok(pb::ListEnrichmentResponse {
        next_page_token: match last {
            Some(last) => paging.token(&last.person_id.to_string())?,
            None => String::new(),
        },
        entries: page.items.into_iter().map(convert::entry).collect(),
    })
}

pub(super) async fn get_enrichment_stats(
    room: &Room,
    _request: pb::GetEnrichmentStatsRequest,
) -> Result<pb::GetEnrichmentStatsResponse, Error> {
    let mut connection = room.connection().await?;
    let stats = repository::stats(&mut connection).await?;
    Ok(pb::GetEnrichmentStatsResponse {
        ready: stats.ready,
        delayed: stats.delayed,
        leased: stats.leased,
        completed: stats.completed,
        dead: stats.dead,
        suppressed: stats.suppressed,
        oldest_ready_time: stats.oldest_ready_at.map(to_timestamp),
    })
}
