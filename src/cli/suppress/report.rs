//! Says what became of a list.

use std::collections::BTreeMap;

use serde::{Serialize, Serializer};

use super::list::Invalid;
use crate::cli::report::{OutputFormat, count, json_line, new_table};

/// The most invalid lines that are shown. All of them are counted.
const MAX_SHOWN: usize = 1_000;

/// What became of the lines. The names of its fields are those of the JSON output and do not change.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    input: String,
    /// Lines that are not blank.
    pub(super) received: u64,
    /// Entries that are new.
    pub(super) suppressed: u64,
    /// Entries that were in force.
    pub(super) already_suppressed: u64,
    /// Lines that cannot be entries.
    pub(super) invalid: u64,
    /// The first of them, by their number.
    #[serde(serialize_with = "values")]
    invalid_lines: BTreeMap<u64, Invalid>,
}

fn values<S: Serializer>(lines: &BTreeMap<u64, Invalid>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(lines.values())
}

impl Report {
    /// Of a list that nothing was read of yet.
    pub(super) fn new(input: String) -> Self {
        Self {
            input,
            received: 0,
            suppressed: 0,
            already_suppressed: 0,
            invalid: 0,
            invalid_lines: BTreeMap::new(),
        }
    }

    /// Counts an invalid line. The service answers later than the reader, so that the first ones are not
    /// always the first to come.
    pub(super) fn invalid(&mut self, invalid: Invalid) {
        self.received += 1;
        self.invalid += 1;
        self.invalid_lines.insert(invalid.line, invalid);
        if self.invalid_lines.len() > MAX_SHOWN {
            self.invalid_lines.pop_last();
        }
    }

    /// The report as it goes to standard output.
    pub(super) fn render(&self, output: OutputFormat) -> String {
        match output {
            OutputFormat::Json => json_line(self),
            OutputFormat::Text => self.text(),
        }
    }

    fn text(&self) -> String {
        let mut table = new_table(["outcome", "lines"]);
        for (name, number) in [
            ("suppressed", self.suppressed),
            ("already suppressed", self.already_suppressed),
            ("invalid", self.invalid),
            ("received", self.received),
        ] {
            table.add_row([name.to_owned(), count(number)]);
        }
        let mut text = format!("{}\n{table}\n", self.input);
        for invalid in self.invalid_lines.values() {
            let (line, shown, detail) = (invalid.line, &invalid.text, &invalid.detail);
            text.push_str(&format!("line {line}: {shown:?}: {detail}\n"));
        }
        let left_out = self.invalid - self.invalid_lines.len() as u64;
        if left_out > 0 {
            text.push_str(&format!("and {} more invalid lines\n", count(left_out)));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_invalid_lines_are_kept_and_all_are_counted() {
        let mut report = Report::new("list".into());
        for line in (1..=1_500).rev() {
            report.invalid(Invalid::new(line, "x", "wrong"));
        }
        let json: serde_json::Value =
            serde_json::from_str(&report.render(OutputFormat::Json)).unwrap();
        assert_eq!(
            (&json["invalid"], &json["received"]),
            (&1_500.into(), &1_500.into())
        );
        let lines = json["invalid_lines"].as_array().unwrap();
        assert_eq!(lines.len(), 1_000);
        assert_eq!(
            (&lines[0]["line"], &lines[999]["line"]),
            (&1.into(), &1_000.into())
        );
        let text = report.render(OutputFormat::Text);
        assert!(
            text.ends_with("line 1000: \"x\": wrong\nand 500 more invalid lines\n"),
            "{text}"
        );
    }
}
