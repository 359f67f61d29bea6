//! TLS: what its handshake needs, from the files of the settings.

use std::sync::Arc;

use rustls::{
    ServerConfig, crypto::ring::default_provider, server::WebPkiClientVerifier,
    sign::SingleCertAndKey,
};

use super::{
    Error,
    pem::{PemFile, certified_key, roots},
};
use crate::config::DoorSettings;

/// What gRPC speaks over TLS.
const HTTP2: &[u8] = b"h2";

/// What the files of the settings make; none where TLS is not asked for.
pub(crate) fn tls(settings: &DoorSettings) -> Result<Option<Arc<ServerConfig>>, Error> {
    let (Some(certificate), Some(key)) = (&settings.tls_certificate, &settings.tls_key) else {
        return Ok(None);
    };
    let file = |setting, path| PemFile { setting, path };
    let certificate = file("--tls-certificate", certificate);
    let key = certified_key(certificate, file("--tls-key", key))?;
    let provider = Arc::new(default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| certificate.error(format!("cannot be used: {error}")))?;
    let builder = match &settings.tls_client_ca {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let file = file("--tls-client-ca", path);
            // The guard asks who calls; a probe of health needs no certificate, nor does a client with a token.
            let verifier =
                WebPkiClientVerifier::builder_with_provider(roots(file)?.into(), provider)
                    .allow_unauthenticated()
                    .build()
                    .map_err(|error| file.error(format!("cannot be used: {error}")))?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let mut config = builder.with_cert_resolver(Arc::new(SingleCertAndKey::from(key)));
    config.alpn_protocols.push(HTTP2.to_vec());
    Ok(Some(Arc::new(config)))
}
