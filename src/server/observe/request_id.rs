//! `x-request-id`: what a caller, their log and ours call one call.

use http::{HeaderMap, HeaderName, HeaderValue};
use uuid::Uuid;

/// The header, in requests and in answers.
pub(super) const HEADER: HeaderName = HeaderName::from_static("x-request-id");
/// The longest id that is taken.
const LONGEST: usize = 128;

/// The caller's id if it is visible ASCII and not too long, else a new one.
pub(super) fn request_id(headers: &HeaderMap) -> HeaderValue {
    headers
        .get(HEADER)
        .filter(|id| is_sane(id.as_bytes()))
        .cloned()
        .unwrap_or_else(made)
}

fn is_sane(id: &[u8]) -> bool {
    (1..=LONGEST).contains(&id.len()) && id.iter().all(u8::is_ascii_graphic)
}

fn made() -> HeaderValue {
    let mut text = [0; uuid::fmt::Hyphenated::LENGTH];
    let id = Uuid::now_v7().hyphenated().encode_lower(&mut text);
    // Hexadecimal digits and hyphens always are a header's value.
    HeaderValue::from_str(id).unwrap_or(HeaderValue::from_static("-"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sane_id_is_taken_and_any_other_is_replaced() {
        let longest = "x".repeat(LONGEST);
        for sane in ["a", "0af7/651-916:cd43", "~!", longest.as_str()] {
            let headers = [(HEADER, HeaderValue::from_str(sane).unwrap())];
            assert_eq!(request_id(&headers.into_iter().collect()), sane);
        }
        let too_long = "x".repeat(LONGEST + 1);
        let bad = ["", "a b", "a\tb", "\u{fc}", too_long.as_str()];
        for bad in bad.map(|bad| HeaderValue::from_bytes(bad.as_bytes()).unwrap()) {
            let made = request_id(&[(HEADER, bad)].into_iter().collect());
            let made = Uuid::parse_str(made.to_str().unwrap()).unwrap();
            assert_eq!(made.get_version_num(), 7);
        }
    }
}
