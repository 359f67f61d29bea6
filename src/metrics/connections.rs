//! Connections of clients, before it is known whose they are.

use prometheus_client::{
    metrics::{counter::Counter, gauge::Gauge},
    registry::Registry,
};

#[derive(Debug, Default)]
pub(super) struct Connections {
    pub(super) open: Gauge,
    pub(super) refused: Counter,
    pub(super) handshakes_failed: Counter,
}

impl Connections {
    pub(super) fn new(registry: &mut Registry) -> Self {
        let connections = Self::default();
        registry.register(
            "connections_open",
            "Connections of gRPC clients that are open, those in their handshake among them",
            connections.open.clone(),
        );
        registry.register(
            "connections_refused",
            "Connections that were closed at once, since as many were open as may be",
            connections.refused.clone(),
        );
        registry.register(
            "tls_handshakes_failed",
            "Connections that came to no end of their handshake of TLS",
            connections.handshakes_failed.clone(),
        );
        connections
    }
}
