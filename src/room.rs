//! What the services of the vault and of golden records stand on: connections, limits, and the tasks that outlive
//! the caller who began them.

use std::sync::Arc;

use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::{Response, Status};
use tracing::Instrument as _;

use crate::{
    config::Limits,
    db::{Pool, PooledConnection, SharedConnection},
    metrics::Metrics,
    rpc::Error,
};

/// How many messages of a streamed answer wait for a client that reads slowly, before their maker waits.
const ANSWER_BUFFER: usize = 2;

/// Where a job sends the messages of its answer.
pub(crate) type Answers<T> = mpsc::Sender<Result<T, Status>>;
/// What a call that answers in a stream returns.
pub(crate) type AnswerStream<T> = ReceiverStream<Result<T, Status>>;

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
    pub(crate) async fn connection(&self) -> Result<PooledConnection<'static>, Error> {
        Ok(self.pool.get_owned().await?)
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

    /// Runs a write in a task of its own, so that a caller who goes away cannot cut its transaction.
    ///
    /// # Errors
    /// Those of the write.
    pub(crate) async fn uncut<T: Send + 'static>(
        &self,
        write: impl Future<Output = Result<T, Error>> + Send + 'static,
    ) -> Result<T, Error> {
        let write = write.in_current_span();
        self.tasks.spawn(write).await.map_err(Error::internal)?
    }

    /// Starts a job of the server's own that answers in a stream. What it fails with ends the stream.
    pub(crate) fn stream<T: Send + 'static, Job>(
        self: &Arc<Self>,
        job: impl FnOnce(Arc<Self>, Answers<T>) -> Job,
    ) -> Response<AnswerStream<T>>
    where
        Job: Future<Output = Result<(), Ended>> + Send + 'static,
    {
        let (answers, stream) = mpsc::channel(ANSWER_BUFFER);
        let job = job(Arc::clone(self), answers.clone());
        let job = async move {
            if let Err(Ended::Failed(error)) = job.await {
                // Whoever went away does not hear it.
                let _ = answers.send(Err(error.into())).await;
            }
        };
        self.tasks.spawn(job.in_current_span());
        Response::new(ReceiverStream::new(stream))
    }

    /// Ends a job whose server stops, or to whom nobody listens: asked before each chunk.
    ///
    /// # Errors
    /// Why it ends.
    pub(crate) fn check<T>(&self, answers: &Answers<T>) -> Result<(), Ended> {
        if self.shutdown.is_cancelled() {
            Err(Error::ShuttingDown.into())
        } else if answers.is_closed() {
            Err(Ended::Cancelled)
        } else {
            Ok(())
        }
    }

    /// Sends a message, unless nobody listens or the server stops while a slow client makes it wait.
    ///
    /// # Errors
    /// Why the job ends.
    pub(crate) async fn say<T>(&self, answers: &Answers<T>, message: T) -> Result<(), Ended> {
        tokio::select! {
            biased;
            sent = answers.send(Ok(message)) => sent.map_err(|_| Ended::Cancelled),
            () = self.shutdown.cancelled() => Err(Error::ShuttingDown.into()),
        }
    }
}
