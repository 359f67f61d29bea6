//! The domain of a company, read from a domain or from the URL of its website.

use std::{fmt, net::Ipv6Addr};

use super::{
    free_mail::FREE_MAIL,
    host::{MAX_HOST_BYTES, host_name},
};

/// A normalized domain: a host name with a dot, lower case, in IDNA ASCII, without `www.`, at most 253 bytes.
///
/// The host is kept whole: `blog.foo.com` is not `foo.com`, since nobody can say from the name whether it is
/// another company's.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WebDomain(String);

/// Why a text names no domain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InvalidDomain {
    /// Nothing but white space.
    Blank,
    /// A URL without a host, such as `http://`.
    NoHost,
    /// An IP address, in any of its spellings.
    IpAddress,
    /// A single label, such as `localhost`.
    NoDot,
    /// A host of this many bytes, over 253.
    TooLong(usize),
    /// The host is no host name.
    NotAHostName,
}

impl fmt::Display for InvalidDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Blank => write!(f, "it is blank"),
            Self::NoHost => write!(f, "it has no host"),
            Self::IpAddress => write!(f, "it is an IP address, not a domain"),
            Self::NoDot => write!(f, "its host has no dot"),
            Self::TooLong(bytes) => write!(
                f,
                "its host has {bytes} bytes, at most {MAX_HOST_BYTES} are taken"
            ),
            Self::NotAHostName => write!(f, "its host is no host name"),
        }
    }
}

impl std::error::Error for InvalidDomain {}

/// Whether a domain can be a company's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DomainVerdict {
    /// It can.
    Company,
    /// A public suffix, such as `github.io`: nobody's own.
    PublicSuffix,
    /// It gives mailboxes to the public, such as `gmail.com`.
    FreeMail,
}

impl WebDomain {
    /// Reads a domain, or the URL of a website: scheme, user, port, path and `www.` are dropped.
    ///
    /// # Errors
    /// [`InvalidDomain`] says what is wrong with it.
    pub fn parse(sent: &str) -> Result<Self, InvalidDomain> {
        let sent = sent.trim();
        if sent.is_empty() {
            return Err(InvalidDomain::Blank);
        }
        let host = host_of(sent)?;
        if host.is_empty() {
            return Err(InvalidDomain::NoHost);
        }
        let name = host_name(host).ok_or_else(|| what_is_wrong(host))?;
        if is_number(name.rsplit('.').next().unwrap_or_default()) {
            return Err(InvalidDomain::IpAddress);
        }
        let bare = name.strip_prefix("www.");
        match bare.filter(|bare| bare.contains('.')) {
            Some(bare) => Ok(Self(bare.to_owned())),
            None => Ok(Self(name)),
        }
    }

    /// The domain.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it can be a company's, by the public suffix list and a list of free-mail domains.
    pub fn verdict(&self) -> DomainVerdict {
        let suffix = psl::suffix(self.0.as_bytes());
        if suffix.is_some_and(|suffix| suffix.as_bytes() == self.0.as_bytes()) {
            DomainVerdict::PublicSuffix
        } else if FREE_MAIL.binary_search(&self.as_str()).is_ok() {
            DomainVerdict::FreeMail
        } else {
            DomainVerdict::Company
        }
    }
}

impl fmt::Display for WebDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The host of a URL, or of what is left of one when its scheme was left out.
pub(super) fn host_of(url: &str) -> Result<&str, InvalidDomain> {
    let rest = after_scheme(url);
    let authority = rest.split(['/', '?', '#', '\\']).next().unwrap_or_default();
    let host = authority
        .rsplit_once('@')
        .map_or(authority, |(_, host)| host);
    if host.starts_with('[') || host.parse::<Ipv6Addr>().is_ok() {
        return Err(InvalidDomain::IpAddress);
    }
    let host = match host.split_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        Some(_) => return Err(InvalidDomain::NotAHostName),
        None => host,
    };
    Ok(host.strip_suffix('.').unwrap_or(host))
}

/// What follows `scheme://`, or `//`. A `://` further on belongs to a path.
pub(super) fn after_scheme(url: &str) -> &str {
    let is_scheme = |scheme: &str| {
        scheme
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
    };
    match url.split_once("://") {
        Some((scheme, rest)) if is_scheme(scheme) => rest,
        _ => url.strip_prefix("//").unwrap_or(url),
    }
}

fn what_is_wrong(host: &str) -> InvalidDomain {
    if host.is_ascii() && host.len() > MAX_HOST_BYTES {
        InvalidDomain::TooLong(host.len())
    } else if host.contains(['.', '\u{3002}', '\u{ff0e}', '\u{ff61}']) {
        InvalidDomain::NotAHostName
    } else if host.bytes().all(|byte| byte.is_ascii_digit()) {
        InvalidDomain::IpAddress
    } else {
        InvalidDomain::NoDot
    }
}

