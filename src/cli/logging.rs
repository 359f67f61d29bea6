//! The log, on standard error; panics are in it, too.

use std::io::IsTerminal as _;

use tracing::{Level, Metadata};
use tracing_subscriber::{
    EnvFilter, Layer as _, filter::filter_fn, fmt, layer::SubscriberExt as _,
    util::SubscriberInitExt as _,
};

use super::Error;
use crate::{config::LogSettings, rpc::log_panics};

/// Whose lines are known to hold nothing of a row.
const OWN: &str = "leadvault";

/// Starts the log.
pub(super) fn start(settings: &LogSettings) -> Result<(), Error> {
    let filter =
        EnvFilter::try_new(&settings.log).map_err(|error| Error::Log(error.to_string()))?;
    let lines = fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    let lines = if settings.log_json {
        lines.json().with_span_list(false).boxed()
    } else {
        lines.boxed()
    };
    tracing_subscriber::registry()
        .with(filter)
        .with(filter_fn(may_be_logged))
        .with(lines)
        .init();
    log_panics();
    Ok(())
}

/// What no setting may raise, however it names its target: tokio-postgres logs bound parameters at debug, h2 and
/// hyper log what they send, and what a dependency of tomorrow logs nobody knows.
fn may_be_logged(metadata: &Metadata<'_>) -> bool {
    let target = metadata.target();
    let is_own = target
        .strip_prefix(OWN)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with("::"));
    is_own || *metadata.level() <= Level::INFO
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use serde_json::Value;

    use super::*;

    /// Set in the process that is to panic.
    const MARK: &str = "LEADVAULT_TEST_PANICS";
    const ROW: &str = "ada@x.example";

    #[test]
    fn a_panic_is_a_line_of_the_log_with_its_place_and_without_its_words() {
        if std::env::var_os(MARK).is_some() {
            let settings = LogSettings {
                log: "info".to_owned(),
                log_json: true,
            };
            start(&settings).unwrap();
            let panicking = std::thread::spawn(|| panic!("no letter ends there: {ROW}"));
            assert!(panicking.join().is_err());
            return;
        }
        // The hook is the whole process's: one of its own has it.
        let name = std::thread::current().name().unwrap().to_owned();
        let output = Command::new(std::env::current_exe().unwrap())
            .args([&name, "--exact", "--nocapture"])
            .env(MARK, "1")
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        let log = String::from_utf8(output.stderr).unwrap();
        assert!(!log.contains(ROW), "{log}");
        let line: Value = serde_json::from_str(log.trim()).unwrap();
        assert_eq!(line["level"], "ERROR", "{log}");
        let place = line["fields"]["place"].as_str().unwrap();
        assert!(place.contains("logging.rs:"), "{log}");
    }
}
