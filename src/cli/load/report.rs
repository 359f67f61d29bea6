//! Says how a load went: a table for people, one JSON object for programs. Standard output holds nothing
//! else.

use std::{collections::BTreeMap, fmt::Write as _, ops::AddAssign};

use comfy_table::Table;
use serde::Serialize;

use super::{engine::Outcome, stage_report::StageReport};
use crate::{
    cli::report::{OutputFormat, count, grpcurl, json_line, new_table},
    proto::intake::v1::RowTally,
};

/// How many rows had which fate.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Tally {
    /// Rows received.
    pub(crate) received: u64,
    /// Rows stored, waiting for promotion.
    pub(crate) accepted: u64,
    /// Rows stored as duplicates.
    pub(crate) duplicate: u64,
    /// Rows not stored, kept among the rejected rows.
    pub(crate) rejected: u64,
}

impl Tally {
    /// Law 1: received = accepted + duplicate + rejected.
    pub(crate) fn adds_up(&self) -> bool {
        self.received == self.accepted + self.duplicate + self.rejected
    }
}

impl From<RowTally> for Tally {
    fn from(tally: RowTally) -> Self {
        let count = |count: i64| u64::try_from(count).unwrap_or(0);
        Self {
            received: count(tally.received),
            accepted: count(tally.accepted),
            duplicate: count(tally.duplicate),
            rejected: count(tally.rejected),
        }
    }
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.received += other.received;
        self.accepted += other.accepted;
        self.duplicate += other.duplicate;
        self.rejected += other.rejected;
    }
}

/// What a run did for a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Run {
    /// All of it.
    Loaded,
    /// What was left of it.
    Resumed,
    /// Nothing: it was done before.
    AlreadyComplete,
}

/// The report on one batch. The names of its fields are those of the JSON output and do not change.
#[derive(Debug, Serialize)]
pub(crate) struct BatchReport {
    batch_id: String,
    source: String,
    input: String,
    run: Run,
    lanes: usize,
    #[serde(flatten)]
    tally: Tally,
    rejected_by_reason: BTreeMap<String, u64>,
    resumed_from: u64,
    seconds: f64,
    rows_per_second: f64,
    #[serde(skip)]
    endpoint: String,
}

/// The report on one file.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(crate) enum FileReport {
    /// Its rows became loads.
    Contacts(BatchReport),
    /// Its rows became slots.
    Slots(StageReport),
}

impl FileReport {
    /// Whether there are rejected rows to look at.
    pub(crate) fn has_rejections(&self) -> bool {
        match self {
            Self::Contacts(report) => report.has_rejections(),
            Self::Slots(report) => report.has_rejections(),
        }
    }

    fn text(&self) -> String {
        match self {
            Self::Contacts(report) => report.text(),
            Self::Slots(report) => report.text(),
        }
    }
}

/// The report on a command.
#[derive(Debug, Serialize)]
struct Reports<'a> {
    batches: &'a [FileReport],
}

impl BatchReport {
    /// Whether there are rejected rows to look at.
    pub(crate) fn has_rejections(&self) -> bool {
        self.tally.rejected > 0
    }

    /// The report on an outcome; `input` is the name of what was loaded.
    pub(crate) fn new(outcome: Outcome, input: String, endpoint: &str) -> Self {
        let seconds = outcome.elapsed.as_secs_f64();
        let sent = outcome.tally.received.saturating_sub(outcome.resumed_from);
        let run = match outcome.resumed_from {
            _ if outcome.was_complete => Run::AlreadyComplete,
            0 => Run::Loaded,
            _ => Run::Resumed,
        };
        Self {
            batch_id: outcome.batch_id,
            source: outcome.source,
            input,
            run,
            lanes: outcome.lanes,
            tally: outcome.tally,
            rejected_by_reason: outcome.reasons,
            resumed_from: outcome.resumed_from,
            seconds: round(seconds, 1000.0),
            rows_per_second: round(sent as f64 / seconds.max(0.001), 10.0),
            endpoint: endpoint.to_owned(),
        }
    }

