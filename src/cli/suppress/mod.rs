//! `leadvault suppress`: enters a list of addresses into the ledger of suppressions.
//!
//! Guarantees: each line of the list is entered, was in force, or is reported with its number; the service
//! is waited for when it goes away, and a call that is repeated for that gets its first answer. The same
//! command again changes nothing.

mod list;

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Write as _},
    path::PathBuf,
    time::Duration,
};

use clap::{Args, ValueEnum};
use comfy_table::{CellAlignment, Table, presets};
use serde::Serialize;
use tonic::transport::{Channel, Endpoint};
use uuid::Uuid;

use self::list::{Invalid, List, Listed};
use super::load::{Error, Failure, OutputFormat, Progress, Service};
use crate::proto::vault::v1::{
    Channel as PbChannel, SuppressContactsRequest, SuppressionReason, suppress_contacts_request,
    suppress_contacts_response::{Outcome, outcome::Result as EntryResult},
    vault_service_client::VaultServiceClient,
};

/// How many entries one call takes.
const BATCH: usize = 1_000;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// A peer that vanished without a word is noticed within the sum of these two.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(20);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);

const EXAMPLES: &str = "\
Examples:
  A list of unsubscribes, one address a line:
    leadvault suppress unsubscribes.txt

  Bounces, for email only:
    leadvault suppress bounces.csv --reason bounced --scope email

How it works:
  The file has one address a line, or is CSV with a header that has the column `email` and maybe `reason`,
  `scope` and `evidence`, which win over the flags. Lines that are no address are reported with their number
  and do not fail the command. What is in force already stays as it is, so the same command may be repeated.";

/// Enters a list of addresses into the ledger of who is not to be contacted
#[derive(Debug, Clone, Args)]
#[command(after_long_help = EXAMPLES)]
pub(super) struct SuppressArgs {
    /// The list; `-` is standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,

    /// Why, where the list does not say
    #[arg(long, value_enum, default_value_t = Reason::Unsubscribed)]
    reason: Reason,

    /// What to forbid, where the list does not say
    #[arg(long, value_enum, default_value_t = Scope::All)]
    scope: Scope,

    /// What shows it, at most 1,000 bytes. Unless given, the list's name and the line
    #[arg(long, value_name = "TEXT", value_parser = evidence)]
    evidence: Option<String>,

    /// Where the service listens
    #[arg(
        long,
        env = "LEADVAULT_ENDPOINT",
        default_value = "http://127.0.0.1:50051",
        value_name = "URL"
    )]
    endpoint: String,

    /// How the result is written to standard output
    #[arg(long, value_enum, default_value_t = OutputFormat::Text)]
    output: OutputFormat,
}

fn evidence(text: &str) -> Result<String, String> {
    match text.len() {
        0..=1_000 => Ok(text.to_owned()),
        bytes => Err(format!("it has {bytes} bytes, at most 1000 are taken")),
    }
}

/// Why an address is suppressed, as the command line names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Reason {
    /// The person said so
    Unsubscribed,
    /// Mail bounces
    Bounced,
    /// The person complained
    Complaint,
    /// Somebody here decided it
    Manual,
    /// The law demands it
    Legal,
}

impl From<Reason> for SuppressionReason {
    fn from(reason: Reason) -> Self {
        match reason {
            Reason::Unsubscribed => Self::Unsubscribed,
            Reason::Bounced => Self::Bounced,
            Reason::Complaint => Self::Complaint,
            Reason::Manual => Self::Manual,
            Reason::Legal => Self::Legal,
        }
    }
}

/// What a suppression forbids, as the command line names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Scope {
    /// All channels
    All,
    /// Email
    Email,
    #[value(help = "LinkedIn")]
    Linkedin,
    /// Phone
    Phone,
}

impl From<Scope> for PbChannel {
    fn from(scope: Scope) -> Self {
        match scope {
            Scope::All => Self::All,
            Scope::Email => Self::Email,
            Scope::Linkedin => Self::Linkedin,
            Scope::Phone => Self::Phone,
        }
    }
}

/// What became of the lines. The names of its fields are those of the JSON output and do not change.
#[derive(Debug, Default, Serialize)]
struct Report {
    input: String,
    received: u64,
    suppressed: u64,
    already_suppressed: u64,
    invalid: u64,
    invalid_lines: Vec<Invalid>,
}

impl Report {
    fn invalid(&mut self, invalid: Invalid) {
        self.received += 1;
        self.invalid += 1;
        self.invalid_lines.push(invalid);
    }

    fn render(mut self, output: OutputFormat) -> Result<String, Error> {
        self.invalid_lines.sort_by_key(|invalid| invalid.line);
        if output == OutputFormat::Json {
            let json = serde_json::to_string(&self).map_err(|_| Error::Internal("report"))?;
            return Ok(json + "\n");
        }
        let mut table = Table::new();
        table.load_style(presets::UTF8_FULL_CONDENSED);
        table.set_header(["outcome", "lines"]);
        for (name, count) in [
            ("suppressed", self.suppressed),
            ("already suppressed", self.already_suppressed),
            ("invalid", self.invalid),
            ("received", self.received),
        ] {
            table.add_row([name.to_owned(), indicatif::HumanCount(count).to_string()]);
        }
        if let Some(column) = table.column_mut(1) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        let mut text = format!("{}\n{table}\n", self.input);
        for invalid in &self.invalid_lines {
            let (line, shown, detail) = (invalid.line, &invalid.text, &invalid.detail);
            text.push_str(&format!("line {line}: {shown:?}: {detail}\n"));
        }
        Ok(text)
    }
}

