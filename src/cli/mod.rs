//! The command line: a file a subcommand.

mod client;
mod credentials;
mod database;
mod demo;
mod demo_outreach;
mod demo_rows;
mod doctor;
mod export;
mod load;
mod logging;
mod migrate;
mod promote;
mod report;
mod report_command;
mod retry;
mod runtime;
mod serve;
mod settings;
mod spreadsheet;
mod suppress;
mod target;
mod token;

use std::{io::Write as _, process::ExitCode};

use clap::{Parser, Subcommand};

use crate::config::LogSettings;

/// The system of record for B2B lead data: raw rows stream in, golden records come out.
#[derive(Debug, Parser)]
#[command(name = "leadvault", version, max_term_width = 100)]
struct Cli {
    #[command(flatten)]
    log: LogSettings,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Serve(serve::ServeArgs),
    Migrate(migrate::MigrateArgs),
    Load(load::LoadArgs),
    Promote(promote::PromoteArgs),
    Demo(demo::DemoArgs),
    Suppress(suppress::SuppressArgs),
    Export(export::ExportArgs),
    Report(report_command::ReportArgs),
    Token(token::TokenArgs),
    Doctor(doctor::DoctorArgs),
    Settings(settings::SettingsArgs),
}

/// Why a command failed; its message is for the person who typed it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
enum Error {
    #[error(transparent)]
    Database(#[from] crate::db::Error),
    #[error(transparent)]
    Server(#[from] crate::server::Error),
    #[error(transparent)]
    Doors(#[from] crate::server::doors::Error),
    #[error(transparent)]
    Load(#[from] load::Error),
    #[error(transparent)]
    Promote(#[from] promote::Error),
    #[error(transparent)]
    Suppress(#[from] suppress::Error),
    #[error(transparent)]
    Export(#[from] export::Error),
    #[error(transparent)]
    Report(#[from] report_command::Error),
    #[error("the demo's database cannot be emptied: {0}")]
    Demo(diesel::result::Error),
    #[error("the demo cannot {doing}: {}", status.message())]
    DemoCall {
        doing: &'static str,
        status: Box<tonic::Status>,
    },
    #[error("{0}")]
    Doctor(doctor::Ill),
    #[error("cannot listen to signals: {0}")]
    Signal(std::io::Error),
    #[error("{0}")]
    Usage(String),
    #[error("the system gives no random bytes, of which a token is made; try again")]
    NoRandomness,
    #[error("--log: {0}")]
    Log(String),
    #[error("cannot start the runtime: {0}")]
    Runtime(std::io::Error),
}

impl Error {
    /// 2 where nobody but who gave a setting can mend it, so that whoever starts the service again after a failure
    /// does not; 1 where it may go better the next time.
    fn exit_code(&self) -> u8 {
        use crate::{db, server};
        match self {
            Self::Usage(_) | Self::Log(_) | Self::Doors(_) => 2,
            Self::Database(db::Error::Url(_) | db::Error::Tls(_)) => 2,
            Self::Server(server::Error::Listen { source, .. })
                if source.kind() == std::io::ErrorKind::PermissionDenied =>
            {
                2
            }
            _ => 1,
        }
    }
}

/// Reads the command line, runs the command, and says how it went: 0 for success, 1 for failure, 2 for a
/// command line, or a file that it names, that cannot be used as it is.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            error.exit_code().into()
        }
    }
}

/// Writes a line to the standard output. That nobody reads it any more (`serve | head -1`) is no reason for a
/// service to end, as it would be for `println!`.
fn say(line: impl std::fmt::Display) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

fn run(cli: Cli) -> Result<(), Error> {
    logging::start(&cli.log)?;
    runtime::build(&cli.command)?.block_on(async {
        match cli.command {
            Command::Serve(args) => Box::pin(serve::run(args)).await,
            Command::Migrate(args) => Box::pin(migrate::run(args)).await,
            Command::Load(args) => Ok(Box::pin(load::run(args)).await?),
            Command::Promote(args) => Ok(Box::pin(promote::run(args)).await?),
            Command::Demo(args) => Box::pin(demo::run(args)).await,
            Command::Suppress(args) => Ok(Box::pin(suppress::run(args)).await?),
            Command::Export(args) => Box::pin(export::run(args)).await,
            Command::Report(args) => Ok(Box::pin(report_command::run(args)).await?),
            Command::Token(args) => token::run(&args),
            Command::Doctor(args) => Box::pin(doctor::run(args)).await,
            Command::Settings(_) => {
                settings::run();
                Ok(())
            }
        }
    })
}
