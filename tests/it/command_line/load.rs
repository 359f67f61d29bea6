//! `leadvault load`: every format gives the same tallies, the same command again adds nothing, and every row
//! of a file can be found again.

mod batches;

use std::{io::Write as _, net::TcpListener};

use flate2::{Compression, write::GzEncoder};
use leadvault::{
    domain::row::RejectionReason,
    proto::{
        intake::v1::{RowFate, RowIdentity, TraceRowRequest, TraceRowResponse, trace_row_request},
        r#type::v1::RejectionReason as Reason,
    },
};
use serde_json::{Value, json};

use crate::harness::{App, Ran, Running, Workspace, leadvault, run};

const CSV: &str = "email,name,company
ada@acme.example,Ada,Acme
bob@acme.example,\"Bob, the \"\"builder\"\"\",Acme
ADA@ACME.example,Ada again,
,Nobody,Acme
not an address,Carl,Acme
";
const JSON_ROWS: [&str; 5] = [
    r#"{"email":"ada@acme.example","name":"Ada","company":"Acme"}"#,
    r#"{"email":"bob@acme.example","name":"Bob, the \"builder\"","company":"Acme"}"#,
    r#"{"email":"ADA@ACME.example","name":"Ada again"}"#,
    r#"{"name":"Nobody","company":"Acme"}"#,
    r#"{"email":"not an address","name":"Carl","company":"Acme"}"#,
];

/// Loads with `--output json`.
async fn load(app: &App, args: &[&str]) -> Ran {
    let endpoint = app.endpoint();
    let fixed = ["load", "--output", "json", "--endpoint", &endpoint];
    run(&[&fixed, args].concat()).await
}

/// The report on the only batch of a load that went well.
#[track_caller]
fn report(ran: Ran) -> Value {
    let mut reports = ran.json();
    assert_eq!(reports["batches"].as_array().unwrap().len(), 1);
    reports["batches"][0].take()
}

/// What of a report is the same on every machine.
fn tally(report: &Value) -> Value {
    json!([
        report["received"],
        report["accepted"],
        report["duplicate"],
        report["rejected"],
        report["rejected_by_reason"]
    ])
}

