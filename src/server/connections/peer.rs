//! What a call knows of its connection.

use std::{net::IpAddr, sync::Arc};

use rustls::pki_types::CertificateDer;
use tonic::transport::server::{TcpConnectInfo, TlsConnectInfo};

use super::unread::Unread;

/// Who is at the other end of a connection; it is among the extensions of each request.
#[derive(Clone, Debug)]
pub(in crate::server) struct Peer {
    /// Where it calls from.
    pub(in crate::server) address: Option<IpAddr>,
    /// What it showed in the handshake of TLS.
    pub(in crate::server) certificates: Option<Arc<Vec<CertificateDer<'static>>>>,
    /// The answers of calls that it has still to read.
    pub(in crate::server) unread_of_calls: Unread,
    /// Those of streams that have ended.
    pub(in crate::server) unread_of_streams: Unread,
}

impl From<TcpConnectInfo> for Peer {
    fn from(connection: TcpConnectInfo) -> Self {
        let address = connection.remote_addr();
        Self {
            address: address.map(|address| address.ip().to_canonical()),
            certificates: None,
            unread_of_calls: Unread::default(),
            unread_of_streams: Unread::default(),
        }
    }
}

impl From<TlsConnectInfo<TcpConnectInfo>> for Peer {
    fn from(connection: TlsConnectInfo<TcpConnectInfo>) -> Self {
        Self {
            certificates: connection.peer_certs(),
            ..connection.get_ref().clone().into()
        }
    }
}
