//! What the page says of the database: read at most every [`PERIOD`], by one connection of the pool, each part in a
//! statement of its own.
//!
//! Guarantee: looking costs the database no more than a tenth of one connection's time. What could not be read
//! anew stays as it was seen, with its age and why.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use diesel::{
    QueryableByName,
    pg::Pg,
    sql_types::{BigInt, Double, Nullable, Text},
};

use super::super::bounded;
use crate::{db::Pool, rpc};

/// For how long facts are good.
const PERIOD: Duration = Duration::from_secs(5);
/// How long a page waits for new ones.
const PATIENCE: Duration = Duration::from_secs(2);

const DATABASE: &str = "
    SELECT split_part(current_setting('server_version'), ' ', 1) AS version,
           CASE WHEN has_database_privilege(current_database(), 'CONNECT')
                THEN pg_database_size(current_database()) END AS bytes,
           extract(epoch FROM clock_timestamp() - pg_postmaster_start_time())::double precision AS up_seconds";

const FUNNEL: &str = "SELECT f.stage, f.count FROM bit.lead_funnel AS f";

const BATCHES: &str = "
    SELECT b.batch_id, b.source, t.accepted, t.duplicate, t.rejected,
           CASE WHEN b.abandoned_at IS NOT NULL THEN 'abandoned'
                WHEN t.finished = b.lane_count THEN 'complete'
                ELSE 'open' END AS state,
           extract(epoch FROM clock_timestamp() - b.created_at)::double precision AS age_seconds
    FROM (SELECT * FROM intake.batches ORDER BY created_at DESC, batch_id DESC LIMIT 10) AS b
    CROSS JOIN LATERAL (
        SELECT coalesce(sum(l.accepted), 0)::bigint AS accepted,
               coalesce(sum(l.duplicate), 0)::bigint AS duplicate,
               coalesce(sum(l.rejected), 0)::bigint AS rejected,
               count(*) FILTER (WHERE l.state = 'finished') AS finished
        FROM intake.batch_lanes AS l
        WHERE l.batch_id = b.batch_id
    ) AS t
    ORDER BY b.created_at DESC, b.batch_id DESC";

const CAMPAIGNS: &str = "
    SELECT p.name, p.status, p.sent_count::bigint AS sent, p.opened_count AS opened,
           p.response_count::bigint AS replied, p.bounced_count AS bounced,
           p.conversion_count AS conversions, p.conversion_value::text AS value
    FROM bit.campaign_performance AS p
    WHERE p.campaign_id IN (
        SELECT c.campaign_id FROM marketing.campaigns AS c ORDER BY c.created_at DESC, c.campaign_id DESC LIMIT 10)
    ORDER BY p.created_at DESC, p.campaign_id DESC";

/// The database.
#[derive(Clone, Debug, QueryableByName)]
pub(super) struct Database {
    #[diesel(sql_type = Text)]
    pub(super) version: String,
    /// Unknown to who may not connect to it by right.
    #[diesel(sql_type = Nullable<BigInt>)]
    pub(super) bytes: Option<i64>,
    #[diesel(sql_type = Double)]
    pub(super) up_seconds: f64,
}

/// A stage of the funnel.
#[derive(Clone, Debug, QueryableByName)]
pub(super) struct Stage {
    #[diesel(sql_type = Text)]
    pub(super) stage: String,
    #[diesel(sql_type = BigInt)]
    pub(super) count: i64,
}

/// A batch.
#[derive(Clone, Debug, QueryableByName)]
pub(super) struct Batch {
    #[diesel(sql_type = Text)]
    pub(super) batch_id: String,
    #[diesel(sql_type = Text)]
    pub(super) source: String,
    #[diesel(sql_type = Text)]
    pub(super) state: String,
    #[diesel(sql_type = BigInt)]
    pub(super) accepted: i64,
    #[diesel(sql_type = BigInt)]
    pub(super) duplicate: i64,
    #[diesel(sql_type = BigInt)]
    pub(super) rejected: i64,
    #[diesel(sql_type = Double)]
    pub(super) age_seconds: f64,
}