    /// The report for people.
    pub(crate) fn text(&self) -> String {
        let mut text = format!("{} -> batch {}\n", self.input, self.batch_id);
        if self.run == Run::AlreadyComplete {
            text.push_str("This batch was complete before; nothing was sent. What is stored:\n");
        }
        let _ = writeln!(text, "{}", self.table());
        if self.run != Run::AlreadyComplete {
            let _ = write!(
                text,
                "{} {}, {:.1} s, {} rows/s",
                self.lanes,
                if self.lanes == 1 { "lane" } else { "lanes" },
                self.seconds,
                count(self.rows_per_second as u64)
            );
            if self.run == Run::Resumed {
                let _ = write!(
                    text,
                    "; resumed after {} rows that were stored before",
                    count(self.resumed_from)
                );
            }
            text.push('\n');
        }
        if self.tally.rejected > 0 {
            let _ = write!(
                text,
                "See the rejected rows, each with its original bytes:\n  {}\n",
                list_rejected_rows_command(&self.endpoint, &self.batch_id)
            );
        }
        text
    }

    fn table(&self) -> Table {
        let tally = &self.tally;
        let mut table = new_table(["rows", "count", "share"]);
        let mut add = |name: String, number: u64| {
            let share = number as f64 * 100.0 / tally.received.max(1) as f64;
            table.add_row([name, count(number), format!("{share:.1} %")]);
        };
        add("received".to_owned(), tally.received);
        add("accepted".to_owned(), tally.accepted);
        add("duplicate".to_owned(), tally.duplicate);
        add("rejected".to_owned(), tally.rejected);
        for (reason, &number) in &self.rejected_by_reason {
            add(format!("  {reason}"), number);
        }
        let counted: u64 = self.rejected_by_reason.values().sum();
        if counted < tally.rejected {
            add(
                "  (reason not counted)".to_owned(),
                tally.rejected - counted,
            );
        }
        table
    }
}

/// Every report, as it goes to standard output.
pub(crate) fn render(reports: &[FileReport], format: OutputFormat) -> String {
    match format {
        OutputFormat::Text => {
            let texts: Vec<String> = reports.iter().map(FileReport::text).collect();
            texts.join("\n")
        }
        OutputFormat::Json => json_line(&Reports { batches: reports }),
    }
}

/// The command that lists the rejected rows of a batch, to be pasted into a shell.
pub(crate) fn list_rejected_rows_command(endpoint: &str, batch_id: &str) -> String {
    let request = serde_json::json!({ "batch_id": batch_id });
    grpcurl(
        endpoint,
        &request,
        "leadvault.intake.v1.IntakeService/ListRejectedRows",
    )
}

pub(super) fn round(number: f64, steps: f64) -> f64 {
    (number * steps).round() / steps
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn report(was_complete: bool, resumed_from: u64) -> BatchReport {
        let outcome = Outcome {
            batch_id: "leads.csv-0123".into(),
            source: "apollo".into(),
            lanes: 2,
            tally: Tally {
                received: 5000,
                accepted: 4584,
                duplicate: 251,
                rejected: 165,
            },
            reasons: BTreeMap::from([("MISSING_EMAIL".into(), 109)]),
            elapsed: Duration::from_millis(500),
            resumed_from,
            was_complete,
            lines: None,
        };
        BatchReport::new(outcome, "leads.csv".into(), "http://127.0.0.1:50051")
    }

    #[test]
    fn people_see_the_outcomes_and_what_to_do_next() {
        let text = report(false, 1000).text();
        for part in [
            "batch leads.csv-0123",
            "4,584",
            "91.7 %",
            "MISSING_EMAIL",
            "(reason not counted)",
            "8,000 rows/s",
            "resumed after 1,000 rows",
            "-d '{\"batch_id\":\"leads.csv-0123\"}' 127.0.0.1:50051 leadvault",
        ] {
            assert!(text.contains(part), "{part} is not in\n{text}");
        }
        assert!(report(true, 5000).text().contains("nothing was sent"));
    }

    #[test]
    fn programs_get_one_object_with_stable_names() {
        let json = render(
            &[FileReport::Contacts(report(false, 0))],
            OutputFormat::Json,
        );
        let value: serde_json::Value = serde_json::from_str(&json).unwrap();
        let expected = serde_json::json!({"batches": [{
            "batch_id": "leads.csv-0123", "source": "apollo", "input": "leads.csv", "run": "loaded",
            "lanes": 2, "received": 5000, "accepted": 4584, "duplicate": 251, "rejected": 165,
            "rejected_by_reason": {"MISSING_EMAIL": 109}, "resumed_from": 0, "seconds": 0.5,
            "rows_per_second": 10000.0,
        }]});
        assert_eq!(value, expected);
    }

    #[test]
    fn a_command_survives_the_shell() {
        let command = list_rejected_rows_command("http://h:1/", "it's \"x\"");
        assert!(
            command.contains(r#"'{"batch_id":"it'\''s \"x\""}' h:1 "#),
            "{command}"
        );
    }
}
