//! What a certificate says: the names in a client's, whose signature the handshake has checked, and when it is good.

use chrono::{DateTime, Utc};
use x509_cert::{
    Certificate,
    der::{
        Decode as _,
        asn1::{ObjectIdentifier, PrintableStringRef, Utf8StringRef},
    },
    ext::pkix::{SubjectAltName, name::GeneralName},
    time::Time,
};

use super::Validity;

/// `commonName`, as X.520 numbers it.
const COMMON_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.3");

/// The DNS names and then the common name of a certificate: all of them are what its authority says. None of a
/// certificate that cannot be read.
pub(super) fn names(der: &[u8]) -> Vec<String> {
    let Ok(certificate) = Certificate::from_der(der) else {
        return Vec::new();
    };
    let mut names = dns_names(&certificate);
    names.extend(common_names(&certificate));
    names
}

/// When a certificate is good; none of one that cannot be read.
pub(super) fn validity(der: &[u8]) -> Option<Validity> {
    let validity = Certificate::from_der(der).ok()?.tbs_certificate.validity;
    Some(Validity {
        from: utc(validity.not_before)?,
        until: utc(validity.not_after)?,
    })
}

fn utc(time: Time) -> Option<DateTime<Utc>> {
    let seconds = i64::try_from(time.to_unix_duration().as_secs()).ok()?;
    DateTime::from_timestamp(seconds, 0)
}

fn dns_names(certificate: &Certificate) -> Vec<String> {
    let alternatives = certificate.tbs_certificate.get::<SubjectAltName>();
    let Ok(Some((_, SubjectAltName(alternatives)))) = alternatives else {
        return Vec::new();
    };
    let dns_name = |name| match name {
        GeneralName::DnsName(name) => Some(name.to_string()),
        _ => None,
    };
    alternatives.into_iter().filter_map(dns_name).collect()
}

fn common_names(certificate: &Certificate) -> impl Iterator<Item = String> {
    let subject = certificate.tbs_certificate.subject.0.iter();
    let attributes = subject.flat_map(|names| names.0.iter());
    attributes
        .filter(|attribute| attribute.oid == COMMON_NAME)
        .filter_map(|attribute| {
            let value = &attribute.value;
            let utf8 = value.decode_as::<Utf8StringRef<'_>>();
            let text = utf8.map(|text| text.as_str().to_owned());
            text.or_else(|_| {
                let printable = value.decode_as::<PrintableStringRef<'_>>();
                printable.map(|text| text.as_str().to_owned())
            })
            .ok()
        })
}
