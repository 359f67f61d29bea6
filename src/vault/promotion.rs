//! Promotion: pending loads become contacts, in chunks, with progress.
//!
//! Each chunk is one call of `vault.f_promote_loads` and one transaction, short in loads, bytes and time. A
//! few workers share the pending loads by email, so that the loads of one email stay in their order. Each
//! walks its share by id, and then once more: loads that another caller held the first time, or whose
//! transaction ended late, are met in the last pass. What is held then too counts as left.
//!
//! A load that makes its chunk fail for no reason that anybody foresaw is found by halving the chunk, and
//! ends as failed: it does not keep the others. Where all of a chunk fails for one and the same cause, it is the
//! database and not the loads: they stay pending, and the job ends with an error.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use diesel_async::{AsyncConnection as _, AsyncPgConnection};
use futures_util::future::try_join_all;
use tokio::sync::Mutex;

use super::{
    blamed::Blamed,
    repository::promotion::{self as repository, Part, Pending, Promoted, Scope},
};
use crate::{
    db::PooledConnection,
    domain::{Actor, BatchId},
    metrics::ChunkOf,
    proto::vault::v1 as pb,
    room::{Answers, Ended, Room},
    rpc::Error,
};

/// The most load ids that a call names.
const MAX_LOAD_IDS: usize = 10_000;
/// Loads a chunk: enough that a commit costs little beside it, few enough that cancelling, a suppression
/// that waits for the chunk, and a crash cost little too.
const CHUNK: i32 = 2_000;
/// How long a chunk goes on with more loads of the same emails: a suppression may be waiting for it.
const PATIENCE: Duration = Duration::from_secs(1);
/// Workers of a job: PostgreSQL works for one while another's chunk is on its way to the disk.
const WORKERS: i32 = 2;
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
        room: Arc<Room>,
        answers: Answers<pb::PromoteContactsResponse>,
    ) -> Result<(), Ended> {
        if self.validate_only {
            self.preview(&room, &answers).await
        } else {
            self.promote(&room, &answers).await
        }
    }

    async fn promote(
        self,
        room: &Arc<Room>,
        answers: &Answers<pb::PromoteContactsResponse>,
    ) -> Result<(), Ended> {
        let pending = self.pending(room, answers).await?.count;
        let workers = match self.scope {
            Scope::All | Scope::Batch(_) if pending > i64::from(CHUNK) => WORKERS,
            _ => 1,
        };
        let job = Job {
            room,
            answers,
            promotion: &self,
            progress: Mutex::new(Progress::begin(pending)),
        };
        for pass in 1..=PASSES {
            let parts = (0..workers).map(|number| Part {
                number,
                of: workers,
            });
            try_join_all(parts.map(|part| job.walk(part, pass))).await?;
        }
        room.settle(answers).await?;
        let last = job.progress.into_inner().message(true);
        room.say(answers, last).await
    }

    /// What would happen to the first loads: promotes them, and takes it back.
    async fn preview(
        self,
        room: &Arc<Room>,
        answers: &Answers<pb::PromoteContactsResponse>,
    ) -> Result<(), Ended> {
        let pending = self.pending(room, answers).await?;
        let mut progress = Progress::begin(pending.count);
        let mut connection = room.job_connection(answers).await?;
        let work = async move {
            let result = connection
                .transaction(async |connection| self.preview_in_txn(connection, pending).await)
                .await;
            match result {
                Ok(promoted) | Err(Uncommitted::Preview(promoted)) => Ok(promoted),
                Err(Uncommitted::Failed(error)) => Err(error),
            }
        };
        progress.total = room.uncut(work).await?;
        room.say(answers, progress.message(true)).await
    }

    async fn preview_in_txn(
        &self,
        connection: &mut AsyncPgConnection,
        pending: Pending,
    ) -> Result<Promoted, Uncommitted> {
        let promoted = async {
            let load_ids = repository::next_pending(
                connection,
                &self.scope,
                Part::WHOLE,
                &pending,
                i64::MIN,
                VALIDATED,
            )
            .await?;
            repository::promote(connection, &load_ids, PATIENCE, &self.actor).await
        };
        match promoted.await {
            Ok(promoted) => Err(Uncommitted::Preview(promoted)),
            Err(error) => Err(Uncommitted::Failed(error)),
        }
    }

    /// How many loads are pending, where there is such a batch.
    async fn pending(
        &self,
        room: &Room,
        answers: &Answers<pb::PromoteContactsResponse>,
    ) -> Result<Pending, Ended> {
        let pending = async |mut connection: PooledConnection| {
            if let Scope::Batch(batch_id) = &self.scope
                && !repository::batch_exists(&mut connection, batch_id).await?
            {
                return Err(Error::NotFound {
                    resource: "batch",
                    key: batch_id.to_string(),
                });
            }
            repository::count_pending(&mut connection, &self.scope).await
        };
        room.read(answers, pending).await
    }
}

