//! Streams the rows of one lane, through as many connections as it takes.
//!
//! Guarantees: each row is stored exactly once, at its own offset, whatever breaks on the way. After every
//! break the lane opens again and goes on from the offset that the service names. `finish` is sent only
//! when all rows of the lane were read and acked; a lost answer to it is asked for again.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use tokio::{sync::mpsc, time::Instant};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

use super::{
    error::Error,
    progress::Progress,
    queue::{Chunk, RowQueue},
    report::Tally,
    window::Window,
};
use crate::{
    cli::{
        credentials::Connection,
        retry::{Failure, Patience},
    },
    proto::{
        intake::v1::{
            BulkIngestRequest, BulkIngestResponse,
            bulk_ingest_request::{Finish, Message, Open, Rows},
            bulk_ingest_response::{Ack, Message as Answer, Opened, Summary},
            intake_service_client::IntakeServiceClient,
        },
        r#type::v1::RejectionReason,
    },
};

/// How long the lane may be silent while nothing of its is on the way.
const HEARTBEAT: Duration = Duration::from_secs(10);

/// A stream that was held for so long with nothing on its way works: what ends it is a new outage. One that waits for
/// an ack has yet to show that it does.
const WORKING: Duration = Duration::from_secs(60);

/// Messages that may wait for the connection: more than the window, a heartbeat and `finish` together, so
/// that sending never blocks and acks are always read.
const OUTBOX: usize = 16;

/// How a lane ended.
#[derive(Debug)]
pub(crate) struct LaneEnd {
    /// The offset at which it opened first: what earlier runs had stored.
    pub(crate) resumed_from: u64,
    /// The lane's tally over all runs; nothing when the reader failed and the lane was left open.
    pub(crate) tally: Option<Tally>,
    /// How many rows were rejected for which reason, as far as acks of this run said.
    pub(crate) reasons: BTreeMap<String, u64>,
}

/// One lane of a load.
pub(crate) struct Lane {
    client: IntakeServiceClient<Connection>,
    open: Open,
    queue: Arc<RowQueue>,
    progress: Arc<Progress>,
    patience: Patience,
    window: Window,
    input: InputState,
    resumed_from: Option<u64>,
    reasons: BTreeMap<String, u64>,
}

/// What is known of the rows that are still to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum InputState {
    Flowing,
    Complete,
    Broken,
}

/// How a stream ended well.
enum StreamEnd {
    Finished(Tally),
    /// Everything that could be read is stored, but that was not all.
    LeftOpen,
}

impl Lane {
    /// A lane that is not open yet.
    pub(crate) fn new(
        client: IntakeServiceClient<Connection>,
        open: Open,
        queue: Arc<RowQueue>,
        progress: Arc<Progress>,
        patience: Patience,
    ) -> Self {
        Self {
            client,
            open,
            queue,
            progress,
            patience,
            window: Window::default(),
            input: InputState::Flowing,
            resumed_from: None,
            reasons: BTreeMap::new(),
        }
    }

    /// Streams until the lane is finished, or as far as it can be.
    pub(crate) async fn run(mut self) -> Result<LaneEnd, Error> {
        loop {
            let tally = match self.stream().await {
                Ok(StreamEnd::Finished(tally)) => Some(tally),
                Ok(StreamEnd::LeftOpen) => None,
                Err(failure) => {
                    self.patience.wait(failure, &self.progress).await?;
                    continue;
                }
            };
            return Ok(LaneEnd {
                resumed_from: self.resumed_from.unwrap_or(0),
                tally,
                reasons: self.reasons,
            });
        }
    }

