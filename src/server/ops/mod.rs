//! The port for operators and their machines: plain HTTP, a file a page, each with a router of its own.
//!
//! It shows counts and states, never a row's data, and asks nobody who they are. It begins with the server and
//! ends after it, so that the last seconds of a shutdown can be looked at. On loopback it answers requests for this
//! machine only.

mod bounded;
mod entrance;
mod host;
mod metrics_page;
mod pool;
mod probes;
mod queues;
mod status;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::{Router, middleware::from_fn};
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use self::{entrance::Entrance, status::Status};
pub(super) use self::{pool::PoolCollector, queues::Queues};
use crate::{db::Pool, metrics::Metrics};

/// How long requests that are being answered have when the port closes.
const GRACE: Duration = Duration::from_secs(1);

/// What the pages look at.
pub(super) struct Ops {
    metrics: Metrics,
    queues: Queues,
    pool: Pool,
    /// Cancelled when the server begins to stop.
    shutdown: CancellationToken,
    status: Status,
}

impl Ops {
    /// The pages of a server that starts now.
    pub(super) fn new(
        metrics: Metrics,
        queues: Queues,
        pool: Pool,
        shutdown: CancellationToken,
    ) -> Self {
        Self {
            metrics,
            queues,
            pool,
            shutdown,
            status: Status::new(),
        }
    }
}

/// The pages; a new one has its line here.
fn pages() -> Router<Arc<Ops>> {
    Router::new()
        .merge(probes::router())
        .merge(metrics_page::router())
        .merge(status::router())
}

/// The port while it is open.
#[derive(Debug)]
pub(super) struct OpsServer {
    address: SocketAddr,
    stop: CancellationToken,
    task: JoinHandle<std::io::Result<()>>,
}

impl OpsServer {
    /// Answers on a listener.
    pub(super) fn start(listener: TcpListener, address: SocketAddr, ops: Ops) -> Self {
        let stop = CancellationToken::new();
        let stopped = stop.clone().cancelled_owned();
        let sampling = ops.status.rates.sample(ops.metrics.clone());
        tokio::spawn(stop.clone().run_until_cancelled_owned(sampling));
        let mut pages = pages().with_state(Arc::new(ops));
        if address.ip().is_loopback() {
            pages = pages.layer(from_fn(host::only_this_machine));
        }
        let server = axum::serve(Entrance::new(listener), pages).with_graceful_shutdown(stopped);
        Self {
            address,
            stop,
            task: tokio::spawn(server.into_future()),
        }
    }

    /// Where it listens.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Closes it.
    pub(super) async fn stop(mut self) {
        self.stop.cancel();
        if tokio::time::timeout(GRACE, &mut self.task).await.is_err() {
            self.task.abort();
        }
    }
}
