//! Over TLS, too, nobody holds a connection without a word: neither before the handshake nor after it.

use std::{sync::Arc, time::Duration};

use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring::default_provider,
    pki_types::{CertificateDer, pem::PemObject as _},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _},
    net::TcpStream,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::{Authority, tls_flags};
use crate::harness::{App, Workspace};

/// Longer than a silent connection has.
const PATIENCE: Duration = Duration::from_secs(60);

async fn shake_hands(connection: TcpStream, authority: &Authority) -> TlsStream<TcpStream> {
    let mut roots = RootCertStore::empty();
    let root = CertificateDer::from_pem_slice(authority.pem().as_bytes()).unwrap();
    roots.add(root).unwrap();
    let mut config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols.push(b"h2".to_vec());
    let connector = TlsConnector::from(Arc::new(config));
    let name = "localhost".try_into().unwrap();
    connector.connect(name, connection).await.unwrap()
}

/// Waits until the server has closed a connection.
async fn until_closed(mut connection: impl AsyncRead + Unpin) {
    let mut said = Vec::new();
    let closed = tokio::time::timeout(PATIENCE, connection.read_to_end(&mut said)).await;
    // TLS tells an end that was not announced as an error.
    let _ = closed.expect("it is still open");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_says_nothing_is_closed_before_and_after_its_handshake() {
    let workspace = Workspace::new();
    let authority = Authority::new();
    let flags = tls_flags(&workspace, &authority);
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let app = App::start_with(&flags).await;
    let address = app.endpoint().replace("https://", "");
    let connect = async || TcpStream::connect(&address).await.unwrap();
    let before = connect().await;
    let after = shake_hands(connect().await, &authority).await;
    tokio::join!(until_closed(before), until_closed(after));
    app.stop().await;
}
