//! `leadvault promote`: what it takes, what it says, and how it waits.

use tokio::net::{TcpListener, TcpStream};

use crate::harness::{App, Sql, Workspace, free_port, run};

/// To the service no batch means every batch: a script whose variable is empty must not get that.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_empty_is_not_everything() {
    let app = App::start().await;
    let sql = app.sql().await;
    arrive(&sql, 1, "b", r#"{"email":"a@x.example"}"#).await;
    let said = run(&["promote", "--batch", "", "--endpoint", &app.endpoint()]).await;
    let said = said.failed(2);
    assert!(said.contains("leave --batch out"), "{said}");
    let pending: i64 = sql
        .one(
            "SELECT count(*) FROM intake.raw_loads WHERE status = 'pending'",
            &[],
        )
        .await;
    assert_eq!(pending, 1);
    for args in [
        &["export", "--company", ""][..],
        &["export", "--source", " "],
        &["export", "--tag", ""],
        &["load", "f", "--source", "s", "--batch-id", ""],
        &["load", "f", "--source", ""],
        &["suppress", "f", "--evidence", ""],
    ] {
        let said = run(args).await.failed(2);
        assert!(said.contains("must not be blank"), "{args:?}: {said}");
    }
    app.stop().await;
}

/// Nothing is sent in clear text to where TLS was asked for.
#[tokio::test(flavor = "multi_thread")]
async fn no_command_takes_an_address_with_tls_for_one_without() {
    let app = App::start().await;
    let endpoint = app.endpoint().replace("http://", "https://");
    let list = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(list.path(), "email\nada@x.example\n").unwrap();
    let list = list.path().to_str().unwrap();
    for args in [
        &["promote"][..],
        &["export"],
        &["suppress", list],
        &["load", list, "--source", "s", "--batch-id", "b"],
    ] {
        let said = run(&[args, &["--endpoint", &endpoint]].concat()).await;
        let said = said.failed(1);
        assert!(said.contains("TLS"), "{args:?}: {said}");
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn failed_loads_are_shown_by_batch() {
    let app = App::start().await;
    let sql = app.sql().await;
    arrive(&sql, 1, "it's b", r#"{"email":"none"}"#).await;
    arrive(&sql, 2, "other", r#"{"email":"none"}"#).await;
    let endpoint = app.endpoint();
    let one = ["promote", "--endpoint", &endpoint, "--batch", "it's b"];
    let text = run(&one).await.ok();
    let request = r#"-d '{"batch_id":"it'\''s b","status":"LOAD_STATUS_FAILED"}' "#;
    assert!(text.contains(request), "{text}");
    let text = run(&["promote", "--endpoint", &endpoint]).await.ok();
    let request = r#"-d '{"status":"LOAD_STATUS_FAILED"}' "#;
    assert!(text.contains(request), "{text}");
    app.stop().await;
}

/// The first connections break; what the later one promotes counts.
#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_goes_away_is_waited_for() {
    let app = App::start().await;
    arrive(&app.sql().await, 1, "b", r#"{"email":"a@x.example"}"#).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let target = app.endpoint().replace("http://", "");
    let way = tokio::spawn(async move {
        drop(listener.accept().await);
        drop(listener.accept().await);
        loop {
            let (mut client, _) = listener.accept().await.unwrap();
            let mut server = TcpStream::connect(&target).await.unwrap();
            let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
        }
    });
    let ran = run(&["promote", "--endpoint", &endpoint, "--output", "json"]).await;
    assert!(ran.stderr.contains("waiting for the service"), "{ran:?}");
    let report = ran.json();
    assert_eq!(
        (&report["done"], &report["promoted"]),
        (&1.into(), &1.into())
    );
    assert!(report["interruptions"].as_u64() > Some(0), "{report}");
    way.abort();
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn patience_ends_when_it_is_told_to() {
    let endpoint = format!("http://127.0.0.1:{}", free_port());
    let workspace = Workspace::new();
    let list = workspace.file("list", "a@x.example\n");
    for args in [&["promote"][..], &["suppress", &list]] {
        let args = [args, &["--endpoint", &endpoint, "--retry-for", "1s"]].concat();
        let said = run(&args).await.failed(1);
        assert!(said.contains("gave up after"), "{args:?}: {said}");
        assert!(!said.contains("promoted"), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn flags_of_contacts_mean_nothing_for_golden_records() {
    let workspace = Workspace::new();
    let file = workspace.file("f.ndjson", "{}");
    for (args, says) in [
        (
            &["--into", "companies", "--source", "s", "--lanes", "2"][..],
            "--lanes",
        ),
        (
            &[
                "--into",
                "people",
                "--source",
                "s",
                "--on-duplicate",
                "mark",
            ],
            "--on-duplicate",
        ),
        (
            &["--into", "companies", "--preset", "apollo"],
            "--from-vault",
        ),
        (&["--preset", "ycombinator"], "--into companies"),
    ] {
        let said = run(&[&["load", &file], args].concat()).await.failed(1);
        assert!(said.contains(says), "{args:?}: {said}");
    }
    let said = run(&["promote", "--from-vault"]).await.failed(1);
    assert!(said.contains("--into companies"), "{said}");
    run(&[
        "promote",
        "--from-vault",
        "--into",
        "people",
        "--batch",
        "b",
    ])
    .await
    .failed(2);
}

/// A load as only an administrator can write it: also one that will fail.
async fn arrive(sql: &Sql, load_id: i64, batch_id: &str, row: &str) {
    let batch_id = batch_id.replace('\'', "''");
    sql.run(&format!(
        "INSERT INTO intake.raw_loads (load_id, batch_id, source, raw_data, metadata)
         VALUES ({load_id}, '{batch_id}', 'manual', '{row}', '{{}}')"
    ))
    .await;
}
