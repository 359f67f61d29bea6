//! The call itself: which loads it takes, its progress, its end.

use leadvault::proto::vault::v1::{PromoteContactsRequest, PromoteContactsResponse};
use serde_json::json;
use tonic::{Code, Status};

use super::{counts, ingest, promote, promote_all, promote_loads, status};
use crate::harness::{App, Sql, refusal};

/// Pending loads by the thousand, each of its own email.
async fn fill(sql: &Sql, count: i64) {
    sql.run(&format!(
        r#"INSERT INTO intake.raw_loads (batch_id, source, raw_data, metadata)
           SELECT 'bulk', 'apollo', jsonb_build_object('email', 'p' || n || '@x.example', 'name', 'P' || n),
                  jsonb_build_object('lane', 0, 'offset', n)
           FROM generate_series(1, {count}) AS n"#
    ))
    .await;
}

async fn pending(sql: &Sql) -> i64 {
    sql.one(
        "SELECT count(*) FROM intake.raw_loads WHERE status = 'pending'",
        &[],
    )
    .await
}

async fn messages(
    app: &App,
    request: PromoteContactsRequest,
) -> Result<Vec<PromoteContactsResponse>, Status> {
    let mut client = app.vault().await;
    let mut stream = client.promote_contacts(request).await?.into_inner();
    let mut messages = Vec::new();
    while let Some(message) = stream.message().await? {
        messages.push(message);
    }
    Ok(messages)
}

#[tokio::test(flavor = "multi_thread")]
async fn progress_comes_after_each_chunk_and_the_last_message_says_finished() {
    let app = App::start().await;
    let sql = app.sql().await;
    fill(&sql, 4_500).await;
    let messages = messages(&app, PromoteContactsRequest::default())
        .await
        .unwrap();
    // Two workers share the walk: who is first is not known, only that none takes more than a chunk.
    let (last, steps) = messages.split_last().unwrap();
    let mut done = 0;
    for step in steps {
        assert!(step.done > done && step.done - done <= 2_000, "{step:?}");
        assert_eq!(step.left, 4_500 - step.done);
        assert!(!step.finished);
        done = step.done;
    }
    assert_eq!((last.done, last.left, last.finished), (4_500, 0, true));
    assert!(messages.iter().all(|m| m.rows_per_second > 0.0));
    assert_eq!(pending(&sql).await, 0);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ids_or_a_batch_and_those_that_are_not_pending_are_left_out() {
    let app = App::start().await;
    let sql = app.sql().await;
    fill(&sql, 3).await;
    let loads = ingest(
        &app,
        "crm",
        &["a", "b", "c"].map(|n| json!({"email": format!("{n}@x.example")})),
    )
    .await;
    assert_eq!(
        promote_loads(&app, &[loads[2], loads[0], loads[2], 999_999, -1]).await,
        [2, 0, 0, 0]
    );
    assert_eq!(status(&sql, loads[1]).await, "pending");
    let request = PromoteContactsRequest {
        batch_id: "accept-crm".into(),
        ..Default::default()
    };
    assert_eq!(counts(&promote(&app, request).await), [1, 0, 0, 0]);
    assert_eq!(pending(&sql).await, 3);
    assert_eq!(promote_all(&app).await, [3, 0, 0, 0]);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_makes_no_sense_is_refused() {
    let app = App::start().await;
    let both = PromoteContactsRequest {
        load_ids: vec![1],
        batch_id: "b".into(),
        ..Default::default()
    };
    refusal(messages(&app, both).await).blames("load_ids");
    let many = PromoteContactsRequest {
        load_ids: (1..=10_001).collect(),
        ..Default::default()
    };
    refusal(messages(&app, many).await).blames("load_ids");
    let broken = PromoteContactsRequest {
        batch_id: "a\0b".into(),
        ..Default::default()
    };
    refusal(messages(&app, broken).await).blames("batch_id");
    let unknown = PromoteContactsRequest {
        batch_id: "never".into(),
        ..Default::default()
    };
    refusal(messages(&app, unknown).await)
        .is(Code::NotFound, "NOT_FOUND")
        .says("key", "never");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn validate_only_says_what_would_happen_and_changes_nothing() {
    let app = App::start().await;
    let sql = app.sql().await;
    fill(&sql, 1_500).await;
    let request = PromoteContactsRequest {
        validate_only: true,
        ..Default::default()
    };
    let message = promote(&app, request).await;
    assert_eq!(counts(&message), [1_000, 0, 0, 0]);
    assert_eq!(message.left, 500);
    assert_eq!(pending(&sql).await, 1_500);
    for table in ["vault.contacts", "intake.audit_log"] {
        let rows: i64 = sql.one(&format!("SELECT count(*) FROM {table}"), &[]).await;
        assert_eq!(rows, 0, "{table}");
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_cancels_ends_the_job_after_its_current_chunk() {
    let app = App::start().await;
    let sql = app.sql().await;
    fill(&sql, 40_000).await;
    let mut client = app.vault().await;
    let stream = client.promote_contacts(PromoteContactsRequest::default());
    let mut stream = stream.await.unwrap().into_inner();
    let first = stream.message().await.unwrap().unwrap();
    assert_eq!(first.done, 2_000);
    drop(stream);
    drop(client);
    // Whatever is running ends: from then on nothing changes.
    let writing = "SELECT count(*) FROM pg_stat_activity
                   WHERE datname = current_database() AND backend_type = 'client backend'
                     AND pid <> pg_backend_pid() AND xact_start IS NOT NULL";
    let mut left = pending(&sql).await;
    loop {
        tokio::time::sleep(std::time::Duration::from_millis(1_000)).await;
        // First: what it has written by then is among what is left.
        let is_writing = sql.one::<i64>(writing, &[]).await > 0;
        let now = pending(&sql).await;
        if now == left && !is_writing {
            break;
        }
        left = now;
    }
    assert!(left > 0, "the rest stays pending");
    assert_eq!(left % 2_000, 0, "no chunk is cut");
    let contacts: i64 = sql.one("SELECT count(*) FROM vault.contacts", &[]).await;
    assert_eq!(contacts, 40_000 - left);
    // The next call goes on.
    assert_eq!(promote_all(&app).await, [left, 0, 0, 0]);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_stops_ends_the_job_with_unavailable() {
    let app = App::start().await;
    let sql = app.sql().await;
    fill(&sql, 40_000).await;
    let mut client = app.vault().await;
    let stream = client.promote_contacts(PromoteContactsRequest::default());
    let mut stream = stream.await.unwrap().into_inner();
    stream.message().await.unwrap().unwrap();
    let read = async {
        loop {
            match stream.message().await {
                Ok(Some(message)) => assert!(!message.finished),
                Ok(None) => panic!("the end must be said"),
                Err(status) => break status,
            }
        }
    };
    let (status, ()) = tokio::join!(read, app.stop());
    refusal(Err::<(), _>(status)).is(Code::Unavailable, "SHUTTING_DOWN");
    assert!(pending(&sql).await > 0);
}