/// A job that runs.
struct Job<'a> {
    room: &'a Arc<Room>,
    answers: &'a Answers<pb::PromoteContactsResponse>,
    promotion: &'a Promotion,
    /// Held while it is told, so that it is told in order.
    progress: Mutex<Progress>,
}

impl Job<'_> {
    /// Promotes what is pending in a part, chunk by chunk.
    async fn walk(&self, part: Part, pass: usize) -> Result<(), Ended> {
        // Counted again only where the count bounds the walk: what came since is promoted too.
        let pending = match &self.promotion.scope {
            Scope::Batch(_) => self.promotion.pending(self.room, self.answers).await?,
            Scope::All | Scope::Loads(_) => Pending::default(),
        };
        // Before any id, also one that a caller made up.
        let mut last = i64::MIN;
        loop {
            let connection = self.room.job_connection(self.answers).await?;
            let chunk = self.chunk(connection, part, pending, last);
            let Some((chunk_end, chunk)) = chunk.await? else {
                return Ok(());
            };
            // Of what was postponed some is done each time; what is done is not pending and not met again.
            if chunk.postponed == 0 {
                last = chunk_end;
            }
            self.tell(chunk, pass).await?;
        }
    }

    async fn tell(&self, chunk: Promoted, pass: usize) -> Result<(), Ended> {
        let mut progress = self.progress.lock().await;
        progress.total += chunk;
        // In the last pass most chunks were done by somebody else.
        if pass == 1 || chunk.done() > 0 {
            self.room.say(self.answers, progress.message(false)).await?;
        }
        Ok(())
    }

    /// Promotes the next loads after `last`; `None` where there are none, else the last of them.
    async fn chunk(
        &self,
        mut connection: PooledConnection,
        part: Part,

        pending: Pending,
        last: i64,
    ) -> Result<Option<(i64, Promoted)>, Error> {
        let (scope, actor) = (self.promotion.scope.clone(), self.promotion.actor.clone());
        let metrics = self.room.metrics.clone();
        let work = async move {
            let connection = &mut connection;
            let load_ids =
                repository::next_pending(connection, &scope, part, &pending, last, CHUNK).await?;
            let Some(&chunk_end) = load_ids.last() else {
                return Ok(None);
            };
            let begun = Instant::now();
            let chunk = promote_or_fail(connection, &load_ids, &actor).await?;
            metrics.chunk(ChunkOf::PromoteContacts, begun.elapsed(), &outcomes(&chunk));
            Ok(Some((chunk_end, chunk)))
        };
        self.room.uncut(work).await
    }
}

/// Promotes loads. Where that fails for a fault of ours, the load that it fails on is looked for, and ends as
/// failed; the others are promoted.
async fn promote_or_fail(
    connection: &mut AsyncPgConnection,
    load_ids: &[i64],
    actor: &Actor,
) -> Result<Promoted, Error> {
    let mut total = Promoted::default();
    let mut blamed = Blamed::default();
    let mut to_do = vec![load_ids];
    while let Some(load_ids) = to_do.pop() {
        match repository::promote(connection, load_ids, PATIENCE, actor).await {
            Ok(promoted) => total += promoted,
            Err(Error::Internal(cause)) => match load_ids {
                [load_id] => blamed.add(*load_id, cause),
                _ => {
                    let (first, second) = load_ids.split_at(load_ids.len() / 2);
                    to_do.extend([second, first]);
                }
            },
            Err(error) => return Err(error),
        }
    }
    if total.done() == 0 {
        blamed.acquit()?;
    }
    total.failed += blamed.fail(connection, actor).await?;
    Ok(total)
}

fn outcomes(chunk: &Promoted) -> [(&'static str, i64); 4] {
    [
        ("promoted", chunk.promoted),
        ("updated", chunk.updated),
        ("unchanged", chunk.unchanged),
        ("failed", chunk.failed),
    ]
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
