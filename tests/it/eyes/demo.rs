//! The whole way of the demo with everything logged that can be: nothing of any row is in it.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::harness::{Service, Sql, Workspace, leadvault};

/// Emails, names and phones, as they were sent, as they are stored, and in parts.
const PERSONAL: &str = "
    SELECT DISTINCT said.value
    FROM intake.raw_loads AS l,
    LATERAL jsonb_each_text(l.raw_data) AS said
    WHERE said.key IN ('email', 'name', 'first_name', 'last_name', 'full_name', 'phone', 'linkedin_url')
    UNION SELECT unnest(ARRAY[email, name, phone]) FROM vault.contacts
    UNION SELECT unnest(ARRAY[email, name]) FROM people.master";

async fn personal(service: &Service) -> BTreeSet<String> {
    let sql = Sql::connect(service.database_url()).await;
    let rows = sql.rows(PERSONAL, &[]).await;
    let values = rows
        .iter()
        .filter_map(|row| row.get::<_, Option<String>>(0));
    let rejected = sql
        .rows("SELECT original FROM intake.rejected_rows", &[])
        .await;
    let rejected = rejected.iter().map(|row| row.get::<_, Vec<u8>>(0));
    let rejected = rejected.filter_map(|original| String::from_utf8(original).ok());
    // Shorter ones are in many a word.
    let all = values.chain(rejected);
    all.filter(|value| value.trim().len() >= 4).collect()
}

async fn shows_nothing_of_a_row_at(level: &str) {
    let workspace = Workspace::new();
    let flags = [
        "demo",
        "--rows",
        "2000",
        "--listen",
        "127.0.0.1:0",
        "--log-json",
        "--log",
        level,
    ];
    let mut command = leadvault(&flags);
    command.arg("--data-dir").arg(workspace.data_dir());
    let mut service = Service::start(command).await;
    service.until_it_says("serving until Ctrl-C").await;
    let personal = personal(&service).await;
    assert!(personal.len() > 3_000, "{}", personal.len());
    let (status, log) = service.stop().await;
    assert!(status.success(), "{log}");

    let lines = log
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap());
    let lines: Vec<Value> = lines.collect();
    let calls = lines
        .iter()
        .filter(|line| line["target"] == "leadvault::call");
    assert!(calls.count() > 10, "{log}");
    assert!(lines.iter().any(|line| line["level"] == "DEBUG"), "{log}");
    // Bound parameters may be written as bytes, too, where no search finds them.
    let finer = ["DEBUG", "TRACE"].map(Value::from);
    let dependency = lines.iter().find(|line| {
        finer.contains(&line["level"]) && !line["target"].as_str().unwrap().starts_with("leadvault")
    });
    assert!(dependency.is_none(), "{dependency:?}");
    for value in personal {
        // As text, and as JSON escapes it.
        let escaped = serde_json::to_string(&value).unwrap();
        for form in [value.as_str(), escaped.trim_matches('"')] {
            assert!(!log.contains(form), "{form:?} is in the log at {level}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_at_debug_shows_nothing_of_a_row() {
    shows_nothing_of_a_row_at("debug").await;
}

/// However the target is named.
#[tokio::test(flavor = "multi_thread")]
async fn the_demo_at_trace_shows_nothing_of_a_row() {
    shows_nothing_of_a_row_at("trace,tokio_postgres::query=trace,tokio_postgres::prepare=trace")
        .await;
}
