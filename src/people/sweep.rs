//! The background sweep: purges stale intelligence, enqueues its people, also those whose entry is dead, and lets
//! those wait again whose suppression was lifted. It also puts those into the line of the queue who became due
//! while nobody leased, so that the next lease need not; and it links those to their company whom the statement that
//! made it left, since they were too many.
//!
//! Every server may run it at once: what another one works on is skipped, so that nothing is done twice. It
//! works in chunks, each in a transaction of its own, and its work shows in the logs. What fails is logged,
//! and the next period tries again.

use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval_at};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::repository::{
    enrichment::{self as repository, Chunk, Swept},
    leasing, linking,
};
use crate::{
    config::EnrichmentSettings,
    db::{Pool, PooledConnection},
    domain::Actor,
    metrics::Metrics,
    rpc::Error,
};

/// How much intelligence one transaction purges.
const CHUNK: i32 = 1_000;
/// How many people one transaction links to a company.
const LINKED: i32 = 5_000;
/// Who was known once can wait for those whom somebody asked for.
const PRIORITY: i32 = 0;

/// The sweep of one server.
#[derive(Debug)]
pub struct Sweep {
    pool: Pool,
    period: Duration,
    max_failures: i32,
    metrics: Metrics,
}

impl Sweep {
    /// A sweep over a pool.
    pub fn new(pool: Pool, settings: &EnrichmentSettings, metrics: Metrics) -> Self {
        Self {
            pool,
            period: settings.sweep_period,
            max_failures: settings.enrichment_max_failures,
            metrics,
        }
    }

    /// Sweeps after each period, until the shutdown: a chunk that has begun is finished.
    pub async fn run(self, shutdown: CancellationToken) {
        let mut periods = interval_at(Instant::now() + self.period, self.period);
        periods.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                () = shutdown.cancelled() => return,
                _ = periods.tick() => {}
            }
            let (swept, ended) = self.sweep(&shutdown).await;
            self.count(swept, ended.is_err());
            log(swept, ended);
            log_linked(self.link(&shutdown).await);
        }
    }

    /// Links those who still wait for a company that there is: how many, and how it ended.
    async fn link(&self, shutdown: &CancellationToken) -> (i64, Result<(), Error>) {
        let mut total = 0;
        loop {
            match self.link_chunk(shutdown).await {
                Ok(Some(linked)) => total += linked,
                Ok(None) => break,
                Err(error) => return (total, Err(error)),
            }
        }
        (total, Ok(()))
    }

    fn count(&self, swept: Swept, failed: bool) {
        let did = [
            ("purged", swept.purged),
            ("enqueued", swept.enqueued),
            ("returned", swept.returned),
        ];
        self.metrics.sweep(failed, &did);
    }

    async fn link_chunk(&self, shutdown: &CancellationToken) -> Result<Option<i64>, Error> {
        let Some(mut connection) = self.connection(shutdown).await? else {
            return Ok(None);
        };
        linking::link_waiting(&mut connection, LINKED, &Actor::system()).await
    }

    /// A connection for the next chunk; none once the server stops, which nobody holds up who only waits for one.
    async fn connection(
        &self,
        shutdown: &CancellationToken,
    ) -> Result<Option<PooledConnection>, Error> {
        let connection = shutdown.run_until_cancelled(self.pool.get()).await;
        Ok(connection.transpose()?)
    }

    /// One sweep: what it did, and how it ended.
    async fn sweep(&self, shutdown: &CancellationToken) -> (Swept, Result<(), Error>) {
        let mut total = Swept::default();
        let mut looked_to = Uuid::nil();
        loop {
            match self.chunk(shutdown, looked_to).await {
                Ok(None) => break,
                Ok(Some(chunk)) => {
                    total += chunk.swept;
                    looked_to = chunk.looked_to;
                }
                Err(error) => return (total, Err(error)),
            }
        }
        (total, self.line_up(shutdown).await)
    }

    async fn line_up(&self, shutdown: &CancellationToken) -> Result<(), Error> {
        while let Some(mut connection) = self.connection(shutdown).await? {
            if leasing::line_up(&mut connection).await?.lined == 0 {
                break;
            }
        }
        Ok(())
    }

    /// The next chunk; none where nothing is left to do, or the server stops.
    async fn chunk(
        &self,
        shutdown: &CancellationToken,
        after: Uuid,
    ) -> Result<Option<Chunk>, Error> {
        let Some(mut connection) = self.connection(shutdown).await? else {
            return Ok(None);
        };
        let chunk = repository::sweep(
            &mut connection,
            CHUNK,
            PRIORITY,
            self.max_failures,
            &Actor::system(),
            after,
        )
        .await?;
        let is_idle = chunk.swept == Swept::default() && chunk.looked_to == after;
        Ok((!is_idle).then_some(chunk))
    }
}

fn log_linked((linked, ended): (i64, Result<(), Error>)) {
    match ended {
        Err(error) => {
            let cause = crate::rpc::cause(&error);
            tracing::warn!(linked, %cause, "linking people was cut short; the next period tries again");
        }
        Ok(()) if linked == 0 => {}
        Ok(()) => tracing::info!(linked, "linked people who waited for their company"),
    }
}

fn log(swept: Swept, ended: Result<(), Error>) {
    let Swept {
        purged,
        enqueued,
        returned,
    } = swept;
    match ended {
        Err(error) => {
            let cause = crate::rpc::cause(&error);
            tracing::warn!(
                purged, enqueued, returned, %cause,
                "the sweep of intelligence was cut short; the next period tries again"
            );
        }
        Ok(()) if swept == Swept::default() => {
            tracing::debug!("the sweep of intelligence found nothing to do");
        }
        Ok(()) => tracing::info!(
            purged,
            enqueued,
            returned,
            "swept: purged stale intelligence, enqueued its people, returned those unsuppressed"
        ),
    }
}
