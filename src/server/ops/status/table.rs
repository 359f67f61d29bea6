//! Tables that a phone can show: there each row becomes a card, and stays a row for who cannot see it.

use std::time::Duration;

use indicatif::{HumanBytes, HumanCount, HumanDuration};

use super::html::Html;

/// What a caller may call a thing can be long.
const LONGEST_LABEL: usize = 80;

/// A table's head.
pub(super) struct Head {
    pub(super) caption: &'static str,
    pub(super) columns: &'static [&'static str],
}

/// What a cell holds.
pub(super) enum Cell {
    /// What callers made up.
    Label(String),
    /// A word of ours, in a colour: its class.
    State(&'static str, String),
    /// A number, or what stands for one.
    Number(String),
    /// A chart.
    Chart(Box<dyn FnOnce(&mut Html)>),
}

impl Cell {
    /// A number with its thousands apart.
    pub(super) fn count(number: i64) -> Self {
        Self::Number(count(number))
    }
}

/// Writes a table. The first cell of a row is what the row is about.
pub(super) fn table(html: &mut Html, head: &Head, rows: impl IntoIterator<Item = Vec<Cell>>) {
    html.markup(r#"<table role="table"><caption>"#)
        .markup(head.caption)
        .markup(r#"</caption><thead role="rowgroup"><tr role="row">"#);
    for column in head.columns {
        html.markup(r#"<th role="columnheader" scope="col">"#)
            .markup(column)
            .markup("</th>");
    }
    html.markup(r#"</tr></thead><tbody role="rowgroup">"#);
    for row in rows {
        html.markup(r#"<tr role="row">"#);
        for (nth, (cell, column)) in row.into_iter().zip(head.columns).enumerate() {
            write_cell(html, nth == 0, column, cell);
        }
        html.markup("</tr>");
    }
    html.markup("</tbody></table>");
}

fn write_cell(html: &mut Html, is_first: bool, column: &'static str, cell: Cell) {
    let (begin, end) = if is_first {
        (r#"<th role="rowheader" scope="row" class=""#, "</th>")
    } else {
        (r#"<td role="cell" class=""#, "</td>")
    };
    html.markup(begin);
    let class = match &cell {
        Cell::Label(_) => "label",
        Cell::State(..) => "state",
        Cell::Number(_) => "number",
        Cell::Chart(_) => "chart",
    };
    html.markup(class)
        .markup(r#"" data-column=""#)
        .markup(column)
        .markup(r#"">"#);
    match cell {
        Cell::Label(label) => {
            html.markup("<bdi>").text(clip(&label)).markup("</bdi>");
        }
        Cell::State(class, state) => {
            html.markup(r#"<span class=""#)
                .markup(class)
                .markup(r#"">"#)
                .text(state)
                .markup("</span>");
        }
        Cell::Number(number) => {
            html.text(number);
        }
        Cell::Chart(draw) => draw(html),
    }
    html.markup(end);
}

/// The beginning of a long text.
fn clip(text: &str) -> String {
    match text.char_indices().nth(LONGEST_LABEL) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// A number with its thousands apart.
pub(super) fn count(number: i64) -> String {
    HumanCount(u64::try_from(number).unwrap_or(0)).to_string()
}

/// Bytes in a unit that fits.
pub(super) fn bytes(number: i64) -> String {
    HumanBytes(u64::try_from(number).unwrap_or(0)).to_string()
}

/// Seconds in a unit that fits.
pub(super) fn seconds(seconds: f64) -> String {
    duration(Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or_default())
}

/// A time in a unit that fits.
pub(super) fn duration(duration: Duration) -> String {
    HumanDuration(duration).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_label_is_cut_between_characters() {
        let long = "ü".repeat(100);
        assert_eq!(clip(&long), "ü".repeat(80) + "…");
        assert_eq!(clip("short"), "short");
    }
}
