//! Callers who ask for one row each at the same time are answered by one statement.
//!
//! A statement costs the service and PostgreSQL much the same whether it reads one row by its key or twenty.
//! A few callers at a time lead: each sends a statement, on its own task, as soon as those who came with it have
//! joined it. Who comes while all of them are on their way waits, and the first leader who is back lets one of
//! those who wait lead the others. Nobody who is alone waits for others, and the more callers there are, the less
//! each costs.
//!
//! Guarantees: a caller gets what its key finds after it asked, never something older; a statement that
//! fails, or whose leader goes away, fails nobody who was to be answered by it: each then asks alone.

mod batches;
mod queue;

use std::{collections::HashMap, hash::Hash, sync::Arc};

use diesel::QueryResult;
use futures_util::{FutureExt as _, future::BoxFuture};

use self::queue::{Lead, Queue, Turn};
use super::{error::Error, point_reads::SharedConnection, pool::Pool};

pub use self::batches::{Batcher, Unwritten};

/// The most callers that one statement answers: more would only make the first of them wait for the last.
const MOST: usize = 32;

/// How often a leader lets everybody else go first who could go on: requests that came in the same packet are each
/// a task of its own, and those who are only a few microseconds later are answered with it. The second turn gained
/// as much again as the first (`benches/read`, 8 callers), a fourth nothing.
const TURNS: usize = 2;

/// Finds the rows that have one of some keys.
type Read<Key, Value> =
    dyn Fn(SharedConnection, Vec<Key>) -> BoxFuture<'static, QueryResult<Vec<Value>>> + Send + Sync;

/// Reads rows by their key.
pub struct Coalescer<Key, Value> {
    pool: Pool,
    read: Box<Read<Key, Value>>,
    key_of: fn(&Value) -> &Key,
    queue: Arc<Queue<Key, Option<Value>>>,
}

impl<Key, Value> Coalescer<Key, Value>
where
    Key: Clone + Eq + Hash + Send + Sync + 'static,
    Value: Clone + Send + 'static,
{
    /// `read` finds the rows that have one of some keys, and `key_of` is the key of a row.
    pub fn new<Reading>(
        pool: &Pool,
        read: impl Fn(SharedConnection, Vec<Key>) -> Reading + Send + Sync + 'static,
        key_of: fn(&Value) -> &Key,
    ) -> Self
    where
        Reading: Future<Output = QueryResult<Vec<Value>>> + Send + 'static,
    {
        Self {
            pool: pool.clone(),
            read: Box::new(move |connection, keys| read(connection, keys).boxed()),
            key_of,
            queue: Queue::new(pool.point_read_connections()),
        }
    }

    /// The row with this key, if there is one.
    ///
    /// # Errors
    /// As [`Pool::point_read`].
    pub async fn get(&self, key: Key) -> Result<QueryResult<Option<Value>>, Error> {
        match Queue::turn(&self.queue, &key).await {
            Some(Turn::Answered(value)) => Ok(Ok(value)),
            Some(Turn::Leads(lead)) => self.lead(key, lead).await,
            None => self.alone(key).await,
        }
    }

    /// Reads for oneself and for those who wait.
    async fn lead(
        &self,
        key: Key,
        lead: Lead<Key, Option<Value>>,
    ) -> Result<QueryResult<Option<Value>>, Error> {
        for _ in 0..TURNS {
            tokio::task::yield_now().await;
        }
        let mut count = 1;
        let followers = lead.followers(|_| {
            count += 1;
            count <= MOST
        });
        if followers.is_empty() {
            return self.alone(key).await;
        }
        let mut keys: Vec<Key> = followers
            .iter()
            .map(|follower| follower.ask.clone())
            .collect();
        keys.push(key.clone());
        let rows = self.rows(&keys).await;
        drop(lead);
        let Ok(Ok(rows)) = rows else {
            drop(followers);
            return self.alone(key).await;
        };
        let rows: HashMap<&Key, &Value> =
            rows.iter().map(|row| ((self.key_of)(row), row)).collect();
        let row_of = |key: &Key| rows.get(key).copied().cloned();
        for follower in followers {
            let row = row_of(&follower.ask);
            follower.answer(row);
        }
        Ok(Ok(row_of(&key)))
    }

    async fn alone(&self, key: Key) -> Result<QueryResult<Option<Value>>, Error> {
        let rows = self.rows(&[key]).await?;
        Ok(rows.map(|rows| rows.into_iter().next()))
    }

    async fn rows(&self, keys: &[Key]) -> Result<QueryResult<Vec<Value>>, Error> {
        self.pool
            .point_read(|connection| (self.read)(connection, keys.to_vec()))
            .await
    }
}
