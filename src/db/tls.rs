//! TLS to PostgreSQL with rustls.
//!
//! Guarantees: any TLS is verified, against the machine's roots or the CA file that the URL names;
//! there is no mode that encrypts without asking to whom. `verify-ca` leaves out the host name and
//! nothing else. Channel binding comes with tokio-postgres-rustls.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
};
use tokio_postgres::config::SslNegotiation;
use tokio_postgres_rustls::MakeRustlsConnect;

use super::error::Error;

/// What is checked of a server's certificate, and against whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TlsPolicy {
    pub(crate) verify: Verify,
    pub(crate) roots: Roots,
}

/// How much of the certificate is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verify {
    /// The chain and the host's name: `verify-full`, and every other mode with TLS.
    ChainAndName,
    /// The chain alone: `verify-ca`.
    ChainOnly,
}

/// Who is trusted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Roots {
    /// What the machine trusts (`SSL_CERT_FILE` and `SSL_CERT_DIR` override it).
    System,
    /// The certificates of one PEM file, and no other.
    File(PathBuf),
}

/// The connector for a policy.
pub(crate) fn connector(
    policy: &TlsPolicy,
    negotiation: SslNegotiation,
) -> Result<MakeRustlsConnect, Error> {
    let roots = Arc::new(match &policy.roots {
        Roots::System => system_roots()?,
        Roots::File(path) => file_roots(path)?,
    });
    let mut config = client_config(roots, policy.verify)?;
    if negotiation == SslNegotiation::Direct {
        // PostgreSQL 17 refuses a direct handshake without its protocol's name.
        config.alpn_protocols = vec![b"postgresql".to_vec()];
    }
    Ok(MakeRustlsConnect::new(config))
}

/// A connector that trusts nobody, for connections that never use TLS.
pub(crate) fn unused_connector() -> Result<MakeRustlsConnect, Error> {
    let config = builder()?
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    Ok(MakeRustlsConnect::new(config))
}

/// Names the provider, so that it does not matter whether the process has installed a default.
fn builder() -> Result<rustls::ConfigBuilder<ClientConfig, rustls::WantsVerifier>, Error> {
    ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|e| Error::Tls(e.to_string()))
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn client_config(roots: Arc<RootCertStore>, verify: Verify) -> Result<ClientConfig, Error> {
    let config = match verify {
        Verify::ChainAndName => builder()?.with_root_certificates(roots),
        Verify::ChainOnly => {
            let inner = WebPkiServerVerifier::builder_with_provider(roots, provider())
                .build()
                .map_err(|e| Error::Tls(e.to_string()))?;
            builder()?
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(AnyName(inner)))
        }
    };
    Ok(config.with_no_client_auth())
}

fn system_roots() -> Result<RootCertStore, Error> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    let (added, _ignored) = roots.add_parsable_certificates(found.certs);
    if added > 0 {
        return Ok(roots);
    }
    let reasons: Vec<_> = found.errors.iter().map(ToString::to_string).collect();
    Err(Error::Tls(format!(
        "this machine has no trusted root certificates {}. Install them (`apt-get install \
         ca-certificates`), or name the server's CA with sslrootcert=FILE in the URL",
        reasons.join("; ")
    )))
}

fn file_roots(path: &Path) -> Result<RootCertStore, Error> {
    let complain = |problem: &dyn std::fmt::Display| {
        let path = path.display();
        Error::Tls(format!(
            "sslrootcert={path}: {problem}. It must be a readable PEM file of CA certificates, or `system`"
        ))
    };
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(path).map_err(|e| complain(&e))? {
        let certificate = certificate.map_err(|e| complain(&e))?;
        roots.add(certificate).map_err(|e| complain(&e))?;
    }
    if roots.is_empty() {
        return Err(complain(&"it holds no certificate"));
    }
    Ok(roots)
}

/// Checks all that the inner verifier does but the host's name, as libpq's `verify-ca`.
#[derive(Debug)]
struct AnyName(Arc<WebPkiServerVerifier>);

impl ServerCertVerifier for AnyName {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let checked =
            self.0
                .verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        match checked {
            // The inner verifier looks at the name last: whoever fails there has passed the chain.
            Err(rustls::Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            other => other,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}

/// What an operator can do about a refused certificate; empty for any other error.
pub(crate) fn hint(error: &(dyn std::error::Error + 'static)) -> String {
    let Some(rustls::Error::InvalidCertificate(reason)) = find_rustls(error) else {
        return String::new();
    };
    match reason {
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "The certificate is for another host name: connect by the name it was made for, \
             or use sslmode=verify-ca to check the chain alone"
        }
        CertificateError::UnknownIssuer => {
            "No trusted CA signed the certificate: name its CA with sslrootcert=FILE in the URL, \
             or, on a network that you trust, use sslmode=disable"
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "Renew the server's certificate, or set this machine's clock"
        }
        _ => "The server's certificate was refused; see sslmode and sslrootcert in the URL",
    }
    .to_owned()
}

/// Looks for a rustls error also inside of `io::Error`, which leaves it out of `source()`.
fn find_rustls<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a rustls::Error> {
    let mut current = Some(error);
    while let Some(here) = current {
        if let Some(found) = here.downcast_ref::<rustls::Error>() {
            return Some(found);
        }
        let inside = here
            .downcast_ref::<std::io::Error>()
            .and_then(std::io::Error::get_ref);
        current = match inside {
            Some(inner) => Some(inner),
            None => here.source(),
        };
    }
    None
}
