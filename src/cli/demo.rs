//! `leadvault demo`: the main job in one command, on an embedded PostgreSQL and made-up rows.
//!
//! Rows become contacts, contacts slots, slots the golden records of companies and people, and these are written
//! to. What it shows at the end is read from the ledgers.

use std::{collections::BTreeMap, path::PathBuf};

use clap::Args;
use diesel::sql_query;
use diesel_async::RunQueryDsl as _;

use super::{
    Error,
    client::Service,
    database::Database,
    demo_outreach,
    demo_rows::demo_rows,
    load::{
        BatchReport, FileReport, IterSource, Options, collect_rejections, load_rows, render_reports,
    },
    promote::{promote, promote_golden},
    report::OutputFormat,
    report_command, say,
    serve::{self, StopSignals},
    target::Golden,
};
use crate::{
    config::{DoorSettings, ServiceSettings},
    db::{Embedded, EmbeddedOptions, connect::connect, embedded::default_data_dir},
    proto::intake::v1::DuplicatePolicy,
    server::Server,
    server::doors::Doors,
};

/// A database of its own, so that the demo never touches one that holds something.
const DATABASE: &str = "leadvault_demo";
const BATCH: &str = "demo";
/// The domain of one of the made-up companies.
const DOMAIN: &str = "globex.example";
const SEED: u64 = 1;

/// See the main job: made-up rows stream through gRPC into an embedded PostgreSQL.
///
/// Starts PostgreSQL and the service, streams the same 20,000 made-up rows each time (duplicates and bad
/// ones among them), promotes them to contacts and these to companies and people, runs two campaigns on them with
/// made-up answers, prints what became of it all, and goes on serving until Ctrl-C. Each run begins with an empty database.
#[derive(Args, Debug)]
pub(crate) struct DemoArgs {
    #[command(flatten)]
    pub(super) service: ServiceSettings,
    /// Where the demo's PostgreSQL keeps its data [default: leadvault-demo beside the folder of `serve`].
    #[arg(long, env = "LEADVAULT_DEMO_DATA_DIR")]
    data_dir: Option<PathBuf>,
    /// How many rows.
    #[arg(long, default_value_t = 20_000)]
    rows: u64,
    /// End after the table instead of serving on.
    #[arg(long)]
    exit: bool,
}

pub(crate) async fn run(args: DemoArgs) -> Result<(), Error> {
    let options = EmbeddedOptions {
        database: DATABASE.to_owned(),
        ..EmbeddedOptions::new(args.data_dir.clone().unwrap_or_else(data_dir))
    };
    let database = Database::of(Embedded::start(&options).await?)?;
    let mut signals = StopSignals::listen()?;
    let shown = show(&database, &args, &mut signals).await;
    let closed = database.close(signals.next()).await;
    shown?;
    Ok(closed?)
}

fn data_dir() -> PathBuf {
    default_data_dir().with_file_name("leadvault-demo")
}

async fn show(
    database: &Database,
    args: &DemoArgs,
    signals: &mut StopSignals,
) -> Result<(), Error> {
    let started = tokio::select! {
        server = begin(database, args) => Some(server?),
        () = signals.next() => None,
    };
    let Some(server) = started else {
        return Ok(());
    };
    let endpoint = format!("http://{}", server.address());
    say(format_args!(
        "listening on {endpoint}\n{}\n",
        database.describe()
    ));
    tokio::select! {
        done = Box::pin(whole_way(&endpoint, args.rows)) => {
            say(format_args!("\n{}\n{}", done?, next_steps(&server.address().to_string()).trim_end()));
            if !args.exit {
                say("\nserving until Ctrl-C");
                signals.next().await;
            }
        }
        () = signals.next() => {}
    }
    Ok(server.stop().await?)
}

async fn begin(database: &Database, args: &DemoArgs) -> Result<Server, Error> {
    empty(database).await?;
    database.migrate().await?;
    let doors = Doors::open(&DoorSettings::default(), args.service.listen)?;
    serve::start(database, args.service.clone(), doors).await
}

/// The whole way, from rows to conversions; returns the reports of it.
async fn whole_way(endpoint: &str, rows: u64) -> Result<String, Error> {
    let service = Service::new(endpoint, None)?;
    Box::pin(load(&service, rows)).await?;
    let promotion = Box::pin(promote(&service, Some(BATCH))).await?;
    say(format_args!("\n{}", promotion.text().trim_end()));
    // Companies first: people are linked at once. It would come to the same the other way round.
    for into in [Golden::Companies, Golden::People] {
        let promotion = Box::pin(promote_golden(&service, into, None, true)).await?;
        say(format_args!("\n{}", promotion.text().trim_end()));
    }
    let outreach = demo_outreach::reach_out(&service).await?;
    say(format_args!("\n{outreach}"));
    Ok(report_command::overview(&service).await?)
}

/// Begins with an empty database: the demo shows the same each time.
async fn empty(database: &Database) -> Result<(), Error> {
    let maintenance = database.url.with_database("postgres");
    let mut connection = connect(&maintenance, None).await?;
    for statement in [
        format!("DROP DATABASE IF EXISTS {DATABASE} WITH (FORCE)"),
        format!("CREATE DATABASE {DATABASE}"),
    ] {
        sql_query(statement)
            .execute(&mut connection)
            .await
            .map_err(Error::Demo)?;
    }
    Ok(())
}

async fn load(service: &Service, rows: u64) -> Result<(), Error> {
    let total_bytes = demo_rows(rows, SEED).map(|row| row.len() as u64).sum();
    let options = Options {
        batch_id: BATCH.to_owned(),
        source: BATCH.to_owned(),
        lanes: 1,
        on_duplicate: DuplicatePolicy::Mark,
        notes: BTreeMap::new(),
        total_bytes: Some(total_bytes),
        index_lines: false,
    };
    let source = IterSource::new(demo_rows(rows, SEED));
    let mut outcome = Box::pin(load_rows(source, service, options)).await?;
    collect_rejections(&mut outcome, service, None).await?;
    let report = BatchReport::new(outcome, format!("{rows} made-up rows"), service.address());
    say(render_reports(&[FileReport::Contacts(report)], OutputFormat::Text).trim_end());
    Ok(())
}

fn next_steps(address: &str) -> String {
    let call = "grpcurl -plaintext -d";
    let service = "leadvault.intake.v1.IntakeService";
    format!(
        "\nTry next:\n\
         \x20 {call} '{{\"batch_id\":\"{BATCH}\"}}' {address} {service}/GetBatch\n\
         \x20 {call} '{{\"batch_id\":\"{BATCH}\",\"page_size\":5}}' {address} {service}/ListRejectedRows\n\
         \x20 {call} '{{\"row\":{{\"batch_id\":\"{BATCH}\",\"lane\":0,\"offset\":7}}}}' {address} {service}/TraceRow\n\
         \x20 {call} '{{\"key\":{{\"domain\":\"{DOMAIN}\"}}}}' {address} leadvault.company.v1.CompanyService/GetCompany\n\
         \x20 {call} '{{\"filter\":{{\"email_domain\":\"{DOMAIN}\"}},\"page_size\":3}}' {address} leadvault.people.v1.PeopleService/ListPeople\n\
         \x20 {call} '{{\"model\":\"ATTRIBUTION_MODEL_LINEAR\"}}' {address} leadvault.marketing.v1.MarketingService/GetAttributionReport\n"
    )
}