fn gzip(content: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(content.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

async fn load_count(app: &App) -> i64 {
    let sql = app.sql().await;
    sql.one("SELECT count(*) FROM intake.raw_loads", &[]).await
}

async fn trace(app: &App, batch_id: &str, offset: i64) -> TraceRowResponse {
    let row = RowIdentity {
        batch_id: batch_id.to_owned(),
        lane: 0,
        offset,
    };
    let request = TraceRowRequest {
        key: Some(trace_row_request::Key::Row(row)),
    };
    let response = app.intake().await.trace_row(request).await;
    response.unwrap().into_inner()
}

async fn same_tallies(name: &str, content: impl AsRef<[u8]>) {
    let (app, workspace) = (App::start().await, Workspace::new());
    let file = workspace.file(name, content);
    let first = report(load(&app, &[&file, "--source", "crm"]).await);
    assert_eq!(
        tally(&first),
        json!([5, 2, 1, 2, {"INVALID_EMAIL": 1, "MISSING_EMAIL": 1}]),
        "{name}"
    );
    assert_eq!(first["run"], "loaded");
    assert_eq!(load_count(&app).await, 3);
    let row: String = app
        .sql()
        .await
        .one(
            "SELECT raw_data ->> 'name' FROM intake.raw_loads WHERE raw_data ->> 'email' LIKE 'bob%'",
            &[],
        )
        .await;
    assert_eq!(row, "Bob, the \"builder\"");

    let again = report(load(&app, &[&file, "--source", "crm"]).await);
    assert_eq!(again["run"], "already_complete");
    assert_eq!(again["batch_id"], first["batch_id"]);
    assert_eq!(tally(&again), tally(&first));
    assert_eq!(load_count(&app).await, 3, "the same command added rows");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn csv_is_loaded_once() {
    same_tallies("leads.csv", CSV).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn csv_as_spreadsheets_write_it_is_loaded_once() {
    let content = format!("\u{feff}{}", CSV.replace('\n', "\r\n"));
    same_tallies("leads.csv.gz", gzip(&content)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ndjson_is_loaded_once() {
    same_tallies("leads.ndjson", JSON_ROWS.join("\n")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn gzipped_ndjson_is_loaded_once() {
    same_tallies("leads.ndjson.gz", gzip(&(JSON_ROWS.join("\n") + "\n"))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_json_array_is_loaded_once() {
    same_tallies("leads.json", format!("[\n{}\n]\n", JSON_ROWS.join(",\n"))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_table_for_people_says_what_happened() {
    let (app, workspace) = (App::start().await, Workspace::new());
    let file = workspace.file("leads.csv", CSV);
    let endpoint = app.endpoint();
    let command = ["load", &file, "--source", "crm", "--endpoint", &endpoint];
    let text = run(&command).await.ok();
    for part in ["received", "40.0 %", "INVALID_EMAIL", "ListRejectedRows"] {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }
    let again = run(&command).await.ok();
    assert!(
        again.contains("complete before; nothing was sent"),
        "{again}"
    );
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn columns_are_renamed_and_a_corrected_command_is_a_new_batch() {
    let (app, workspace) = (App::start().await, Workspace::new());
    let file = workspace.file("guests.csv", "E-Mail,Firm\nada@acme.example,Acme\n");
    let wrong = report(load(&app, &[&file, "--source", "webinar"]).await);
    assert_eq!(tally(&wrong), json!([1, 0, 0, 1, {"MISSING_EMAIL": 1}]));

    let maps = ["--map", "E-Mail=email", "--map", "Firm=company"];
    let args = [&[&*file, "--source", "webinar"], &maps[..]].concat();
    let right = report(load(&app, &args).await);
    assert_eq!(tally(&right), json!([1, 1, 0, 0, {}]));
    assert_ne!(right["batch_id"], wrong["batch_id"]);

    let misspelt = [&*file, "--source", "webinar", "--map", "Mail=email"];
    assert!(load(&app, &misspelt).await.failed(1).contains("\"Mail\""));

    let file = workspace.file(
        "apollo.csv",
        "First Name,Email,# Employees,Corporate Phone\nBob,bob@acme.example,12,+1 555\n",
    );
    let apollo = report(load(&app, &[&file, "--preset", "apollo"]).await);
    assert_eq!(apollo["source"], "apollo");
    let rows = app
        .sql()
        .await
        .rows(
            "SELECT raw_data::text, source FROM intake.raw_loads ORDER BY load_id",
            &[],
        )
        .await;
    let rows: Vec<(Value, &str)> = rows
        .iter()
        .map(|row| (serde_json::from_str(row.get(0)).unwrap(), row.get(1)))
        .collect();
    let bob = json!({"first_name": "Bob", "email": "bob@acme.example", "employee_count": "12", "phone": "+1 555"});
    assert_eq!(
        rows,
        [
            (
                json!({"email": "ada@acme.example", "company": "Acme"}),
                "webinar"
            ),
            (bob, "apollo")
        ]
    );
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_row_of_a_csv_file_is_found_at_its_offset() {
    let (app, workspace) = (App::start().await, Workspace::new());
    // The record of offset 1 has a line break in it, so that lines and offsets part.
    let file = workspace.file(
        "leads.csv",
        "email,name\nada@acme.example,Ada\nbob@acme.example,\"Bob\nJr.\"\none,two,three\ncarl@acme.example\nada@acme.example,Ada\n",
    );
    let rejects = workspace.path("rejects.ndjson");
    let rejects = rejects.to_str().unwrap();
    let report = report(load(&app, &[&file, "--source", "crm", "--rejects", rejects]).await);
    assert_eq!(tally(&report), json!([5, 2, 1, 2, {"UNREADABLE": 2}]));
    let batch = report["batch_id"].as_str().unwrap();

    let traced = trace(&app, batch, 1).await;
    assert_eq!(traced.fate(), RowFate::Accepted);
    let row: Value = serde_json::from_str(&traced.load.unwrap().raw_data_json).unwrap();
    assert_eq!(
        row,
        json!({"email": "bob@acme.example", "name": "Bob\nJr."})
    );
    for (offset, fate) in [(0, RowFate::Accepted), (4, RowFate::Duplicate)] {
        let traced = trace(&app, batch, offset).await;
        assert_eq!(traced.fate(), fate);
        assert_eq!(traced.load.unwrap().offset, offset);
    }
    let wrong = [
        (2, "line 5: 3 columns, the header has 2", "one,two,three"),
        (
            3,
            "line 6: 1 columns, the header has 2",
            "carl@acme.example",
        ),
    ];
    for (offset, detail, original) in wrong {
        let traced = trace(&app, batch, offset).await;
        assert_eq!(traced.fate(), RowFate::Rejected);
        let row = traced.rejected_row.unwrap();
        let rejection = row.rejection.unwrap();
        assert_eq!(rejection.reason(), Reason::Unreadable);
        assert_eq!(rejection.detail, detail);
        assert_eq!(row.original, original.as_bytes());
    }
    let beyond = RowIdentity {
        batch_id: batch.to_owned(),
        lane: 0,
        offset: 5,
    };
    let request = TraceRowRequest {
        key: Some(trace_row_request::Key::Row(beyond)),
    };
    let refused = app.intake().await.trace_row(request).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::NotFound);

    let written = std::fs::read_to_string(rejects).unwrap();
    let written: Vec<Value> = written
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let seen = |entry: &Value| json!([entry["offset"], entry["line"], entry["original"]]);
    assert_eq!(
        written.iter().map(seen).collect::<Vec<_>>(),
        [
            json!([2, 5, "one,two,three"]),
            json!([3, 6, "carl@acme.example"])
        ]
    );
    assert_eq!(
        written[0]["reason"],
        RejectionReason::Unreadable.to_string()
    );
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_contacts_nobody() {
    let workspace = Workspace::new();
    let file = workspace.file("leads.csv", CSV);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let mut found = run(&[
        "load",
        &file,
        "--source",
        "crm",
        "--dry-run",
        "--output",
        "json",
        "--endpoint",
        &endpoint,
    ])
    .await
    .json();
    assert_eq!(found["dry_run"], true);
    let found = found["files"][0].take();
    // Who is a duplicate only the service knows.
    assert_eq!((&found["rows"], &found["valid"]), (&json!(5), &json!(3)));
    assert_eq!(
        found["rejected_by_reason"],
        json!({"INVALID_EMAIL": 1, "MISSING_EMAIL": 1})
    );
    assert_eq!(found["first_rejection"]["line"], 5);
    listener.set_nonblocking(true).unwrap();
    let nobody = listener.accept().unwrap_err();
    assert_eq!(nobody.kind(), std::io::ErrorKind::WouldBlock);
}

#[tokio::test(flavor = "multi_thread")]
async fn lanes_are_kept_and_cover_the_file() {
    let (app, workspace) = (App::start().await, Workspace::new());
    let rows: String = (0..100)
        .map(|n| format!("{{\"email\":\"p{}@acme.example\"}}\n", n % 60))
        .collect();
    let file = workspace.file("leads.ndjson", rows);
    let args = [&*file, "--source", "crm", "--lanes"];
    let loaded = report(load(&app, &[&args[..], &["3"]].concat()).await);
    assert_eq!(tally(&loaded), json!([100, 60, 40, 0, {}]));
    assert_eq!(loaded["lanes"], 3);
    let sql = app.sql().await;
    let lanes = sql
        .rows(
            "SELECT lane, next_offset FROM intake.batch_lanes ORDER BY lane",
            &[],
        )
        .await;
    assert_eq!(
        lanes.iter().map(|row| row.get(0)).collect::<Vec<i32>>(),
        [0, 1, 2]
    );
    assert_eq!(
        lanes.iter().map(|row| row.get::<_, i64>(1)).sum::<i64>(),
        100
    );

    let again = report(load(&app, &[&args[..], &["2"]].concat()).await);
    assert_eq!(
        (&again["run"], &again["lanes"]),
        (&json!("already_complete"), &json!(3))
    );
    app.stop().await;
}