    /// One stream, from `open` to the summary or to its failure.
    async fn stream(&mut self) -> Result<StreamEnd, Failure> {
        let (sender, receiver) = mpsc::channel(OUTBOX);
        let mut outbox = Outbox {
            sender,
            last: Instant::now(),
        };
        outbox.send(Message::Open(self.open.clone()))?;
        let request = ReceiverStream::new(receiver);
        let mut answers = match self.client.bulk_ingest(request).await {
            Ok(response) => response.into_inner(),
            Err(status) => return Err(self.failure(&status)),
        };
        let Answer::Opened(opened) = self.answer(&mut answers).await? else {
            return Err(Error::Protocol("its first answer was not `opened`".into()).into());
        };
        self.opened(&opened)?;
        self.pump(&mut outbox, &mut answers, opened.finished).await
    }

    /// Sends rows and reads acks until the lane is done.
    async fn pump(
        &mut self,
        outbox: &mut Outbox,
        answers: &mut Streaming<BulkIngestResponse>,
        was_finished: bool,
    ) -> Result<StreamEnd, Failure> {
        let mut finishing = false;
        let opened = Instant::now();
        loop {
            while let Some(rows) = self.window.next_to_send() {
                if was_finished {
                    return Err(self.rows_behind_the_end().into());
                }
                outbox.send(Message::Rows(rows))?;
            }
            if self.window.is_empty() && !finishing {
                match self.input {
                    InputState::Flowing => {}
                    InputState::Broken => return Ok(StreamEnd::LeftOpen),
                    InputState::Complete => {
                        outbox.send(Message::Finish(self.finish()?))?;
                        finishing = true;
                    }
                }
            }
            let reading = self.input == InputState::Flowing && self.window.has_room();
            tokio::select! {
                answer = next_answer(answers) => match answer.map_err(|end| self.ended(end))? {
                    Answer::Ack(ack) => self.acked(&ack)?,
                    Answer::Summary(summary) if finishing => {
                        return Ok(StreamEnd::Finished(self.checked(&summary)?));
                    }
                    _ => return Err(Error::Protocol("an answer out of turn".into()).into()),
                },
                chunk = self.queue.next_chunk(), if reading => match chunk {
                    Chunk::Rows(rows) => self.window.push(rows),
                    Chunk::Complete => self.input = InputState::Complete,
                    Chunk::Broken => self.input = InputState::Broken,
                },
                () = tokio::time::sleep_until(outbox.last + HEARTBEAT) => {
                    if self.window.is_idle() && !finishing {
                        outbox.send(Message::Rows(Rows::default()))?;
                        if opened.elapsed() > WORKING {
                            self.patience.restore();
                        }
                    }
                    outbox.last = Instant::now();
                }
            }
        }
    }

    /// The service named the offset to go on from.
    fn opened(&mut self, opened: &Opened) -> Result<(), Failure> {
        let next_offset = offset(opened.next_offset)?;
        let stored_before = self.window.stored();
        self.window.open(next_offset).map_err(|mismatch| {
            self.batch_error(format!(
                "{mismatch} Run the same command again to go on from there"
            ))
        })?;
        if self.resumed_from.is_none() {
            self.resumed_from = Some(next_offset);
            self.progress.resumed(next_offset);
            return Ok(());
        }
        // The rows whose ack was lost with the connection.
        if next_offset > stored_before {
            self.progress.stored(next_offset - stored_before);
            self.patience.restore();
        }
        self.progress.note(&format!(
            "lane {} is connected again and goes on from row {next_offset}",
            self.open.lane
        ));
        Ok(())
    }

    /// The oldest frame is durable.
    fn acked(&mut self, ack: &Ack) -> Result<(), Failure> {
        let row_count = offset(i64::from(ack.row_count))?;
        if row_count == 0 {
            // A heartbeat may be acked too.
            return Ok(());
        }
        self.window
            .ack(offset(ack.offset)?, row_count)
            .map_err(|mismatch| Error::Protocol(mismatch.to_string()))?;
        self.progress.stored(row_count);
        self.patience.restore();
        for rejection in &ack.rejections {
            let reason = reason_name(rejection.reason);
            *self.reasons.entry(reason).or_default() += 1;
        }
        Ok(())
    }

