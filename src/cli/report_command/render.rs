//! A report as a table, JSON or CSV: what its columns are is said once.

use std::io;

use chrono::{DateTime, SecondsFormat};
use comfy_table::{CellAlignment, Table};
use serde::{Serialize, Serializer, ser::SerializeMap as _};
use serde_json::value::RawValue;

use crate::{
    cli::{
        report::{count, json_line, new_table},
        spreadsheet,
    },
    proto::{
        google::r#type::Decimal,
        marketing::v1::{
            CampaignPerformance, CampaignStatus, CampaignType, SourceQuality,
            get_funnel_response::Stage,
        },
    },
};

/// The most characters of a text that a table shows.
const MAX_SHOWN_CHARS: usize = 50;

/// What one row says of one column.
#[derive(Debug)]
enum Cell {
    Text(String),
    /// A word of ours, or an id.
    Word(String),
    Count(Option<i64>),
    /// Exact digits; none where there is no number.
    Number(Option<String>),
    /// The same, in percent.
    Percent(Option<String>),
    Time(Option<String>),
}

/// A column: its name for programs, and its heading for people, who are shown only those that have one.
type Column = (&'static str, Option<&'static str>);

/// A report.
#[derive(Debug)]
pub(super) struct Report {
    /// What its rows are.
    rows_are: &'static str,
    columns: &'static [Column],
    rows: Vec<Vec<Cell>>,
}

/// The funnel.
pub(super) fn funnel(stages: Vec<Stage>) -> Report {
    let row = |stage: Stage| vec![Cell::Word(stage.stage), Cell::Count(Some(stage.count))];
    Report {
        rows_are: "stages",
        columns: &[
            ("stage", Some("from row to conversion")),
            ("count", Some("count")),
        ],
        rows: stages.into_iter().map(row).collect(),
    }
}

/// What campaigns came to.
pub(super) fn campaigns(campaigns: Vec<CampaignPerformance>) -> Report {
    Report {
        rows_are: "campaigns",
        columns: &[
            ("campaign_id", None),
            ("name", Some("campaign")),
            ("type", Some("type")),
            ("status", Some("status")),
            ("target_count", None),
            ("sent_count", Some("sent")),
            ("opened_count", None),
            ("open_rate", Some("open rate")),
            ("response_count", Some("replies")),
            ("response_rate", Some("reply rate")),
            ("bounced_count", None),
            ("bounce_rate", Some("bounce rate")),
            ("conversion_count", Some("conversions")),
            ("conversion_value", Some("value")),
            ("created_at", None),
            ("started_at", None),
            ("ended_at", None),
        ],
        rows: campaigns.into_iter().map(campaign).collect(),
    }
}

