//! The log, on standard error.

use std::io::IsTerminal as _;

use tracing::{Level, Metadata};
use tracing_subscriber::{
    EnvFilter, Layer as _, filter::filter_fn, fmt, layer::SubscriberExt as _,
    util::SubscriberInitExt as _,
};

use super::Error;
use crate::config::LogSettings;

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
