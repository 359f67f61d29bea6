//! `leadvault report`: the funnel, campaigns and sources of a running service, as a table, JSON or CSV.
//!
//! A report is printed once all of it is there: half of one is never taken for the whole.

mod fetch;
mod render;

use std::io::{self, Write as _};

use clap::{Args, Subcommand, ValueEnum};
use tonic::Status;

use super::{
    client::{EndpointArgs, Service},
    load,
    retry::Failure,
};

const EXAMPLES: &str = "\
Examples:
  leadvault report funnel
  leadvault report campaigns --status active --order created
  leadvault report sources --output csv > sources.csv

Output:
  text is a table for people. json is one object, csv has a header; both have all that the service says, under
  the names of the views bit.lead_funnel, bit.campaign_performance and bit.source_quality. In CSV a text that
  a spreadsheet would run as a formula, such as a campaign named =1+1, gets a ' in front; --raw leaves it.";

/// Print what the rows, campaigns and sources of a running service came to
#[derive(Args, Debug)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct ReportArgs {
    #[command(subcommand)]
    report: Report,
}

#[derive(Debug, Subcommand)]
enum Report {
    /// The way from rows to conversions: how many there are of each stage
    Funnel {
        #[command(flatten)]
        common: CommonArgs,
    },
    /// What each campaign came to
    Campaigns {
        #[command(flatten)]
        common: CommonArgs,
        /// Only campaigns in this state
        #[arg(long, value_enum)]
        status: Option<State>,
        /// What is sorted by
        #[arg(long, value_enum, default_value_t = Order::ResponseRate)]
        order: Order,
    },
    /// What came of the rows of each source
    Sources {
        #[command(flatten)]
        common: CommonArgs,
    },
}

#[derive(Debug, Args)]
struct CommonArgs {
    #[command(flatten)]
    endpoint: EndpointArgs,
    /// How the report is written
    #[arg(long, value_enum, default_value_t = Format::Text)]
    output: Format,
    /// CSV with every text as it is stored, also those that a spreadsheet would run as a formula
    #[arg(long)]
    raw: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    /// A table for people
    Text,
    /// One JSON object for programs
    Json,
    /// CSV with a header, for spreadsheets
    Csv,
}

/// The state of a campaign.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum State {
    Draft,
    Active,
    Paused,
    Completed,
}

/// The order of campaigns.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Order {
    /// Oldest first
    Created,
    /// Newest first
    Newest,
    /// Highest response rate first; those that sent nothing come last
    ResponseRate,
}

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The address of the service is none.
    #[error(transparent)]
    Endpoint(#[from] load::Error),
    /// The service refused, or went away.
    #[error("there is no report: {0}")]
    Service(String),
    /// The system refused.
    #[error("cannot write the report: {0}")]
    Write(#[from] io::Error),
}

impl From<Status> for Error {
    fn from(status: Status) -> Self {
        Self::Service(match Failure::of("to report", &status) {
            Failure::Passing { message, .. } => message,
            Failure::Final(error) => error.to_string(),
        })
    }
}

/// Runs the command.
pub(crate) async fn run(args: ReportArgs) -> Result<(), Error> {
    let (common, table) = match args.report {
        Report::Funnel { common } => {
            let stages = fetch::funnel(&common.endpoint.service()?).await?;
            (common, render::funnel(stages))
        }
        Report::Campaigns {
            common,
            status,
            order,
        } => {
            let campaigns = fetch::campaigns(&common.endpoint.service()?, status, order).await?;
            (common, render::campaigns(campaigns))
        }
        Report::Sources { common } => {
            let sources = fetch::sources(&common.endpoint.service()?).await?;
            (common, render::sources(sources))
        }
    };
    let report = match common.output {
        Format::Text => table.text(),
        Format::Json => table.json(),
        Format::Csv => table.csv(common.raw)?,
    };
    let mut out = io::stdout().lock();
    out.write_all(report.as_bytes())?;
    Ok(out.flush()?)
}

/// The funnel and the campaigns of a service, as the tables that people read.
pub(super) async fn overview(service: &Service) -> Result<String, Error> {
    let funnel = render::funnel(fetch::funnel(service).await?);
    let campaigns = fetch::campaigns(service, None, Order::Created).await?;
    Ok(format!(
        "{}\n{}",
        funnel.text(),
        render::campaigns(campaigns).text()
    ))
}
