//! Contacts as lines of a file.

use std::io::{self, Write};

use chrono::{DateTime, SecondsFormat};
use serde::Serialize;
use serde_json::value::RawValue;

use super::Format;
use crate::{
    cli::spreadsheet,
    proto::vault::v1::{Contact, ContactStatus},
};

/// A contact under the names of the reference's columns, in their order.
#[derive(Serialize)]
pub(super) struct Exported<'a> {
    contact_id: i64,
    email: &'a str,
    name: Option<&'a str>,
    phone: Option<&'a str>,
    company: Option<&'a str>,
    title: Option<&'a str>,
    source: &'a str,
    tags: &'a [String],
    custom_fields: &'a RawValue,
    load_id: Option<i64>,
    created_at: Option<String>,
    updated_at: Option<String>,
    last_activity_at: Option<String>,
    /// Exact digits, as a JSON number.
    score: &'a RawValue,
    status: &'static str,
}

const HEADER: [&str; 15] = [
    "contact_id",
    "email",
    "name",
    "phone",
    "company",
    "title",
    "source",
    "tags",
    "custom_fields",
    "load_id",
    "created_at",
    "updated_at",
    "last_activity_at",
    "score",
    "status",
];

impl<'a> Exported<'a> {
    /// Reads a contact; it fails where the service sent JSON that is none.
    pub(super) fn of(contact: &'a Contact) -> Result<Self, serde_json::Error> {
        let text = |text: &'a String| (!text.is_empty()).then_some(text.as_str());
        Ok(Self {
            contact_id: contact.contact_id,
            email: &contact.email,
            name: text(&contact.name),
            phone: text(&contact.phone),
            company: text(&contact.company),
            title: text(&contact.title),
            source: &contact.source,
            tags: &contact.tags,
            custom_fields: serde_json::from_str(&contact.custom_fields_json)?,
            load_id: (contact.load_id != 0).then_some(contact.load_id),
            created_at: contact.create_time.and_then(time),
            updated_at: contact.update_time.and_then(time),
            last_activity_at: contact.last_activity_time.and_then(time),
            score: serde_json::from_str(&contact.score)?,
            status: match contact.status() {
                ContactStatus::Active => "active",
                ContactStatus::Inactive => "inactive",
                ContactStatus::Bounced => "bounced",
                ContactStatus::Unsubscribed => "unsubscribed",
                ContactStatus::Unspecified => "unknown",
            },
        })
    }
}

/// RFC 3339, with the database's microseconds.
fn time(time: prost_types::Timestamp) -> Option<String> {
    let nanos = u32::try_from(time.nanos).ok()?;
    let time = DateTime::from_timestamp(time.seconds, nanos)?;
    Some(time.to_rfc3339_opts(SecondsFormat::Micros, true))
}

/// Writes contacts in a format.
pub(super) enum Writer<W: Write> {
    /// A JSON object a line.
    Ndjson(W),
    /// CSV with a header.
    Csv {
        /// Where it goes.
        writer: Box<csv::Writer<W>>,
        /// Cells are written as they are, also those that a spreadsheet would run.
        raw: bool,
    },
}

impl<W: Write> Writer<W> {
    /// Begins to write to a target.
    pub(super) fn new(format: Format, raw: bool, target: W) -> Self {
        match format {
            Format::Ndjson => Self::Ndjson(target),
            Format::Csv => Self::Csv {
                writer: Box::new(csv::Writer::from_writer(target)),
                raw,
            },
        }
    }

    /// Also an export of nothing has its header.
    pub(super) fn begin(&mut self) -> io::Result<()> {
        match self {
            Self::Ndjson(_) => Ok(()),
            Self::Csv { writer, .. } => writer.write_record(HEADER).map_err(io_error),
        }
    }

    /// Writes a contact.
    pub(super) fn write(&mut self, contact: &Exported<'_>) -> io::Result<()> {
        match self {
            Self::Ndjson(target) => {
                serde_json::to_writer(&mut *target, contact)?;
                target.write_all(b"\n")
            }
            Self::Csv { writer, raw } => write_record(writer, *raw, contact).map_err(io_error),
        }
    }

    /// Writes what is still held back; the target, to be closed by its owner.
    pub(super) fn finish(mut self) -> io::Result<()> {
        match &mut self {
            Self::Ndjson(target) => target.flush(),
            Self::Csv { writer, .. } => writer.flush(),
        }
    }
}

fn write_record(
    writer: &mut csv::Writer<impl Write>,
    raw: bool,
    contact: &Exported<'_>,
) -> Result<(), csv::Error> {
    let text =
        |text: Option<&'_ str>| spreadsheet::cell(text.unwrap_or_default(), raw).into_owned();
    let tags = serde_json::to_string(contact.tags).map_err(io::Error::from)?;
    writer.write_record([
        contact.contact_id.to_string(),
        text(Some(contact.email)),
        text(contact.name),
        text(contact.phone),
        text(contact.company),
        text(contact.title),
        text(Some(contact.source)),
        tags,
        contact.custom_fields.get().to_owned(),
        contact.load_id.map(|id| id.to_string()).unwrap_or_default(),
        contact.created_at.clone().unwrap_or_default(),
        contact.updated_at.clone().unwrap_or_default(),
        contact.last_activity_at.clone().unwrap_or_default(),
        contact.score.get().to_owned(),
        contact.status.to_owned(),
    ])
}

/// The system's error, where it was one.
fn io_error(error: csv::Error) -> io::Error {
    match error.into_kind() {
        csv::ErrorKind::Io(error) => error,
        other => io::Error::other(format!("{other:?}")),
    }
}
