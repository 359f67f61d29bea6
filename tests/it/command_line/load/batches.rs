//! Which batch a load goes to, and what it does when it cannot.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn standard_input_needs_a_batch_id_and_resumes_by_it() {
    let app = App::start().await;
    let from_pipe = async |rows: &str, args: &[&str]| {
        let endpoint = app.endpoint();
        let fixed = [
            "load",
            "-",
            "--source",
            "crm",
            "--output",
            "json",
            "--endpoint",
            &endpoint,
        ];
        let (reader, mut writer) = std::io::pipe().unwrap();
        let mut command = leadvault(&[&fixed, args].concat());
        command.stdin(reader);
        let running = Running::spawn(command);
        // A loader that refuses its flags reads nothing.
        let _ = writer.write_all(rows.as_bytes());
        drop(writer);
        running.finish().await
    };
    let rows = JSON_ROWS.join("\n");
    let said = from_pipe(&rows, &[]).await.failed(1);
    assert!(said.contains("--batch-id"), "{said}");
    assert_eq!(load_count(&app).await, 0);

    let loaded = report(from_pipe(&rows, &["--batch-id", "b"]).await);
    assert_eq!(
        (&loaded["run"], &loaded["received"]),
        (&json!("loaded"), &json!(5))
    );
    let again = report(from_pipe(&rows, &["--batch-id", "b"]).await);
    assert_eq!(again["run"], "already_complete");
    assert_eq!(load_count(&app).await, 3);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_takes_no_other_file_and_each_file_has_its_own() {
    let (app, workspace) = (App::start().await, Workspace::new());
    let one = workspace.file("one.ndjson", JSON_ROWS[0]);
    let two = workspace.file("two.ndjson", JSON_ROWS[1]);
    let mut both = load(&app, &[&one, &two, "--source", "crm"]).await.json();
    let both = both["batches"].take();
    assert_eq!(both.as_array().unwrap().len(), 2);
    assert_ne!(both[0]["batch_id"], both[1]["batch_id"]);
    assert_eq!(
        (&both[0]["accepted"], &both[1]["accepted"]),
        (&json!(1), &json!(1))
    );

    let id = both[0]["batch_id"].as_str().unwrap();
    let other = [&*two, "--source", "crm", "--batch-id", id];
    let said = load(&app, &other).await.failed(1);
    assert!(said.contains("another file") && said.contains(id), "{said}");
    let other = [&*one, "--source", "web", "--batch-id", id];
    let said = load(&app, &other).await.failed(1);
    assert!(said.contains("--source \"crm\""), "{said}");
    assert_eq!(load_count(&app).await, 2);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_stays_away_is_given_up_when_told_so() {
    let workspace = Workspace::new();
    let file = workspace.file("leads.csv", CSV);
    // Free, and outside of what the system gives to others meanwhile.
    let endpoint = format!("http://127.0.0.1:{}", crate::harness::free_port());
    let args = ["load", &file, "--source", "crm", "--endpoint", &endpoint];
    let said = run(&[&args[..], &["--retry-for", "1s"]].concat())
        .await
        .failed(1);
    assert!(
        said.contains("gave up") && said.contains("--retry-for"),
        "{said}"
    );
    let said = run(&["load", "/no/such/file", "--source", "crm"])
        .await
        .failed(1);
    assert!(said.contains("/no/such/file"), "{said}");
}
