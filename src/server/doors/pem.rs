//! PEM files of certificates and keys, checked when the process starts and not at the first handshake.

use std::{fs, path::Path};

use chrono::{DateTime, Utc};
use rustls::{
    RootCertStore,
    crypto::ring::default_provider,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    sign::CertifiedKey,
};
use tonic::transport::{Certificate, Identity};

use super::{Error, certificate};

/// A setting that names a PEM file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PemFile<'a> {
    /// Its flag.
    pub(crate) setting: &'static str,
    /// The file.
    pub(crate) path: &'a Path,
}

impl PemFile<'_> {
    fn read(&self) -> Result<Vec<u8>, Error> {
        fs::read(self.path).map_err(|error| self.error(format!("cannot be read: {error}")))
    }

    fn certificates(&self, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, Error> {
        let certificates = CertificateDer::pem_slice_iter(pem)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| self.error(format!("is no good PEM: {error}")))?;
        if certificates.is_empty() {
            return Err(self.error(
                "holds no certificate; it must be a PEM file with -----BEGIN CERTIFICATE-----",
            ));
        }
        Ok(certificates)
    }

    fn key(&self, pem: &[u8]) -> Result<PrivateKeyDer<'static>, Error> {
        PrivateKeyDer::from_pem_slice(pem).map_err(|_| {
            self.error(
                "holds no private key; it must be a PEM file with -----BEGIN PRIVATE KEY-----, and no passphrase",
            )
        })
    }

    pub(super) fn error(&self, detail: impl ToString) -> Error {
        Error::File {
            setting: self.setting,
            path: self.path.to_owned(),
            detail: detail.to_string(),
        }
    }
}

/// A certificate with its key, as a client shows it: they belong together.
pub(crate) fn identity(certificate: PemFile<'_>, key: PemFile<'_>) -> Result<Identity, Error> {
    certified_key(certificate, key)?;
    Ok(Identity::from_pem(certificate.read()?, key.read()?))
}

/// A certificate with its key: they belong together.
pub(super) fn certified_key(
    certificate: PemFile<'_>,
    key: PemFile<'_>,
) -> Result<CertifiedKey, Error> {
    let chain = certificate.certificates(&certificate.read()?)?;
    let der = key.key(&key.read()?)?;
    CertifiedKey::from_der(chain, der, &default_provider()).map_err(|error| match error {
        rustls::Error::InconsistentKeys(_) => key.error(format!(
            "is not the key of the certificate in {} ({}), which must come first there",
            certificate.path.display(),
            certificate.setting
        )),
        rustls::Error::InvalidCertificate(_) => {
            certificate.error(format!("its first certificate cannot be read: {error}"))
        }
        _ => key.error(format!("its key cannot be used: {error}")),
    })
}

/// The certificates of authorities, each of which can be one, as a client checks a server by them.
pub(crate) fn authorities(file: PemFile<'_>) -> Result<Certificate, Error> {
    roots(file)?;
    Ok(Certificate::from_pem(file.read()?))
}

/// The certificates of authorities, each of which can be one.
pub(super) fn roots(file: PemFile<'_>) -> Result<RootCertStore, Error> {
    let pem = file.read()?;
    let mut roots = RootCertStore::empty();
    for certificate in file.certificates(&pem)? {
        roots
            .add(certificate)
            .map_err(|error| file.error(format!("holds a certificate that is none: {error}")))?;
    }
    Ok(roots)
}

/// When all certificates of a file are good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Validity {
    /// From when on.
    pub(crate) from: DateTime<Utc>,
    /// Until when.
    pub(crate) until: DateTime<Utc>,
}

/// When all certificates of a file are good.
pub(crate) fn validity(file: PemFile<'_>) -> Result<Validity, Error> {
    let times = validities(file)?;
    let from = times.iter().map(|validity| validity.from).max();
    let until = times.iter().map(|validity| validity.until).min();
    match (from, until) {
        (Some(from), Some(until)) => Ok(Validity { from, until }),
        _ => Err(file.error("holds no certificate")),
    }
}

/// Until when the first certificate of a file is good, which it is now.
pub(super) fn good_until(file: PemFile<'_>) -> Result<DateTime<Utc>, Error> {
    let now = Utc::now();
    match validities(file)?.first() {
        Some(first) if now < first.from => Err(file.error(format!(
            "is not valid before {}, and this machine's clock says {now}",
            first.from
        ))),
        Some(first) if first.until <= now => Err(file.error(format!("expired on {}", first.until))),
        Some(first) => Ok(first.until),
        None => Err(file.error("holds no certificate")),
    }
}

fn validities(file: PemFile<'_>) -> Result<Vec<Validity>, Error> {
    let certificates = file.certificates(&file.read()?)?;
    let mut times = Vec::new();
    for certificate in &certificates {
        let validity = certificate::validity(certificate);
        times.push(validity.ok_or_else(|| file.error("holds a certificate that is none"))?);
    }
    Ok(times)
}
