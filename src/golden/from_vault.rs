//! Staging from the vault: contacts that are new or changed become slots, in chunks, with progress.
//!
//! The job looks at every contact, in the order of their ids, and then once more: contacts that changed while
//! they were staged, or whose transaction ended late, are met in the last pass.

use std::{sync::Arc, time::Instant};

use super::{
    Kind,
    repository::contacts::{self as repository, ContactRows},
};
use crate::{
    db::PooledConnection,
    domain::Actor,
    room::{Answers, Ended, Room},
    rpc::Error,
};

pub(crate) use super::repository::contacts::{Contact, StagedContacts};

/// The most contact ids that a call names.
const MAX_CONTACT_IDS: usize = 10_000;
/// How many contacts are looked at in one statement.
const STRETCH: i64 = 10_000;
/// Contacts a chunk.
const CHUNK: usize = 1_000;
/// A chunk also ends once its contacts have this many bytes.
const CHUNK_BYTES: i64 = 8 * 1024 * 1024;
/// How often the contacts are walked.
const PASSES: usize = 2;

/// What a room says about the slots that it makes of contacts.
pub(crate) trait FromVault: Send + Sync + 'static {
    /// Which room.
    const KIND: Kind;
    /// The message of the answer.
    type Response: Send + 'static;

    /// The key and the row, JSON text of an object, of the slot that a contact makes; `None` where it makes none.
    fn slot(contact: &Contact) -> Option<(String, String)>;

    /// How far the job is.
    fn message(progress: Progress) -> Self::Response;
}

/// How far a job is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Progress {
    /// What became of the contacts.
    pub(crate) total: StagedContacts,
    /// All that are done.
    pub(crate) done: i64,
    /// New and changed contacts that are left, as counted when the job began.
    pub(crate) left: i64,
    /// Contacts a second so far.
    pub(crate) rows_per_second: f64,
    /// The job is done.
    pub(crate) finished: bool,
}

/// One call, parsed.
pub(crate) struct StageFromVault {
    contact_ids: Option<Vec<i64>>,
    actor: Actor,
}

impl StageFromVault {
    /// Reads a request.
    ///
    /// # Errors
    /// [`Error::InvalidField`].
    pub(crate) fn parse(contact_ids: Vec<i64>, actor: Actor) -> Result<Self, Error> {
        if contact_ids.len() > MAX_CONTACT_IDS {
            let description = format!(
                "has {} ids, at most {MAX_CONTACT_IDS} are taken; give none for all",
                contact_ids.len()
            );
            return Err(Error::invalid("contact_ids", description));
        }
        Ok(Self {
            contact_ids: Some(contact_ids).filter(|ids| !ids.is_empty()),
            actor,
        })
    }

    /// Stages until every contact was looked at, nobody listens, or the server stops.
    ///
    /// # Errors
    /// Why it ended before.
    pub(crate) async fn run<F: FromVault>(
        self,
        room: Arc<Room>,
        answers: Answers<F::Response>,
    ) -> Result<(), Ended> {
        let started = Instant::now();
        let ids = self.contact_ids.as_deref();
        let count = async |mut connection: PooledConnection| {
            repository::count_changed(&mut connection, &F::KIND, ids).await
        };
        let changed = room.read(&answers, count).await?;
        let mut total = StagedContacts::default();
        let message = |total: &StagedContacts, finished| {
            let done = total.staged + total.unchanged + total.skipped;
            F::message(Progress {
                total: *total,
                done,
                left: (changed - done).max(0),
                rows_per_second: done as f64 / started.elapsed().as_secs_f64().max(0.001),
                finished,
            })
        };
        for _ in 0..PASSES {
            // Before any id, also one that an administrator made up.
            let mut last = i64::MIN;
            loop {
                let look = async |mut connection: PooledConnection| {
                    repository::next_stretch(&mut connection, &F::KIND, ids, last, STRETCH).await
                };
                let stretch = room.read(&answers, look).await?;
                let Some(end) = stretch.last else {
                    break;
                };
                last = end;
                let mut left = stretch.changed.as_slice();
                while let Some(next) = left.first() {
                    debug_assert!(*next <= end, "a stretch holds what it looked at");
                    let connection = room.job_connection(&answers).await?;
                    let (done, chunk) = self.chunk::<F>(&room, connection, left).await?;
                    left = left.get(done.max(1)..).unwrap_or_default();
                    total.staged += chunk.staged;
                    total.unchanged += chunk.unchanged;
                    total.skipped += chunk.skipped;
                    room.say(&answers, message(&total, false)).await?;
                }
            }
        }
        room.settle(&answers).await?;
        room.say(&answers, message(&total, true)).await
    }

    /// Stages the first of some contacts; says how many it dealt with, and what became of them.
    async fn chunk<F: FromVault>(
        &self,
        room: &Room,
        mut connection: PooledConnection,
        contact_ids: &[i64],
    ) -> Result<(usize, StagedContacts), Error> {
        let contact_ids = contact_ids[..contact_ids.len().min(CHUNK)].to_vec();
        let actor = self.actor.clone();
        room.uncut(async move {
            let contacts =
                repository::get_contacts(&mut connection, &contact_ids, CHUNK_BYTES).await?;
            // One that was deleted meanwhile is dealt with too.
            let done = contacts.last().map_or(contact_ids.len(), |last| {
                contact_ids.partition_point(|id| *id <= last.contact_id)
            });
            let rows = rows::<F>(contacts);
            let staged = repository::stage(&mut connection, &F::KIND, rows, &actor).await?;
            Ok((done, staged))
        })
        .await
    }
}

fn rows<F: FromVault>(contacts: Vec<Contact>) -> ContactRows {
    let mut rows = ContactRows::default();
    for contact in contacts {
        let (key, row) = F::slot(&contact).unzip();
        rows.contact_ids.push(contact.contact_id);
        rows.versions.push(contact.updated_at);
        rows.keys.push(key);
        rows.rows.push(row);
        rows.sources.push(contact.source);
    }
    rows
}
