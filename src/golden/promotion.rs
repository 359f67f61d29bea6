//! Promotion: pending slots become golden records, in chunks, with progress.
//!
//! Each chunk is one transaction: it takes slots, reads them here, and merges them in one call of the room's
//! function. The job walks the pending slots in the order of staging, and then once more: slots that another
//! caller held the first time, or whose transaction ended late, are met in the last pass.

use std::{sync::Arc, time::Instant};

use diesel_async::{AsyncConnection as _, AsyncPgConnection};

use super::{
    Kind, fields,
    repository::pending::{self as repository, Scope},
};
use crate::{
    db::PooledConnection,
    domain::Actor,
    metrics::ChunkOf,
    room::{Answers, Ended, Room},
    rpc::Error,
};

pub(crate) use super::repository::pending::PendingSlot;

/// The most slot ids that a call names.
const MAX_SLOT_IDS: usize = 10_000;
/// Slots a chunk: enough that a commit costs little beside it, few enough that cancelling, whoever waits for
/// the chunk, and a crash cost little too. Also how many `validate_only` looks at.
const CHUNK: i32 = 1_000;
/// A chunk also ends once its rows have this many bytes.
const CHUNK_BYTES: i64 = 8 * 1024 * 1024;
/// How often the pending slots are walked.
const PASSES: usize = 2;

/// What a room says about its promotion.
pub(crate) trait Promoting: Send + Sync + 'static {
    /// Which room.
    const KIND: Kind;
    /// Its name among the jobs.
    const CHUNK_OF: ChunkOf;
    /// The message of the answer.
    type Response: Send + 'static;

    /// Reads slots that were taken in this transaction, and promotes or rejects each.
    fn promote(
        connection: &mut AsyncPgConnection,
        slots: Vec<PendingSlot>,
        actor: &Actor,
    ) -> impl Future<Output = Result<Promoted, Error>> + Send;

    /// How far the job is.
    fn message(progress: Progress) -> Self::Response;
}

/// What became of some slots. Slots that others hold, or that are not pending, are in none of these.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, diesel::QueryableByName)]
pub(crate) struct Promoted {
    /// Slots that made a record.
    #[diesel(sql_type = diesel::sql_types::BigInt)]
    pub(crate) promoted: i64,
    /// Slots that changed a record.
    #[diesel(sql_type = diesel::sql_types::BigInt)]
    pub(crate) updated: i64,
    /// Slots that found nothing to change.
    #[diesel(sql_type = diesel::sql_types::BigInt)]
    pub(crate) unchanged: i64,
    /// Slots that were refused.
    #[diesel(sql_type = diesel::sql_types::BigInt)]
    pub(crate) rejected: i64,
    /// Of them all, those that were validated without some field.
    #[diesel(sql_type = diesel::sql_types::BigInt)]
    pub(crate) noted: i64,
    /// People who were linked to their company.
    #[diesel(sql_type = diesel::sql_types::BigInt)]
    pub(crate) linked: i64,
}

impl Promoted {
    /// All slots.
    fn done(&self) -> i64 {
        self.promoted + self.updated + self.unchanged + self.rejected
    }

    fn outcomes(&self) -> [(&'static str, i64); 4] {
        [
            ("promoted", self.promoted),
            ("updated", self.updated),
            ("unchanged", self.unchanged),
            ("rejected", self.rejected),
        ]
    }
}

impl std::ops::AddAssign for Promoted {
    fn add_assign(&mut self, other: Self) {
        self.promoted += other.promoted;
        self.updated += other.updated;
        self.unchanged += other.unchanged;
        self.rejected += other.rejected;
        self.noted += other.noted;
        self.linked += other.linked;
    }
}

/// How far a job is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Progress {
    /// What became of the slots.
    pub(crate) total: Promoted,
    /// All that are done.
    pub(crate) done: i64,
    /// Pending slots that are left, as counted when the job began.
    pub(crate) left: i64,
    /// Slots a second so far.
    pub(crate) rows_per_second: f64,
    /// The job is done.
    pub(crate) finished: bool,
}

/// One call, parsed.
pub(crate) struct Promotion {
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
    /// Reads a request.
    ///
    /// # Errors
    /// [`Error::InvalidField`].
    pub(crate) fn parse(
        slot_ids: &[String],
        batch_id: &str,
        validate_only: bool,
        actor: Actor,
    ) -> Result<Self, Error> {
        let batch_id = fields::batch_id(batch_id)?;
        let scope = match (slot_ids.len(), batch_id) {
            (0, None) => Scope::All,
            (0, Some(batch_id)) => Scope::Batch(batch_id),
            (_, Some(_)) => {
                let description = "give either slot_ids or batch_id, not both";
                return Err(Error::invalid("slot_ids", description));
            }
            (count, None) if count > MAX_SLOT_IDS => {
                let description = format!(
                    "has {count} ids, at most {MAX_SLOT_IDS} are taken; give a batch_id, or nothing for all"
                );
                return Err(Error::invalid("slot_ids", description));
            }
            (_, None) => {
                let ids = slot_ids.iter().map(|id| fields::id("slot_ids", id));
                Scope::Slots(ids.collect::<Result<_, Error>>()?)
            }
        };
        Ok(Self {
            scope,
            validate_only,
            actor,
        })
    }

