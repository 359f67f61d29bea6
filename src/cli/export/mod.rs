//! `leadvault export`: the contacts of a running service, as NDJSON or CSV.
//!
//! One snapshot, streamed: memory does not grow with it. A file appears under its name only once it is
//! complete, so that half an export is never taken for one; on standard output the exit code says so.

mod filter;
mod rows;
mod target;

use std::{
    io::{self, BufWriter, Write},
    path::PathBuf,
};

use clap::{Args, ValueEnum};
use tonic::Status;

use self::{
    filter::FilterArgs,
    rows::{Exported, Writer},
    target::Target,
};
use super::{
    client::{EndpointArgs, Service},
    load,
    retry::Failure,
    serve::StopSignals,
};
use crate::proto::vault::v1::ExportContactsRequest;

const HELP: &str = "\
Spreadsheets:
  A cell that begins with = + - @, a tab or a carriage return is run as a formula by spreadsheets, and anyone
  can write such a name into a form. In CSV such cells of text (email, name, phone, company, title, source)
  get a ' in front, phone numbers such as +1 555 0100 among them. --raw leaves them as they are stored, for
  programs; NDJSON is always exact.

Files:
  --output replaces a regular file, where a link leads to one too, once the export is complete and on disk;
  until then it grows beside it under a name of its own. A pipe or a device is written to as it is.";

/// Write the contacts of a running service to standard output or a file, from one snapshot.
#[derive(Args, Debug)]
#[command(after_long_help = HELP)]
pub(crate) struct ExportArgs {
    #[command(flatten)]
    endpoint: EndpointArgs,
    /// A JSON object a line, or CSV with a header.
    #[arg(long, value_enum, default_value_t = Format::Ndjson)]
    format: Format,
    #[command(flatten)]
    filter: FilterArgs,
    /// CSV with every cell as it is stored, also those that a spreadsheet would run as a formula. Without
    /// it, these get a ' in front.
    #[arg(long)]
    raw: bool,
    /// Write to this file; it is replaced once the export is complete.
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    Ndjson,
    Csv,
}

/// Why an export failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The address of the service is none.
    #[error(transparent)]
    Endpoint(#[from] load::Error),
    /// The service refused, or went away.
    #[error("the export is not complete: {0}")]
    Service(String),
    /// Somebody ended it.
    #[error("interrupted; {0} is as it was")]
    Interrupted(String),
    /// The system refused.
    #[error("cannot write {0}: {1}; the export is not complete")]
    Write(String, io::Error),
    /// The service sent something that is no contact.
    #[error("contact {0} cannot be written: {1}")]
    Contact(i64, serde_json::Error),
}

impl From<Status> for Error {
    fn from(status: Status) -> Self {
        Self::Service(match Failure::of("to export contacts", &status) {
            Failure::Passing { message, .. } => message,
            Failure::Final(error) => error.to_string(),
        })
    }
}

/// Runs the command.
pub(crate) async fn run(args: ExportArgs) -> Result<(), super::Error> {
    let service = args.endpoint.service()?;
    let Some(path) = &args.output else {
        // Also where the reader went away: `export | gzip` whose gzip died is no success.
        write_all(&service, &args, &mut io::stdout().lock(), "standard output").await?;
        return Ok(());
    };
    let name = path.display().to_string();
    let failed = |error| Error::Write(name.clone(), error);
    let count = match Target::open(path).map_err(failed)? {
        Target::InPlace(mut file) => write_all(&service, &args, &mut file, &name).await?,
        Target::New(mut file) => {
            let mut signals = StopSignals::listen()?;
            let count = tokio::select! {
                count = write_all(&service, &args, file.as_file(), &name) => count?,
                () = signals.next() => return Err(Error::Interrupted(name).into()),
            };
            file.take_its_place().map_err(failed)?;
            count
        }
    };
    eprintln!("{count} contacts in {name}");
    Ok(())
}

/// Writes every contact, and says how many.
async fn write_all(
    service: &Service,
    args: &ExportArgs,
    target: &mut impl Write,
    name: &str,
) -> Result<u64, Error> {
    let request = ExportContactsRequest {
        filter: Some(args.filter.to_proto()),
    };
    let mut client = service.vault_client();
    let mut stream = client.export_contacts(request).await?.into_inner();
    let mut writer = Writer::new(args.format, args.raw, BufWriter::new(target));
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
