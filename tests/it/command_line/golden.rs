//! `load --into` and `promote --into`: rows become slots, slots and contacts golden records, and all of it
//! again changes nothing.

use serde_json::{Value, json};
use tokio::{
    io::AsyncReadExt as _,
    net::{TcpListener, TcpStream},
};

use crate::harness::{App, Workspace, run};

/// As a directory lists companies, with every way of not being one.
const DIRECTORY: &str = r#"{"name":"Acme","website":"https://www.acme.com/about","team_size":58,"all_locations":"Oslo","industry":"Tools"}
{"name":"Foo","website":"foo.io","team_size":"51-200","all_locations":"Paris"}
{"name":"No site"}
{"name":"Empty","website":"http://"}
{"name":"An address","website":"http://127.0.0.1/"}
{"name":"Pages","website":"https://github.io"}
{"name":"Bar","website":"http://BAR.dev/","team_size":"many"}
not JSON
{"name":"Acme","website":"https://www.acme.com/about","team_size":58,"all_locations":"Oslo","industry":"Tools"}
"#;

async fn leadvault(app: &App, args: &[&str]) -> Value {
    let endpoint = app.endpoint();
    let fixed = ["--output", "json", "--endpoint", &endpoint];
    run(&[args, &fixed].concat()).await.json()
}

/// Loads one file, and returns the report on its batch.
async fn load(app: &App, args: &[&str]) -> Value {
    let mut report = leadvault(app, &[&["load"], args].concat()).await;
    report["batches"][0].take()
}

async fn promote(app: &App, args: &[&str]) -> [u64; 4] {
    let report = leadvault(app, &[&["promote"], args].concat()).await;
    ["promoted", "updated", "unchanged", "rejected"].map(|name| report[name].as_u64().unwrap())
}

fn counts(report: &Value) -> Value {
    ["received", "staged", "unchanged", "rejected", "replayed"]
        .map(|name| report[name].clone())
        .into()
}

