//! Promotion: pending loads become contacts, in chunks, with progress.
//!
//! Each chunk is one call of `vault.f_promote_loads` and one transaction. The job walks the pending loads by
//! id, and then once more: loads that another caller held the first time, or whose transaction ended late,
//! are met in the last pass.

use std::{sync::Arc, time::Instant};

use diesel_async::{AsyncConnection as _, AsyncPgConnection};
use tokio::sync::mpsc;
use tonic::Status;

use super::{
    repository::promotion::{self as repository, Pending, Promoted, Scope},
    service::Shared,
};
use crate::{
    domain::{Actor, BatchId},
    proto::vault::v1 as pb,
    rpc::Error,
};

/// The most load ids that a call names.
const MAX_LOAD_IDS: usize = 10_000;
/// Loads a chunk: enough that a commit costs little beside it, few enough that cancelling, a suppression
/// that waits for the chunk, and a crash cost little too.
const CHUNK: i32 = 2_000;
/// How many loads `validate_only` looks at.
const VALIDATED: i32 = 1_000;
/// How often the pending loads are walked.
const PASSES: usize = 2;

/// One call of `PromoteContacts`, parsed.
pub(super) struct Promotion {
    scope: Scope,
    validate_only: bool,
    actor: Actor,
}

/// Why a job ends before its end.
enum Ended {
    /// Nobody listens any more.
    Cancelled,
    /// It failed.
    Failed(Error),
}

impl From<Error> for Ended {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

/// Why a transaction is rolled back.
enum Uncommitted {
    /// It was only to validate: this is what would have happened.
    Preview(Promoted),
    /// It failed.
    Failed(Error),
}

impl From<diesel::result::Error> for Uncommitted {
    fn from(error: diesel::result::Error) -> Self {
        Self::Failed(error.into())
    }
}

impl Promotion {
    pub(super) fn parse(request: pb::PromoteContactsRequest, actor: Actor) -> Result<Self, Error> {
        let mut load_ids = request.load_ids;
        let scope = match (load_ids.is_empty(), request.batch_id.is_empty()) {
            (true, true) => Scope::All,
            (false, false) => {
                return Err(Error::invalid(
                    "load_ids",
                    "give either load_ids or batch_id, not both",
                ));
            }
            (true, false) => Scope::Batch(
                BatchId::parse(&request.batch_id)
                    .map_err(|error| Error::invalid("batch_id", error))?,
            ),
            (false, true) if load_ids.len() > MAX_LOAD_IDS => {
                return Err(Error::invalid(
                    "load_ids",
                    format!(
                        "has {} ids, at most {MAX_LOAD_IDS} are taken; give a batch_id, or nothing for all",
                        load_ids.len()
                    ),
                ));
            }
            (false, true) => {
                load_ids.sort_unstable();
                load_ids.dedup();
                Scope::Loads(load_ids)
            }
        };
        Ok(Self {
            scope,
            validate_only: request.validate_only,
            actor,
        })
    }

    /// Promotes until nothing is left, nobody listens, or the server stops.
    pub(super) async fn run(
        self,
        shared: Arc<Shared>,
        answers: mpsc::Sender<Result<pb::PromoteContactsResponse, Status>>,
    ) {
        let ended = if self.validate_only {
            self.preview(&shared, &answers).await
        } else {
            self.promote(&shared, &answers).await
        };
        if let Err(Ended::Failed(error)) = ended {
            // Whoever went away does not hear it.
            let _ = answers.send(Err(error.into())).await;
        }
    }

    async fn promote(
        self,
        shared: &Arc<Shared>,
        answers: &mpsc::Sender<Result<pb::PromoteContactsResponse, Status>>,
    ) -> Result<(), Ended> {
        let mut progress = Progress::begin(self.pending(shared).await?.count);
        for pass in 1..=PASSES {
            // Counted again only where the count bounds the walk: what came since is promoted too.
            let pending = match &self.scope {
                Scope::Batch(_) => self.pending(shared).await?,
                Scope::All | Scope::Loads(_) => Pending::default(),
            };
            // Before any id, also one that a caller made up.
            let mut last = i64::MIN;
            loop {
                if shared.shutdown.is_cancelled() {
                    return Err(Error::ShuttingDown.into());
                }
                if answers.is_closed() {
                    return Err(Ended::Cancelled);
                }
                let Some((chunk_end, chunk)) = self.chunk(shared, pending, last).await? else {
                    break;
                };
                last = chunk_end;
                progress.total += chunk;
                // In the last pass most chunks were done by somebody else.
                if pass == 1 || chunk.done() > 0 {
                    say(shared, answers, progress.message(false)).await?;
                }
            }
        }
        say(shared, answers, progress.message(true)).await
    }

