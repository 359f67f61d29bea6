//! `/healthz` and `/readyz`, for whoever keeps the process running and whoever sends it calls.

use std::{sync::Arc, time::Duration};

use axum::{Router, extract::State, http::StatusCode, routing::get};

use super::Ops;
use crate::db::Pool;

/// How long the database may take to say anything at all.
const PATIENCE: Duration = Duration::from_secs(1);

pub(super) fn router() -> Router<Arc<Ops>> {
    Router::new()
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
}

/// The process lives; nothing that a restart would not mend is looked at.
async fn healthz() -> &'static str {
    "ok\n"
}

/// Calls are answered: 200, or 503 and why not.
async fn readyz(State(ops): State<Arc<Ops>>) -> (StatusCode, &'static str) {
    let why = if ops.shutdown.is_cancelled() {
        "not ready: the server is stopping\n"
    } else {
        match condition(&ops.pool).await {
            Condition::TakesWrites => return (StatusCode::OK, "ready\n"),
            Condition::ReadOnly => "not ready: the database takes no writes\n",
            Condition::Silent => "not ready: the database does not answer within a second\n",
        }
    };
    (StatusCode::SERVICE_UNAVAILABLE, why)
}

/// How the database does.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) enum Condition {
    TakesWrites,
    ReadOnly,
    /// It does not answer, or not in time.
    #[default]
    Silent,
}

/// Asked beside the pool, whose connections may all be busy with good reason.
pub(super) async fn condition(pool: &Pool) -> Condition {
    match tokio::time::timeout(PATIENCE, pool.takes_writes()).await {
        Ok(Ok(true)) => Condition::TakesWrites,
        Ok(Ok(false)) => Condition::ReadOnly,
        Ok(Err(_)) | Err(_) => Condition::Silent,
    }
}
