//! Drives one bulk stream: reads and validates frame N+1 while the database stores frame N.
//!
//! Two parts a stream, with a channel of one job between them: the reader turns messages into jobs, the
//! writer does them in order and answers. So at most three frames are in memory, acks come in order, and an
//! error comes after the acks of what was stored before it, unless it is that the client takes none. Both are the
//! server's, not the call's: a client that vanishes cannot cut a transaction.

use std::{sync::Arc, time::Duration};

use tokio::{sync::mpsc, time::Instant};
use tonic::Streaming;

use super::{
    chunk::Chunk,
    convert,
    frame::sent_rows,
    repository::{self, NewBatch, OpenedLane},
    stream::{Split, Stream},
    unacked::Unacked,
};
use crate::{
    domain::{Actor, Fate, Tally},
    metrics::ChunkOf,
    proto::intake::v1::{
        BulkIngestRequest, BulkIngestResponse, Rejection, bulk_ingest_request as request,
        bulk_ingest_response as response,
    },
    room::{Answers, Ended, Room},
    rpc::{Error, to_timestamp},
};

/// The most rejections that an ack holds; the rest are found by `ListRejectedRows`.
const MAX_ACK_REJECTIONS: usize = 1_000;

/// What the writer is to do next.
enum Job {
    /// Store the new rows of a frame and ack all of them.
    Store(Split, Chunk),
    /// Finish the lane.
    Finish(i64),
    /// Tell the client why its stream ends.
    Refuse(Error),
}

/// A lane that is open to this stream.
struct OpenLane {
    batch: NewBatch,
    lane: i32,
    opened: OpenedLane,
    actor: Actor,
}

/// Serves a stream to its end.
///
/// # Errors
/// Why it ends before.
pub(super) async fn serve(
    room: Arc<Room>,
    actor: Actor,
    inbound: Streaming<BulkIngestRequest>,
    answers: Answers<BulkIngestResponse>,
) -> Result<(), Ended> {
    let mut reader = Reader {
        stream: Stream::new(),
        unacked: Unacked::new(),
        inbound,
        answers: answers.clone(),
        room,
    };
    let open = reader.open(actor).await?;
    let (jobs, queue) = mpsc::channel(1);
    let writer = Writer {
        room: Arc::clone(&reader.room),
        unacked: reader.unacked.clone(),
        open,
        answers,
    };
    let ((), ended) = tokio::join!(reader.read(jobs), writer.write(queue));
    ended
}

struct Reader {
    room: Arc<Room>,
    stream: Stream,
    unacked: Unacked,
    inbound: Streaming<BulkIngestRequest>,
    answers: Answers<BulkIngestResponse>,
}

impl Reader {
    /// Waits for `open` and opens the lane.
    async fn open(&mut self, actor: Actor) -> Result<OpenLane, Ended> {
        let open = match self.next().await? {
            Some(request::Message::Open(open)) => open,
            Some(_) => return Err(Error::StreamOrder("a stream begins with open").into()),
            None => {
                let early = self.stream.end().err();
                return Err(early.unwrap_or(Error::ShuttingDown).into());
            }
        };
        self.stream.open()?;
        let (batch, lane) = convert::open(open)?;
        let mut connection = self.room.job_connection(&self.answers).await?;
        let outcome = repository::open_lane(&mut connection, &batch, lane, &actor).await?;
        let opened = convert::lane_result(outcome, &batch, lane)?;
        self.stream
            .opened(lane, opened.next_offset, opened.finished);
        Ok(OpenLane {
            batch,
            lane,
            opened,
            actor,
        })
    }

    /// Turns messages into jobs until the stream ends, one way or another.
    async fn read(mut self, jobs: mpsc::Sender<Job>) {
        loop {
            let next = tokio::select! {
                next = self.next_job() => next,
                // The writer stopped: what the client says no longer matters.
                () = jobs.closed() => return,
            };
            let job = match next {
                Ok(Some(job)) => job,
                Ok(None) => return,
                Err(error) => Job::Refuse(error),
            };
            let last = matches!(job, Job::Refuse(_));
            self.unacked.add();
            // The writer stops when the client is gone or the lane is lost.
            if jobs.send(job).await.is_err() || last {
                return;
            }
        }
    }

