//! Which lane a row goes to.
//!
//! Guarantees: the same rows in the same order go to the same lanes in every release, since a resumed batch
//! counts on it; rows of one email share a lane, so that lanes never wait for one another over an email.
//!
//! The lane is FNV-1a (64 bits) of the normalized email, modulo the number of lanes. What is no email is
//! trimmed and lower-cased instead. Rows without a text as `email` (or with two) take the lanes in turn, by
//! their position in the file.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::source::Content;
use crate::domain::Email;

/// Assigns rows to lanes, in the order of the file.
#[derive(Debug)]
pub(crate) struct LaneAssigner {
    lanes: u64,
    position: u64,
}

impl LaneAssigner {
    /// For a number of lanes, at least one.
    pub(crate) fn new(lanes: usize) -> Self {
        Self {
            lanes: lanes.max(1) as u64,
            position: 0,
        }
    }

    /// The lane of the next row.
    pub(crate) fn assign(&mut self, content: &Content) -> usize {
        let position = self.position;
        self.position += 1;
        if self.lanes == 1 {
            return 0;
        }
        let email = match content {
            Content::Json(json) => email_of(json),
            Content::Oversize { .. } | Content::Unreadable { .. } => None,
        };
        let key = email.map_or(position, |email| fnv1a(email.as_bytes()));
        // A remainder below 64 fits any usize.
        usize::try_from(key % self.lanes).unwrap_or(0)
    }
}

/// The part of a row that decides on its lane.
#[derive(Deserialize)]
struct EmailOnly<'a> {
    #[serde(borrow)]
    email: &'a RawValue,
}

fn email_of(row: &[u8]) -> Option<String> {
    let row: EmailOnly<'_> = serde_json::from_slice(row).ok()?;
    let email: Cow<'_, str> = serde_json::from_str(row.email.get()).ok()?;
    Some(match Email::parse(&email) {
        Ok(email) => email.as_str().to_owned(),
        Err(_) => email.trim().to_lowercase(),
    })
}

/// The Fowler-Noll-Vo hash, variant 1a, of 64 bits.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn json(text: &'static str) -> Content {
        Content::Json(Bytes::from_static(text.as_bytes()))
    }

    #[test]
    fn the_hash_is_the_published_one() {
        assert_eq!(fnv1a(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv1a(b"a"), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(fnv1a(b"foobar"), 0x8594_4171_f739_67e8);
    }

    #[test]
    fn every_spelling_of_an_email_shares_a_lane() {
        let mut lanes = LaneAssigner::new(7);
        let lane = lanes.assign(&json(r#"{"email":"ada@acme.example"}"#));
        for spelling in [
            r#"{"x":{"email":"other@acme.example"},"email":" ADA@Acme.Example "}"#,
            r#"{"email":"\u0061da@acme.example", "n": 1e400}"#,
        ] {
            assert_eq!(lanes.assign(&json(spelling)), lane, "{spelling}");
        }
        // Pinned: a batch that an older release began must find its rows in the same lanes.
        assert_eq!(lane, (fnv1a(b"ada@acme.example") % 7) as usize);
    }

    #[test]
    fn rows_without_an_email_take_the_lanes_in_turn() {
        let mut lanes = LaneAssigner::new(3);
        let rows = ["{}", "{", r#"{"email":[]}"#, "", r#"{"email":null}"#];
        let assigned: Vec<usize> = rows.iter().map(|row| lanes.assign(&json(row))).collect();
        assert_eq!(assigned, [0, 1, 2, 0, 1]);
    }
}
