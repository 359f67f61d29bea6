//! URLs of pages on LinkedIn, in one spelling each, so that a page is recognised.

use std::fmt;

use super::{
    names::MAX_INDEXED_TEXT_BYTES,
    web_domain::{after_scheme, host_of},
};

/// Whose page it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkedInKind {
    /// A person's: `/in/`.
    Person,
    /// A company's: `/company/`.
    Company,
}

impl LinkedInKind {
    /// The path that its pages have.
    fn path(self) -> &'static str {
        match self {
            Self::Person => "in",
            Self::Company => "company",
        }
    }

    /// The paths that lead to such a page.
    fn paths(self) -> &'static [&'static str] {
        match self {
            Self::Person => &["in", "pub"],
            Self::Company => &["company", "school", "showcase"],
        }
    }
}

/// A normalized URL: `https://www.linkedin.com/in/<name>` or `https://www.linkedin.com/company/<name>`, the
/// name in lower case, its characters beyond ASCII percent-encoded, at most 1,000 bytes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LinkedInUrl(String);

/// A text that is no URL of a LinkedIn page of that kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidLinkedInUrl(LinkedInKind);

impl fmt::Display for InvalidLinkedInUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "it is no URL of the form https://www.linkedin.com/{}/name",
            self.0.path()
        )
    }
}

impl std::error::Error for InvalidLinkedInUrl {}

impl LinkedInUrl {
    /// Reads a URL in any spelling: with or without scheme, of any of LinkedIn's hosts, with a query, a
    /// fragment, a locale or further pages behind the name.
    ///
    /// # Errors
    /// [`InvalidLinkedInUrl`].
    pub fn parse(kind: LinkedInKind, sent: &str) -> Result<Self, InvalidLinkedInUrl> {
        normalize(kind, sent.trim())
            .filter(|url| url.len() <= MAX_INDEXED_TEXT_BYTES)
            .map(Self)
            .ok_or(InvalidLinkedInUrl(kind))
    }

    /// The URL.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for LinkedInUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn normalize(kind: LinkedInKind, sent: &str) -> Option<String> {
    let host = host_of(sent).ok()?.to_ascii_lowercase();
    if host != "linkedin.com" && !host.ends_with(".linkedin.com") {
        return None;
    }
    let path = after_scheme(sent).split(['?', '#']).next()?;
    let mut steps = path.split('/').skip(1).filter(|step| !step.is_empty());
    let first = steps.next()?.to_ascii_lowercase();
    if !kind.paths().contains(&first.as_str()) {
        return None;
    }
    let name = decode(steps.next()?)?.trim().to_lowercase();
    // A dot alone is a step of the path, not a name.
    if name.is_empty() || name.chars().all(|char| char == '.') {
        return None;
    }
    let path = kind.path();
    Some(format!("https://www.linkedin.com/{path}/{}", encode(&name)))
}

/// What percent-encoding stands for; `None` where it is broken, is no UTF-8, or hides control characters.
fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let (digits, tail) = tail.split_at_checked(2)?;
        let digits = std::str::from_utf8(digits).ok()?;
        if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return None;
        }
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        rest = tail;
    }
    let text = String::from_utf8(bytes).ok()?;
    (!text.chars().any(char::is_control)).then_some(text)
}

fn encode(text: &str) -> String {
    text.bytes().fold(String::new(), |mut encoded, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
        encoded
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn pages_have_one_spelling() {
        use LinkedInKind::{Company, Person};
        for (kind, sent, url) in [
            (
                Person,
                "https://www.linkedin.com/in/john-doe",
                "in/john-doe",
            ),
            (Person, "linkedin.com/in/John-Doe/", "in/john-doe"),
            (
                Person,
                " http://de.linkedin.com/in/john-doe/en?trk=x#top ",
                "in/john-doe",
            ),
            (
                Person,
                "https://linkedin.com/pub/john-doe/1/2/3",
                "in/john-doe",
            ),
            (
                Person,
                "https://www.linkedin.com/in/j%c3%bcrgen",
                "in/j%C3%BCrgen",
            ),
            (
                Person,
                "https://www.linkedin.com/in/JÜRGEN",
                "in/j%C3%BCrgen",
            ),
            (
                Company,
                "https://www.linkedin.com/company/acme/about/",
                "company/acme",
            ),
            (Company, "www.linkedin.com/school/mit", "company/mit"),
            (Company, "//linkedin.com/showcase/acme", "company/acme"),
        ] {
            let read = LinkedInUrl::parse(kind, sent).unwrap();
            assert_eq!(
                read.as_str(),
                format!("https://www.linkedin.com/{url}"),
                "{sent}"
            );
        }
    }

    #[test]
    fn what_is_no_such_page_is_refused() {
        use LinkedInKind::{Company, Person};
        for (kind, sent) in [
            (Person, ""),
            (Person, "john-doe"),
            (Person, "https://linkedin.com"),
            (Person, "https://linkedin.com/in/"),
            (Person, "https://linkedin.com/in/."),
            (Person, "https://linkedin.com/in/%zz"),
            (Person, "https://linkedin.com/in/%ff"),
            (Person, "https://linkedin.com/in/a%00b"),
            (Person, "https://linkedin.com/company/acme"),
            (Company, "https://linkedin.com/in/john-doe"),
            (Person, "https://notlinkedin.com/in/john-doe"),
            (Person, "https://linkedin.com.evil.example/in/john-doe"),
            (Person, "https://x.com/in/john-doe"),
        ] {
            assert!(LinkedInUrl::parse(kind, sent).is_err(), "{sent}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused_and_a_url_reads_as_itself(
            sent in "(https?://)?([a-z]{2}\\.)?linkedin\\.com/(in|pub|company)/\\PC{0,20}|\\PC*"
        ) {
            for kind in [LinkedInKind::Person, LinkedInKind::Company] {
                if let Ok(url) = LinkedInUrl::parse(kind, &sent) {
                    prop_assert_eq!(LinkedInUrl::parse(kind, url.as_str()), Ok(url.clone()));
                }
            }
        }
    }
}
