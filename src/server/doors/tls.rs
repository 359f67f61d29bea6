//! TLS: what its handshake needs, from the files of the settings.
//!
//! Guarantee: files that were read again and cannot be used change nothing.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use chrono::{DateTime, Utc};
use rustls::{
    ConfigBuilder, ServerConfig, WantsVerifier,
    crypto::{CryptoProvider, ring::default_provider},
    server::{WantsServerCert, WebPkiClientVerifier},
    sign::SingleCertAndKey,
};
use tokio::sync::watch;

use super::{
    Error,
    pem::{PemFile, certified_key, good_until, roots},
};
use crate::config::DoorSettings;

/// What gRPC speaks over TLS.
const HTTP2: &[u8] = b"h2";

/// The server's certificate with its key, the authorities of clients, and what they made when they were last good.
#[derive(Clone, Debug)]
pub struct TlsFiles {
    files: Arc<Files>,
    current: watch::Sender<Arc<ServerConfig>>,
}

#[derive(Debug)]
struct Files {
    certificate: PathBuf,
    key: PathBuf,
    client_ca: Option<PathBuf>,
}

impl TlsFiles {
    /// Reads them for the first time; none where TLS is not asked for.
    pub(crate) fn open(settings: &DoorSettings) -> Result<Option<Self>, Error> {
        let (Some(certificate), Some(key)) = (&settings.tls_certificate, &settings.tls_key) else {
            return Ok(None);
        };
        let files = Files {
            certificate: certificate.clone(),
            key: key.clone(),
            client_ca: settings.tls_client_ca.clone(),
        };
        let config = files.read()?;
        Ok(Some(Self {
            files: Arc::new(files),
            current: watch::Sender::new(config),
        }))
    }

    /// Reads them again. What they say holds for connections that are made from then on; those that are open go on.
    /// Says until when the certificate is good.
    ///
    /// # Errors
    /// A file cannot be read, or is wrong, or the certificate is not good now. What was read before stays.
    pub fn reload(&self) -> Result<DateTime<Utc>, Error> {
        let config = self.files.read()?;
        let until = good_until(self.files.certificate())?;
        self.current.send_replace(config);
        Ok(until)
    }

    /// What the next handshake needs.
    pub(crate) fn current(&self) -> Arc<ServerConfig> {
        self.current.borrow().clone()
    }
}

impl Files {
    fn certificate(&self) -> PemFile<'_> {
        file("--tls-certificate", &self.certificate)
    }

    fn read(&self) -> Result<Arc<ServerConfig>, Error> {
        let certificate = self.certificate();
        let key = certified_key(certificate, file("--tls-key", &self.key))?;
        let provider = Arc::new(default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| certificate.error(format!("cannot be used: {error}")))?;
        let builder = match &self.client_ca {
            None => builder.with_no_client_auth(),
            Some(path) => verified_by(builder, file("--tls-client-ca", path), provider)?,
        };
        let mut config = builder.with_cert_resolver(Arc::new(SingleCertAndKey::from(key)));
        config.alpn_protocols.push(HTTP2.to_vec());
        Ok(Arc::new(config))
    }
}

/// The guard asks who calls; a probe of health needs no certificate, nor does a client with a token.
fn verified_by(
    builder: ConfigBuilder<ServerConfig, WantsVerifier>,
    authorities: PemFile<'_>,
    provider: Arc<CryptoProvider>,
) -> Result<ConfigBuilder<ServerConfig, WantsServerCert>, Error> {
    let verifier =
        WebPkiClientVerifier::builder_with_provider(roots(authorities)?.into(), provider)
            .allow_unauthenticated()
            .build()
            .map_err(|error| authorities.error(format!("cannot be used: {error}")))?;
    Ok(builder.with_client_cert_verifier(verifier))
}

fn file<'a>(setting: &'static str, path: &'a Path) -> PemFile<'a> {
    PemFile { setting, path }
}
