//! `leadvault doctor`: what keeps the service from running well, and how to mend it.
//!
//! Guarantee: it changes nothing, neither here nor in the database, and starts nothing.

mod check;
mod database;
mod doors;
mod machine;
mod server;

use clap::Args;

use self::check::{Check, State, render};
use super::{Error, report::json_line, say};
use crate::{
    config::{DatabaseSettings, DoorSettings, PoolerMode, ServiceSettings},
    db::{
        DatabaseUrl, EmbeddedOptions,
        embedded::{self, Found, default_data_dir},
    },
};

/// Check the settings, the database and the machine, and say how to mend what is wrong.
///
/// It takes the settings of `serve`, from the same flags and variables, and may run beside it: it changes nothing. A
/// line for each check: ok, warning, failed, or skipped where another check stands before it. Exit code 1 where one
/// failed, or where the database could not be asked, else 0; 2 where a setting cannot be understood.
#[derive(Args, Debug)]
pub(crate) struct DoctorArgs {
    #[command(flatten)]
    database: DatabaseSettings,
    #[command(flatten)]
    service: ServiceSettings,
    #[command(flatten)]
    doors: DoorSettings,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// How many checks failed.
#[derive(Debug, thiserror::Error)]
#[error("{} failed", if *.0 == 1 { "a check".to_owned() } else { format!("{} checks", .0) })]
pub(crate) struct Ill(usize);

#[derive(serde::Serialize)]
struct Report<'a> {
    version: &'static str,
    checks: &'a [Check],
}

pub(crate) async fn run(args: DoctorArgs) -> Result<(), Error> {
    let mut checks = doors::check(&args.doors, &args.service);
    checks.extend(about_the_database(&args).await);
    let text = if args.json {
        json_line(&Report {
            version: env!("CARGO_PKG_VERSION"),
            checks: &checks,
        })
    } else {
        render(&checks)
    };
    say(text.trim_end());
    let failed = checks.iter().filter(|check| check.state == State::Failed);
    match failed.count() {
        0 => Ok(()),
        count => Err(Error::Doctor(Ill(count))),
    }
}

/// Where the service and the migrations connect.
struct Urls {
    service: DatabaseUrl,
    migrations: DatabaseUrl,
}

async fn about_the_database(args: &DoctorArgs) -> Vec<Check> {
    let data_dir = match &args.database.database_url {
        Some(_) => None,
        None => Some(
            args.database
                .data_dir
                .clone()
                .unwrap_or_else(default_data_dir),
        ),
    };
    let urls = match &data_dir {
        Some(data_dir) => embedded_urls(&EmbeddedOptions::new(data_dir)),
        None => given_urls(&args.database),
    };
    let mut checks = match urls {
        Ok(urls) => database::check(&urls, &args.service, data_dir.is_none()).await,
        Err(check) => {
            let mut checks = vec![check];
            checks.extend(database::skipped());
            checks
        }
    };
    checks.extend(data_dir.map(|data_dir| machine::disk(&data_dir)));
    checks
}

fn given_urls(settings: &DatabaseSettings) -> Result<Urls, Check> {
    let parse = |url: &String| {
        DatabaseUrl::parse(url).map_err(|error| Check::error(database::REACHABLE, &error))
    };
    let service = parse(settings.database_url.as_ref().unwrap_or(&String::new()))?;
    let migrations = settings.migration_database_url.as_ref().map(parse);
    Ok(Urls {
        migrations: migrations.unwrap_or_else(|| Ok(service.clone()))?,
        service: match settings.pooler_mode {
            PoolerMode::Session => service,
            PoolerMode::Transaction => service.without_sessions(),
        },
    })
}

fn embedded_urls(options: &EmbeddedOptions) -> Result<Urls, Check> {
    let data_dir = options.data_dir.display();
    let not_there = |detail, mend: &str| Err(Check::failed(database::REACHABLE, detail, mend));
    match embedded::look(options) {
        Found::Running(url) => match DatabaseUrl::parse(&url) {
            Ok(url) => Ok(Urls {
                service: url.clone(),
                migrations: url,
            }),
            Err(error) => Err(Check::error(database::REACHABLE, &error)),
        },
        Found::Stopped => not_there(
            format!("the embedded PostgreSQL in {data_dir} does not run"),
            "start `leadvault serve`, which starts it, and ask again; where the service has another database, ask with its \
             DATABASE_URL",
        ),
        Found::Nothing => not_there(
            format!("there is no embedded PostgreSQL in {data_dir} yet"),
            "start `leadvault serve`, which makes one, or ask with the settings that the service has: where systemd gives \
             them to it (EnvironmentFile=), no shell has them",
        ),
    }
}
