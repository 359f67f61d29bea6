//! Says how staging went: a table for people, one JSON object for programs.

use std::{collections::BTreeMap, fmt::Write as _};

use comfy_table::Table;
use serde::Serialize;

use super::{
    report::{Run, list_rejected_rows_command, round},
    stage::{Outcome, Tally},
};
use crate::cli::{
    report::{count, new_table},
    target::Golden,
};

/// The report on one file. The names of its fields are those of the JSON output and do not change.
#[derive(Debug, Serialize)]
pub(crate) struct StageReport {
    batch_id: String,
    source: String,
    input: String,
    into: Golden,
    run: Run,
    #[serde(flatten)]
    tally: Tally,
    rejected_by_reason: BTreeMap<String, u64>,
    seconds: f64,
    rows_per_second: f64,
    #[serde(skip)]
    endpoint: String,
}

impl StageReport {
    /// The report on an outcome; `input` is the name of what was loaded.
    pub(super) fn new(outcome: Outcome, input: String, endpoint: &str) -> Self {
        let seconds = outcome.elapsed.as_secs_f64();
        let tally = outcome.tally;
        let run = match tally.replayed {
            0 => Run::Loaded,
            all if all == tally.received => Run::AlreadyComplete,
            _ => Run::Resumed,
        };
        Self {
            batch_id: outcome.batch_id,
            source: outcome.source,
            input,
            into: outcome.golden,
            run,
            tally,
            rejected_by_reason: outcome.reasons,
            seconds: round(seconds, 1000.0),
            rows_per_second: round(tally.received as f64 / seconds.max(0.001), 10.0),
            endpoint: endpoint.to_owned(),
        }
    }

    /// Whether there are rejected rows to look at.
    pub(super) fn has_rejections(&self) -> bool {
        self.tally.rejected > 0
    }

    /// The report for people.
    pub(super) fn text(&self) -> String {
        let (golden, batch_id) = (self.into, &self.batch_id);
        let mut text = format!("{} -> slots of {golden}, batch {batch_id}\n", self.input);
        if self.run == Run::AlreadyComplete {
            text.push_str(
                "All of it was staged before; nothing was done. What became of it then:\n",
            );
        }
        let _ = write!(
            text,
            "{}\n{:.1} s, {} rows/s",
            self.table(),
            self.seconds,
            count(self.rows_per_second as u64)
        );
        if self.run == Run::Resumed {
            let replayed = count(self.tally.replayed);
            let _ = write!(text, "; {replayed} of the rows were staged before");
        }
        text.push('\n');
        if self.has_rejections() {
            let command = list_rejected_rows_command(&self.endpoint, batch_id);
            let _ = write!(
                text,
                "See the rejected rows, each with its original bytes:\n  {command}\n"
            );
        }
        if self.run != Run::AlreadyComplete && self.tally.staged > 0 {
            let _ = writeln!(
                text,
                "Make golden records of the slots:\n  leadvault promote --into {golden}"
            );
        }
        text
    }

    fn table(&self) -> Table {
        let tally = &self.tally;
        let mut table = new_table(["rows", "count", "share"]);
        let mut add = |name: &str, number: u64| {
            let share = number as f64 * 100.0 / tally.received.max(1) as f64;
            table.add_row([name.to_owned(), count(number), format!("{share:.1} %")]);
        };
        add("received", tally.received);
        add("staged", tally.staged);
        add("unchanged", tally.unchanged);
        add("rejected", tally.rejected);
        for (reason, &number) in &self.rejected_by_reason {
            add(&format!("  {reason}"), number);
        }
        table
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn report(replayed: u64) -> StageReport {
        let outcome = Outcome {
            golden: Golden::Companies,
            batch_id: "yc.ndjson-0123".into(),
            source: "ycombinator".into(),
            tally: Tally {
                received: 1473,
                staged: 1470,
                unchanged: 1,
                rejected: 2,
                replayed,
            },
            reasons: BTreeMap::from([("MISSING_DOMAIN".into(), 2)]),
            elapsed: Duration::from_millis(500),
            lines: None,
        };
        StageReport::new(outcome, "yc.ndjson".into(), "http://127.0.0.1:50051")
    }

    #[test]
    fn people_see_the_outcomes_and_what_to_do_next() {
        for (replayed, parts) in [
            (0, ["1,470", "MISSING_DOMAIN", "promote --into companies"]),
            (
                1000,
                ["2,946 rows/s", "1,000 of the rows", "promote --into"],
            ),
            (
                1473,
                ["staged before; nothing", "99.8 %", "ListRejectedRows"],
            ),
        ] {
            let text = report(replayed).text();
            for part in parts {
                assert!(text.contains(part), "{part} is not in\n{text}");
            }
        }
    }

    #[test]
    fn programs_get_stable_names() {
        let expected = serde_json::json!({
            "batch_id": "yc.ndjson-0123", "source": "ycombinator", "input": "yc.ndjson",
            "into": "companies", "run": "already_complete", "received": 1473, "staged": 1470,
            "unchanged": 1, "rejected": 2, "replayed": 1473,
            "rejected_by_reason": {"MISSING_DOMAIN": 2}, "seconds": 0.5, "rows_per_second": 2946.0,
        });
        assert_eq!(serde_json::to_value(report(1473)).unwrap(), expected);
    }
}
