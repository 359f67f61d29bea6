//! Host names, as mail and the web use them.

use email_address::EmailAddress;
use idna::uts46::{AsciiDenyList, DnsLength, Hyphens, Uts46};

/// The longest host name there is, in bytes.
pub(super) const MAX_HOST_BYTES: usize = 253;

/// A host name in lower case and IDNA ASCII, with a dot; `None` for what is none. Letters, digits and hyphens
/// only (RFC 5890). Hyphens in the third and fourth place are real (`r3--x.example`), so UTS 46's ban is off.
pub(super) fn host_name(text: &str) -> Option<String> {
    let ascii = Uts46::new()
        .to_ascii(
            text.as_bytes(),
            AsciiDenyList::STD3,
            Hyphens::Allow,
            DnsLength::Verify,
        )
        .ok()?;
    (ascii.contains('.') && EmailAddress::is_valid_domain(&ascii)).then(|| ascii.into_owned())
}
