//! Tests of whole loads: from a file through the engine into a service in memory.

use std::path::{Path, PathBuf};

use clap::Parser;

use super::{
    fake::{Fake, Fault},
    *,
};

#[derive(Debug, Parser)]
struct Command {
    #[command(flatten)]
    load: LoadArgs,
}

fn args(endpoint: &str, file: &Path, more: &[&str]) -> LoadArgs {
    let file = file.to_str().unwrap();
    let words = ["load", file, "--endpoint", endpoint, "--source", "test"];
    Command::parse_from(words.iter().chain(more)).load
}

fn write(folder: &tempfile::TempDir, name: &str, content: &str) -> PathBuf {
    let path = folder.path().join(name);
    std::fs::write(&path, content).unwrap();
    path
}

async fn load(args: &LoadArgs) -> Result<serde_json::Value, Error> {
    let service = args.service.service()?;
    let mut rejects = args.rejects.clone().map(RejectsFile::new).transpose()?;
    let origin = Origin::new(args.files[0].clone());
    let report = load_file(args, origin, &service, rejects.as_mut()).await?;
    if let Some(rejects) = rejects {
        rejects.finish()?;
    }
    let json = render_reports(&[report], crate::cli::report::OutputFormat::Json);
    Ok(serde_json::from_str::<serde_json::Value>(&json).unwrap()["batches"][0].clone())
}

const LEADS: &str = "Email,Name\na@x.example,A\nb@x.example\nc@x.example,\"C\nc\"\nd@x.example,\n";

#[tokio::test(flavor = "multi_thread")]
async fn the_same_command_again_says_that_it_is_done() {
    let (fake, folder) = (Fake::default(), tempfile::tempdir().unwrap());
    let endpoint = fake.serve().await;
    let file = write(&folder, "leads.csv", LEADS);
    let args = args(&endpoint, &file, &["--map", "Email=email"]);
    let first = load(&args).await.unwrap();
    assert_eq!(first["run"], "loaded");
    assert_eq!(
        (&first["received"], &first["accepted"], &first["rejected"]),
        (&4.into(), &3.into(), &1.into())
    );
    assert_eq!(first["rejected_by_reason"]["UNREADABLE"], 1);
    let batch_id = first["batch_id"].as_str().unwrap();
    assert!(batch_id.starts_with("leads.csv-"), "{batch_id}");
    assert_eq!(
        fake.texts(batch_id, 0)[2],
        r#"{"email":"c@x.example","Name":"C\nc"}"#
    );
    let streams = fake.store().streams;
    let second = load(&args).await.unwrap();
    assert_eq!(second["run"], "already_complete");
    assert_eq!(second["batch_id"], first["batch_id"]);
    assert_eq!(
        (
            &second["received"],
            &second["rejected_by_reason"]["UNREADABLE"]
        ),
        (&4.into(), &1.into())
    );
    assert_eq!(fake.store().streams, streams);
}

#[tokio::test(flavor = "multi_thread")]
async fn lanes_and_cuts_lose_nothing_and_a_resumed_batch_keeps_its_lanes() {
    let (fake, folder) = (Fake::default(), tempfile::tempdir().unwrap());
    let endpoint = fake.serve().await;
    let rows: Vec<String> = (0..9_000)
        .map(|n| format!("{{\"email\":\"u{n}@x.example\",\"n\":{n}}}"))
        .collect();
    let file = write(&folder, "leads.ndjson", &(rows.join("\n") + "\n"));
    fake.break_with([Fault::Cut(1), Fault::Fence(1)]);
    let three = args(&endpoint, &file, &["--lanes", "3"]);
    assert!(load(&three).await.is_err());
    fake.break_with([Fault::Cut(1), Fault::LoseSummary, Fault::Cut(1)]);
    let two = args(&endpoint, &file, &["--lanes", "2"]);
    let report = load(&two).await.unwrap();
    assert_eq!(
        (&report["lanes"], &report["received"]),
        (&3.into(), &9000.into())
    );
    let batch_id = report["batch_id"].as_str().unwrap();
    let mut stored: Vec<String> = (0..3).flat_map(|lane| fake.texts(batch_id, lane)).collect();
    assert!((0..3).all(|lane| fake.texts(batch_id, lane).len() > 2_500));
    let mut rows = rows;
    rows.sort();
    stored.sort();
    assert_eq!(stored, rows);
}

