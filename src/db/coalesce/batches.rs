//! Callers who write at the same time share a transaction.

use std::sync::Arc;

use futures_util::{FutureExt as _, future::BoxFuture};

use super::queue::{Lead, Queue, Turn};

/// The most items of one batch, unless one caller alone has more.
const MOST_ITEMS: usize = 1_000;

/// Writes items in one transaction; an outcome each, in order.
type Write<Item, Outcome, Failure> =
    dyn Fn(Vec<Item>) -> BoxFuture<'static, Result<Vec<Outcome>, Failure>> + Send + Sync;

/// The items of a caller, which its leader reads.
type Ask<Item> = Arc<Vec<Item>>;

/// Writes the items of many callers at once.
///
/// A batch that fails fails none of them: each then writes alone, so that only who is at fault is told. Hence an
/// item that was written must be safe to write again.
pub struct Batcher<Item, Outcome, Failure> {
    write: Box<Write<Item, Outcome, Failure>>,
    queue: Arc<Queue<Ask<Item>, Vec<Outcome>>>,
}

impl<Item, Outcome, Failure> Batcher<Item, Outcome, Failure>
where
    Item: Clone + Send + Sync + 'static,
    Outcome: Send + 'static,
{
    /// `write` writes items in one transaction, with an outcome each, in order; so many at the same time.
    pub fn new<Writing>(
        most_leaders: usize,
        write: impl Fn(Vec<Item>) -> Writing + Send + Sync + 'static,
    ) -> Self
    where
        Writing: Future<Output = Result<Vec<Outcome>, Failure>> + Send + 'static,
    {
        Self {
            write: Box::new(move |items| write(items).boxed()),
            queue: Queue::new(most_leaders),
        }
    }

    /// Writes items; an outcome each, in order. Whoever drops this while it runs makes those whom it leads write
    /// again: call it in a task that outlives its caller.
    ///
    /// # Errors
    /// What the write fails with.
    pub async fn write(&self, items: Vec<Item>) -> Result<Vec<Outcome>, Failure> {
        let items = Arc::new(items);
        match Queue::turn(&self.queue, &items).await {
            Some(Turn::Answered(outcomes)) => Ok(outcomes),
            Some(Turn::Leads(lead)) => self.lead(items, lead).await,
            None => self.alone(&items).await,
        }
    }

    /// Writes for oneself and for those who wait.
    async fn lead(
        &self,
        items: Ask<Item>,
        lead: Lead<Ask<Item>, Vec<Outcome>>,
    ) -> Result<Vec<Outcome>, Failure> {
        let mut count = items.len();
        let followers = lead.followers(|more| {
            count += more.len();
            count <= MOST_ITEMS
        });
        if followers.is_empty() {
            return self.alone(&items).await;
        }
        let mut batch = items.to_vec();
        for follower in &followers {
            batch.extend(follower.ask.iter().cloned());
        }
        let written = (self.write)(batch).await;
        drop(lead);
        let Ok(outcomes) = written else {
            drop(followers);
            return self.alone(&items).await;
        };
        let mut outcomes = outcomes.into_iter();
        let own = outcomes.by_ref().take(items.len()).collect();
        for follower in followers {
            let count = follower.ask.len();
            follower.answer(outcomes.by_ref().take(count).collect());
        }
        Ok(own)
    }

    async fn alone(&self, items: &[Item]) -> Result<Vec<Outcome>, Failure> {
        (self.write)(items.to_vec()).await
    }
}
