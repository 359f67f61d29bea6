//! An email address as every comparison uses it.

use std::fmt;

use email_address::EmailAddress;

use super::host::host_name;

/// The longest address that is read, in bytes as sent: 254 and some white space around it.
pub(crate) const MAX_SENT_BYTES: usize = 320;
/// The longest address there is (RFC 5321, errata 1690).
pub(crate) const MAX_BYTES: usize = 254;

/// A normalized email address: trimmed, lower case, the domain in IDNA ASCII with a dot, at most 254 bytes.
///
/// No provider's rules are applied: dots and plus-tags are part of an address.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Email(String);

/// Why a text is no email address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InvalidEmail {
    /// Nothing but white space.
    Blank,
    /// This many bytes as sent, over 320.
    SentTooLong(usize),
    /// No `@`.
    NoSeparator,
    /// The local part is not one of RFC 5321, or not ASCII.
    LocalPart,
    /// The domain is not a host name with a dot.
    Domain,
    /// This many bytes once normalized, over 254.
    TooLong(usize),
}

impl fmt::Display for InvalidEmail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Blank => write!(f, "the address is blank"),
            Self::SentTooLong(bytes) => {
                write!(
                    f,
                    "the address has {bytes} bytes, at most {MAX_SENT_BYTES} are taken"
                )
            }
            Self::NoSeparator => write!(f, "an address is local-part@domain"),
            Self::LocalPart => write!(f, "the local part is not one of RFC 5321 in ASCII"),
            Self::Domain => write!(f, "the domain is not a host name with a dot"),
            Self::TooLong(bytes) => {
                write!(
                    f,
                    "the address has {bytes} bytes, at most {MAX_BYTES} are taken"
                )
            }
        }
    }
}

impl std::error::Error for InvalidEmail {}

impl Email {
    /// Reads an address as it was sent.
    ///
    /// # Errors
    /// [`InvalidEmail`] says what is wrong with it.
    pub fn parse(sent: &str) -> Result<Self, InvalidEmail> {
        if sent.len() > MAX_SENT_BYTES {
            return Err(InvalidEmail::SentTooLong(sent.len()));
        }
        let trimmed = sent.trim();
        if trimmed.is_empty() {
            return Err(InvalidEmail::Blank);
        }
        let (local, domain) = trimmed.rsplit_once('@').ok_or(InvalidEmail::NoSeparator)?;
        if !local.is_ascii() || !EmailAddress::is_valid_local_part(local) {
            return Err(InvalidEmail::LocalPart);
        }
        let domain = host_name(domain).ok_or(InvalidEmail::Domain)?;
        let email = format!("{}@{}", local.to_ascii_lowercase(), domain);
        if email.len() > MAX_BYTES {
            return Err(InvalidEmail::TooLong(email.len()));
        }
        Ok(Self(email))
    }

    /// The address.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Its domain, which is a host name: what follows the last `@`, since a quoted local part may hold one.
    pub fn domain(&self) -> &str {
        self.0.rsplit_once('@').map_or("", |(_, domain)| domain)
    }
}

impl fmt::Display for Email {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_normalized() {
        for (sent, email) in [
            ("john@example.com", "john@example.com"),
            ("\t John.DOE+Tag@Example.COM\n", "john.doe+tag@example.com"),
            ("info@bücher.example", "info@xn--bcher-kva.example"),
            ("info@BÜCHER.example", "info@xn--bcher-kva.example"),
            ("\"Q Q\"@x.example", "\"q q\"@x.example"),
            ("a@r3--sn.example", "a@r3--sn.example"),
        ] {
            assert_eq!(Email::parse(sent).unwrap().as_str(), email, "{sent:?}");
        }
    }

    #[test]
    fn what_is_no_address_is_refused_with_its_reason() {
        let long_local = format!("{}@x.example", "a".repeat(65));
        let long_sent = format!("{}a@x.example", " ".repeat(320));
        let long = format!(
            "{}@{}example",
            "a".repeat(64),
            format!("{}.", "b".repeat(60)).repeat(3)
        );
        for (sent, reason) in [
            ("", InvalidEmail::Blank),
            ("  \u{a0}", InvalidEmail::Blank),
            ("john", InvalidEmail::NoSeparator),
            ("@example.com", InvalidEmail::LocalPart),
            ("jo hn@example.com", InvalidEmail::LocalPart),
            ("john@@example.com", InvalidEmail::LocalPart),
            (".john@example.com", InvalidEmail::LocalPart),
            ("jürgen@example.com", InvalidEmail::LocalPart),
            (long_local.as_str(), InvalidEmail::LocalPart),
            ("John <john@example.com>", InvalidEmail::LocalPart),
            ("john@localhost", InvalidEmail::Domain),
            ("john@example..com", InvalidEmail::Domain),
            ("john@-example.com", InvalidEmail::Domain),
            ("john@exa_mple.com", InvalidEmail::Domain),
            ("john@[192.0.2.1]", InvalidEmail::Domain),
            ("john@example.com.", InvalidEmail::Domain),
            ("john@xn--a.example", InvalidEmail::Domain),
            (long_sent.as_str(), InvalidEmail::SentTooLong(331)),
        ] {
            assert_eq!(Email::parse(sent), Err(reason), "{sent:?}");
        }
        assert!(matches!(Email::parse(&long), Err(InvalidEmail::TooLong(_))));
    }
}