fn campaign(campaign: CampaignPerformance) -> Vec<Cell> {
    let kind = CampaignType::try_from(campaign.r#type).map_or("", |kind| kind.as_str_name());
    let status = CampaignStatus::try_from(campaign.status).map_or("", |state| state.as_str_name());
    let number = |decimal: Option<Decimal>| decimal.map(|decimal| decimal.value);
    vec![
        Cell::Word(campaign.campaign_id),
        Cell::Text(campaign.name),
        word(kind, "CAMPAIGN_TYPE_"),
        word(status, "CAMPAIGN_STATUS_"),
        Cell::Count(campaign.target_count.map(i64::from)),
        Cell::Count(Some(campaign.sent_count)),
        Cell::Count(Some(campaign.opened_count)),
        Cell::Percent(number(campaign.open_rate)),
        Cell::Count(Some(campaign.response_count)),
        Cell::Percent(number(campaign.response_rate)),
        Cell::Count(Some(campaign.bounced_count)),
        Cell::Percent(number(campaign.bounce_rate)),
        Cell::Count(Some(campaign.conversion_count)),
        Cell::Number(number(campaign.conversion_value)),
        Cell::Time(campaign.create_time.and_then(time)),
        Cell::Time(campaign.start_time.and_then(time)),
        Cell::Time(campaign.end_time.and_then(time)),
    ]
}

/// A value of an enum under its name in the database.
fn word(name: &str, prefix: &str) -> Cell {
    Cell::Word(name.strip_prefix(prefix).unwrap_or(name).to_lowercase())
}

/// RFC 3339, with the database's microseconds.
fn time(time: prost_types::Timestamp) -> Option<String> {
    let nanos = u32::try_from(time.nanos).ok()?;
    let time = DateTime::from_timestamp(time.seconds, nanos)?;
    Some(time.to_rfc3339_opts(SecondsFormat::Micros, true))
}

/// What came of the rows of sources.
pub(super) fn sources(sources: Vec<SourceQuality>) -> Report {
    let row = |source: SourceQuality| {
        let counts = [
            source.received_count,
            source.accepted_count,
            source.duplicate_count,
            source.rejected_count,
            source.promoted_count,
            source.bounced_count,
            source.replied_count,
            source.converted_count,
        ];
        let counts = counts.map(|count| Cell::Count(Some(count)));
        let mut cells = vec![Cell::Text(source.source)];
        cells.extend(counts);
        cells
    };
    Report {
        rows_are: "sources",
        columns: &[
            ("source", Some("source")),
            ("received", Some("received")),
            ("accepted", Some("accepted")),
            ("duplicate", Some("duplicate")),
            ("rejected", Some("rejected")),
            ("promoted", Some("promoted")),
            ("bounced", Some("bounced")),
            ("replied", Some("replied")),
            ("converted", Some("converted")),
        ],
        rows: sources.into_iter().map(row).collect(),
    }
}

impl Report {
    /// A table for people.
    pub(super) fn text(&self) -> String {
        if self.rows.is_empty() {
            return format!("there are no {}\n", self.rows_are);
        }
        let headings: Vec<&str> = self.columns.iter().filter_map(|column| column.1).collect();
        let mut table = new_table(headings);
        for (nth, row) in self.rows.iter().enumerate() {
            let shown: Vec<&Cell> = self.shown(row).collect();
            if nth == 0 {
                align_words(&mut table, &shown);
            }
            table.add_row(shown.into_iter().map(Cell::for_people));
        }
        format!("{table}\n")
    }

    /// The cells of the columns that people are shown.
    fn shown<'a>(&'a self, row: &'a [Cell]) -> impl Iterator<Item = &'a Cell> {
        let cells = self.columns.iter().zip(row);
        cells.filter_map(|((_, heading), cell)| heading.map(|_| cell))
    }

    /// One object, a line.
    pub(super) fn json(&self) -> String {
        let rows: Vec<Row<'_>> = self.rows.iter().map(|row| Row(self.columns, row)).collect();
        json_line(&std::collections::BTreeMap::from([(self.rows_are, rows)]))
    }

    /// CSV with a header.
    pub(super) fn csv(&self, raw: bool) -> io::Result<String> {
        let mut writer = csv::Writer::from_writer(Vec::new());
        writer.write_record(self.columns.iter().map(|column| column.0))?;
        for row in &self.rows {
            writer.write_record(row.iter().map(|cell| cell.for_programs(raw)))?;
        }
        let bytes = writer
            .into_inner()
            .map_err(csv::IntoInnerError::into_error)?;
        String::from_utf8(bytes).map_err(io::Error::other)
    }
}

/// Words are read from the left, as numbers are from the right.
fn align_words(table: &mut Table, row: &[&Cell]) {
    for (index, cell) in row.iter().enumerate() {
        if let (Cell::Text(_) | Cell::Word(_), Some(column)) = (cell, table.column_mut(index)) {
            column.set_cell_alignment(CellAlignment::Left);
        }
    }
}

/// A row as an object.
struct Row<'a>(&'static [Column], &'a [Cell]);

impl Serialize for Row<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_map(Some(self.1.len()))?;
        for ((name, _), cell) in self.0.iter().zip(self.1) {
            object.serialize_entry(name, cell)?;
        }
        object.end()
    }
}

impl Serialize for Cell {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Text(text) | Self::Word(text) => serializer.serialize_str(text),
            Self::Count(count) => count.serialize(serializer),
            Self::Time(time) => time.serialize(serializer),
            Self::Number(number) | Self::Percent(number) => number
                .as_deref()
                .and_then(|number| serde_json::from_str::<&RawValue>(number).ok())
                .serialize(serializer),
        }
    }
}

impl Cell {
    /// For people.
    fn for_people(&self) -> String {
        const NONE: &str = "-";
        match self {
            Self::Text(text) => shorten(text),
            Self::Word(word) => word.clone(),
            Self::Count(number) => number.map_or_else(
                || NONE.to_owned(),
                |number| count(u64::try_from(number).unwrap_or_default()),
            ),
            Self::Percent(Some(number)) => format!("{number} %"),
            Self::Number(Some(text)) | Self::Time(Some(text)) => text.clone(),
            Self::Percent(None) | Self::Number(None) | Self::Time(None) => NONE.to_owned(),
        }
    }

    /// For programs and spreadsheets.
    fn for_programs(&self, raw: bool) -> String {
        match self {
            Self::Text(text) => spreadsheet::cell(text, raw).into_owned(),
            Self::Word(word) => word.clone(),
            Self::Count(number) => number.map(|number| number.to_string()).unwrap_or_default(),
            Self::Number(text) | Self::Percent(text) | Self::Time(text) => {
                text.clone().unwrap_or_default()
            }
        }
    }
}

/// The beginning of a text, without what would move the cursor of a terminal.
fn shorten(text: &str) -> String {
    let shown = |character: char| match character {
        character if character.is_control() => char::REPLACEMENT_CHARACTER,
        character => character,
    };
    let mut short: String = text.chars().take(MAX_SHOWN_CHARS).map(shown).collect();
    if text.chars().nth(MAX_SHOWN_CHARS).is_some() {
        short.pop();
        short.push('…');
    }
    short
}