#[tokio::test(flavor = "multi_thread")]
async fn rejects_have_their_lines_in_every_run() {
    let (fake, folder) = (Fake::default(), tempfile::tempdir().unwrap());
    let endpoint = fake.serve().await;
    let file = write(
        &folder,
        "leads.csv",
        &LEADS.replace("d@x.example,", "d@x.example"),
    );
    let rejects = folder.path().join("rejects.ndjson");
    let args = args(
        &endpoint,
        &file,
        &["--rejects", rejects.to_str().unwrap(), "--lanes", "2"],
    );
    for _ in 0..2 {
        load(&args).await.unwrap();
        let text = std::fs::read_to_string(&rejects).unwrap();
        let mut lines: Vec<u64> = text
            .lines()
            .map(|line| {
                serde_json::from_str::<serde_json::Value>(line).unwrap()["line"]
                    .as_u64()
                    .unwrap()
            })
            .collect();
        lines.sort_unstable();
        assert_eq!(lines, [3, 6]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn other_rows_under_the_same_batch_id_are_refused() {
    let (fake, folder) = (Fake::default(), tempfile::tempdir().unwrap());
    let endpoint = fake.serve().await;
    let file = write(&folder, "leads.ndjson", "{}\n{}\n");
    let args = args(&endpoint, &file, &["--batch-id", "mine"]);
    load(&args).await.unwrap();
    write(&folder, "leads.ndjson", "{}\n{ }\n");
    let error = load(&args).await.unwrap_err().to_string();
    assert!(error.contains("begun with other rows"), "{error}");
    let error = load(&LoadArgs {
        source: Some(crate::domain::Source::parse("other").unwrap()),
        ..args
    })
    .await
    .unwrap_err();
    assert!(error.to_string().contains("--source \"test\""), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_file_is_loaded_up_to_its_break_and_not_finished() {
    let (fake, folder) = (Fake::default(), tempfile::tempdir().unwrap());
    let endpoint = fake.serve().await;
    let file = write(&folder, "leads.json", "[{\"n\":1},\n{\"n\":2}\n{\"n\":3}]");
    let args = args(&endpoint, &file, &["--batch-id", "broken"]);
    let error = load(&args).await.unwrap_err().to_string();
    assert!(error.contains("line 3, column 1"), "{error}");
    assert_eq!(fake.texts("broken", 0), ["{\"n\":1}", "{\"n\":2}"]);
    assert!(!fake.store().batches["broken"].lanes[&0].finished);
}

/// Changes its file after the first row was read.
struct Meddled {
    inner: Box<dyn RowSource>,
    file: PathBuf,
}

impl RowSource for Meddled {
    fn next_row(&mut self) -> Result<Option<source::SourceRow>, Error> {
        use std::io::Write as _;
        let mut file = std::fs::OpenOptions::new()
            .append(true)
            .open(&self.file)
            .unwrap();
        file.write_all(b"{}\n").unwrap();
        let row = self.inner.next_row();
        // Once is enough: the file would grow for ever.
        self.file = "/dev/null".into();
        row
    }

    fn position(&self) -> u64 {
        self.inner.position()
    }

    fn verify(&mut self) -> Result<(), Error> {
        self.inner.verify()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_changes_on_the_way_is_not_finished() {
    let (fake, folder) = (Fake::default(), tempfile::tempdir().unwrap());
    let endpoint = fake.serve().await;
    let rows = "{\"email\":\"a@x.example\"}\n".repeat(40_000);
    let file = write(&folder, "leads.ndjson", &rows);
    let args = args(&endpoint, &file, &[]);
    let prepared = prepare(&args, Origin::new(file.clone())).await.unwrap();
    let batch_id = prepared.batch_id.unwrap();
    let options = Options {
        batch_id: batch_id.clone(),
        source: "test".into(),
        lanes: 1,
        on_duplicate: args.on_duplicate().into(),
        notes: prepared.notes,
        total_bytes: None,
        index_lines: false,
    };
    let source = Meddled {
        inner: prepared.source,
        file,
    };
    let service = Service::new(&endpoint, None).unwrap();
    let error = load_rows(source, &service, options).await.unwrap_err();
    assert!(matches!(error, Error::Changed { .. }), "{error}");
    assert!(!fake.store().batches[&batch_id].lanes[&0].finished);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pipe_needs_a_batch_id() {
    let csv = args("http://127.0.0.1:9", Path::new("/dev/null"), &[]);
    let error = load(&csv).await.unwrap_err().to_string();
    // Nothing in it: as CSV it has no header.
    assert!(error.contains("header"), "{error}");
    let ndjson = args(
        "http://127.0.0.1:9",
        Path::new("/dev/null"),
        &["--format", "ndjson"],
    );
    let error = load(&ndjson).await.unwrap_err().to_string();
    assert!(error.contains("--batch-id"), "{error}");
}