    /// The end of the lane, if what the service has is what the file has.
    fn finish(&self) -> Result<Finish, Error> {
        let (stored, taken) = (self.window.stored(), self.window.taken());
        if stored > taken {
            return Err(self.batch_error(format!(
                "lane {} holds {stored} rows already, and this input has only {taken} for it; it belongs to a longer input. Load this one under another --batch-id",
                self.open.lane
            )));
        }
        let row_count = i64::try_from(taken).unwrap_or(i64::MAX);
        Ok(Finish { row_count })
    }

    fn rows_behind_the_end(&self) -> Error {
        self.batch_error(format!(
            "lane {} is finished with {} rows, and this input has more for it; it belongs to a shorter input. Load this one under another --batch-id",
            self.open.lane,
            self.window.stored()
        ))
    }

    fn batch_error(&self, detail: String) -> Error {
        Error::Batch {
            batch_id: self.open.batch_id.clone(),
            detail,
        }
    }

    /// The lane's tally, which must add up: it is the operator's receipt.
    fn checked(&self, summary: &Summary) -> Result<Tally, Error> {
        let tally = Tally::from(summary.tally.unwrap_or_default());
        if tally.received != self.window.taken() || !tally.adds_up() {
            return Err(Error::Protocol(format!(
                "lane {} was sent {} rows and its summary says {tally:?}",
                self.open.lane,
                self.window.taken()
            )));
        }
        Ok(tally)
    }

    async fn answer(&self, answers: &mut Streaming<BulkIngestResponse>) -> Result<Answer, Failure> {
        next_answer(answers).await.map_err(|end| self.ended(end))
    }

    fn failure(&self, status: &tonic::Status) -> Failure {
        let (lane, batch_id) = (self.open.lane, &self.open.batch_id);
        Failure::of(&format!("lane {lane} of batch {batch_id}"), status)
    }

    /// A stream that ends without a status of its own is a connection that broke.
    fn ended(&self, end: Option<Box<tonic::Status>>) -> Failure {
        end.map_or_else(
            || Failure::connection("the stream ended early"),
            |status| self.failure(&status),
        )
    }
}

/// The next answer, or how the stream ended.
async fn next_answer(
    answers: &mut Streaming<BulkIngestResponse>,
) -> Result<Answer, Option<Box<tonic::Status>>> {
    match answers.message().await {
        Ok(Some(BulkIngestResponse {
            message: Some(answer),
        })) => Ok(answer),
        Ok(Some(BulkIngestResponse { message: None })) => Err(Some(Box::new(
            tonic::Status::unimplemented("it sent an answer that this loader does not know"),
        ))),
        Ok(None) => Err(None),
        Err(status) => Err(Some(Box::new(status))),
    }
}

/// What waits to be sent, and when something was added last.
struct Outbox {
    sender: mpsc::Sender<BulkIngestRequest>,
    last: Instant,
}

impl Outbox {
    fn send(&mut self, message: Message) -> Result<(), Failure> {
        let message = Some(message);
        self.last = Instant::now();
        // Full means that the connection took nothing through several heartbeats; closed that it is gone.
        self.sender
            .try_send(BulkIngestRequest { message })
            .map_err(|_| Failure::connection("the connection takes no more messages"))
    }
}

/// An offset or count, which is never negative.
fn offset(number: i64) -> Result<u64, Error> {
    u64::try_from(number).map_err(|_| Error::Protocol(format!("it sent the offset {number}")))
}

/// The name of a rejection's reason, as people write it.
pub(crate) fn reason_name(reason: i32) -> String {
    RejectionReason::try_from(reason).map_or_else(
        |_| format!("REASON_{reason}"),
        |reason| {
            let name = reason.as_str_name();
            name.strip_prefix("REJECTION_REASON_")
                .unwrap_or(name)
                .to_owned()
        },
    )
}

#[cfg(test)]
#[path = "lane_tests.rs"]
mod tests;
