//! `/status`, for people: how the service does, on one page that is made here, without a script and without anything
//! from elsewhere.
//!
//! Guarantees: it shows tallies and what callers call their batches, sources and campaigns, never a row's data; it
//! is there within seconds, also while the database is away, and then shows what was seen last and since when.

mod chart;
mod facts;
mod html;
mod page;
mod rates;
mod table;

use std::{sync::Arc, time::Instant};

use axum::{
    Router,
    extract::{RawQuery, State},
    http::header,
    response::{Html, IntoResponse},
    routing::get,
};

use self::{facts::Observer, page::View, rates::Rates};
use super::{Ops, probes::Condition};

/// The page holds its style and nothing else that a browser would load or run.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// What the page remembers.
#[derive(Debug)]
pub(super) struct Status {
    started: Instant,
    pub(super) rates: Rates,
    observer: Observer,
}

impl Status {
    /// Of a server that starts now.
    pub(super) fn new() -> Self {
        Self {
            started: Instant::now(),
            rates: Rates::default(),
            observer: Observer::default(),
        }
    }
}

pub(super) fn router() -> Router<Arc<Ops>> {
    Router::new()
        .route("/", get(status))
        .route("/status", get(status))
}

async fn status(State(ops): State<Arc<Ops>>, RawQuery(query): RawQuery) -> impl IntoResponse {
    ops.queues.look(&ops.pool).await;
    let (database, depths) = ops.queues.seen();
    if database != Condition::Silent {
        ops.status.observer.look(&ops.pool).await;
    }
    let (now, totals) = (Instant::now(), ops.metrics.totals());
    let series = |of| ops.status.rates.series(now, totals, of);
    let page = page::render(&View {
        refreshes: query.as_deref() == Some("refresh"),
        is_stopping: ops.shutdown.is_cancelled(),
        up: now.saturating_duration_since(ops.status.started),
        now,
        database,
        depths,
        facts: ops.status.observer.facts(),
        pool: ops.pool.usage(),
        rows: series(|totals| totals.rows),
        calls: series(|totals| totals.calls),
        faults: series(|totals| totals.faults),
    });
    let headers = [
        (header::CACHE_CONTROL, "no-store"),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
    ];
    (headers, Html(page))
}
