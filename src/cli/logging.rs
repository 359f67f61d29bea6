//! The log, on standard error.

use std::io::IsTerminal as _;

use tracing_subscriber::{EnvFilter, filter::Directive, fmt};

use super::Error;
use crate::config::LogSettings;

/// What no setting may raise: tokio-postgres logs bound parameters at debug, and those are personal data.
const CAPS: [&str; 2] = ["tokio_postgres=info", "diesel_async=info"];

/// Starts the log.
pub(super) fn start(settings: &LogSettings) -> Result<(), Error> {
    let mut filter =
        EnvFilter::try_new(&settings.log).map_err(|error| Error::Log(error.to_string()))?;
    for cap in CAPS {
        let directive: Directive = cap
            .parse()
            .map_err(|error| Error::Log(format!("{cap}: {error}")))?;
        filter = filter.add_directive(directive);
    }
    let log = fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    if settings.log_json {
        log.json().init();
    } else {
        log.init();
    }
    Ok(())
}