    async fn next_job(&mut self) -> Result<Option<Job>, Error> {
        match self.next().await? {
            None => self.stream.end().map(|()| None),
            Some(request::Message::Open(_)) => {
                self.stream.open()?;
                Err(Error::internal("a second open passed the state machine"))
            }
            Some(request::Message::Finish(finish)) => {
                self.stream.finish(finish.row_count)?;
                Ok(Some(Job::Finish(finish.row_count)))
            }
            Some(request::Message::Rows(rows)) => self.rows(rows).await.map(Some),
        }
    }

    async fn rows(&mut self, rows: request::Rows) -> Result<Job, Error> {
        let offset = rows.offset;
        let limits = self.room.limits.clone();
        let mut sent = sent_rows(rows, limits.max_frame_rows, limits.max_frame_bytes)?;
        let split = self.stream.rows(offset, sent.len())?;
        let fresh = sent.split_off(split.replayed);
        let row_limits = limits.row();
        let chunk = tokio::task::spawn_blocking(move || Chunk::validate(fresh, &row_limits))
            .await
            .map_err(Error::internal)?;
        Ok(Job::Store(split, chunk))
    }

    /// The next message; `None` at the end of the client's side, and where nobody hears the answers any more.
    async fn next(&mut self) -> Result<Option<request::Message>, Error> {
        let shutdown = self.room.shutdown.clone();
        let idle = self.room.limits.stream_idle_timeout;
        let mut deadline = Instant::now() + idle;
        loop {
            tokio::select! {
                biased;
                () = shutdown.cancelled() => return Err(Error::ShuttingDown),
                message = self.inbound.message() => return match message {
                    Ok(None) => Ok(None),
                    Ok(Some(BulkIngestRequest { message: Some(message) })) => Ok(Some(message)),
                    Ok(Some(BulkIngestRequest { message: None })) => Err(Error::StreamOrder(
                        "a message is one of open, rows and finish; this one is none of them")),
                    // A message that tonic refused, such as one past its limit; or the connection broke, and
                    // nobody hears the answer.
                    Err(status) => {
                        tracing::debug!(code = ?status.code(), "bulk stream broke");
                        Err(Error::Transport(status))
                    }
                },
                () = self.answers.closed() => return Ok(None),
                () = tokio::time::sleep_until(deadline) => {
                    let now = Instant::now();
                    deadline = match self.unacked.silent_since() {
                        Some(since) if since + idle <= now => return Err(Error::StreamIdle(idle)),
                        Some(since) => since + idle,
                        None => now + idle.min(Duration::from_secs(1)),
                    };
                }
            }
        }
    }
}

struct Writer {
    room: Arc<Room>,
    unacked: Unacked,
    open: OpenLane,
    answers: Answers<BulkIngestResponse>,
}

impl Writer {
    /// Does jobs in order until there are no more, the client is gone, or one fails.
    async fn write(self, mut jobs: mpsc::Receiver<Job>) -> Result<(), Ended> {
        let opened = response::Message::Opened(response::Opened {
            next_offset: self.open.opened.next_offset,
            finished: self.open.opened.finished,
        });
        self.answer(opened).await?;
        while let Some(job) = jobs.recv().await {
            let message = self.act(job).await?;
            let is_last = !matches!(message, response::Message::Ack(_));
            self.answer(message).await?;
            self.unacked.answered();
            if is_last {
                break;
            }
        }
        Ok(())
    }

    async fn answer(&self, message: response::Message) -> Result<(), Ended> {
        let message = BulkIngestResponse {
            message: Some(message),
        };
        self.room.say(&self.answers, message).await
    }

