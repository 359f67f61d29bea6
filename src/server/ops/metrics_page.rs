//! `/metrics`, for Prometheus.

use std::sync::Arc;

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};

use super::Ops;
use crate::metrics;

pub(super) fn router() -> Router<Arc<Ops>> {
    Router::new().route("/metrics", get(scrape))
}

/// Whatever the database does, what is counted in here is told, and within seconds.
async fn scrape(State(ops): State<Arc<Ops>>) -> Response {
    ops.queues.look(&ops.pool).await;
    match ops.metrics.encode() {
        Ok(text) => ([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], text).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}
