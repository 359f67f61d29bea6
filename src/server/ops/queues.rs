//! How much work waits, as the view `bit.queue_depths` says: looked at when somebody asks, at most every
//! [`PERIOD`], by one connection of the pool.
//!
//! Guarantee: a look ends within a second, whatever the database does, and one that fails shows no old numbers.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use diesel::{
    QueryableByName,
    sql_types::{BigInt, Double, Nullable, Text},
};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric as _},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
};

use super::{
    bounded,
    pool::gauge,
    probes::{Condition, condition},
};
use crate::db::Pool;

/// For how long numbers are good.
const PERIOD: Duration = Duration::from_secs(10);
/// How long a scrape waits for new ones.
const PATIENCE: Duration = Duration::from_secs(1);
const DEPTHS: &str = "
    SELECT q.queue, q.state, q.depth,
           extract(epoch FROM clock_timestamp() - q.oldest_at)::double precision AS oldest_seconds
    FROM bit.queue_depths AS q";

/// A queue in one of its states.
#[derive(Clone, Debug, QueryableByName)]
pub(super) struct Depth {
    #[diesel(sql_type = Text)]
    pub(super) queue: String,
    #[diesel(sql_type = Text)]
    pub(super) state: String,
    #[diesel(sql_type = BigInt)]
    pub(super) depth: i64,
    #[diesel(sql_type = Nullable<Double>)]
    pub(super) oldest_seconds: Option<f64>,
}

/// What was seen last.
#[derive(Debug, Default)]
struct Seen {
    database: Condition,
    depths: Vec<Depth>,
    /// How often it could not be looked.
    failed: u64,
    good_until: Option<Instant>,
}

/// The queues; clones share what they see.
#[derive(Clone, Debug, Default)]
pub(in crate::server) struct Queues {
    seen: Arc<Mutex<Seen>>,
    looking: Arc<tokio::sync::Mutex<()>>,
}

impl Queues {
    /// Looks again where it is time to. Who comes meanwhile sees what was seen before.
    pub(super) async fn look(&self, pool: &Pool) {
        let (database, ()) = tokio::join!(condition(pool), self.look_at_depths(pool));
        self.with_seen(|seen| seen.database = database);
    }

    /// How the database did at the last look, and the depths that were seen; none where that failed.
    pub(super) fn seen(&self) -> (Condition, Vec<Depth>) {
        self.with_seen(|seen| (seen.database, seen.depths.clone()))
    }

    async fn look_at_depths(&self, pool: &Pool) {
        let now = Instant::now();
        if self.with_seen(|seen| seen.good_until.is_some_and(|until| now < until)) {
            return;
        }
        let Ok(alone) = Arc::clone(&self.looking).try_lock_owned() else {
            return;
        };
        let (queues, pool) = (self.clone(), pool.clone());
        // In a task of its own: a connection must not go back with half an answer on its way.
        let look = tokio::spawn(async move {
            let _alone = alone;
            // What it failed with is told by the calls that fail with it.
            // By indexes, whatever statistics say of tables that were just filled.
            let depths = bounded::read_by_indexes(&pool, DEPTHS).await.ok();
            queues.with_seen(|seen| {
                seen.good_until = depths.is_some().then(|| Instant::now() + PERIOD);
                seen.failed += u64::from(depths.is_none());
                seen.depths = depths.unwrap_or_default();
            });
        });
        if tokio::time::timeout(PATIENCE, look).await.is_err() {
            self.with_seen(|seen| {
                seen.failed += 1;
                seen.depths.clear();
            });
        }
    }

    fn with_seen<T>(&self, look: impl FnOnce(&mut Seen) -> T) -> T {
        look(&mut self.seen.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Collector for Queues {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), fmt::Error> {
        self.with_seen(|seen| {
            gauge(
                &mut encoder,
                "database_up",
                "Whether the database answered within a second",
                i64::from(seen.database != Condition::Silent),
            )?;
            gauge(
                &mut encoder,
                "database_takes_writes",
                "Whether the database answered within a second that it takes writes",
                i64::from(seen.database == Condition::TakesWrites),
            )?;
            let help = "How often the queues could not be looked at within a second: their depths are missing then";
            let failed = ConstCounter::new(seen.failed);
            failed.encode(encoder.encode_descriptor("queue_looks_failed", help, None, MetricType::Counter)?)?;
            encode_depths(&mut encoder, &seen.depths)
        })
    }
}

fn encode_depths(encoder: &mut DescriptorEncoder, depths: &[Depth]) -> Result<(), fmt::Error> {
    if depths.is_empty() {
        return Ok(());
    }
    let help = "What waits in a queue, by state; counted up to 100,000 each";
    let mut family = encoder.encode_descriptor("queue_depth", help, None, MetricType::Gauge)?;
    for Depth {
        queue,
        state,
        depth,
        ..
    } in depths
    {
        let labels = [("queue", queue.as_str()), ("state", state.as_str())];
        ConstGauge::new(*depth).encode(family.encode_family(&labels)?)?;
    }
    let help = "How long the oldest of a queue has waited, in seconds";
    let mut family =
        encoder.encode_descriptor("queue_oldest_seconds", help, None, MetricType::Gauge)?;
    for oldest in depths {
        if let Some(seconds) = oldest.oldest_seconds {
            let labels = [("queue", oldest.queue.as_str())];
            ConstGauge::new(seconds).encode(family.encode_family(&labels)?)?;
        }
    }
    Ok(())
}
