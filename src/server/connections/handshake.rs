//! Handshakes of TLS, each with its time.
//!
//! Guarantee: one that fails is counted, and what TLS itself refuses (a certificate that is over, an authority that is
//! not trusted) is said in the log, at most once in [`Seldom::PERIOD`]: else nobody would know why all clients are out.

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use super::seldom::Seldom;
use crate::{metrics::Metrics, server::doors::TlsFiles};

/// How long a client has for the handshake of TLS.
pub(super) const HANDSHAKE_TIME: Duration = Duration::from_secs(10);

/// Shakes hands; clones share when they said last that it failed.
#[derive(Clone)]
pub(super) struct Handshakes {
    tls: TlsFiles,
    metrics: Metrics,
    refused: Arc<Mutex<Seldom>>,
}

impl Handshakes {
    pub(super) fn new(tls: TlsFiles, metrics: Metrics) -> Self {
        Self {
            tls,
            metrics,
            refused: Arc::default(),
        }
    }

    pub(super) async fn shake_hands(self, connection: TcpStream) -> Option<TlsStream<TcpStream>> {
        let peer = connection.peer_addr().ok();
        let shaking = TlsAcceptor::from(self.tls.current()).accept(connection);
        let error = match tokio::time::timeout(HANDSHAKE_TIME, shaking).await {
            Ok(Ok(connection)) => return Some(connection),
            Ok(Err(error)) => error,
            Err(_) => io::ErrorKind::TimedOut.into(),
        };
        self.metrics.tls_handshake_failed();
        self.tell(peer, &error);
        None
    }

    /// Whoever only looks whether the port is open, or goes away, is no news.
    fn tell(&self, peer: Option<SocketAddr>, error: &io::Error) {
        let peer = peer.map(tracing::field::display);
        if error.kind() != io::ErrorKind::InvalidData {
            tracing::debug!(peer, %error, "a handshake of TLS came to no end");
            return;
        }
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(left_out) = refused.says() {
            tracing::warn!(peer, %error, left_out, "a handshake of TLS failed");
        }
    }
}
