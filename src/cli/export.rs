//! `leadvault export`: the contacts of a running service, as NDJSON or CSV.
//!
//! One snapshot, streamed: memory does not grow with it. A file appears under its name only once it is
//! complete, so that half an export is never taken for one; on standard output the exit code says so.

use std::{
    fs::File,
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
    time::Duration,
};

use chrono::{DateTime, SecondsFormat};
use clap::{Args, ValueEnum};
use serde::Serialize;
use serde_json::value::RawValue;
use tonic::{Status, transport::Endpoint};

use crate::proto::vault::v1::{
    Contact, ContactFilter, ContactStatus, ExportContactsRequest,
    vault_service_client::VaultServiceClient,
};

/// A message holds about 1 MiB, and one contact more.
const MAX_RESPONSE_BYTES: usize = 16 * 1024 * 1024;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Write the contacts of a running service to standard output or a file, from one snapshot.
#[derive(Args, Debug)]
pub(crate) struct ExportArgs {
    /// Where the service listens.
    #[arg(
        long,
        env = "LEADVAULT_ENDPOINT",
        default_value = "http://127.0.0.1:50051",
        value_name = "URL"
    )]
    endpoint: String,
    /// A JSON object a line, or CSV with a header.
    #[arg(long, value_enum, default_value_t = Format::Ndjson)]
    format: Format,
    /// Only contacts with this status.
    #[arg(long, value_enum)]
    status: Option<StatusArg>,
    /// Only contacts that came from this source first.
    #[arg(long)]
    source: Option<String>,
    /// Only contacts of this company.
    #[arg(long)]
    company: Option<String>,
    /// Only contacts with this tag.
    #[arg(long)]
    tag: Option<String>,
    /// Write to this file; it is replaced once the export is complete.
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    Ndjson,
    Csv,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum StatusArg {
    Active,
    Inactive,
    Bounced,
    Unsubscribed,
}

/// Why an export failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("--endpoint {0}: it must be a URL such as http://127.0.0.1:50051")]
    Endpoint(String),
    #[error("cannot reach the service at {0}: {1}")]
    Connect(String, tonic::transport::Error),
    #[error("the export is not complete, the service said: {} ({:?})", .0.message(), .0.code())]
    Refused(Box<Status>),
    #[error("cannot write {0}: {1}")]
    Write(String, io::Error),
    #[error("contact {0} cannot be written: {1}")]
    Contact(i64, serde_json::Error),
}

impl From<Status> for Error {
    fn from(status: Status) -> Self {
        Self::Refused(Box::new(status))
    }
}

