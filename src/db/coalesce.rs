//! Callers who ask for one row each at the same time are answered by one statement.
//!
//! A statement costs the service and PostgreSQL much the same whether it reads one row by its key or twenty.
//! While the statements of those who came before are on their way, those who come wait together, and go
//! together with the next: nobody waits who is alone, and the more callers there are, the less each costs.
//!
//! Guarantees: a caller gets what its key finds after it asked, never something older; a statement that
//! fails for several callers fails none of them for another's sake: each then asks alone.

use std::{collections::HashMap, hash::Hash, sync::Arc};

use diesel::QueryResult;
use futures_util::{FutureExt as _, future::BoxFuture};
use tokio::sync::{Mutex, mpsc, oneshot};

use super::{error::Error, point_reads::SharedConnection, pool::Pool};

/// The most callers that one statement answers: more would only make the first of them wait for the last.
const MOST: usize = 32;

/// Finds the rows that have one of some keys.
type Read<Key, Value> = Arc<
    dyn Fn(SharedConnection, Vec<Key>) -> BoxFuture<'static, QueryResult<Vec<Value>>> + Send + Sync,
>;

/// Reads rows by their key.
pub struct Coalescer<Key, Value> {
    pool: Pool,
    read: Read<Key, Value>,
    asked: mpsc::UnboundedSender<Asked<Key, Value>>,
}

/// What one caller waits for. Where it is dropped unanswered, the caller asks alone.
#[derive(Debug)]
struct Asked<Key, Value> {
    key: Key,
    answer: oneshot::Sender<Option<Value>>,
}

impl<Key, Value> Coalescer<Key, Value>
where
    Key: Clone + Eq + Hash + Send + Sync + 'static,
    Value: Clone + Send + 'static,
{
    /// Starts the workers, one for each connection that point reads share; they end with the coalescer.
    /// `read` finds the rows that have one of some keys, and `key_of` is the key of a row.
    pub fn start<Reading>(
        pool: &Pool,
        read: impl Fn(SharedConnection, Vec<Key>) -> Reading + Send + Sync + 'static,
        key_of: fn(&Value) -> &Key,
    ) -> Self
    where
        Reading: Future<Output = QueryResult<Vec<Value>>> + Send + 'static,
    {
        let read: Read<Key, Value> =
            Arc::new(move |connection, keys| read(connection, keys).boxed());
        let (asked, waiting) = mpsc::unbounded_channel();
        let waiting = Arc::new(Mutex::new(waiting));
        for _ in 0..pool.point_read_connections() {
            let worker = work(
                pool.clone(),
                Arc::clone(&read),
                key_of,
                Arc::clone(&waiting),
            );
            tokio::spawn(worker);
        }
        Self {
            pool: pool.clone(),
            read,
            asked,
        }
    }

    /// The row with this key, if there is one.
    ///
    /// # Errors
    /// As [`Pool::point_read`].
    pub async fn get(&self, key: Key) -> Result<QueryResult<Option<Value>>, Error> {
        let (answer, answered) = oneshot::channel();
        let asked = Asked {
            key: key.clone(),
            answer,
        };
        if self.asked.send(asked).is_ok()
            && let Ok(value) = answered.await
        {
            return Ok(Ok(value));
        }
        let rows = self
            .pool
            .point_read(|connection| (self.read)(connection, vec![key.clone()]))
            .await?;
        Ok(rows.map(|rows| rows.into_iter().next()))
    }
}

/// Answers those who wait, again and again, until nobody can come any more.
async fn work<Key: Clone + Eq + Hash, Value: Clone>(
    pool: Pool,
    read: Read<Key, Value>,
    key_of: fn(&Value) -> &Key,
    waiting: Arc<Mutex<mpsc::UnboundedReceiver<Asked<Key, Value>>>>,
) {
    let mut batch = Vec::with_capacity(MOST);
    loop {
        if waiting.lock().await.recv_many(&mut batch, MOST).await == 0 {
            return;
        }
        let mut callers: HashMap<Key, Vec<oneshot::Sender<Option<Value>>>> = HashMap::new();
        for Asked { key, answer } in batch.drain(..) {
            callers.entry(key).or_default().push(answer);
        }
        let keys: Vec<Key> = callers.keys().cloned().collect();
        let rows = pool
            .point_read(|connection| read(connection, keys.clone()))
            .await;
        if let Ok(Ok(rows)) = rows {
            answer(callers, rows, key_of);
        }
    }
}

/// Gives each row to those who asked for it; a caller who went away does not hear.
fn answer<Key: Eq + Hash, Value: Clone>(
    mut callers: HashMap<Key, Vec<oneshot::Sender<Option<Value>>>>,
    rows: Vec<Value>,
    key_of: fn(&Value) -> &Key,
) {
    for row in rows {
        let mut of_row = callers.remove(key_of(&row)).unwrap_or_default();
        let last = of_row.pop();
        for caller in of_row {
            let _ = caller.send(Some(row.clone()));
        }
        if let Some(caller) = last {
            let _ = caller.send(Some(row));
        }
    }
    for caller in callers.into_values().flatten() {
        let _ = caller.send(None);
    }
}
