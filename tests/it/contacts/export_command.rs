//! `leadvault export`.

use std::process::Output;

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
    assert_eq!(&records[0][7], r#"["vip"]"#);
    assert_eq!(&records[0][13], "87.50");

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