/// Whether the last label of a host makes it an IPv4 address: browsers read `0x7f.1` as one.
fn is_number(label: &str) -> bool {
    let hexadecimal = label.strip_prefix("0x");
    hexadecimal.map_or_else(
        || label.bytes().all(|byte| byte.is_ascii_digit()),
        |digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()),
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn domains_and_urls_are_normalized() {
        for (sent, domain) in [
            ("example.com", "example.com"),
            (" WWW.Example.COM. ", "example.com"),
            (
                "https://www.example.com/about?x=http://y.com#z",
                "example.com",
            ),
            ("http://user:p@ss@example.com:8080/", "example.com"),
            ("//example.com", "example.com"),
            ("example.com/path://x", "example.com"),
            ("example.com:443", "example.com"),
            ("blog.example.com", "blog.example.com"),
            ("www.www.example.com", "www.example.com"),
            ("www.com", "www.com"),
            ("bücher.example", "xn--bcher-kva.example"),
            ("https://BÜCHER。example", "xn--bcher-kva.example"),
            ("mailto:info@example.com", "example.com"),
        ] {
            assert_eq!(WebDomain::parse(sent).unwrap().as_str(), domain, "{sent:?}");
        }
    }

    #[test]
    fn what_is_no_domain_is_refused_with_its_reason() {
        let long = format!("{}com", "a.".repeat(150));
        let long_label = format!("{}.com", "a".repeat(64));
        for (sent, reason) in [
            ("", InvalidDomain::Blank),
            (" \t", InvalidDomain::Blank),
            ("http://", InvalidDomain::NoHost),
            ("https:///path", InvalidDomain::NoHost),
            ("@", InvalidDomain::NoHost),
            ("127.0.0.1", InvalidDomain::IpAddress),
            ("http://10.0.0.1:80/", InvalidDomain::IpAddress),
            ("http://[::1]/", InvalidDomain::IpAddress),
            ("2001:db8::1", InvalidDomain::IpAddress),
            ("0x7f.1", InvalidDomain::IpAddress),
            ("1.0x7f", InvalidDomain::IpAddress),
            ("2130706433", InvalidDomain::IpAddress),
            ("localhost", InvalidDomain::NoDot),
            ("http://localhost:8080", InvalidDomain::NoDot),
            ("Acme Inc", InvalidDomain::NoDot),
            ("acme inc.com", InvalidDomain::NotAHostName),
            ("exa_mple.com", InvalidDomain::NotAHostName),
            ("example..com", InvalidDomain::NotAHostName),
            ("example.com:http", InvalidDomain::NotAHostName),
            (long_label.as_str(), InvalidDomain::NotAHostName),
            (long.as_str(), InvalidDomain::TooLong(303)),
        ] {
            assert_eq!(WebDomain::parse(sent), Err(reason), "{sent:?}");
        }
    }

    #[test]
    fn what_is_nobodys_own_is_no_company() {
        for (domain, verdict) in [
            ("github.io", DomainVerdict::PublicSuffix),
            ("co.uk", DomainVerdict::PublicSuffix),
            ("公司.cn", DomainVerdict::PublicSuffix),
            ("foo.github.io", DomainVerdict::Company),
            ("foo.co.uk", DomainVerdict::Company),
            ("foo.unknowntld", DomainVerdict::Company),
            ("gmail.com", DomainVerdict::FreeMail),
            ("www.web.de", DomainVerdict::FreeMail),
            ("acme.example", DomainVerdict::Company),
        ] {
            assert_eq!(
                WebDomain::parse(domain).unwrap().verdict(),
                verdict,
                "{domain}"
            );
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused_and_a_domain_reads_as_itself(sent in any::<String>()) {
            if let Ok(domain) = WebDomain::parse(&sent) {
                prop_assert!(domain.as_str().len() <= MAX_HOST_BYTES);
                let again = WebDomain::parse(domain.as_str());
                // But for a second `www.`, which is a name of its own.
                if !domain.as_str().starts_with("www.") {
                    prop_assert_eq!(again, Ok(domain.clone()));
                }
                let _ = domain.verdict();
            }
        }

        #[test]
        fn any_url_of_a_host_names_it(
            scheme in "(https?://)?",
            www in "(www\\.)?",
            host in "[a-z][a-z0-9]{0,20}\\.(com|io|de)",
            port in "(:[0-9]{1,5})?",
            path in "(/[ -~]{0,20})?",
        ) {
            let url = format!("{scheme}{www}{host}{port}{path}");
            let domain = WebDomain::parse(&url);
            prop_assert_eq!(domain.map(|domain| domain.0), Ok(host));
        }
    }
}
