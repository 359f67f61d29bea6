//! Rows by source and outcome. A source is whatever a loader calls it: only so many get a label of their own.

use std::{
    collections::HashMap,
    sync::{PoisonError, RwLock},
};

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family},
    registry::Registry,
};

use super::to_count;
use crate::domain::Tally;

/// How many sources are told apart; those that come later count as `other`.
pub const MOST_SOURCES: usize = 100;
/// The longest source that is a label.
const LONGEST_SOURCE: usize = 100;
const OTHER: &str = "other";

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Labels {
    source: String,
    outcome: &'static str,
}

#[derive(Clone, Debug)]
struct Counters {
    accepted: Counter,
    duplicate: Counter,
    rejected: Counter,
}

/// Rows that were sent to be stored.
#[derive(Debug)]
pub(super) struct Rows {
    family: Family<Labels, Counter>,
    sources: RwLock<HashMap<String, Counters>>,
    other: Counters,
}

impl Rows {
    pub(super) fn new(registry: &mut Registry) -> Self {
        let family = Family::default();
        registry.register(
            "ingested_rows",
            "New rows by source and outcome; what is sent again does not count",
            family.clone(),
        );
        Self {
            other: Counters::of(&family, OTHER),
            family,
            sources: RwLock::default(),
        }
    }

    pub(super) fn count(&self, source: &str, tally: Tally) {
        let counters = self.counters(source);
        counters.accepted.inc_by(to_count(tally.accepted));
        counters.duplicate.inc_by(to_count(tally.duplicate));
        counters.rejected.inc_by(to_count(tally.rejected));
    }

    /// All of them so far.
    pub(super) fn total(&self) -> u64 {
        let known = self.sources.read().unwrap_or_else(PoisonError::into_inner);
        known.values().chain([&self.other]).map(Counters::sum).sum()
    }

    fn counters(&self, source: &str) -> Counters {
        if source == OTHER {
            return self.other.clone();
        }
        let known = self.sources.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(counters) = known.get(source) {
            return counters.clone();
        }
        drop(known);
        let mut known = self.sources.write().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MOST_SOURCES || source.len() > LONGEST_SOURCE {
            return self.other.clone();
        }
        let counters = Counters::of(&self.family, source);
        known.insert(source.to_owned(), counters.clone());
        counters
    }
}

impl Counters {
    fn sum(&self) -> u64 {
        self.accepted.get() + self.duplicate.get() + self.rejected.get()
    }

    fn of(family: &Family<Labels, Counter>, source: &str) -> Self {
        let counter = |outcome| {
            family.get_or_create_owned(&Labels {
                source: source.to_owned(),
                outcome,
            })
        };
        Self {
            accepted: counter("accepted"),
            duplicate: counter("duplicate"),
            rejected: counter("rejected"),
        }
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text;

    use super::*;

    fn count(sources: impl IntoIterator<Item = String>) -> String {
        let mut registry = Registry::default();
        let rows = Rows::new(&mut registry);
        let tally = Tally {
            accepted: 2,
            ..Tally::default()
        };
        for source in sources {
            rows.count(&source, tally);
        }
        let mut text = String::new();
        text::encode(&mut text, &registry).unwrap();
        text
    }

    #[test]
    fn the_first_sources_are_told_apart_and_the_others_are_one() {
        let text = count((0..MOST_SOURCES + 7).map(|n| format!("s{n}")));
        let accepted = text.lines().filter(|line| line.contains("accepted"));
        assert_eq!(accepted.count(), MOST_SOURCES + 1);
        assert!(text.contains(r#"ingested_rows_total{source="other",outcome="accepted"} 14"#));
    }

    #[test]
    fn each_row_is_in_the_total_once_whatever_its_source_is_called() {
        let rows = Rows::new(&mut Registry::default());
        let tally = Tally {
            accepted: 1,
            duplicate: 2,
            rejected: 3,
        };
        for source in ["apollo", OTHER, "apollo"] {
            rows.count(source, tally);
        }
        assert_eq!(rows.total(), 18);
    }

    #[test]
    fn a_source_cannot_break_the_text() {
        let text = count(["a\"} 9\nb\\".to_owned(), "x".repeat(500)]);
        assert!(text.contains(r#"source="a\"} 9\nb\\",outcome="accepted"} 2"#));
        assert!(!text.contains("xxx"));
    }
}
