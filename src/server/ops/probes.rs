//! `/healthz` and `/readyz`, for whoever keeps the process running and whoever sends it calls.

use std::{sync::Arc, time::Duration};

use axum::{Router, extract::State, http::StatusCode, routing::get};
use diesel::sql_query;
use diesel_async::RunQueryDsl as _;

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
    if ops.shutdown.is_cancelled() {
        let why = "not ready: the server is stopping\n";
        return (StatusCode::SERVICE_UNAVAILABLE, why);
    }
    match tokio::time::timeout(PATIENCE, ops.pool.takes_writes()).await {
        Ok(Ok(true)) => (StatusCode::OK, "ready\n"),
        Ok(Ok(false)) => {
            let why = "not ready: the database takes no writes\n";
            (StatusCode::SERVICE_UNAVAILABLE, why)
        }
        Ok(Err(_)) | Err(_) => {
            let why = "not ready: the database does not answer within a second\n";
            (StatusCode::SERVICE_UNAVAILABLE, why)
        }
    }
}

/// Whether the database answers. Asked beside the pool, whose connections may all be busy with good reason.
pub(super) async fn database_answers(pool: &Pool) -> bool {
    let ping = pool.point_read(|connection| async move {
        sql_query("SELECT 1").execute(&mut &*connection).await
    });
    matches!(tokio::time::timeout(PATIENCE, ping).await, Ok(Ok(Ok(_))))
}
