//! The flags of `leadvault load`, and what they mean together.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::{error::Error, format::Format, preset::Preset};
use crate::{
    cli::{client::ServiceArgs, report::OutputFormat, target::Target},
    domain::{BatchId, Source},
    proto::intake::v1::DuplicatePolicy,
};

const EXAMPLES: &str = "\
Examples:
  Load an export from Apollo:
    leadvault load leads.csv --preset apollo

  Look first at what would be sent; contacts no service:
    leadvault load leads.csv --preset apollo --dry-run

  A CSV file with names of its own, gzipped, on two connections:
    leadvault load leads.csv.gz --source webinar --map \"E-Mail=email\" --map \"Firm=company\" --lanes 2

  JSON lines from another program, rejected rows into a file:
    producer | leadvault load - --source crm --batch-id crm-2026-01-31 --rejects rejected.ndjson

  The directory of a start-up accelerator, one golden record a company once it is promoted:
    leadvault load companies.ndjson --into companies --preset ycombinator
    leadvault promote --into companies

How it works:
  Each file is one batch. Its id is made from the file's name and content and from these flags, so that the
  same command again resumes where it stopped, or says that it is done. A corrected file or command is a new
  batch. When the service goes away, the loader waits, connects again and goes on from what is stored.

  The service looks for the email under the key `email`, and for a company's domain under `domain` or `website`
  (their other keys: name, industry, employee_count, revenue, location, linkedin_url). Columns of other names are renamed with --preset
  and --map; all other columns are kept under their own names.

  A row that cannot be stored is rejected alone, with a reason, and does not fail the load: see the table at
  the end, and --rejects. Duplicates are found by the service, over everything that it has.";

/// Streams files of rows into a running service: CSV, NDJSON or JSON arrays, each also gzipped
#[derive(Debug, Clone, Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct LoadArgs {
    /// Files to load, one batch each; `-` is standard input
    #[arg(required = true, value_name = "FILE")]
    pub(super) files: Vec<PathBuf>,

    #[command(flatten)]
    pub(super) service: ServiceArgs,

    /// What the rows are to become. Rows of companies and people are staged as slots; `leadvault promote --into`
    /// makes golden records of them
    #[arg(long, value_enum, default_value_t)]
    pub(super) into: Target,

    /// Where the rows come from, such as apollo, webinar, crm; kept with every row. A preset implies its own
    #[arg(long, required_unless_present = "preset", value_parser = Source::parse)]
    pub(super) source: Option<Source>,

    /// The batch to load into; needed for `-`. Made from the file and the flags unless given
    #[arg(long, value_name = "ID", value_parser = BatchId::parse)]
    pub(super) batch_id: Option<BatchId>,

    /// Rename a column or key, such as --map "Email Address=email". May be repeated; wins over --preset
    #[arg(long = "map", value_name = "COLUMN=KEY")]
    pub(super) maps: Vec<String>,

    /// Rename the columns of a known export
    #[arg(long, value_enum)]
    pub(super) preset: Option<Preset>,

    /// How the rows are written
    #[arg(long, value_enum, default_value_t = Format::Auto)]
    pub(super) format: Format,

    /// Connections to load one batch on, 1 to 64
    ///
    /// With one lane, a row's offset is its place in the file, which makes it easy to trace. Two are
    /// faster; more rarely are. Rows of one email always share a lane. A batch that was begun keeps the
    /// number that it began with. [default: 1]
    #[arg(long, value_parser = clap::value_parser!(u8).range(1..=64), value_name = "N")]
    pub(super) lanes: Option<u8>,

    /// Write the rejected rows of the batch to this file, as NDJSON with reason, line and original text
    #[arg(long, value_name = "FILE", conflicts_with = "dry_run")]
    pub(super) rejects: Option<PathBuf>,

    /// Read, rename and validate the rows here, and show what would be sent; contacts no service
    #[arg(long)]
    pub(super) dry_run: bool,

    /// What to do with a row whose email was accepted within the last 30 days [default: mark]
    #[arg(long, value_enum)]
    pub(super) on_duplicate: Option<OnDuplicate>,

    /// How the result is written to standard output
    #[arg(long, value_enum, default_value_t = OutputFormat::Text)]
    pub(super) output: OutputFormat,
}

/// The policy for duplicates, as the command line names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum OnDuplicate {
    /// Store it with the status `duplicate`
    Mark,
    /// Accept it where its content differs: for a feed that carries updates
    AcceptChanged,
}

impl OnDuplicate {
    /// Its name in batch ids.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Mark => "mark",
            Self::AcceptChanged => "accept-changed",
        }
    }
}