/// Runs the command.
pub(crate) async fn run(args: ExportArgs) -> Result<(), Error> {
    let endpoint = Endpoint::from_shared(args.endpoint.clone())
        .map_err(|_| Error::Endpoint(args.endpoint.clone()))?
        .connect_timeout(CONNECT_TIMEOUT);
    let channel = endpoint
        .connect()
        .await
        .map_err(|error| Error::Connect(args.endpoint.clone(), error))?;
    let client = VaultServiceClient::new(channel).max_decoding_message_size(MAX_RESPONSE_BYTES);
    let Some(path) = &args.output else {
        let name = "standard output";
        return match write_all(client, &args, io::stdout().lock(), name).await {
            // `leadvault export | head`: the reader has what it wanted.
            Err(Error::Write(_, error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            result => result.map(drop),
        };
    };
    let name = path.display().to_string();
    let failed = |error| Error::Write(name.clone(), error);
    let part = part_of(path);
    let file = File::create(&part).map_err(failed)?;
    let written = write_all(client, &args, file, &name).await;
    let kept = written.and_then(|count| {
        std::fs::rename(&part, path).map_err(failed)?;
        Ok(count)
    });
    match kept {
        Ok(count) => eprintln!("{count} contacts in {name}"),
        Err(error) => {
            // What is incomplete is of no use; that it cannot be removed is not the trouble to report.
            let _ = std::fs::remove_file(&part);
            return Err(error);
        }
    }
    Ok(())
}

/// Where a file grows until it is complete: beside its place, so that it can be renamed.
fn part_of(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".part");
    name.into()
}

/// Writes every contact, and says how many.
async fn write_all(
    mut client: VaultServiceClient<tonic::transport::Channel>,
    args: &ExportArgs,
    target: impl Write,
    name: &str,
) -> Result<u64, Error> {
    let mut stream = client.export_contacts(args.request()).await?.into_inner();
    let mut writer = Writer::new(args.format, BufWriter::new(target));
    let failed = |error| Error::Write(name.to_owned(), error);
    writer.begin().map_err(failed)?;
    let mut count = 0;
    while let Some(message) = stream.message().await? {
        for contact in &message.contacts {
            let contact =
                Exported::of(contact).map_err(|error| Error::Contact(contact.contact_id, error))?;
            writer.write(&contact).map_err(failed)?;
            count += 1;
        }
    }
    writer.finish().map_err(failed)?;
    Ok(count)
}

impl ExportArgs {
    fn request(&self) -> ExportContactsRequest {
        let status = self.status.map(|status| match status {
            StatusArg::Active => ContactStatus::Active,
            StatusArg::Inactive => ContactStatus::Inactive,
            StatusArg::Bounced => ContactStatus::Bounced,
            StatusArg::Unsubscribed => ContactStatus::Unsubscribed,
        });
        ExportContactsRequest {
            filter: Some(ContactFilter {
                status: status.unwrap_or_default().into(),
                source: self.source.clone().unwrap_or_default(),
                company: self.company.clone().unwrap_or_default(),
                tag: self.tag.clone().unwrap_or_default(),
                ..Default::default()
            }),
        }
    }
}

/// A contact under the names of the reference's columns, in their order.
#[derive(Serialize)]
struct Exported<'a> {
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
    fn of(contact: &'a Contact) -> Result<Self, serde_json::Error> {
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

enum Writer<W: Write> {
    Ndjson(W),
    Csv(Box<csv::Writer<W>>),
}

impl<W: Write> Writer<W> {
    fn new(format: Format, target: W) -> Self {
        match format {
            Format::Ndjson => Self::Ndjson(target),
            Format::Csv => Self::Csv(Box::new(csv::Writer::from_writer(target))),
        }
    }

    /// Also an export of nothing has its header.
    fn begin(&mut self) -> io::Result<()> {
        match self {
            Self::Ndjson(_) => Ok(()),
            Self::Csv(writer) => writer.write_record(HEADER).map_err(io_error),
        }
    }

    fn write(&mut self, contact: &Exported<'_>) -> io::Result<()> {
        match self {
            Self::Ndjson(target) => {
                serde_json::to_writer(&mut *target, contact)?;
                target.write_all(b"\n")
            }
            Self::Csv(writer) => writer
                .write_record([
                    contact.contact_id.to_string().as_str(),
                    contact.email,
                    contact.name.unwrap_or_default(),
                    contact.phone.unwrap_or_default(),
                    contact.company.unwrap_or_default(),
                    contact.title.unwrap_or_default(),
                    contact.source,
                    &serde_json::to_string(contact.tags)?,
                    contact.custom_fields.get(),
                    &contact.load_id.map(|id| id.to_string()).unwrap_or_default(),
                    contact.created_at.as_deref().unwrap_or_default(),
                    contact.updated_at.as_deref().unwrap_or_default(),
                    contact.last_activity_at.as_deref().unwrap_or_default(),
                    contact.score.get(),
                    contact.status,
                ])
                .map_err(io_error),
        }
    }

    fn finish(self) -> io::Result<()> {
        match self {
            Self::Ndjson(mut target) => target.flush(),
            Self::Csv(mut writer) => writer.flush(),
        }
    }
}

/// The kind of an error stays: a broken pipe is no failure.
fn io_error(error: csv::Error) -> io::Error {
    match error.into_kind() {
        csv::ErrorKind::Io(error) => error,
        other => io::Error::other(format!("{other:?}")),
    }
}
