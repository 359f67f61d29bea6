//! Callers who write at the same time share a transaction.
//!
//! They wait in one line. A few writers at a time, each a task of its own, take a connection, then the items of
//! as many callers as fit, and write them in one transaction; one that finds nobody waiting ends.
//!
//! Guarantees:
//! * Who gave up before a writer took its items is not written. From then on neither its deadline nor its going
//!   away cuts the transaction, since it is that of others, too.
//! * Nobody waits for a connection much longer than a call of its own would, and the line has an end.
//! * A batch that fails fails none of its callers: each is told to write alone, so that only who is at fault hears
//!   of it. Hence an item that was written must be safe to write again.

mod line;

use std::{sync::Arc, time::Instant};

use futures_util::{FutureExt as _, future::BoxFuture};
use tokio::sync::oneshot;
use tokio_util::task::TaskTracker;

use self::line::{Line, Waiting};
use super::super::{error::Error, lent::PooledConnection, pool::Pool};

/// The most items of one batch, unless one caller alone has more.
const MOST_ITEMS: usize = 1_000;
/// The most items that wait: twenty full batches, about a second of work.
const MOST_WAITING: usize = 20 * MOST_ITEMS;

/// Writes items in one transaction; an outcome each, in order.
type Write<Item, Outcome, Failure> = dyn Fn(PooledConnection, Vec<Item>) -> BoxFuture<'static, Result<Vec<Outcome>, Failure>>
    + Send
    + Sync;

/// What a caller waits for.
type Answer<Outcome, Failure> = Result<Vec<Outcome>, Unwritten<Failure>>;

/// A caller who waits.
type Caller<Item, Outcome, Failure> = Waiting<Item, Answer<Outcome, Failure>>;

/// Why the items of a caller were not written by a batch.
#[derive(Debug)]
pub enum Unwritten<Failure> {
    /// So many items wait already, as many as may. Nothing was done.
    Full(usize),
    /// There was no connection. Nothing was done.
    Unconnected(Arc<Error>),
    /// The write failed, and nobody else's items were in it.
    Failed(Failure),
    /// The write failed, and others' items were in it: write them alone.
    Alone,
}

/// Writes the items of many callers at once.
pub struct Batcher<Item, Outcome, Failure> {
    tasks: TaskTracker,
    work: Arc<Work<Item, Outcome, Failure>>,
}

/// What the writers share.
struct Work<Item, Outcome, Failure> {
    pool: Pool,
    write: Box<Write<Item, Outcome, Failure>>,
    line: Line<Item, Answer<Outcome, Failure>>,
}

impl<Item, Outcome, Failure> Batcher<Item, Outcome, Failure>
where
    Item: Send + 'static,
    Outcome: Send + 'static,
    Failure: Send + 'static,
{
    /// `write` writes items in one transaction, with an outcome each, in order; so many writers at the same time.
    /// `tasks` knows when they have ended.
    pub fn new<Writing>(
        pool: Pool,
        tasks: TaskTracker,
        most_writers: usize,
        write: impl Fn(PooledConnection, Vec<Item>) -> Writing + Send + Sync + 'static,
    ) -> Self
    where
        Writing: Future<Output = Result<Vec<Outcome>, Failure>> + Send + 'static,
    {
        Self {
            tasks,
            work: Arc::new(Work {
                pool,
                write: Box::new(move |connection, items| write(connection, items).boxed()),
                line: Line::new(most_writers, MOST_WAITING),
            }),
        }
    }

    /// Writes items; an outcome each, in order. Whoever drops this before a writer took them is not written.
    ///
    /// # Errors
    /// Why they were not written, or not known to be.
    pub async fn write(&self, items: Vec<Item>) -> Result<Vec<Outcome>, Unwritten<Failure>> {
        let (answer, answered) = oneshot::channel();
        let entered = self.work.line.enter(Waiting { items, answer });
        if entered.map_err(Unwritten::Full)? {
            self.tasks.spawn(work(Writer(Some(Arc::clone(&self.work)))));
        }
        answered.await.unwrap_or(Err(Unwritten::Alone))
    }
}

/// Writes until nobody waits.
async fn work<Item, Outcome, Failure>(writer: Writer<Item, Outcome, Failure>) {
    let mut writer = Some(writer);
    while let Some(at_work) = writer {
        if let Some(work) = &at_work.0 {
            work.write_some().await;
        }
        writer = at_work.unless_idle();
    }
}

/// One of the writers, until dropped.
struct Writer<Item, Outcome, Failure>(Option<Arc<Work<Item, Outcome, Failure>>>);

impl<Item, Outcome, Failure> Writer<Item, Outcome, Failure> {
    /// Ends where nobody waits.
    fn unless_idle(mut self) -> Option<Self> {
        if self.0.as_ref().is_some_and(|work| work.line.end_if_empty()) {
            self.0 = None;
            return None;
        }
        Some(self)
    }
}

impl<Item, Outcome, Failure> Drop for Writer<Item, Outcome, Failure> {
    // Only one that panicked is still at work here.
    fn drop(&mut self) {
        if let Some(work) = self.0.take() {
            work.line.lose_writer();
        }
    }
}

impl<Item, Outcome, Failure> Work<Item, Outcome, Failure> {
    /// The connection first: who gives up while it is waited for is not written.
    async fn write_some(&self) {
        let begun = Instant::now();
        match self.pool.get_for_callers().await {
            Ok(connection) => {
                self.write_batch(connection, self.line.take(MOST_ITEMS))
                    .await
            }
            Err(error) => {
                let error = Arc::new(error);
                for caller in self.line.take_older(begun) {
                    caller.answer(Err(Unwritten::Unconnected(Arc::clone(&error))));
                }
            }
        }
    }

    async fn write_batch(
        &self,
        connection: PooledConnection,
        callers: Vec<Caller<Item, Outcome, Failure>>,
    ) {
        let mut items = Vec::new();
        let mut answers = Vec::new();
        for caller in callers {
            answers.push((caller.items.len(), caller.answer));
            items.extend(caller.items);
        }
        if answers.is_empty() {
            return;
        }
        match (self.write)(connection, items).await {
            Ok(outcomes) => {
                let mut outcomes = outcomes.into_iter();
                for (count, answer) in answers {
                    let own = outcomes.by_ref().take(count).collect();
                    // Who went away meanwhile does not hear.
                    let _ = answer.send(Ok(own));
                }
            }
            Err(failure) => {
                if let [_] = answers.as_slice()
                    && let Some((_, answer)) = answers.pop()
                {
                    let _ = answer.send(Err(Unwritten::Failed(failure)));
                }
                // The others learn it by what is dropped here.
            }
        }
    }
}