/// Enters every address of the list and writes the result to standard output.
///
/// Lines that are no address are no failure. A failure ends the command; what was entered before it is
/// reported first.
pub(super) async fn run(args: SuppressArgs) -> Result<(), Error> {
    // The check of the address and the patience are those of the loader.
    let service = Service::new(&args.endpoint, None)?;
    let name = match args.file.as_os_str() == "-" {
        true => "standard input".to_owned(),
        false => args.file.display().to_string(),
    };
    let mut report = Report {
        input: name.clone(),
        ..Report::default()
    };
    let result = enter(&args, &service, &name, &mut report).await;
    if result.is_ok() || report.received > 0 {
        let text = report.render(args.output)?;
        let written = io::stdout().write_all(text.as_bytes());
        written.map_err(|source| Error::Write {
            name: "standard output".to_owned(),
            source,
        })?;
    }
    result
}

async fn enter(
    args: &SuppressArgs,
    service: &Service,
    name: &str,
    report: &mut Report,
) -> Result<(), Error> {
    let mut client = client(&args.endpoint)?;
    let cannot_read = |source| Error::Format {
        name: name.to_owned(),
        detail: format!("cannot be read: {source}; what was read before was sent"),
    };
    let mut list = List::open(open(args, name)?)
        .map_err(cannot_read)?
        .map_err(|detail| Error::Format {
            name: name.to_owned(),
            detail,
        })?;
    let mut batch = Vec::new();
    loop {
        let next = list.next().map_err(cannot_read);
        let at_end = !matches!(next, Ok(Some(_)));
        // What was read before a failure is sent all the same.
        let failed = match next {
            Ok(Some(Ok(listed))) => {
                batch.push(listed);
                Ok(())
            }
            Ok(Some(Err(invalid))) => {
                report.invalid(invalid);
                Ok(())
            }
            Ok(None) => Ok(()),
            Err(error) => Err(error),
        };
        if batch.len() == BATCH || (at_end && !batch.is_empty()) {
            send(args, service, &mut client, name, &batch, report).await?;
            batch.clear();
        }
        failed?;
        if at_end {
            return Ok(());
        }
    }
}

fn open(args: &SuppressArgs, name: &str) -> Result<Box<dyn BufRead + Send>, Error> {
    if args.file.as_os_str() == "-" {
        return Ok(Box::new(BufReader::new(io::stdin())));
    }
    let file = File::open(&args.file).map_err(|source| Error::Open {
        name: name.to_owned(),
        source,
    })?;
    Ok(Box::new(BufReader::new(file)))
}

fn client(address: &str) -> Result<VaultServiceClient<Channel>, Error> {
    let endpoint = Endpoint::from_shared(address.to_owned()).map_err(|_| Error::Endpoint {
        endpoint: address.to_owned(),
        detail: "it is not a URL".to_owned(),
    })?;
    let endpoint = endpoint
        .connect_timeout(CONNECT_TIMEOUT)
        .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT);
    Ok(VaultServiceClient::new(endpoint.connect_lazy()))
}

/// Sends one batch until it is answered. Its request id makes that safe: a call whose answer was lost is
/// answered again, not done again.
async fn send(
    args: &SuppressArgs,
    service: &Service,
    client: &mut VaultServiceClient<Channel>,
    name: &str,
    batch: &[Listed],
    report: &mut Report,
) -> Result<(), Error> {
    let request = SuppressContactsRequest {
        entries: batch
            .iter()
            .map(|listed| entry(args, name, listed))
            .collect(),
        request_id: Uuid::new_v4().to_string(),
    };
    let mut patience = service.patience();
    let progress = Progress::new(None);
    let outcomes = loop {
        match client.suppress_contacts(request.clone()).await {
            Ok(response) => break response.into_inner().outcomes,
            Err(status) => {
                let failure = Failure::of("to suppress addresses", &status);
                patience.wait(failure, &progress).await?;
            }
        }
    };
    if outcomes.len() != batch.len() {
        let (answered, sent) = (outcomes.len(), batch.len());
        return Err(Error::Usage(format!(
            "the service answered {answered} of {sent} entries; is it of a fitting version?"
        )));
    }
    for (listed, outcome) in batch.iter().zip(outcomes) {
        count(report, listed, outcome);
    }
    Ok(())
}

fn entry(args: &SuppressArgs, name: &str, listed: &Listed) -> suppress_contacts_request::Entry {
    let evidence = listed.evidence.clone().or_else(|| args.evidence.clone());
    suppress_contacts_request::Entry {
        email: listed.email.clone(),
        scope: PbChannel::from(listed.scope.unwrap_or(args.scope)).into(),
        reason: SuppressionReason::from(listed.reason.unwrap_or(args.reason)).into(),
        evidence: evidence.unwrap_or_else(|| {
            let name = &name[..name.floor_char_boundary(900)];
            format!("{name}, line {}", listed.line)
        }),
    }
}

fn count(report: &mut Report, listed: &Listed, outcome: Outcome) {
    match outcome.result() {
        EntryResult::Suppressed => report.suppressed += 1,
        EntryResult::AlreadySuppressed => report.already_suppressed += 1,
        EntryResult::InvalidEmail | EntryResult::Unspecified => {
            report.invalid(Invalid::new(listed.line, &listed.email, outcome.detail));
            return;
        }
    }
    report.received += 1;
}
