//! The work that goes on beside calls, or is longer than one answer: chunks of jobs, sweeps.

use std::time::Duration;

use prometheus_client::{
    metrics::{
        counter::Counter,
        family::Family,
        histogram::{Histogram, exponential_buckets},
    },
    registry::Registry,
};

use super::{registered, to_count};

/// One label.
type Label = [(&'static str, &'static str); 1];
/// Two of them.
type Labels = [(&'static str, &'static str); 2];

/// The jobs that work in chunks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChunkOf {
    /// Rows of a bulk stream.
    BulkIngest,
    /// Loads that become contacts.
    PromoteContacts,
    /// Slots that become companies.
    PromoteCompanies,
    /// Slots that become people.
    PromotePeople,
}

impl ChunkOf {
    fn name(self) -> &'static str {
        match self {
            Self::BulkIngest => "BulkIngest",
            Self::PromoteContacts => "PromoteContacts",
            Self::PromoteCompanies => "PromoteCompanies",
            Self::PromotePeople => "PromotePeople",
        }
    }
}

#[derive(Debug)]
pub(super) struct Work {
    chunks: Family<Label, Histogram>,
    promoted: Family<Labels, Counter>,
    sweeps: Family<Label, Counter>,
    swept: Family<Label, Counter>,
}

impl Work {
    pub(super) fn new(registry: &mut Registry) -> Self {
        Self {
            chunks: registered(
                registry,
                "chunk_seconds",
                "How long a chunk of a job took until it was committed, in seconds",
                // From 4 milliseconds to a little over a minute.
                Family::new_with_constructor(|| {
                    Histogram::new(exponential_buckets(0.004, 2.0, 15))
                }),
            ),
            promoted: registered(
                registry,
                "promoted_rows",
                "Rows that were promoted, by job and outcome",
                Family::default(),
            ),
            sweeps: registered(
                registry,
                "sweeps",
                "Sweeps of intelligence, by how they ended",
                Family::default(),
            ),
            swept: registered(
                registry,
                "swept",
                "What sweeps did: purged stale intelligence, enqueued its people, returned those unsuppressed",
                Family::default(),
            ),
        }
    }

    pub(super) fn chunk(&self, of: ChunkOf, took: Duration, outcomes: &[(&'static str, i64)]) {
        let job = ("job", of.name());
        self.chunks
            .get_or_create(&[job])
            .observe(took.as_secs_f64());
        for (outcome, rows) in outcomes {
            self.promoted
                .get_or_create(&[job, ("outcome", outcome)])
                .inc_by(to_count(*rows));
        }
    }

    pub(super) fn sweep(&self, failed: bool, did: &[(&'static str, i64)]) {
        let outcome = if failed { "failed" } else { "ok" };
        self.sweeps.get_or_create(&[("outcome", outcome)]).inc();
        for (what, count) in did {
            let swept = self.swept.get_or_create(&[("did", what)]);
            swept.inc_by(to_count(*count));
        }
    }
}
