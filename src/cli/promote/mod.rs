//! `leadvault promote`: pending loads become contacts, pending slots golden records, in a running service.
//!
//! Guarantees: the service is waited for when it goes away, and asked again: what is promoted is not pending
//! any more, so that asking twice changes nothing.

mod follow;
mod golden;
mod golden_tally;
mod progress;
mod so_far;

use std::{
    io::Write as _,
    ops::{Add, AddAssign},
    time::Instant,
};

use clap::Args;
use serde::Serialize;

pub(crate) use self::golden::promote as promote_golden;
use self::{
    follow::{Message, Step, follow},
    so_far::{Done, SoFar},
};
use super::{
    client::{Service, ServiceArgs},
    load,
    report::{OutputFormat, count, grpcurl, json_line, new_table},
    target::Target,
};
use crate::{
    domain::BatchId,
    proto::vault::v1::{PromoteContactsRequest, PromoteContactsResponse},
};

/// Promote pending loads to contacts, or slots to golden records, in a running service.
///
/// Works in chunks, each of which stays: Ctrl-C ends it after the current one, and running it again goes on.
/// Several may run at once. When the service goes away, it is waited for.
#[derive(Args, Debug)]
pub(crate) struct PromoteArgs {
    /// What is made: contacts of loads, or the golden records of slots
    #[arg(long, value_enum, default_value_t)]
    into: Target,

    /// First make slots of the contacts that are new or changed; goes with --into companies and people
    #[arg(long, conflicts_with = "batch")]
    from_vault: bool,

    /// Only the pending loads or slots of this batch
    #[arg(long, value_name = "ID", value_parser = batch)]
    batch: Option<BatchId>,

    #[command(flatten)]
    service: ServiceArgs,

    /// How the result is written
    #[arg(long, value_enum, default_value = "text")]
    output: OutputFormat,
}

/// To the service an empty name means every batch. Here it means that a script's variable was not set.
fn batch(text: &str) -> Result<BatchId, String> {
    BatchId::parse(text)
        .map_err(|error| format!("it {error}; to promote all that is pending, leave --batch out"))
}

/// Why promotion ended before its end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The service refused, or was away for too long.
    #[error("{error}{so_far}")]
    Ended {
        /// What happened.
        error: load::Error,
        /// What was done before.
        so_far: SoFar,
    },
    /// The flags do not go together.
    #[error(
        "--from-vault makes slots of companies or people from contacts; give --into companies or --into people"
    )]
    FromVault,
    /// The address of the service is none.
    #[error(transparent)]
    Service(#[from] load::Error),
    /// The result could not be written.
    #[error("cannot write standard output: {0}")]
    Write(std::io::Error),
}

/// Promotes, and writes the result to standard output.
pub(crate) async fn run(args: PromoteArgs) -> Result<(), Error> {
    let service = args.service.service()?;
    let batch = args.batch.as_ref().map(BatchId::as_str);
    let text = match args.into.golden() {
        None if args.from_vault => return Err(Error::FromVault),
        None => {
            let report = promote(&service, batch).await?;
            written(&report, Report::text, args.output)
        }
        Some(golden) => {
            let report =
                Box::pin(golden::promote(&service, golden, batch, args.from_vault)).await?;
            written(&report, golden::Report::text, args.output)
        }
    };
    std::io::stdout()
        .write_all(text.as_bytes())
        .map_err(Error::Write)
}

fn written<R: Serialize>(report: &R, text: impl Fn(&R) -> String, output: OutputFormat) -> String {
    match output {
        OutputFormat::Text => text(report),
        OutputFormat::Json => json_line(report),
    }
}

/// What became of loads. The names of its fields are those of the JSON output and do not change.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct Tally {
    done: u64,
    /// Loads that made a contact.
    pub(crate) promoted: u64,
    /// Loads that changed a contact.
    pub(crate) updated: u64,
    /// Loads that found nothing to change.
    pub(crate) unchanged: u64,
    /// Loads that were refused.
    pub(crate) failed: u64,
}

impl Message for PromoteContactsResponse {
    type Tally = Tally;
    const ASKED: &'static str = "to promote";
    const ROWS: &'static str = "loads";

    fn step(&self) -> Step<Tally> {
        let number = |count: i64| u64::try_from(count).unwrap_or(0);
        Step {
            tally: Tally {
                done: number(self.done),
                promoted: number(self.promoted),
                updated: number(self.updated),
                unchanged: number(self.unchanged),
                failed: number(self.failed),
            },
            done: self.done,
            left: self.left,
            rows_per_second: self.rows_per_second,
            finished: self.finished,
        }
    }
}

impl Add for Tally {
    type Output = Self;

    fn add(mut self, other: Self) -> Self {
        self += other;
        self
    }
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.done += other.done;
        self.promoted += other.promoted;
        self.updated += other.updated;
        self.unchanged += other.unchanged;
        self.failed += other.failed;
    }
}