    /// Promotes the next loads after `last`; `None` where there are none, else the last of them.
    async fn chunk(
        &self,
        shared: &Arc<Shared>,
        pending: Pending,
        last: i64,
    ) -> Result<Option<(i64, Promoted)>, Error> {
        let mut connection = shared.connection().await?;
        let (scope, actor) = (self.scope.clone(), self.actor.clone());
        shared
            .uncut(async move {
                let load_ids =
                    repository::next_pending(&mut connection, &scope, &pending, last, CHUNK)
                        .await?;
                let Some(&chunk_end) = load_ids.last() else {
                    return Ok(None);
                };
                let chunk = repository::promote(&mut connection, &load_ids, &actor).await?;
                Ok(Some((chunk_end, chunk)))
            })
            .await
    }

    /// What would happen to the first loads: promotes them, and takes it back.
    async fn preview(
        self,
        shared: &Arc<Shared>,
        answers: &mpsc::Sender<Result<pb::PromoteContactsResponse, Status>>,
    ) -> Result<(), Ended> {
        let pending = self.pending(shared).await?;
        let mut progress = Progress::begin(pending.count);
        let mut connection = shared.connection().await?;
        let work = async move {
            let result = connection
                .transaction(async |connection| self.preview_in_txn(connection, pending).await)
                .await;
            match result {
                Ok(promoted) | Err(Uncommitted::Preview(promoted)) => Ok(promoted),
                Err(Uncommitted::Failed(error)) => Err(error),
            }
        };
        progress.total = shared.uncut(work).await?;
        say(shared, answers, progress.message(true)).await
    }

    async fn preview_in_txn(
        &self,
        connection: &mut AsyncPgConnection,
        pending: Pending,
    ) -> Result<Promoted, Uncommitted> {
        let promoted = async {
            let load_ids =
                repository::next_pending(connection, &self.scope, &pending, i64::MIN, VALIDATED)
                    .await?;
            repository::promote(connection, &load_ids, &self.actor).await
        };
        match promoted.await {
            Ok(promoted) => Err(Uncommitted::Preview(promoted)),
            Err(error) => Err(Uncommitted::Failed(error)),
        }
    }

    /// How many loads are pending, where there is such a batch.
    async fn pending(&self, shared: &Shared) -> Result<Pending, Error> {
        let mut connection = shared.connection().await?;
        if let Scope::Batch(batch_id) = &self.scope
            && !repository::batch_exists(&mut connection, batch_id).await?
        {
            return Err(Error::NotFound {
                resource: "batch",
                key: batch_id.to_string(),
            });
        }
        repository::count_pending(&mut connection, &self.scope).await
    }
}

/// How far a job is.
struct Progress {
    started: Instant,
    pending: i64,
    total: Promoted,
}

impl Progress {
    fn begin(pending: i64) -> Self {
        Self {
            started: Instant::now(),
            pending,
            total: Promoted::default(),
        }
    }

    fn message(&self, finished: bool) -> pb::PromoteContactsResponse {
        let done = self.total.done();
        let seconds = self.started.elapsed().as_secs_f64().max(0.001);
        pb::PromoteContactsResponse {
            done,
            promoted: self.total.promoted,
            updated: self.total.updated,
            unchanged: self.total.unchanged,
            failed: self.total.failed,
            left: (self.pending - done).max(0),
            rows_per_second: done as f64 / seconds,
            finished,
        }
    }
}

/// Sends a message, unless nobody listens or the server stops while a slow client makes it wait.
async fn say(
    shared: &Shared,
    answers: &mpsc::Sender<Result<pb::PromoteContactsResponse, Status>>,
    message: pb::PromoteContactsResponse,
) -> Result<(), Ended> {
    tokio::select! {
        biased;
        sent = answers.send(Ok(message)) => sent.map_err(|_| Ended::Cancelled),
        () = shared.shutdown.cancelled() => Err(Error::ShuttingDown.into()),
    }
}