/// A campaign.
#[derive(Clone, Debug, QueryableByName)]
pub(super) struct Campaign {
    #[diesel(sql_type = Text)]
    pub(super) name: String,
    #[diesel(sql_type = Text)]
    pub(super) status: String,
    #[diesel(sql_type = BigInt)]
    pub(super) sent: i64,
    #[diesel(sql_type = BigInt)]
    pub(super) opened: i64,
    #[diesel(sql_type = BigInt)]
    pub(super) replied: i64,
    #[diesel(sql_type = BigInt)]
    pub(super) bounced: i64,
    #[diesel(sql_type = BigInt)]
    pub(super) conversions: i64,
    #[diesel(sql_type = Text)]
    pub(super) value: String,
}

/// Rows as they were last seen.
#[derive(Clone, Debug)]
pub(super) struct Part<Row> {
    pub(super) rows: Vec<Row>,
    /// Never, at first.
    pub(super) seen_at: Option<Instant>,
    /// Why they are no newer.
    pub(super) trouble: Option<&'static str>,
}

impl<Row> Default for Part<Row> {
    fn default() -> Self {
        Self {
            rows: Vec::new(),
            seen_at: None,
            trouble: None,
        }
    }
}

impl<Row> Part<Row> {
    fn take(&mut self, read: Result<Vec<Row>, rpc::Error>) {
        match read {
            Ok(rows) => {
                *self = Self {
                    rows,
                    seen_at: Some(Instant::now()),
                    trouble: None,
                };
            }
            Err(error) => self.trouble = Some(trouble(&error)),
        }
    }
}

fn trouble(error: &rpc::Error) -> &'static str {
    match error {
        rpc::Error::StatementTimeout(_) | rpc::Error::LockTimeout(_) => {
            "reading it took longer than a second"
        }
        rpc::Error::PoolExhausted => "no database connection was free",
        rpc::Error::DatabaseUnavailable(_) => "the database could not be reached",
        other => {
            tracing::warn!(cause = %rpc::cause(other), "the status page cannot read a part of it");
            "it could not be read; the log says why"
        }
    }
}

/// All that is known.
#[derive(Clone, Debug, Default)]
pub(super) struct Facts {
    pub(super) database: Part<Database>,
    pub(super) funnel: Part<Stage>,
    pub(super) batches: Part<Batch>,
    pub(super) campaigns: Part<Campaign>,
    good_until: Option<Instant>,
}

/// Who looks; clones share what they see.
#[derive(Clone, Debug, Default)]
pub(super) struct Observer {
    facts: Arc<Mutex<Facts>>,
    looking: Arc<tokio::sync::Mutex<()>>,
}

impl Observer {
    /// What is known by now.
    pub(super) fn facts(&self) -> Facts {
        self.with(|facts| facts.clone())
    }

    /// Looks again where it is time to. Who comes meanwhile sees what is known.
    pub(super) async fn look(&self, pool: &Pool) {
        let now = Instant::now();
        if self.with(|facts| facts.good_until.is_some_and(|until| now < until)) {
            return;
        }
        let Ok(alone) = Arc::clone(&self.looking).try_lock_owned() else {
            return;
        };
        let (observer, pool) = (self.clone(), pool.clone());
        // In a task of its own: it goes on where the page does not wait any longer.
        let look = tokio::spawn(async move {
            let _alone = alone;
            observer.read_all(&pool).await;
        });
        let _ = tokio::time::timeout(PATIENCE, look).await;
    }

    async fn read_all(&self, pool: &Pool) {
        let begun = Instant::now();
        self.read(pool, DATABASE, |facts| &mut facts.database).await;
        self.read(pool, BATCHES, |facts| &mut facts.batches).await;
        self.read(pool, CAMPAIGNS, |facts| &mut facts.campaigns)
            .await;
        self.read(pool, FUNNEL, |facts| &mut facts.funnel).await;
        let rest = PERIOD.max(begun.elapsed() * 10);
        self.with(|facts| facts.good_until = Some(Instant::now() + rest));
    }

    async fn read<Row>(&self, pool: &Pool, statement: &str, part: fn(&mut Facts) -> &mut Part<Row>)
    where
        Row: QueryableByName<Pg> + Send + 'static,
    {
        let read = bounded::read(pool, statement).await;
        self.with(|facts| part(facts).take(read));
    }

    fn with<T>(&self, look: impl FnOnce(&mut Facts) -> T) -> T {
        look(&mut self.facts.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
