//! `leadvault load`: streams files of rows into a running service, exactly once.
//!
//! The way of a row: a reader ([`csv_rows`], [`ndjson`], [`json_rows`]) on a thread of its own takes it from
//! its [`input`], [`assign`] gives it a lane, a [`queue`] carries it there, and the [`lane`] streams it
//! until it is acked. [`window`] knows what is to be sent again after a connection broke,
//! [`retry`](crate::cli::retry) how long to wait for the next one. [`engine`] puts these together for one
//! batch and takes any source of rows, not only files. Rows of companies and people have one lane and calls
//! instead of a stream: [`stage`].
//!
//! Guarantees: memory does not grow with the input; the same input gives the same rows at the same offsets;
//! the same command again resumes, or says that its batch is complete; a row is stored once, whatever
//! breaks. Standard output holds the result only.

mod args;
mod assign;
mod batch_id;
mod csv_records;
mod csv_rows;
mod dry_run;
mod engine;
mod error;
mod format;
mod input;
mod json_elements;
mod json_rows;
mod lane;
mod lines;
mod mapping;
mod ndjson;
mod preset;
mod progress;
mod queue;
mod reader;
mod rejects;
mod report;
mod source;
mod stage;
mod stage_report;
mod window;

#[cfg(test)]
mod fake;
#[cfg(test)]
mod fake_store;
#[cfg(test)]
mod load_tests;

use std::{collections::BTreeMap, io::Write as _};

pub(crate) use self::{
    args::LoadArgs,
    engine::{Options, load_rows},
    error::Error,
    input::{Input, Origin},
    progress::{Progress, style as progress_style},
    rejects::collect as collect_rejections,
    report::{BatchReport, FileReport, render as render_reports},
    source::IterSource,
};
use self::{
    batch_id::{Recipe, hex},
    csv_rows::CsvSource,
    dry_run::DryRun,
    engine::FINGERPRINT_NOTE,
    format::Format,
    input::survey,
    json_rows::JsonSource,
    mapping::Mapping,
    ndjson::NdjsonSource,
    rejects::{RejectsFile, fetch as fetch_rejections},
    source::RowSource,
    stage_report::StageReport,
};
use super::{client::Service, target::Golden};

/// Loads every file of the command and writes the result to standard output.
///
/// Rejected rows are no failure. A failure ends the command; what was loaded before it is reported first.
pub(crate) async fn run(args: LoadArgs) -> Result<(), Error> {
    args.check()?;
    if args.dry_run {
        return run_dry(args).await;
    }
    let service = args.service.service()?;
    let mut rejects = args.rejects.clone().map(RejectsFile::new).transpose()?;
    let mut reports = Vec::new();
    let mut result = Ok(());
    for origin in args.files.iter().cloned().map(Origin::new) {
        match load_file(&args, origin, &service, rejects.as_mut()).await {
            Ok(report) => reports.push(report),
            Err(error) => {
                result = Err(error);
                break;
            }
        }
    }
    if !reports.is_empty() {
        print(&render_reports(&reports, args.output))?;
        if rejects.is_none() && reports.iter().any(FileReport::has_rejections) {
            eprintln!("the same command with --rejects FILE writes the rejected rows to a file");
        }
        if let Some(rejects) = rejects {
            rejects.finish()?;
        }
    }
    result
}

async fn load_file(
    args: &LoadArgs,
    origin: Origin,
    service: &Service,
    rejects: Option<&mut RejectsFile>,
) -> Result<FileReport, Error> {
    let name = origin.name();
    let prepared = prepare(args, origin).await?;
    if let Some(warning) = &prepared.warning {
        eprintln!("warning: {warning}");
    }
    let batch_id = prepared.batch_id.clone().ok_or_else(|| {
        Error::Usage(format!(
            "{name} can be read only once, so no batch id can be made from its content; give one with --batch-id, the same one again to resume"
        ))
    })?;
    eprintln!("loading {name} into batch {batch_id}");
    match args.into.golden() {
        None => load_contacts(args, name, prepared, batch_id, service, rejects).await,
        Some(golden) => load_slots(args, golden, name, prepared, batch_id, service, rejects).await,
    }
}

async fn load_contacts(
    args: &LoadArgs,
    name: String,
    prepared: Prepared,
    batch_id: String,
    service: &Service,
    rejects: Option<&mut RejectsFile>,
) -> Result<FileReport, Error> {
    let options = Options {
        batch_id,
        source: args.source_name()?,
        lanes: args.lanes(),
        on_duplicate: args.on_duplicate().into(),
        notes: prepared.notes,
        total_bytes: prepared.total_bytes,
        index_lines: rejects.is_some(),
    };
    let mut outcome = Box::pin(load_rows(prepared.source, service, options)).await?;
    collect_rejections(&mut outcome, service, rejects).await?;
    let report = BatchReport::new(outcome, name, service.address());
    Ok(FileReport::Contacts(report))
}