impl From<OnDuplicate> for DuplicatePolicy {
    fn from(policy: OnDuplicate) -> Self {
        match policy {
            OnDuplicate::Mark => Self::Mark,
            OnDuplicate::AcceptChanged => Self::AcceptChanged,
        }
    }
}

impl LoadArgs {
    /// Where the rows come from.
    pub(super) fn source_name(&self) -> Result<String, Error> {
        match (&self.source, self.preset) {
            (Some(source), _) => Ok(source.to_string()),
            (None, Some(preset)) => Ok(preset.name().to_owned()),
            (None, None) => Err(Error::Usage(
                "--source is needed; it names where the rows come from, such as --source crm"
                    .into(),
            )),
        }
    }

    /// How many lanes a new batch gets.
    pub(super) fn lanes(&self) -> usize {
        self.lanes.unwrap_or(1).into()
    }

    /// The policy for duplicates.
    pub(super) fn on_duplicate(&self) -> OnDuplicate {
        self.on_duplicate.unwrap_or(OnDuplicate::Mark)
    }

    /// Finds flags that do not go together, before anything is read.
    pub(super) fn check(&self) -> Result<(), Error> {
        self.check_target()?;
        if self.files.len() > 1 && self.batch_id.is_some() {
            return Err(Error::Usage(format!(
                "--batch-id goes with one file, and {} were given: each file is a batch of its own",
                self.files.len()
            )));
        }
        self.source_name().map(drop)
    }

    /// Finds flags that mean nothing for what the rows are to become.
    fn check_target(&self) -> Result<(), Error> {
        let refuse = |detail: String| Err(Error::Usage(detail));
        if let Some(golden) = self.into.golden() {
            if self.lanes.is_some() {
                return refuse(format!(
                    "--lanes does not go with --into {golden}: their rows are staged one call after the other"
                ));
            }
            if self.on_duplicate.is_some() {
                return refuse(format!(
                    "--on-duplicate does not go with --into {golden}: a row is staged where its content differs from what was staged before"
                ));
            }
        }
        match self.preset {
            Some(preset) if !preset.fits(self.into) => {
                let name = preset.name();
                refuse(match preset {
                    Preset::Ycombinator => format!(
                        "--preset {name} is a directory of companies, without emails; give --into companies"
                    ),
                    _ => format!(
                        "--preset {name} is an export of people; load it without --into, promote it, and make companies of its contacts with `leadvault promote --into companies --from-vault`"
                    ),
                })
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Command {
        #[command(flatten)]
        load: LoadArgs,
    }

    fn parse(line: &str) -> Result<LoadArgs, String> {
        let words = std::iter::once("load").chain(line.split_whitespace());
        Command::try_parse_from(words)
            .map(|command| command.load)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn a_preset_implies_its_source_and_a_source_wins() {
        let source = |line: &str| parse(line).unwrap().source_name();
        assert_eq!(source("a.csv --preset apollo").unwrap(), "apollo");
        assert_eq!(source("a.csv --preset linkedin --source me").unwrap(), "me");
        assert!(parse("a.csv").unwrap_err().contains("--source"));
        assert!(parse("--source a").unwrap_err().contains("FILE"));
    }

    #[test]
    fn flags_that_do_not_go_together_are_refused() {
        assert!(
            parse("a b --source s --batch-id x")
                .unwrap()
                .check()
                .is_err()
        );
        assert!(parse("a --source s --batch-id=").is_err());
        assert!(parse("a --source=").is_err());
        assert!(parse("a --source s --lanes 0").is_err());
        assert!(parse("a --source s --lanes 65").is_err());
        assert!(parse("a --source s --dry-run --rejects r").is_err());
        assert!(parse("- --source s --batch-id x").unwrap().check().is_ok());
        let refused = |line: &str| parse(line).unwrap().check().unwrap_err().to_string();
        for (line, says) in [
            ("a --source s --into companies --lanes 1", "--lanes does"),
            (
                "a --source s --into people --on-duplicate mark",
                "--on-duplicate does",
            ),
            ("a --preset ycombinator", "--into companies"),
            ("a --preset ycombinator --into people", "--into companies"),
            ("a --preset apollo --into companies", "--from-vault"),
        ] {
            let said = refused(line);
            assert!(said.contains(says), "{line}: {said}");
        }
        for line in [
            "--preset ycombinator --into companies",
            "--preset linkedin --into people",
        ] {
            assert!(
                parse(&format!("a {line}")).unwrap().check().is_ok(),
                "{line}"
            );
        }
    }
}
