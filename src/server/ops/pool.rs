//! The pool, as it is at the moment of a scrape.

use std::fmt;

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric as _},
    metrics::gauge::ConstGauge,
};

use crate::db::Pool;

/// Looks at a pool whenever it is asked.
#[derive(Debug)]
pub(in crate::server) struct PoolCollector(pub(in crate::server) Pool);

impl Collector for PoolCollector {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), fmt::Error> {
        let usage = self.0.usage();
        let gauges = [
            (
                "pool_max",
                "The most connections that the pool may have",
                usage.max,
            ),
            (
                "pool_open",
                "Connections of the pool that are open",
                usage.open,
            ),
            (
                "pool_in_use",
                "Connections of the pool that a call or a job has",
                usage.open.saturating_sub(usage.idle),
            ),
            (
                "pool_idle",
                "Connections of the pool that nobody uses",
                usage.idle,
            ),
            (
                "pool_waiting",
                "Callers that wait for a connection of the pool",
                usage.waiting,
            ),
            (
                "point_read_connections_max",
                "The most connections that point reads share, beside the pool's",
                usage.point_read_max,
            ),
            (
                "point_read_connections_open",
                "Connections for point reads that are open",
                usage.point_read_open,
            ),
            (
                "point_reads",
                "Point reads that are on their way",
                usage.point_reads,
            ),
        ];
        for (name, help, value) in gauges {
            gauge(&mut encoder, name, help, i64::from(value))?;
        }
        Ok(())
    }
}

/// Writes a gauge that has no labels.
pub(super) fn gauge(
    encoder: &mut DescriptorEncoder,
    name: &str,
    help: &str,
    value: i64,
) -> Result<(), fmt::Error> {
    let gauge = ConstGauge::new(value);
    gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)
}