    /// Promotes until nothing is left, nobody listens, or the server stops.
    ///
    /// # Errors
    /// Why it ended before.
    pub(crate) async fn run<P: Promoting>(
        self,
        room: Arc<Room>,
        answers: Answers<P::Response>,
    ) -> Result<(), Ended> {
        let started = Instant::now();
        let pending = self.count::<P>(&room, &answers).await?;
        let mut total = Promoted::default();
        let message = |total: &Promoted, finished| {
            let done = total.done();
            P::message(Progress {
                total: *total,
                done,
                left: (pending - done).max(0),
                rows_per_second: done as f64 / started.elapsed().as_secs_f64().max(0.001),
                finished,
            })
        };
        if self.validate_only {
            let connection = room.job_connection(&answers).await?;
            total = self.preview::<P>(&room, connection).await?;
            return room.say(&answers, message(&total, true)).await;
        }
        for pass in 1..=PASSES {
            // Before any number, also one that an administrator made up.
            let mut last = i64::MIN;
            loop {
                let connection = room.job_connection(&answers).await?;
                let chunk = self.chunk::<P>(&room, connection, last);
                let Some((chunk_end, chunk)) = chunk.await? else {
                    break;
                };
                last = chunk_end;
                total += chunk;
                // In the last pass most chunks were done by somebody else.
                if pass == 1 || chunk.done() > 0 {
                    room.say(&answers, message(&total, false)).await?;
                }
            }
        }
        room.settle(&answers).await?;
        room.say(&answers, message(&total, true)).await
    }

    /// Promotes the next slots after `last`; `None` where there are none, else the last of them.
    async fn chunk<P: Promoting>(
        &self,
        room: &Room,
        mut connection: PooledConnection,
        last: i64,
    ) -> Result<Option<(i64, Promoted)>, Error> {
        let (scope, actor) = (self.scope.clone(), self.actor.clone());
        let metrics = room.metrics.clone();
        room.uncut(async move {
            let begun = Instant::now();
            let next = connection
                .transaction(async |connection| {
                    promote_next::<P>(connection, &scope, last, &actor).await
                })
                .await?;
            if let Some((_, chunk)) = &next {
                metrics.chunk(P::CHUNK_OF, begun.elapsed(), &chunk.outcomes());
            }
            Ok(next)
        })
        .await
    }

    /// What would happen to the first slots: promotes them, and takes it back.
    async fn preview<P: Promoting>(
        &self,
        room: &Room,
        mut connection: PooledConnection,
    ) -> Result<Promoted, Error> {
        let (scope, actor) = (self.scope.clone(), self.actor.clone());
        room.uncut(async move {
            let result = connection
                .transaction(async |connection| {
                    match promote_next::<P>(connection, &scope, i64::MIN, &actor).await {
                        Ok(next) => Err::<Promoted, _>(Uncommitted::Preview(
                            next.map(|(_, promoted)| promoted).unwrap_or_default(),
                        )),
                        Err(error) => Err(Uncommitted::Failed(error)),
                    }
                })
                .await;
            match result {
                Ok(promoted) | Err(Uncommitted::Preview(promoted)) => Ok(promoted),
                Err(Uncommitted::Failed(error)) => Err(error),
            }
        })
        .await
    }

    /// How many slots are pending, where there is such a batch.
    async fn count<P: Promoting>(
        &self,
        room: &Room,
        answers: &Answers<P::Response>,
    ) -> Result<i64, Ended> {
        let count = async |mut connection: PooledConnection| {
            if let Scope::Batch(batch_id) = &self.scope
                && !repository::batch_exists(&mut connection, &P::KIND, batch_id).await?
            {
                return Err(Error::NotFound {
                    resource: "batch",
                    key: batch_id.to_string(),
                });
            }
            repository::count_pending(&mut connection, &P::KIND, &self.scope).await
        };
        room.read(answers, count).await
    }
}

async fn promote_next<P: Promoting>(
    connection: &mut AsyncPgConnection,
    scope: &Scope,
    last: i64,
    actor: &Actor,
) -> Result<Option<(i64, Promoted)>, Error> {
    let slots =
        repository::take_pending(connection, &P::KIND, scope, last, CHUNK, CHUNK_BYTES).await?;
    let Some(chunk_end) = slots.last().map(|slot| slot.slot_number) else {
        return Ok(None);
    };
    let promoted = P::promote(connection, slots, actor).await?;
    Ok(Some((chunk_end, promoted)))
}
