//! `leadvault promote`: pending loads become contacts, in a running service.

use std::{
    fmt::Write as _,
    io::{IsTerminal as _, Write as _},
    time::{Duration, Instant},
};

use clap::Args;
use indicatif::{ProgressBar, ProgressDrawTarget};
use serde::Serialize;

use super::load::{
    self, Failure, OutputFormat, Service, count, json_line, new_table, progress_style,
};
use crate::proto::vault::v1::{PromoteContactsRequest, PromoteContactsResponse};

/// How often a line says how far it is, where there is no terminal to draw on.
const LINE_INTERVAL: Duration = Duration::from_secs(5);

/// Promote pending loads to contacts, in a running service.
///
/// Works in chunks, each of which stays: Ctrl-C ends it after the current one, and running it again goes on.
/// Several may run at once.
#[derive(Args, Debug)]
pub(crate) struct PromoteArgs {
    /// Only the pending loads of this batch
    #[arg(long, value_name = "ID")]
    batch: Option<String>,

    /// Where the service listens
    #[arg(
        long,
        env = "LEADVAULT_ENDPOINT",
        default_value = "http://127.0.0.1:50051",
        value_name = "URL"
    )]
    endpoint: String,

    /// How the result is written
    #[arg(long, value_enum, default_value = "text")]
    output: OutputFormat,
}

/// Why promotion ended before its end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The service is away, or its database is.
    #[error(
        "the service went away: {message}; {done} loads were promoted and stay so, running it again goes on"
    )]
    Away {
        /// What happened.
        message: String,
        /// How many loads were done.
        done: i64,
    },
    /// The stream ended without its last message.
    #[error(
        "the service ended without a result; {0} loads were promoted and stay so, running it again goes on"
    )]
    Unfinished(i64),
    /// The service refused, or its address is none.
    #[error(transparent)]
    Service(#[from] load::Error),
    /// The result could not be written.
    #[error("cannot write standard output: {0}")]
    Write(std::io::Error),
}

/// Promotes, and writes the result to standard output.
pub(crate) async fn run(args: PromoteArgs) -> Result<(), Error> {
    let service = Service::new(&args.endpoint, None)?;
    let report = promote(&service, args.batch.as_deref()).await?;
    let text = match args.output {
        OutputFormat::Text => report.text(),
        OutputFormat::Json => json_line(&report),
    };
    std::io::stdout()
        .write_all(text.as_bytes())
        .map_err(Error::Write)
}

/// What promotion did. The names of its fields are those of the JSON output and do not change.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    #[serde(skip_serializing_if = "Option::is_none")]
    batch_id: Option<String>,
    done: u64,
    /// Loads that made a contact.
    pub(crate) promoted: u64,
    /// Loads that changed a contact.
    pub(crate) updated: u64,
    /// Loads that found nothing to change.
    pub(crate) unchanged: u64,
    /// Loads that were refused.
    pub(crate) failed: u64,
    seconds: f64,
    rows_per_second: f64,
    #[serde(skip)]
    endpoint: String,
}

impl Report {
    /// The report for people.
    fn text(&self) -> String {
        let mut table = new_table(["loads", "count", "share"]);
        for (name, number) in [
            ("done", self.done),
            ("promoted", self.promoted),
            ("updated", self.updated),
            ("unchanged", self.unchanged),
            ("failed", self.failed),
        ] {
            let share = number as f64 * 100.0 / self.done.max(1) as f64;
            table.add_row([name.to_owned(), count(number), format!("{share:.1} %")]);
        }
        let what = match &self.batch_id {
            Some(batch_id) => format!("pending loads of batch {batch_id}"),
            None => "all pending loads".to_owned(),
        };
        let mut text = format!("{what} -> contacts\n{table}\n{}", self.speed());
        if self.failed > 0 {
            let address = self.endpoint.trim_start_matches("http://");
            let _ = writeln!(
                text,
                "See the failed loads, each with its reason in metadata_json:\n  grpcurl -plaintext -d '{{\"status\":\"LOAD_STATUS_FAILED\"}}' {} leadvault.intake.v1.IntakeService/ListRawLoads",
                address.trim_end_matches('/')
            );
        }
        text
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
    let request = PromoteContactsRequest {
        batch_id: batch_id.unwrap_or_default().to_owned(),
        ..Default::default()
    };
    let mut last = PromoteContactsResponse::default();
    let failed = |status: tonic::Status, done| match Failure::of("to promote", &status) {
        Failure::Passing { message, .. } => Error::Away { message, done },
        Failure::Final(error) => Error::Service(error),
    };
    let mut stream = service
        .vault_client()
        .promote_contacts(request)
        .await
        .map_err(|status| failed(status, 0))?
        .into_inner();
    let mut progress = Progress::begin();
    while let Some(message) = stream
        .message()
        .await
        .map_err(|status| failed(status, last.done))?
    {
        progress.show(&message);
        last = message;
    }
    drop(progress);
    if !last.finished {
        return Err(Error::Unfinished(last.done));
    }
    let number = |count: i64| u64::try_from(count).unwrap_or(0);
    let seconds = started.elapsed().as_secs_f64();
    Ok(Report {
        batch_id: batch_id.map(str::to_owned),
        done: number(last.done),
        promoted: number(last.promoted),
        updated: number(last.updated),
        unchanged: number(last.unchanged),
        failed: number(last.failed),
        seconds: (seconds * 1000.0).round() / 1000.0,
        rows_per_second: (last.done as f64 / seconds.max(0.001) * 10.0).round() / 10.0,
        endpoint: service.address().to_owned(),
    })
}

/// Shows how far it is on standard error: a bar on a terminal, a line now and then elsewhere.
struct Progress {
    bar: ProgressBar,
    on_terminal: bool,
    last_line: Instant,
}

impl Progress {
    fn begin() -> Self {
        let on_terminal = std::io::stderr().is_terminal();
        let bar = if on_terminal {
            ProgressBar::new(0).with_style(progress_style(
                "{bar:30} {percent:>3} %  {msg}  {elapsed} elapsed, {eta} left",
            ))
        } else {
            ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden())
        };
        Self {
            bar,
            on_terminal,
            last_line: Instant::now(),
        }
    }

    fn show(&mut self, message: &PromoteContactsResponse) {
        if self.on_terminal {
            let number = |count: i64| u64::try_from(count).unwrap_or(0);
            self.bar.set_length(number(message.done + message.left));
            self.bar.set_position(number(message.done));
            self.bar.set_message(line(message));
        } else if self.last_line.elapsed() >= LINE_INTERVAL {
            self.last_line = Instant::now();
            eprintln!("{}, {} left", line(message), message.left);
        }
    }
}

impl Drop for Progress {
    /// Clears the bar: the result comes after it.
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

fn line(message: &PromoteContactsResponse) -> String {
    format!(
        "{} loads, {:.0} loads/s",
        count(u64::try_from(message.done).unwrap_or(0)),
        message.rows_per_second
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(failed: u64) -> Report {
        Report {
            batch_id: Some("b".into()),
            done: 4_584,
            promoted: 4_000,
            updated: 500,
            unchanged: 84 - failed,
            failed,
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
             \"failed\":4,\"seconds\":0.5,\"rows_per_second\":9168.0}\n"
        );
    }
}
