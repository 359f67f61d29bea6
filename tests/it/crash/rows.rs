//! Rows whose fates are known before anybody sends them.

use std::collections::{BTreeMap, HashSet};

/// The generator of Steele, Lea and Flood: a test that failed can be run again as it was.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn seeded(seed: u64) -> Self {
        Self(seed)
    }

    /// A number below a bound.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }
}

/// A file of rows, and what must become of them.
#[derive(Default)]
pub(crate) struct Rows {
    pub(crate) ndjson: Vec<u8>,
    pub(crate) count: i64,
    pub(crate) accepted: i64,
    pub(crate) duplicate: i64,
    pub(crate) rejected: BTreeMap<String, i64>,
    /// The sums of the numbers that the accepted and the duplicate rows carry.
    pub(crate) accepted_sum: i64,
    pub(crate) duplicate_sum: i64,
}

/// So many rows of about a kilobyte, which makes frames of some 1,300 rows. One in twenty repeats an email
/// in another spelling, one in forty cannot be stored.
pub(crate) fn rows(count: i64) -> Rows {
    let mut rows = Rows::default();
    let mut seen = HashSet::new();
    let padding = "x".repeat(1_000);
    for n in 0..count {
        let good = |email: &str| format!(r#"{{"email":"{email}","n":{n},"notes":"{padding}"}}"#);
        let (row, bad) = match (n % 40, n / 40 % 5) {
            (3, 0) => (format!(r#"{{"n":{n}}}"#), "MISSING_EMAIL"),
            (3, 1) => (String::new(), "EMPTY_ROW"),
            (3, 2) => ("[1,2]".to_owned(), "NOT_AN_OBJECT"),
            (3, 3) => (r#"{"email": "#.to_owned(), "NOT_JSON"),
            (3, _) => (good("nobody at home"), "INVALID_EMAIL"),
            (7 | 27, _) => (good(&format!("PERSON{}@Acme.Example", n - 7)), ""),
            _ => (good(&format!("person{n}@acme.example")), ""),
        };
        rows.ndjson.extend_from_slice(row.as_bytes());
        rows.ndjson.push(b'\n');
        rows.count += 1;
        if !bad.is_empty() {
            *rows.rejected.entry(bad.to_owned()).or_default() += 1;
        } else if seen.insert(if matches!(n % 40, 7 | 27) { n - 7 } else { n }) {
            rows.accepted += 1;
            rows.accepted_sum += n;
        } else {
            rows.duplicate += 1;
            rows.duplicate_sum += n;
        }
    }
    rows
}
