//! `leadvault suppress`, through the binary.

use std::{io::Write as _, process::Output};

use flate2::{Compression, write::GzEncoder};
use serde_json::Value;
use tokio::process::Command;

use super::{arrive, contents, status};
use crate::harness::{App, Running, Workspace, free_port, leadvault_logging_to, until_logged};

async fn leadvault_suppress(endpoint: &str, list: &[u8], args: &[&str]) -> Output {
    let mut file = tempfile::Builder::new().suffix(".list").tempfile().unwrap();
    file.write_all(list).unwrap();
    Command::new(env!("CARGO_BIN_EXE_leadvault"))
        .arg("suppress")
        .arg(file.path())
        .args(["--endpoint", endpoint])
        .args(args)
        .output()
        .await
        .unwrap()
}

fn text(output: &Output) -> String {
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn json(output: &Output) -> Value {
    serde_json::from_str(&text(output)).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_with_one_address_a_line() {
    let app = App::start().await;
    let sql = app.sql().await;
    arrive(&app, "b", &["p0@x.example", "p2499@x.example"]).await;
    let mut list = "\u{feff}p0@x.example\r\n\r\nnot an address\r\n".to_owned();
    (1..2_500).for_each(|n| list.push_str(&format!("P{n}@x.example\r\n")));
    list.push_str("p7@x.example\nlast\u{fffd}@x.example");
    let allowed = ["--output", "json", "--allow-invalid"];
    let output = leadvault_suppress(&app.endpoint(), list.as_bytes(), &allowed).await;
    let report = json(&output);
    assert_eq!(
        ["received", "suppressed", "already_suppressed", "invalid"]
            .map(|key| report[key].as_u64().unwrap()),
        [2_503, 2_500, 1, 2]
    );
    let lines: Vec<_> = report["invalid_lines"]
        .as_array()
        .unwrap()
        .iter()
        .map(|i| i["line"].as_u64().unwrap())
        .collect();
    assert_eq!(lines, [3, 2_504]);
    for email in ["p0@x.example", "p2499@x.example"] {
        assert_eq!(status(&sql, email).await, "unsubscribed");
    }
    let evidence: String = sql
        .one(
            "SELECT evidence FROM vault.suppressions WHERE email = 'p1@x.example'",
            &[],
        )
        .await;
    assert!(evidence.ends_with(".list, line 4"), "{evidence}");

    let before = contents(&sql).await["vault.suppressions"].clone();
    let again = leadvault_suppress(&app.endpoint(), list.as_bytes(), &[]).await;
    // All the rest is in force, and a scheduled job still has to notice.
    assert_eq!(again.status.code(), Some(1));
    let errors = String::from_utf8_lossy(&again.stderr);
    assert!(errors.contains("2 of 2503 lines are invalid"), "{errors}");
    let table = String::from_utf8(again.stdout.clone()).unwrap();
    assert!(
        table.contains("2,501") && table.contains("line 3: \"not an address\": "),
        "{table}"
    );
    assert_eq!(contents(&sql).await["vault.suppressions"], before);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn csv_columns_win_over_the_flags() {
    let app = App::start().await;
    let list = "Email;reason;scope;evidence\n\
                a@x.example;;;\n\
                b@x.example;BOUNCED;email;\"mailer said;\n550\"\n\
                c@x.example;bored;;\n";
    let args = [
        "--reason",
        "complaint",
        "--scope",
        "phone",
        "--evidence",
        "ticket 7",
        "--allow-invalid",
    ];
    let output = leadvault_suppress(&app.endpoint(), list.as_bytes(), &args).await;
    let table = text(&output);
    assert!(
        table.contains("line 5: \"c@x.example\": \"bored\" is no reason"),
        "{table}"
    );
    let sql = app.sql().await;
    let rows = sql
        .rows("SELECT concat_ws(' ', email, reason, scope, evidence) FROM vault.suppressions ORDER BY 1", &[])
        .await;
    let rows: Vec<&str> = rows.iter().map(|row| row.get(0)).collect();
    assert_eq!(
        rows,
        [
            "a@x.example complaint phone ticket 7",
            "b@x.example bounced email mailer said;\n550"
        ]
    );
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_list_fails() {
    let app = App::start().await;
    let output =
        leadvault_suppress(&app.endpoint(), b"address,reason\na@x.example,legal\n", &[]).await;
    assert_eq!(output.status.code(), Some(1));
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(errors.contains("no column `email`"), "{errors}");
    let headless = b"a@x.example,bounced\nb@x.example,bounced\n";
    let output = leadvault_suppress(&app.endpoint(), headless, &[]).await;
    assert_eq!(output.status.code(), Some(1));
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(errors.contains("CSV without a header"), "{errors}");
    let output = leadvault_suppress(&app.endpoint(), b"one\ntwo\n", &[]).await;
    assert_eq!(
        output.status.code(),
        Some(1),
        "nothing of it was understood"
    );
    let output = leadvault_suppress("nowhere", b"", &[]).await;
    assert!(String::from_utf8_lossy(&output.stderr).contains("--endpoint"));
    let empty = leadvault_suppress(&app.endpoint(), b"\n", &["--output", "json"]).await;
    assert_eq!(json(&empty)["received"], 0);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gzipped_list_and_a_line_without_an_end() {
    let app = App::start().await;
    let mut list = GzEncoder::new(Vec::new(), Compression::fast());
    list.write_all(b"a@x.example\n").unwrap();
    let long = vec![b'x'; 1 << 20];
    (0..64).for_each(|_| list.write_all(&long).unwrap());
    list.write_all(b"\nb@x.example\n").unwrap();
    let list = list.finish().unwrap();
    let args = ["--output", "json", "--allow-invalid"];
    let report = json(&leadvault_suppress(&app.endpoint(), &list, &args).await);
    assert_eq!(
        (&report["suppressed"], &report["invalid"]),
        (&2.into(), &1.into())
    );
    let invalid = &report["invalid_lines"][0];
    assert_eq!(invalid["line"], 2);
    assert_eq!(invalid["detail"], "it has more than 65536 bytes");
    app.stop().await;
}

/// The way to the service opens later than the command begins.
#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_is_away_is_waited_for() {
    let (app, workspace) = (App::start().await, Workspace::new());
    let list = workspace.file("list", "a@x.example\n");
    let (log, port) = (workspace.file("log", ""), free_port());
    let endpoint = format!("http://127.0.0.1:{port}");
    let args = [
        "suppress",
        &list,
        "--endpoint",
        &endpoint,
        "--output",
        "json",
    ];
    let running = Running::spawn(leadvault_logging_to(log.as_ref(), &args));
    until_logged(log.as_ref(), "waiting for the service").await;
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await;
    let (listener, target) = (listener.unwrap(), app.endpoint().replace("http://", ""));
    let way = tokio::spawn(async move {
        loop {
            let (mut client, _) = listener.accept().await.unwrap();
            let mut server = tokio::net::TcpStream::connect(&target).await.unwrap();
            let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
        }
    });
    assert_eq!(running.finish().await.json()["suppressed"], 1);
    way.abort();
    app.stop().await;
}