/// Everything that a golden record, a slot or a history says.
async fn everything(app: &App) -> Vec<String> {
    let sql = app.sql().await;
    let mut all = Vec::new();
    for table in [
        "company.master",
        "company.slot",
        "company.history",
        "people.master",
        "people.slot",
        "people.history",
        "intake.rejected_rows",
        "intake.batch_lanes",
    ] {
        let rows = sql
            .rows(
                &format!(
                    "SELECT t::text, t.ctid::text || t.xmin::text FROM {table} AS t ORDER BY 1"
                ),
                &[],
            )
            .await;
        all.extend(rows.iter().map(|row| {
            format!(
                "{table} {} {}",
                row.get::<_, String>(0),
                row.get::<_, String>(1)
            )
        }));
    }
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_becomes_companies_once() {
    let (app, workspace) = (App::start().await, Workspace::new());
    let file = workspace.file("companies.ndjson", DIRECTORY);
    let rejects = workspace.path("rejects.ndjson");
    let args = [
        &file,
        "--into",
        "companies",
        "--preset",
        "ycombinator",
        "--rejects",
        rejects.to_str().unwrap(),
    ];
    let first = load(&app, &args).await;
    assert_eq!(counts(&first), json!([9, 4, 1, 4, 0]), "{first}");
    assert_eq!(
        (&first["run"], &first["into"]),
        (&json!("loaded"), &json!("companies"))
    );
    assert_eq!(
        first["rejected_by_reason"],
        json!({"MISSING_DOMAIN": 1, "INVALID_DOMAIN": 2, "NOT_JSON": 1})
    );
    let written = std::fs::read_to_string(&rejects).unwrap();
    let lines: Vec<Value> = written
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["line"].take())
        .collect();
    assert_eq!(lines, [3, 4, 5, 8]);
    assert!(written.contains(r#""original":"not JSON""#), "{written}");

    assert_eq!(promote(&app, &["--into", "companies"]).await, [3, 0, 0, 1]);
    let sql = app.sql().await;
    let rows = sql
        .rows(
            "SELECT concat_ws('|', domain, name, industry, employee_count, location)
             FROM company.master ORDER BY domain",
            &[],
        )
        .await;
    let rows: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    assert_eq!(
        rows,
        [
            "acme.com|Acme|Tools|58|Oslo",
            "bar.dev|Bar",
            "foo.io|Foo|51|Paris"
        ]
    );

    let before = everything(&app).await;
    let again = load(&app, &args).await;
    assert_eq!(counts(&again), json!([9, 4, 1, 4, 9]), "{again}");
    assert_eq!(again["run"], "already_complete");
    assert_eq!(again["rejected_by_reason"], first["rejected_by_reason"]);
    assert_eq!(std::fs::read_to_string(&rejects).unwrap(), written);
    assert_eq!(promote(&app, &["--into", "companies"]).await, [0; 4]);
    assert_eq!(
        everything(&app).await,
        before,
        "the same again wrote something"
    );

    // Another file with the same rows is another batch, and stages nothing either.
    let copy = workspace.file("copy.ndjson", format!("{DIRECTORY}\n"));
    let copied = load(
        &app,
        &[&copy, "--into", "companies", "--preset", "ycombinator"],
    )
    .await;
    assert_eq!(counts(&copied), json!([10, 0, 5, 5, 0]), "{copied}");
    app.stop().await;
}

/// One file into two targets is two batches, and over a thousand rows are several calls.
#[tokio::test(flavor = "multi_thread")]
async fn one_file_becomes_people_and_companies() {
    let (app, workspace) = (App::start().await, Workspace::new());
    let rows: String = (0..2_300)
        .map(|n| format!("p{n}@c{}.com,Ada {n},c{}.com\n", n % 50, n % 50))
        .collect();
    let file = workspace.file(
        "people.csv",
        format!("email,name,website\n{rows}broken,,,,\n"),
    );
    let people = load(&app, &[&file, "--into", "people", "--source", "crm"]).await;
    assert_eq!(counts(&people), json!([2_301, 2_300, 0, 1, 0]), "{people}");
    let companies = load(
        &app,
        &[
            &file,
            "--into",
            "companies",
            "--source",
            "crm",
            "--map",
            "name=contact",
        ],
    )
    .await;
    assert_eq!(companies["received"], 2_301);
    assert_ne!(people["batch_id"], companies["batch_id"]);

    let batch = people["batch_id"].as_str().unwrap();
    assert_eq!(
        promote(&app, &["--into", "people", "--batch", batch]).await,
        [2_300, 0, 0, 0]
    );
    let report = leadvault(&app, &["promote", "--into", "companies"]).await;
    assert_eq!(
        (&report["promoted"], &report["people_linked"]),
        (&json!(50), &json!(2_300))
    );
    assert_eq!(report["rejected"], 0, "{report}");
    let again = load(&app, &[&file, "--into", "people", "--source", "crm"]).await;
    assert_eq!(counts(&again), json!([2_301, 2_300, 0, 1, 2_301]));
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn contacts_become_companies_and_people_once() {
    let (app, workspace) = (App::start().await, Workspace::new());
    let csv = "First Name,Last Name,Company,Email,# Employees,Industry,Website,Company Linkedin Url,Annual Revenue,Departments,City,Person Linkedin Url
Ada,Lovelace,Acme,ada@acme.com,\"1,200\",Tools,https://www.acme.com,https://linkedin.com/company/acme,4500000,Engineering,London,https://www.linkedin.com/in/ada
Bob,Builder,Acme,bob@gmail.com,\"1,200\",Tools,https://www.acme.com,https://linkedin.com/company/acme,4500000,Sales,Oslo,
Carl,Free,,carl@gmail.com,,,,,,,,
";
    let file = workspace.file("leads.csv", csv);
    load(&app, &[&file, "--preset", "apollo"]).await;
    leadvault(&app, &["promote"]).await;
    let companies = ["promote", "--into", "companies", "--from-vault"];
    let people = ["promote", "--into", "people", "--from-vault"];
    let mut report = leadvault(&app, &companies).await;
    report["from_vault"]
        .as_object_mut()
        .unwrap()
        .remove("seconds");
    let staged = json!({"done": 3, "staged": 1, "unchanged": 1, "skipped": 1});
    assert_eq!(
        (&report["from_vault"], &report["promoted"]),
        (&staged, &json!(1)),
        "{report}"
    );
    let report = leadvault(&app, &people).await;
    assert_eq!(report["from_vault"]["staged"], 3, "{report}");
    assert_eq!(
        (&report["promoted"], &report["people_linked"]),
        (&json!(3), &json!(2)),
        "{report}"
    );

    let sql = app.sql().await;
    let company: String = sql
        .one(
            "SELECT concat_ws('|', domain, name, industry, employee_count, revenue, linkedin_url) FROM company.master",
            &[],
        )
        .await;
    assert_eq!(
        company,
        "acme.com|Acme|Tools|1200|4500000|https://www.linkedin.com/company/acme"
    );
    let person: String = sql
        .one(
            "SELECT concat_ws('|', name, department, location, linkedin_url) FROM people.master WHERE email = 'ada@acme.com'",
            &[],
        )
        .await;
    assert_eq!(
        person,
        "Ada Lovelace|Engineering|London|https://www.linkedin.com/in/ada"
    );

    let before = everything(&app).await;
    for args in [companies, people] {
        let report = leadvault(&app, &args).await;
        assert_eq!(
            (&report["from_vault"]["staged"], &report["done"]),
            (&json!(0), &json!(0)),
            "{report}"
        );
    }
    assert_eq!(
        everything(&app).await,
        before,
        "the same again wrote something"
    );
    app.stop().await;
}

/// The answer to a call is lost again and again; every row is staged once.
#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_breaks_is_waited_for_and_rows_are_staged_once() {
    let (app, workspace) = (App::start().await, Workspace::new());
    let rows: String = (0..3_000)
        .map(|n| format!("{{\"domain\":\"d{n}.com\"}}\n"))
        .collect();
    let file = workspace.file("d.ndjson", rows);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let target = app.endpoint().replace("http://", "");
    let way = tokio::spawn(async move {
        for connection in 0.. {
            let (mut client, _) = listener.accept().await.unwrap();
            let mut server = TcpStream::connect(&target).await.unwrap();
            let (mut asks, mut hears) = client.split();
            let (answers, mut takes) = server.split();
            // An answer about a thousand rows is longer: they are stored, and the loader does not hear of it.
            let mut answers = answers.take(if connection < 2 { 10_000 } else { u64::MAX });
            tokio::select! {
                _ = tokio::io::copy(&mut asks, &mut takes) => {}
                _ = tokio::io::copy(&mut answers, &mut hears) => {}
            }
        }
    });
    let ran = run(&[
        "load",
        &file,
        "--into",
        "companies",
        "--source",
        "s",
        "--output",
        "json",
        "--endpoint",
        &endpoint,
    ])
    .await;
    assert!(ran.stderr.contains("waiting for the service"), "{ran:?}");
    let report = ran.json()["batches"][0].take();
    assert_eq!(
        (&report["received"], &report["staged"]),
        (&json!(3_000), &json!(3_000)),
        "{report}"
    );
    let stored: i64 = app
        .sql()
        .await
        .one("SELECT count(*) FROM company.slot", &[])
        .await;
    assert_eq!(stored, 3_000);
    way.abort();
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_and_a_batch_of_ones_own() {
    let (app, workspace) = (App::start().await, Workspace::new());
    let file = workspace.file("c.ndjson", DIRECTORY);
    let fixed = [&file, "--into", "companies", "--preset", "ycombinator"];
    let dry = leadvault(&app, &[&["load", "--dry-run"], &fixed[..]].concat()).await;
    let found = &dry["files"][0];
    assert_eq!(
        (&found["valid"], &found["rejected"]),
        (&json!(5), &json!(4)),
        "{dry}"
    );
    assert!(
        found["first_row"]
            .as_str()
            .unwrap()
            .contains("employee_count")
    );

    let empty = workspace.file("empty.ndjson", "");
    let report = load(&app, &[&empty, "--into", "people", "--source", "s"]).await;
    assert_eq!(counts(&report), json!([0, 0, 0, 0, 0]));

    let mine = [&fixed[..], &["--batch-id", "mine"]].concat();
    assert_eq!(load(&app, &mine).await["batch_id"], "mine");
    let endpoint = app.endpoint();
    let again = run(&[&["load"], &mine[..], &["--endpoint", &endpoint]].concat()).await;
    assert!(again.stderr.contains("holds 9 rows"), "{again:?}");
    let text = again.ok();
    assert!(
        text.contains("nothing was done") && text.contains("MISSING_DOMAIN"),
        "{text}"
    );
    app.stop().await;
}
