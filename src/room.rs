//! What the services of all rooms stand on: connections, limits, and the tasks that outlive
//! the caller who began them.

mod queue;

use std::sync::Arc;

use futures_util::{
    StreamExt as _,
    stream::{self, BoxStream},
};
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinHandle,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::{Response, Status};
use tracing::Instrument as _;

use self::queue::Queue;
use crate::{
    config::Limits,
    db::{self, Batcher, Call, Pool, PooledConnection, SharedConnection},
    metrics::Metrics,
    rpc::{Error, Place, unless_it_panics},
};

/// How many messages of a streamed answer wait for a client that reads slowly, before their maker waits.
const ANSWER_BUFFER: usize = 2;

/// Where a job sends the messages of its answer.
pub(crate) type Answers<T> = mpsc::Sender<Result<T, Status>>;
/// What a call that answers in a stream returns.
pub(crate) type AnswerStream<T> = BoxStream<'static, Result<T, Status>>;

/// What the calls of a room share.
pub(crate) struct Room {
    pool: Pool,
    /// The limits of requests.
    pub(crate) limits: Limits,
    /// What the service counts of itself.
    pub(crate) metrics: Metrics,
    /// Cancelled when the server stops.
    pub(crate) shutdown: CancellationToken,
    tasks: TaskTracker,
}

/// Why a job ends before its end.
pub(crate) enum Ended {
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

impl From<diesel::result::Error> for Ended {
    fn from(error: diesel::result::Error) -> Self {
        Self::Failed(error.into())
    }
}

impl Room {
    /// A room over a pool. Long jobs end when `shutdown` is cancelled; `tasks` knows when they have.
    pub(crate) fn new(
        pool: Pool,
        limits: Limits,
        metrics: Metrics,
        shutdown: CancellationToken,
        tasks: TaskTracker,
    ) -> Arc<Self> {
        Arc::new(Self {
            pool,
            limits,
            metrics,
            shutdown,
            tasks,
        })
    }

    /// A connection to the database.
    ///
    /// # Errors
    /// [`Error::PoolExhausted`], [`Error::DatabaseUnavailable`].
    pub(crate) async fn connection(&self) -> Result<PooledConnection, Error> {
        Ok(self.pool.get().await?)
    }

    /// Runs a single statement that finds at most one row by a unique key, on a connection that many such reads
    /// share. It is run again if the connection is lost, so it must not write.
    ///
    /// # Errors
    /// [`Error::DatabaseUnavailable`], and what PostgreSQL said to the statement.
    pub(crate) async fn point_read<T, Read>(
        &self,
        read: impl Fn(SharedConnection) -> Read,
    ) -> Result<T, Error>
    where
        Read: Future<Output = diesel::QueryResult<T>>,
    {
        Ok(self.pool.point_read(read).await??)
    }

    /// Runs a write in a task of its own: see [`uncut`].
    ///
    /// # Errors
    /// Those of the write.
    pub(crate) async fn uncut<T: Send + 'static>(
        &self,
        write: impl Future<Output = Result<T, Error>> + Send + 'static,
    ) -> Result<T, Error> {
        uncut(&self.tasks, write).await
    }

    /// A way for callers to share the transactions of their writes; so many at the same time.
    pub(crate) fn batcher<Item, Outcome, Writing>(
        &self,
        most_writers: usize,
        write: impl Fn(PooledConnection, Vec<Item>) -> Writing + Send + Sync + 'static,
    ) -> Batcher<Item, Outcome, Error>
    where
        Item: Send + 'static,
        Outcome: Send + 'static,
        Writing: Future<Output = Result<Vec<Outcome>, Error>> + Send + 'static,
    {
        Batcher::new(self.pool.clone(), self.tasks.clone(), most_writers, write)
    }

