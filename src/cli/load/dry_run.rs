//! Says what a load would do, without a service: reads, maps and validates every row here.
//!
//! Duplicates are not found, since only the service knows what it has.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{
    error::Error,
    source::{Content, RowSource},
};
use crate::{
    cli::{
        report::{OutputFormat, count, json_line, new_table},
        target::Target,
    },
    company,
    domain::row::{RowLimits, RowRejection, validate},
    people,
};

/// What a dry run found in one file. The names of its fields are those of the JSON output.
#[derive(Debug, Default, Serialize)]
pub(crate) struct DryRun {
    input: String,
    batch_id: Option<String>,
    format: &'static str,
    rows: u64,
    valid: u64,
    rejected: u64,
    rejected_by_reason: BTreeMap<String, u64>,
    first_row: Option<String>,
    first_rejection: Option<FirstRejection>,
}

/// The first row that would be rejected.
#[derive(Debug, Serialize)]
struct FirstRejection {
    line: Option<u64>,
    reason: String,
    pointer: String,
    detail: String,
}

#[derive(Debug, Serialize)]
struct DryRuns<'a> {
    dry_run: bool,
    files: &'a [DryRun],
}

/// Reads a source to its end and validates every row.
pub(crate) fn dry_run(
    mut source: impl RowSource,
    target: Target,
    input: String,
    format: &'static str,
    batch_id: Option<String>,
) -> Result<DryRun, Error> {
    let limits = RowLimits::default();
    let mut found = DryRun {
        input,
        batch_id,
        format,
        ..DryRun::default()
    };
    while let Some(row) = source.next_row()? {
        found.rows += 1;
        if found.first_row.is_none()
            && let Content::Json(json) = &row.content
        {
            found.first_row = Some(String::from_utf8_lossy(json).into_owned());
        }
        match judge(&row.content, target, &limits) {
            None => found.valid += 1,
            Some(rejection) => found.reject(FirstRejection {
                line: row.line,
                ..rejection
            }),
        }
    }
    source.verify()?;
    Ok(found)
}

/// Why the service would reject the row, if it would.
fn judge(content: &Content, target: Target, limits: &RowLimits) -> Option<FirstRejection> {
    let (reason, pointer, detail) = match content {
        Content::Json(json) => {
            let rejection = rejection(json, target, limits)?;
            let reason = rejection.reason.to_string();
            (reason, rejection.pointer, rejection.detail)
        }
        Content::Oversize { bytes, .. } => (
            "ROW_TOO_LARGE".to_owned(),
            String::new(),
            format!("the row has {bytes} bytes"),
        ),
        Content::Unreadable { detail, .. } => {
            ("UNREADABLE".to_owned(), String::new(), detail.clone())
        }
    };
    Some(FirstRejection {
        line: None,
        reason,
        pointer,
        detail,
    })
}

fn rejection(json: &[u8], target: Target, limits: &RowLimits) -> Option<RowRejection> {
    match target {
        Target::Contacts => validate(json, limits).err(),
        Target::Companies => company::staged_key(json, limits).err(),
        Target::People => people::staged_key(json, limits).err(),
    }
}

impl DryRun {
    fn reject(&mut self, rejection: FirstRejection) {
        self.rejected += 1;
        *self
            .rejected_by_reason
            .entry(rejection.reason.clone())
            .or_default() += 1;
        self.first_rejection.get_or_insert(rejection);
    }

    fn text(&self) -> String {
        let mut table = new_table(["rows", "count"]);
        table.add_row(["read".to_owned(), count(self.rows)]);
        table.add_row(["valid".to_owned(), count(self.valid)]);
        table.add_row(["rejected".to_owned(), count(self.rejected)]);
        for (reason, &number) in &self.rejected_by_reason {
            table.add_row([format!("  {reason}"), count(number)]);
        }
        let mut text = format!(
            "{} ({}): dry run, nothing was sent\n{table}\n",
            self.input, self.format
        );
        if let Some(batch_id) = &self.batch_id {
            text.push_str(&format!("batch: {batch_id}\n"));
        }
        if let Some(row) = &self.first_row {
            text.push_str(&format!("first row as it would be sent:\n{row}\n"));
        }
        if let Some(rejection) = &self.first_rejection {
            let line = rejection
                .line
                .map(|line| format!(", line {line}"))
                .unwrap_or_default();
            text.push_str(&format!(
                "first rejection{line}: {} {} {}\n",
                rejection.reason, rejection.pointer, rejection.detail
            ));
        }
        text
    }
}

/// Every dry run, as it goes to standard output.
pub(crate) fn render(files: &[DryRun], format: OutputFormat) -> String {
    match format {
        OutputFormat::Text => {
            let texts: Vec<String> = files.iter().map(DryRun::text).collect();
            texts.join("\n")
        }
        OutputFormat::Json => json_line(&DryRuns {
            dry_run: true,
            files,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::load::source::IterSource;

    #[test]
    fn every_row_is_judged_and_the_first_ones_are_shown() {
        let rows = [r#"{"email":"ada@acme.example"}"#, "", "{}", ""];
        let rows = rows.map(|row| row.as_bytes().to_vec()).into_iter();
        let dry_run = |target| {
            let source = IterSource::new(rows.clone());
            dry_run(source, target, "made up".into(), "ndjson", None).unwrap()
        };
        let companies = dry_run(Target::Companies);
        assert_eq!(companies.rejected_by_reason["MISSING_DOMAIN"], 2);
        let found = dry_run(Target::Contacts);
        assert_eq!((found.rows, found.valid, found.rejected), (4, 1, 3));
        assert_eq!(found.rejected_by_reason["EMPTY_ROW"], 2);
        assert_eq!(found.rejected_by_reason["MISSING_EMAIL"], 1);
        let text = found.text();
        assert!(text.contains(r#"{"email":"ada@acme.example"}"#), "{text}");
        assert!(text.contains("first rejection"), "{text}");
    }
}