/// What promotion did. The names of its fields are those of the JSON output and do not change.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    #[serde(skip_serializing_if = "Option::is_none")]
    batch_id: Option<String>,
    /// What became of the loads.
    #[serde(flatten)]
    pub(crate) tally: Tally,
    /// How often the service went away.
    interruptions: u64,
    seconds: f64,
    rows_per_second: f64,
    #[serde(skip)]
    endpoint: String,
}

impl Report {
    /// The report for people.
    pub(crate) fn text(&self) -> String {
        let tally = &self.tally;
        let mut table = new_table(["loads", "count", "share"]);
        for (name, number) in [
            ("done", tally.done),
            ("promoted", tally.promoted),
            ("updated", tally.updated),
            ("unchanged", tally.unchanged),
            ("failed", tally.failed),
        ] {
            let share = number as f64 * 100.0 / tally.done.max(1) as f64;
            table.add_row([name.to_owned(), count(number), format!("{share:.1} %")]);
        }
        let what = match &self.batch_id {
            Some(batch_id) => format!("pending loads of batch {batch_id}"),
            None => "all pending loads".to_owned(),
        };
        let mut text = format!("{what} -> contacts\n{table}\n{}", self.speed());
        if self.interruptions > 0 {
            text.push_str(
                "The service went away meanwhile; loads that it promoted without saying so are not counted.\n",
            );
        }
        if tally.failed > 0 {
            text.push_str(&format!(
                "See the failed loads, each with its reason in metadata_json:\n  {}\n",
                self.list_failed_loads_command()
            ));
        }
        text
    }

    /// The command that lists the loads that failed, to be pasted into a shell.
    fn list_failed_loads_command(&self) -> String {
        let mut request = serde_json::json!({ "status": "LOAD_STATUS_FAILED" });
        if let Some(batch_id) = &self.batch_id {
            request["batch_id"] = batch_id.as_str().into();
        }
        grpcurl(
            &self.endpoint,
            &request,
            "leadvault.intake.v1.IntakeService/ListRawLoads",
        )
    }

    /// How fast it was, as a line.
    pub(crate) fn speed(&self) -> String {
        format!(
            "{:.1} s, {} loads/s\n",
            self.seconds,
            count(self.rows_per_second as u64)
        )
    }
}

/// Promotes the pending loads of a batch, or all, and shows how far it is.
pub(crate) async fn promote(service: &Service, batch_id: Option<&str>) -> Result<Report, Error> {
    let started = Instant::now();
    let mut tally = Tally::default();
    let call = async || {
        let request = PromoteContactsRequest {
            batch_id: batch_id.unwrap_or_default().to_owned(),
            ..Default::default()
        };
        service.vault_client().promote_contacts(request).await
    };
    let followed = follow(service, &mut tally, call).await;
    let interruptions = followed.map_err(|error| Error::Ended {
        error,
        so_far: SoFar::new(Done::Loads(tally)),
    })?;
    let seconds = started.elapsed().as_secs_f64();
    Ok(Report {
        batch_id: batch_id.map(str::to_owned),
        tally,
        interruptions,
        seconds: (seconds * 1000.0).round() / 1000.0,
        rows_per_second: (tally.done as f64 / seconds.max(0.001) * 10.0).round() / 10.0,
        endpoint: service.address().to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(failed: u64) -> Report {
        Report {
            batch_id: Some("b".into()),
            tally: Tally {
                done: 4_584,
                promoted: 4_000,
                updated: 500,
                unchanged: 84 - failed,
                failed,
            },
            interruptions: 0,
            seconds: 0.5,
            rows_per_second: 9168.0,
            endpoint: "http://127.0.0.1:50051/".into(),
        }
    }

    #[test]
    fn the_table_says_what_became_of_the_loads_and_where_failed_ones_are() {
        let text = report(0).text();
        assert!(
            text.contains("promoted") && text.contains("4,000"),
            "{text}"
        );
        assert!(text.contains("0.5 s, 9,168 loads/s"), "{text}");
        assert!(!text.contains("grpcurl"), "{text}");
        let text = report(4).text();
        assert!(text.contains("127.0.0.1:50051 leadvault"), "{text}");
    }

    #[test]
    fn json_is_one_line_with_stable_names() {
        assert_eq!(
            json_line(&report(4)),
            "{\"batch_id\":\"b\",\"done\":4584,\"promoted\":4000,\"updated\":500,\"unchanged\":80,\
             \"failed\":4,\"interruptions\":0,\"seconds\":0.5,\"rows_per_second\":9168.0}\n"
        );
    }

    #[test]
    fn an_early_end_says_what_was_done_and_counts_each_outcome_as_what_it_is() {
        assert_eq!(SoFar::new(Done::Loads(Tally::default())).to_string(), "");
        let said = SoFar::new(Done::Loads(report(4).tally)).to_string();
        assert!(
            said.contains("4,000 loads made a contact") && said.contains("4 failed"),
            "{said}"
        );
    }
}
