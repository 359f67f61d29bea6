//! The whole way of the demo with everything logged that can be, and then statements that fail with what they were to
//! write in their words: nothing of any row is in the log.

use std::collections::BTreeSet;

use leadvault::proto::intake::v1::IngestRowsRequest;
use serde_json::Value;
use tonic::Code;

use crate::harness::{Service, Sql, Workspace, leadvault};

/// Where rows keep what is somebody's.
const KEYS: [&str; 7] = [
    "email",
    "name",
    "first_name",
    "last_name",
    "full_name",
    "phone",
    "linkedin_url",
];

/// Emails, names and phones, as they were sent, as they are stored, and in parts.
const PERSONAL: &str = "
    SELECT DISTINCT said.value
    FROM intake.raw_loads AS l,
    LATERAL jsonb_each_text(l.raw_data) AS said
    WHERE said.key = ANY ($1)
    UNION SELECT unnest(ARRAY[email, name, phone]) FROM vault.contacts
    UNION SELECT unnest(ARRAY[email, name]) FROM people.master";

/// Below this many bytes a value is in many a word, and is looked for as a word of its own.
const SHORT: usize = 4;

/// Somebody in whose row every statement fails.
const EMAIL: &str = "zaphod.beeblebrox@heart.example";
const NAME: &str = "Zaphod Beeblebrox";
const PHONE: &str = "+1 415-555-9876";

/// What a trigger of somebody else's says of a row: as PostgreSQL quotes, as it does in German, and as nobody should.
const SAID: [&str; 3] = [
    r#"the row of "%" ("%", "%") is refused"#,
    "Zeile von »%« (»%«, »%«) abgelehnt",
    "the row of % (%, %) is refused",
];

async fn personal(service: &Service) -> BTreeSet<String> {
    let sql = Sql::connect(service.database_url()).await;
    let rows = sql.rows(PERSONAL, &[&KEYS.to_vec()]).await;
    let stored = rows
        .iter()
        .filter_map(|row| row.get::<_, Option<String>>(0));
    let rejected = sql
        .rows("SELECT original FROM intake.rejected_rows", &[])
        .await;
    let rejected = rejected.iter().map(|row| row.get::<_, Vec<u8>>(0));
    let rejected: Vec<String> = rejected
        .filter_map(|original| String::from_utf8(original).ok())
        .collect();
    let parts: BTreeSet<String> = rejected.iter().flat_map(|row| parts(row)).collect();
    assert!(parts.len() > 50 && parts.contains("n/a"), "{parts:?}");
    let added = [EMAIL, NAME, PHONE].map(str::to_owned);
    let all = stored.chain(rejected).chain(parts).chain(added);
    all.filter(|value| !value.trim().is_empty()).collect()
}

/// What is somebody's in a row that may be no JSON: the texts that follow a key, also a text that is cut off.
fn parts(original: &str) -> Vec<String> {
    let texts = KEYS.iter().flat_map(|key| {
        let begin = format!("\"{key}\":\"");
        let texts = original.split(&begin).skip(1);
        let texts = texts.filter_map(|rest| rest.split('"').next());
        texts.map(str::to_owned).collect::<Vec<_>>()
    });
    texts.collect()
}

/// Whether a value is in a text; a short one, with nothing before and after it that would make it part of a word.
fn is_in(text: &str, value: &str) -> bool {
    let is_part = |letter: Option<char>| letter.is_some_and(char::is_alphanumeric);
    text.match_indices(value).any(|(at, found)| {
        let (before, after) = (&text[..at], &text[at + found.len()..]);
        value.len() >= SHORT
            || !(is_part(before.chars().next_back()) || is_part(after.chars().next()))
    })
}

/// Has statements fail that were to store a row, with all of it in what PostgreSQL says.
async fn fail_with_values(service: &Service) {
    let sql = Sql::connect(service.database_url()).await;
    let row = serde_json::json!({"email": EMAIL, "name": NAME, "phone": PHONE}).to_string();
    for said in SAID {
        sql.run(&format!(
            "CREATE OR REPLACE FUNCTION public.refuse() RETURNS trigger LANGUAGE plpgsql AS $f$
             BEGIN
                 RAISE EXCEPTION '{said}', NEW.raw_data ->> 'email', NEW.raw_data ->> 'name', NEW.raw_data ->> 'phone'
                     USING DETAIL = NEW.raw_data::text, HINT = NEW.raw_data ->> 'email';
             END $f$;
             CREATE OR REPLACE TRIGGER refuse BEFORE INSERT ON intake.raw_loads
             FOR EACH ROW EXECUTE FUNCTION public.refuse()"
        ))
        .await;
        let request = IngestRowsRequest {
            source: "apollo".to_owned(),
            json_rows: vec![row.clone().into()],
            ..IngestRowsRequest::default()
        };
        let failed = service.intake().await.ingest_rows(request).await;
        assert_eq!(failed.unwrap_err().code(), Code::Internal);
    }
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
    fail_with_values(&service).await;
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
    for said in SAID {
        let begin = said.split(['"', '»', '%']).next().unwrap();
        let is_told = lines.iter().any(|line| {
            let cause = line["fields"]["cause"].as_str();
            cause.is_some_and(|cause| cause.starts_with(begin))
        });
        assert!(is_told, "{begin:?} is no cause in {log}");
    }
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
            assert!(!is_in(&log, form), "{form:?} is in the log at {level}");
        }
    }
}

#[test]
fn a_short_value_is_found_as_a_word_of_its_own() {
    assert!(is_in("row of Ada, refused", "Ada") && is_in("Ada", "Ada"));
    assert!(!is_in("Adapter", "Ada") && !is_in("0xAda", "Ada"));
    assert!(is_in("xada@x.example", "ada@x.example"));
    let cut = r#"[{"email":"a@x.example","first_name":"Ad"#;
    assert_eq!(parts(cut), ["a@x.example", "Ad"]);
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
