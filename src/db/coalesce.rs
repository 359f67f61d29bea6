//! Callers who ask for one row each at the same time are answered by one statement.
//!
//! A statement costs the service and PostgreSQL much the same whether it reads one row by its key or twenty.
//! A few callers at a time lead: each sends a statement, on its own task and at once. Who comes while all of
//! them are on their way waits, and the first leader who is back lets one of those who wait lead the others.
//! Nobody waits who is alone, and the more callers there are, the less each costs.
//!
//! Guarantees: a caller gets what its key finds after it asked, never something older; a statement that
//! fails, or whose leader goes away, fails nobody who was to be answered by it: each then asks alone.

use std::{
    collections::{HashMap, VecDeque},
    hash::Hash,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use diesel::QueryResult;
use futures_util::{FutureExt as _, future::BoxFuture};
use tokio::sync::oneshot;

use super::{error::Error, point_reads::SharedConnection, pool::Pool};

/// The most callers that one statement answers: more would only make the first of them wait for the last.
const MOST: usize = 32;

/// Finds the rows that have one of some keys.
type Read<Key, Value> =
    dyn Fn(SharedConnection, Vec<Key>) -> BoxFuture<'static, QueryResult<Vec<Value>>> + Send + Sync;

/// Reads rows by their key.
pub struct Coalescer<Key, Value> {
    pool: Pool,
    read: Box<Read<Key, Value>>,
    key_of: fn(&Value) -> &Key,
    queue: Arc<Queue<Key, Value>>,
}

/// Who leads and who waits.
struct Queue<Key, Value> {
    most_leaders: usize,
    state: Mutex<State<Key, Value>>,
}

struct State<Key, Value> {
    leaders: usize,
    waiting: VecDeque<Follower<Key, Value>>,
}

/// A caller who waits for its turn.
struct Follower<Key, Value> {
    key: Key,
    turn: oneshot::Sender<Turn<Key, Value>>,
}

/// What a caller who waited gets; nothing where its leader failed.
enum Turn<Key, Value> {
    Answered(Option<Value>),
    Leads(Lead<Key, Value>),
}

/// The right to send a statement. Whoever drops it, also unused, passes it on.
struct Lead<Key, Value>(Option<Arc<Queue<Key, Value>>>);

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
        let queue = Queue {
            most_leaders: pool.point_read_connections(),
            state: Mutex::new(State {
                leaders: 0,
                waiting: VecDeque::new(),
            }),
        };
        Self {
            pool: pool.clone(),
            read: Box::new(move |connection, keys| read(connection, keys).boxed()),
            key_of,
            queue: Arc::new(queue),
        }
    }

    /// The row with this key, if there is one.
    ///
    /// # Errors
    /// As [`Pool::point_read`].
    pub async fn get(&self, key: Key) -> Result<QueryResult<Option<Value>>, Error> {
        let turn = match Queue::enter(&self.queue, &key) {
            Ok(lead) => Ok(Turn::Leads(lead)),
            Err(turn) => turn.await,
        };
        match turn {
            Ok(Turn::Answered(value)) => Ok(Ok(value)),
            Ok(Turn::Leads(lead)) => self.lead(key, lead).await,
            Err(_failed) => self.alone(key).await,
        }
    }

    /// Reads for oneself and for those who wait.
    async fn lead(
        &self,
        key: Key,
        lead: Lead<Key, Value>,
    ) -> Result<QueryResult<Option<Value>>, Error> {
        let followers = lead.followers();
        if followers.is_empty() {
            return self.alone(key).await;
        }
        let mut keys: Vec<Key> = followers
            .iter()
            .map(|follower| follower.key.clone())
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
            // A caller who went away does not hear.
            let _ = follower.turn.send(Turn::Answered(row_of(&follower.key)));
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

impl<Key: Clone, Value> Queue<Key, Value> {
    /// The lead, or where to wait for one's turn.
    fn enter(
        queue: &Arc<Self>,
        key: &Key,
    ) -> Result<Lead<Key, Value>, oneshot::Receiver<Turn<Key, Value>>> {
        let mut state = queue.state();
        if state.leaders < queue.most_leaders {
            state.leaders += 1;
            return Ok(Lead(Some(Arc::clone(queue))));
        }
        let (turn, come) = oneshot::channel();
        state.waiting.push_back(Follower {
            key: key.clone(),
            turn,
        });
        Err(come)
    }
}

impl<Key, Value> Queue<Key, Value> {
    fn state(&self) -> MutexGuard<'_, State<Key, Value>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next who waits; where nobody does there is one leader less.
    fn next(&self) -> Option<Follower<Key, Value>> {
        let mut state = self.state();
        let next = state.waiting.pop_front();
        if next.is_none() {
            state.leaders -= 1;
        }
        next
    }
}

impl<Key, Value> Lead<Key, Value> {
    /// Those who are answered with the leader.
    fn followers(&self) -> Vec<Follower<Key, Value>> {
        let Some(queue) = &self.0 else {
            return Vec::new();
        };
        let mut state = queue.state();
        let count = state.waiting.len().min(MOST - 1);
        state.waiting.drain(..count).collect()
    }
}

impl<Key, Value> Drop for Lead<Key, Value> {
    fn drop(&mut self) {
        let Some(queue) = self.0.take() else {
            return;
        };
        while let Some(follower) = queue.next() {
            let lead = Lead(Some(Arc::clone(&queue)));
            match follower.turn.send(Turn::Leads(lead)) {
                Ok(()) => return,
                // It went away: the lead is not its to pass on, or this would nest as deep as they are many.
                Err(Turn::Leads(mut lead)) => lead.0 = None,
                Err(Turn::Answered(_)) => {}
            }
        }
    }
}