    async fn act(&self, job: Job) -> Result<response::Message, Ended> {
        match job {
            Job::Store(split, chunk) => self.store(split, chunk).await.map(response::Message::Ack),
            Job::Finish(row_count) => self.finish(row_count).await.map(response::Message::Summary),
            Job::Refuse(error) => Err(error.into()),
        }
    }

    async fn store(&self, split: Split, chunk: Chunk) -> Result<response::Ack, Ended> {
        let (mut fates, mut rejections) = self.replay(split).await?;
        let next_offset =
            split.fresh_offset() + i64::try_from(split.fresh).map_err(Error::internal)?;
        if split.fresh > 0 {
            let room = MAX_ACK_REJECTIONS.saturating_sub(rejections.len());
            rejections.extend(chunk.rejected.iter().take(room).map(|row| {
                let offset = split.fresh_offset() + i64::from(row.position);
                convert::rejection(offset, row.rejection.clone())
            }));
            fates.extend(self.store_fresh(split.fresh_offset(), chunk).await?);
        }
        Ok(ack(split, next_offset, fates, rejections))
    }

    async fn store_fresh(&self, offset: i64, chunk: Chunk) -> Result<Vec<Fate>, Ended> {
        let OpenLane {
            batch,
            lane,
            opened,
            actor,
        } = &self.open;
        let mut connection = self.room.job_connection(&self.answers).await?;
        let begun = Instant::now();
        let outcome = repository::ingest_chunk(
            &mut connection,
            &batch.batch_id,
            *lane,
            opened.writer,
            offset,
            chunk,
            actor,
        )
        .await?;
        let fates = convert::lane_result(outcome, batch, *lane)?.fates;
        let metrics = &self.room.metrics;
        metrics.chunk(ChunkOf::BulkIngest, begun.elapsed(), &[]);
        metrics.rows(batch.source.as_str(), Tally::of(fates.iter().copied()));
        Ok(fates)
    }

    /// What the replayed rows were answered the first time.
    async fn replay(&self, split: Split) -> Result<(Vec<Fate>, Vec<Rejection>), Ended> {
        if split.replayed == 0 {
            return Ok((Vec::new(), Vec::new()));
        }
        let (batch_id, lane) = (&self.open.batch.batch_id, self.open.lane);
        let mut connection = self.room.job_connection(&self.answers).await?;
        let fates = repository::replay(
            &mut connection,
            batch_id,
            lane,
            split.offset,
            split.replayed,
        )
        .await?;
        let rejected = repository::get_rejected(
            &mut connection,
            batch_id,
            lane,
            split.offset..split.fresh_offset(),
            i64::try_from(MAX_ACK_REJECTIONS).map_err(Error::internal)?,
        )
        .await?;
        let rejections = rejected.iter().map(convert::stored_rejection).collect();
        Ok((fates, rejections))
    }

    async fn finish(&self, row_count: i64) -> Result<response::Summary, Ended> {
        let OpenLane {
            batch,
            lane,
            opened,
            actor,
        } = &self.open;
        let mut connection = self.room.job_connection(&self.answers).await?;
        let outcome = repository::finish_lane(
            &mut connection,
            &batch.batch_id,
            *lane,
            opened.writer,
            row_count,
            actor,
        )
        .await?;
        let finished = convert::lane_result(outcome, batch, *lane)?;
        Ok(response::Summary {
            tally: Some(convert::tally(finished.tally)),
            finish_time: Some(to_timestamp(finished.finished_at)),
        })
    }
}

fn ack(
    split: Split,
    next_offset: i64,
    fates: Vec<Fate>,
    rejections: Vec<Rejection>,
) -> response::Ack {
    // Frames have at most some thousand rows.
    let count = |rows: i64| i32::try_from(rows).unwrap_or(i32::MAX);
    let tally = Tally::of(fates);
    response::Ack {
        offset: split.offset,
        row_count: count(tally.received()),
        next_offset,
        accepted: count(tally.accepted),
        duplicate: count(tally.duplicate),
        rejected: count(tally.rejected),
        rejections,
        replayed: i32::try_from(split.replayed).unwrap_or(i32::MAX),
    }
}
