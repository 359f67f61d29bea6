//! `leadvault export`.

use std::{
    fs,
    os::unix::fs::symlink,
    process::{Output, Stdio},
};

use serde_json::Value;
use tokio::process::Command;

use super::make;
use crate::harness::App;

async fn export(app: &App, flags: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_leadvault"))
        .args(["export", "--endpoint", &app.endpoint()])
        .args(flags)
        .output()
        .await
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn contacts_are_written_as_ndjson_and_csv() {
    let app = App::start().await;
    let sql = app.sql().await;
    make(&sql, 1_200).await;
    sql.run(
        r#"UPDATE vault.contacts SET name = E'A "quoted",\nname', tags = '["vip"]', score = 87.5, phone = '=1+1',
                                     custom_fields = '{"n": 12345678901234567890.10}'
           WHERE contact_id = 7;
           UPDATE vault.contacts SET status = 'bounced' WHERE contact_id > 1000"#,
    )
    .await;
    let all = export(&app, &[]).await;
    assert!(all.status.success(), "{all:?}");
    let text = String::from_utf8(all.stdout).unwrap();
    assert_eq!(text.lines().count(), 1_200);
    let line = text.lines().nth(6).unwrap();
    let contact: Value = serde_json::from_str(line).unwrap();
    assert_eq!(contact["name"], "A \"quoted\",\nname");
    assert_eq!(contact["created_at"], "2026-01-01T00:00:07.000000Z");
    assert!(
        line.contains(r#""custom_fields":{"n": 12345678901234567890.10}"#),
        "{line}"
    );
    assert!(line.contains(r#""score":87.50"#), "{line}");

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("contacts.csv");
    let flags = [
        "--format", "csv", "--tag", "vip", "--source", "apollo", "--output",
    ];
    let flags: Vec<&str> = flags.into_iter().chain(file.to_str()).collect();
    let output = export(&app, &flags).await;
    assert!(output.status.success(), "{output:?}");
    let mut reader = csv::Reader::from_path(&file).unwrap();
    let records: Vec<_> = reader.records().map(Result::unwrap).collect();
    assert_eq!(records.len(), 1);
    assert_eq!(&records[0][2], "A \"quoted\",\nname");
    assert_eq!(&records[0][3], "'=1+1", "a spreadsheet would run it");
    assert_eq!(&records[0][7], r#"["vip"]"#);
    assert_eq!(&records[0][13], "87.50");

    let raw = export(&app, &["--format", "csv", "--tag", "vip", "--raw"]).await;
    let mut reader = csv::Reader::from_reader(&raw.stdout[..]);
    assert_eq!(&reader.records().next().unwrap().unwrap()[3], "=1+1");
    assert!(line.contains(r#""phone":"=1+1""#), "{line}");

    let bounced = export(&app, &["--status", "bounced", "--company", "Acme"]).await;
    assert_eq!(
        bounced.stdout.iter().filter(|byte| **byte == b'\n').count(),
        200
    );
    let none = export(&app, &["--format", "csv", "--tag", "none"]).await;
    assert!(none.stdout.starts_with(b"contact_id,email,") && none.stdout.ends_with(b"status\n"));
    app.stop().await;
}

/// What is not complete does not take the file's place, and the exit code says so.
#[tokio::test(flavor = "multi_thread")]
async fn an_export_that_fails_leaves_the_file_as_it_was() {
    let app = App::start().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("contacts.ndjson");
    std::fs::write(&file, "the last one").unwrap();
    let long = "x".repeat(1_001);
    let output = export(
        &app,
        &["--company", &long, "--output", file.to_str().unwrap()],
    )
    .await;
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("filter.company"));
    assert_eq!(std::fs::read(&file).unwrap(), b"the last one");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_filter_of_the_api_is_a_flag() {
    let app = App::start().await;
    let sql = app.sql().await;
    make(&sql, 100).await;
    sql.run(
        "UPDATE vault.contacts SET score = contact_id, updated_at = created_at + interval '1 day'",
    )
    .await;
    let count = async |flags: &[&str]| {
        let output = export(&app, flags).await;
        assert!(output.status.success(), "{output:?}");
        output.stdout.iter().filter(|byte| **byte == b'\n').count()
    };
    assert_eq!(
        count(&["--score-from", "10", "--score-to", "19.5"]).await,
        10
    );
    // The first one was made at 00:00:01.
    let created = [
        "--created-from",
        "2026-01-01T00:00:10Z",
        "--created-before",
        "2026-01-01T01:00:20+01:00",
    ];
    assert_eq!(count(&created).await, 10);
    assert_eq!(count(&["--created-before", "2026-01-01"]).await, 0);
    assert_eq!(count(&["--updated-from", "2026-01-02"]).await, 100);
    assert_eq!(
        count(&["--updated-before", "2026-01-02T00:00:11Z"]).await,
        10
    );
    for wrong in [["--score-from", "101"], ["--created-from", "yesterday"]] {
        assert_eq!(export(&app, &wrong).await.status.code(), Some(2));
    }
    app.stop().await;
}

/// Only a regular file is replaced, where a link leads to one too, and nothing beside it is touched.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_regular_file_is_written_to_as_it_is() {
    let app = App::start().await;
    make(&app.sql().await, 10).await;
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    fs::write(path("contacts"), "old").unwrap();
    fs::write(path("contacts.part"), "mine").unwrap();
    symlink("contacts", path("link")).unwrap();
    nix::unistd::mkfifo(&path("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let pipe = path("pipe");
    let reader = std::thread::spawn(move || fs::read_to_string(pipe).unwrap());
    for name in ["link", "pipe"] {
        let output = export(&app, &["--output", path(name).to_str().unwrap()]).await;
        assert!(output.status.success(), "{output:?}");
    }
    let pipe = fs::symlink_metadata(path("pipe")).unwrap();
    assert!(std::os::unix::fs::FileTypeExt::is_fifo(&pipe.file_type()));
    assert_eq!(reader.join().unwrap().lines().count(), 10);
    let written = fs::read_to_string(path("contacts")).unwrap();
    assert_eq!(written.lines().count(), 10);
    assert_eq!(fs::read_to_string(path("contacts.part")).unwrap(), "mine");
    assert!(fs::symlink_metadata(path("link")).unwrap().is_symlink());
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 4);
    app.stop().await;
}

/// `leadvault export | gzip > file` whose gzip died must not look like a file that is complete.
#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_goes_away_is_a_failure() {
    let app = App::start().await;
    make(&app.sql().await, 1_200).await;
    let mut export = Command::new(env!("CARGO_BIN_EXE_leadvault"))
        .args(["export", "--endpoint", &app.endpoint()])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    drop(export.stdout.take());
    assert_eq!(export.wait().await.unwrap().code(), Some(1));
    app.stop().await;
}
