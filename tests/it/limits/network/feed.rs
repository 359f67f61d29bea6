//! A bulk lane that is fed through whatever the network does, by a client that goes on where it was.

use std::time::Duration;

use leadvault::proto::intake::v1::{
    bulk_ingest_response::Summary, intake_service_client::IntakeServiceClient,
};
use tokio::{sync::watch, task::JoinHandle, time::interval};
use tonic::{Code, Status, transport::Channel};

use crate::harness::{App, Lane, Sql, open, refusal, rows::people, until};

const BATCH: &str = "fed";
const ROWS: usize = 5;
/// Between two frames, or two attempts.
const PAUSE: Duration = Duration::from_millis(20);

/// What the feeding was told to do, and how far it is.
pub(super) struct Feed {
    stop: watch::Sender<bool>,
    acked: watch::Receiver<usize>,
    task: JoinHandle<Summary>,
}

impl Feed {
    pub(super) async fn begin(app: &App) -> Self {
        let (stop, stopped) = watch::channel(false);
        let (progress, acked) = watch::channel(0);
        let feeder = Feeder {
            client: app.intake().await,
            stopped,
            progress,
        };
        Self {
            stop,
            acked,
            task: tokio::spawn(feeder.feed()),
        }
    }

    /// Waits until more rows than now are acked.
    pub(super) async fn goes_on(&self) {
        let before = *self.acked.borrow();
        until("more rows to be acked", async || {
            (*self.acked.borrow() > before).then_some(())
        })
        .await;
    }

    /// Finishes the lane, and holds what was acked against what is there.
    pub(super) async fn finish(self, sql: &Sql) {
        self.stop.send_replace(true);
        let tally = self.task.await.unwrap().tally.unwrap();
        let acked = i64::try_from(*self.acked.borrow()).unwrap();
        assert_eq!((tally.accepted, tally.received), (acked, acked));
        let stored = "SELECT count(DISTINCT (metadata ->> 'offset')::bigint) FROM intake.raw_loads
                      WHERE batch_id = $1 HAVING count(*) = count(DISTINCT raw_data ->> 'email')";
        assert_eq!(sql.one::<i64>(stored, &[&BATCH]).await, acked);
    }
}

struct Feeder {
    client: IntakeServiceClient<Channel>,
    stopped: watch::Receiver<bool>,
    progress: watch::Sender<usize>,
}

impl Feeder {
    async fn feed(self) -> Summary {
        let mut attempts = interval(PAUSE);
        loop {
            attempts.tick().await;
            match self.stream().await {
                Ok(summary) => return summary,
                Err(status) => assert_may_go_on(status),
            }
        }
    }

    /// One stream, from where the lane is.
    async fn stream(&self) -> Result<Summary, Status> {
        let (mut lane, opened) = Lane::open(self.client.clone(), open(BATCH, "crash")).await?;
        let mut next = usize::try_from(opened.next_offset).unwrap();
        let mut frames = interval(PAUSE);
        while !*self.stopped.borrow() {
            frames.tick().await;
            let rows = people(next..next + ROWS);
            let ack = lane.rows(i64::try_from(next).unwrap(), &rows).await?;
            next = usize::try_from(ack.next_offset).unwrap();
            self.progress.send_replace(next);
        }
        lane.finish(i64::try_from(next).unwrap()).await
    }
}

/// The stream may go on elsewhere, and is told so.
fn assert_may_go_on(status: Status) {
    match status.code() {
        Code::Unavailable => assert!(refusal(Err::<(), _>(status)).retry),
        Code::DeadlineExceeded => {}
        _ => panic!("{status:?}"),
    }
}