async fn load_slots(
    args: &LoadArgs,
    golden: Golden,
    name: String,
    prepared: Prepared,
    batch_id: String,
    service: &Service,
    rejects: Option<&mut RejectsFile>,
) -> Result<FileReport, Error> {
    let options = stage::Options {
        golden,
        batch_id,
        source: args.source_name()?,
        total_bytes: prepared.total_bytes,
        index_lines: rejects.is_some(),
        is_id_given: args.batch_id.is_some(),
    };
    let mut outcome = Box::pin(stage::stage_rows(prepared.source, service, options)).await?;
    if rejects.is_some() && outcome.tally.rejected > 0 {
        let lanes = golden.lane()..=golden.lane();
        let lines = outcome.lines.as_mut();
        fetch_rejections(service, &outcome.batch_id, lanes, lines, rejects).await?;
    }
    let report = StageReport::new(outcome, name, service.address());
    Ok(FileReport::Slots(report))
}

async fn run_dry(args: LoadArgs) -> Result<(), Error> {
    let mut found: Vec<DryRun> = Vec::new();
    for origin in args.files.iter().cloned().map(Origin::new) {
        let name = origin.name();
        let prepared = prepare(&args, origin).await?;
        if let Some(warning) = &prepared.warning {
            eprintln!("warning: {warning}");
        }
        let (format, target) = (prepared.format.name(), args.into);
        let work =
            move || dry_run::dry_run(prepared.source, target, name, format, prepared.batch_id);
        found.push(blocking(work).await?);
    }
    print(&dry_run::render(&found, args.output))
}

/// A file that is ready to be loaded.
struct Prepared {
    source: Box<dyn RowSource>,
    format: Format,
    warning: Option<String>,
    batch_id: Option<String>,
    notes: BTreeMap<String, String>,
    total_bytes: Option<u64>,
}

/// Reads a file for its fingerprint, where it can be read twice, and opens it for its rows.
async fn prepare(args: &LoadArgs, origin: Origin) -> Result<Prepared, Error> {
    let args = args.clone();
    blocking(move || prepare_blocking(&args, &origin)).await
}

fn prepare_blocking(args: &LoadArgs, origin: &Origin) -> Result<Prepared, Error> {
    let mapping = Mapping::new(&args.maps, args.preset)?;
    if origin.is_large() {
        eprintln!("reading {} once for its fingerprint", origin.name());
    }
    let survey = origin.is_regular().then(|| survey(origin)).transpose()?;
    let digest = survey.as_ref().map(|survey| survey.digest);
    let mut input = Input::open(origin, digest)?;
    let format = input.resolve(args.format)?;
    let mut batch_id = args.batch_id.as_ref().map(ToString::to_string);
    let mut notes = BTreeMap::from([
        ("file".to_owned(), origin.base_name()),
        ("format".to_owned(), format.name().to_owned()),
    ]);
    if let Some(content) = &digest {
        let source = args.source_name()?;
        let recipe = Recipe {
            content,
            into: args.into,
            source: &source,
            mapping: &mapping,
            on_duplicate: args.on_duplicate(),
            format,
        };
        notes.insert("content_sha256".to_owned(), hex(content));
        notes.insert(FINGERPRINT_NOTE.to_owned(), recipe.fingerprint());
        batch_id = batch_id.or_else(|| Some(recipe.batch_id(&origin.base_name())));
    }
    let (source, warning) = open_source(input, format, mapping)?;
    Ok(Prepared {
        source,
        format,
        warning,
        batch_id,
        notes,
        total_bytes: survey.map(|survey| survey.bytes),
    })
}

/// The reader of a format, and what the operator should know before the rows are sent.
fn open_source(
    input: Input,
    format: Format,
    mapping: Mapping,
) -> Result<(Box<dyn RowSource>, Option<String>), Error> {
    Ok(match format {
        Format::Csv | Format::Auto => {
            let source = CsvSource::new(input, &mapping)?;
            let warning = source.warning();
            (Box::new(source), warning)
        }
        Format::Ndjson => (Box::new(NdjsonSource::new(input, mapping)), None),
        Format::Json => (Box::new(JsonSource::new(input, mapping)), None),
    })
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|_| Error::Internal("reader"))?
}

fn print(text: &str) -> Result<(), Error> {
    std::io::stdout()
        .write_all(text.as_bytes())
        .map_err(|source| Error::Write {
            name: "standard output".to_owned(),
            source,
        })
}