    /// Starts a job of the server's own that answers in a stream. What it fails with ends the stream, however late its
    /// client comes to read it: it goes beside the messages, which may wait for a client that does not take them, and
    /// which are dropped where the job fails for that. A job that is lost is a failure, too; only one that did all of its
    /// work ends without a word. The job has the place of its call, which is free by the time that its end is read.
    pub(crate) fn stream<T: Send + 'static, Job>(
        self: &Arc<Self>,
        job: impl FnOnce(Arc<Self>, Answers<T>) -> Job,
    ) -> Response<AnswerStream<T>>
    where
        Job: Future<Output = Result<(), Ended>> + Send + 'static,
    {
        let (answers, messages) = mpsc::channel(ANSWER_BUFFER);
        let (ending, end) = oneshot::channel();
        let messages = Queue::new(messages);
        let unread = messages.unread();
        let job = job(Arc::clone(self), answers);
        let place = Place::of_call();
        let job = async move {
            let ended = unless_it_panics(job).await;
            let end = match ended.unwrap_or_else(|panicked| Err(panicked.into())) {
                Err(Ended::Failed(error)) => {
                    if matches!(error, Error::StreamStalled(_)) {
                        unread.drop_all();
                    }
                    Some(error.into())
                }
                Err(Ended::Cancelled) | Ok(()) => None,
            };
            drop(place);
            // Whoever went away does not hear it.
            let _ = ending.send(end);
        };
        self.tasks.spawn(job.in_current_span());
        let last_word = stream::once(async move {
            end.await
                .unwrap_or_else(|lost| Some(Error::internal(lost).into()))
        });
        let last_word = last_word.filter_map(async |end: Option<Status>| end.map(Err));
        Response::new(messages.stream().chain(last_word).boxed())
    }

    /// A connection for the next chunk of a job. It is waited for as long as somebody listens and the server does not
    /// stop: for nobody no chunk is begun.
    ///
    /// # Errors
    /// Why the job ends.
    pub(crate) async fn job_connection<T>(
        &self,
        answers: &Answers<T>,
    ) -> Result<PooledConnection, Ended> {
        tokio::select! {
            biased;
            () = self.shutdown.cancelled() => Err(Error::ShuttingDown.into()),
            () = answers.closed() => Err(Ended::Cancelled),
            connection = self.connection() => Ok(connection?),
        }
    }

    /// Reads for a job, as long as somebody listens and the server does not stop: the statement ends then, too.
    ///
    /// # Errors
    /// Why the job ends.
    pub(crate) async fn read<T, M, Reading>(
        &self,
        answers: &Answers<M>,
        read: impl FnOnce(PooledConnection) -> Reading,
    ) -> Result<T, Ended>
    where
        Reading: Future<Output = Result<T, Error>>,
    {
        let call = Arc::new(Call::default());
        let connection = self.job_connection(answers).await?;
        let reading = read(connection.lent_to(Arc::clone(&call)));
        tokio::pin!(reading);
        let ended = tokio::select! {
            biased;
            read = &mut reading => return Ok(read?),
            () = self.shutdown.cancelled() => Error::ShuttingDown.into(),
            () = answers.closed() => Ended::Cancelled,
        };
        call.leave();
        Err(ended)
    }

    /// Waits at the end of a job until what it found done is as durable as what it did: a chunk of an earlier job may
    /// still be on its way to a standby.
    ///
    /// # Errors
    /// Why the job ends.
    pub(crate) async fn settle<T>(&self, answers: &Answers<T>) -> Result<(), Ended> {
        let mut connection = self.job_connection(answers).await?;
        Ok(db::commit_as_write(&mut connection).await?)
    }

    /// Sends a message, unless nobody listens or takes what was said before for the idle time of a stream, or the
    /// server stops while a slow client makes it wait.
    ///
    /// # Errors
    /// Why the job ends.
    pub(crate) async fn say<T>(&self, answers: &Answers<T>, message: T) -> Result<(), Ended> {
        let idle = self.limits.stream_idle_timeout;
        tokio::select! {
            biased;
            sent = answers.send(Ok(message)) => sent.map_err(|_| Ended::Cancelled),
            () = tokio::time::sleep(idle) => Err(Error::StreamStalled(idle).into()),
            () = self.shutdown.cancelled() => Err(Error::ShuttingDown.into()),
        }
    }
}

/// Runs a write in a task of its own, so that a caller who goes away cannot cut its transaction. Its deadline does:
/// the transaction is rolled back, or is just about to have ended. A job of the server's own has none.
///
/// # Errors
/// Those of the write.
pub(crate) async fn uncut<T: Send + 'static>(
    tasks: &TaskTracker,
    write: impl Future<Output = Result<T, Error>> + Send + 'static,
) -> Result<T, Error> {
    let mut writing = Writing {
        task: tasks.spawn(write.in_current_span()),
        call: Call::current(),
    };
    (&mut writing.task).await.map_err(Error::internal)?
}

/// A write that ends with the deadline of its call.
struct Writing<T> {
    task: JoinHandle<T>,
    call: Option<Arc<Call>>,
}

impl<T> Drop for Writing<T> {
    fn drop(&mut self) {
        if self.call.as_ref().is_some_and(|call| call.is_expired()) {
            self.task.abort();
        }
    }
}
