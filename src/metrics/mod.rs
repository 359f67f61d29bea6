//! What the service counts of itself, for Prometheus.
//!
//! One registry a server, passed down: nothing is global, and two servers in one process count apart. Every label
//! has a bounded number of values, whatever callers send: methods are those of the API, sources are the first
//! [`MOST_SOURCES`], and whatever else there is counts as `other`.
//!
//! Guarantee: to count costs an atomic addition or a short lock, never a query and never a formatted text.

mod calls;
mod connections;
mod rows;
mod work;

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use prometheus_client::{
    collector::Collector,
    encoding::text,
    metrics::{gauge::ConstGauge, info::Info},
    registry::{Metric, Registry, Unit},
};

pub use calls::{Method, code_name};
pub use rows::MOST_SOURCES;
pub use work::ChunkOf;

use crate::domain::Tally;

/// The media type of what [`Metrics::encode`] writes.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/// What stands before the names of the metrics that are this service's own.
pub const PREFIX: &str = "leadvault";

/// What happened since a server started: rates are made of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Calls and streams that ended; none of probes and tools.
    pub calls: u64,
    /// Those of them that failed for no reason of the caller's.
    pub faults: u64,
    /// New rows that were sent to be stored.
    pub rows: u64,
}

/// The metrics of a server; clones share them.
#[derive(Clone, Debug)]
pub struct Metrics(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    registry: Registry,
    calls: calls::Calls,
    connections: connections::Connections,
    rows: rows::Rows,
    work: work::Work,
}

impl Metrics {
    /// Metrics of the methods that descriptor sets name; `collectors` look at each scrape.
    #[must_use]
    pub fn new(descriptors: &[&[u8]], collectors: Vec<Box<dyn Collector>>) -> Self {
        let mut registry = Registry::default();
        // Named as the gRPC middleware of other languages does: dashboards for it exist.
        let calls = calls::Calls::new(descriptors, &mut registry);
        let own = registry.sub_registry_with_prefix(PREFIX);
        about_the_process(own);
        let connections = connections::Connections::new(own);
        let rows = rows::Rows::new(own);
        let work = work::Work::new(own);
        for collector in collectors {
            own.register_collector(collector);
        }
        Self(Arc::new(Inner {
            registry,
            calls,
            connections,
            rows,
            work,
        }))
    }

    /// The method that a request's path names.
    #[must_use]
    pub fn method(&self, path: &str) -> &Arc<Method> {
        self.0.calls.method(path)
    }

    /// A client has connected.
    pub(crate) fn connection_opened(&self) {
        self.0.connections.open.inc();
    }

    /// A connection is closed.
    pub(crate) fn connection_closed(&self) {
        self.0.connections.open.dec();
    }

    /// A client was turned away, since as many are connected as may be.
    pub(crate) fn connection_refused(&self) {
        self.0.connections.refused.inc();
    }

    /// A client and this server did not come to terms over TLS.
    pub(crate) fn tls_handshake_failed(&self) {
        self.0.connections.handshakes_failed.inc();
    }

    /// Rows of a source were stored or refused; only those that are new.
    pub(crate) fn rows(&self, source: &str, tally: Tally) {
        self.0.rows.count(source, tally);
    }

    /// A chunk of a job is committed, and this is what became of its rows.
    pub(crate) fn chunk(&self, of: ChunkOf, took: Duration, outcomes: &[(&'static str, i64)]) {
        self.0.work.chunk(of, took, outcomes);
    }

    /// A sweep has ended, and this is what it did.
    pub(crate) fn sweep(&self, failed: bool, did: &[(&'static str, i64)]) {
        self.0.work.sweep(failed, did);
    }

    /// What happened since the server started.
    #[must_use]
    pub fn totals(&self) -> Totals {
        let (calls, faults) = self.0.calls.ended();
        Totals {
            calls,
            faults,
            rows: self.0.rows.total(),
        }
    }

    /// All of them, as text.
    ///
    /// # Errors
    /// Those of a collector.
    pub fn encode(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        text::encode(&mut text, &self.0.registry)?;
        Ok(text)
    }
}

fn about_the_process(registry: &mut Registry) {
    let version = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
    registry.register("build", "The program that runs", version);
    let started = SystemTime::UNIX_EPOCH.elapsed();
    let started = started.map_or(0.0, |since| since.as_secs_f64());
    registry.register_with_unit(
        "start_time",
        "When the server started, in seconds since 1970",
        Unit::Seconds,
        ConstGauge::new(started),
    );
}

/// Registers a metric, and keeps a handle of it.
fn registered<Of: Metric + Clone>(
    registry: &mut Registry,
    name: &str,
    help: &str,
    metric: Of,
) -> Of {
    registry.register(name, help, metric.clone());
    metric
}

/// What is counted in rows never falls.
fn to_count(rows: i64) -> u64 {
    u64::try_from(rows).unwrap_or(0)
}
