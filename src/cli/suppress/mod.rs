//! `leadvault suppress`: enters a list of addresses into the ledger of suppressions.
//!
//! Guarantees: each line of the list is entered, was in force, or is reported with its number; the service
//! is waited for when it goes away, and a call that is repeated for that gets its first answer. The same
//! command again changes nothing.

mod lines;
mod list;
mod report;

use std::{
    io::{self, Write as _},
    path::PathBuf,
};

use clap::{Args, ValueEnum};
use uuid::Uuid;

use self::{
    list::{Invalid, List, Listed},
    report::Report,
};
use super::{
    client::{Service, ServiceArgs},
    credentials::Connection,
    load::{self, Input, Origin, Progress},
    report::OutputFormat,
    retry::Failure,
};
use crate::proto::vault::v1::{
    Channel as PbChannel, SuppressContactsRequest, SuppressionReason, suppress_contacts_request,
    suppress_contacts_response::{Outcome, outcome::Result as EntryResult},
    vault_service_client::VaultServiceClient,
};

/// How many entries one call takes.
const BATCH: usize = 1_000;
/// The longest evidence that the service takes.
const MAX_EVIDENCE_BYTES: usize = 1_000;
/// The most of a list's name that goes into evidence made from it, which leaves room for the line.
const MAX_NAME_BYTES: usize = 900;

const EXAMPLES: &str = "\
Examples:
  A list of unsubscribes, one address a line:
    leadvault suppress unsubscribes.txt

  Bounces, for email only:
    leadvault suppress bounces.csv --reason bounced --scope email

How it works:
  The file has one address a line, or is CSV with a header that has the column `email` and maybe `reason`,
  `scope` and `evidence`, which win over the flags. It may be gzipped. Lines that are no address are reported
  with their number, the first 1,000 of them; all others are entered. Where there were any, the command ends
  with exit code 1, so that nobody takes a wrong list for a done one; --allow-invalid makes it 0. What is in
  force already stays as it is, so the same command may be repeated.";

/// Enters a list of addresses into the ledger of who is not to be contacted
#[derive(Debug, Clone, Args)]
#[command(after_long_help = EXAMPLES)]
pub(super) struct SuppressArgs {
    /// The list, also gzipped; `-` is standard input
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

    /// Succeed also where lines are invalid
    #[arg(long)]
    allow_invalid: bool,

    #[command(flatten)]
    service: ServiceArgs,

    /// How the result is written to standard output
    #[arg(long, value_enum, default_value_t = OutputFormat::Text)]
    output: OutputFormat,
}

/// Why a list was not entered, or not all of it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The list, the service or the result.
    #[error(transparent)]
    Failed(#[from] load::Error),
    /// All was done, and some lines were no entries.
    #[error(
        "{invalid} of {received} lines are invalid and were not entered, the others are in force; --allow-invalid takes this for success"
    )]
    Invalid {
        /// How many lines were invalid.
        invalid: u64,
        /// How many there were.
        received: u64,
    },
}

fn evidence(text: &str) -> Result<String, String> {
    if text.trim().is_empty() {
        return Err(
            "it must not be blank; without the flag, it is the list's name and the line".into(),
        );
    }
    match text.len() {
        0..=MAX_EVIDENCE_BYTES => Ok(text.to_owned()),
        bytes => Err(format!(
            "it has {bytes} bytes, at most {MAX_EVIDENCE_BYTES} are taken"
        )),
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

/// Enters every address of the list and writes the result to standard output.
///
/// A failure ends the command; what was entered before it is reported first. Lines that are no address do
/// not end it, and are a failure at its end unless they were allowed.
pub(super) async fn run(args: SuppressArgs) -> Result<(), Error> {
    let service = args.service.service()?;
    let origin = Origin::new(args.file.clone());
    let mut report = Report::new(origin.name());
    let result = enter(&args, &service, &origin, &mut report).await;
    if result.is_ok() || report.received > 0 {
        let written = io::stdout().write_all(report.render(args.output).as_bytes());
        written.map_err(|source| load::Error::Write {
            name: "standard output".to_owned(),
            source,
        })?;
    }
    result?;
    match (report.invalid, report.received) {
        (1.., _) if args.allow_invalid => Ok(()),
        (invalid @ 1.., received) => Err(Error::Invalid { invalid, received }),
        (0, _) => Ok(()),
    }
}

async fn enter(
    args: &SuppressArgs,
    service: &Service,
    origin: &Origin,
    report: &mut Report,
) -> Result<(), load::Error> {
    let name = &origin.name();
    let wrong = |detail| load::Error::Format {
        name: name.to_owned(),
        detail,
    };
    let cannot_read = |error| {
        wrong(format!(
            "cannot be read: {error}; what was read before was sent"
        ))
    };
    let input = Input::open(origin, None)?;
    let mut list = List::open(input).map_err(cannot_read)?.map_err(wrong)?;
    let mut client = service.vault_client();
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

/// Sends one batch until it is answered. Its request id makes that safe: a call whose answer was lost is
/// answered again, not done again.
async fn send(
    args: &SuppressArgs,
    service: &Service,
    client: &mut VaultServiceClient<Connection>,
    name: &str,
    batch: &[Listed],
    report: &mut Report,
) -> Result<(), load::Error> {
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
        return Err(load::Error::Usage(format!(
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
            let name = &name[..name.floor_char_boundary(MAX_NAME_BYTES)];
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
