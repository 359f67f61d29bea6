//! What takes too long ends, and says what it was: a lock, or a statement.

use std::time::Duration;

use leadvault::proto::vault::v1::{BatchScoreContactsRequest, batch_score_contacts_request::Score};
use tonic::Code;

use crate::harness::{App, Running, Workspace, leadvault, open, refusal, rows::people};

/// Makes every write of a table take half a minute.
async fn slow(app: &App, table: &str) {
    app.sql()
        .await
        .run(&format!(
            "CREATE FUNCTION public.f_slow() RETURNS trigger LANGUAGE plpgsql AS
             $$ BEGIN PERFORM pg_sleep(30); RETURN NULL; END $$;
             GRANT EXECUTE ON FUNCTION public.f_slow TO PUBLIC;
             CREATE TRIGGER slow BEFORE INSERT OR UPDATE ON {table}
                 FOR EACH STATEMENT EXECUTE FUNCTION public.f_slow()"
        ))
        .await;
}

fn score() -> BatchScoreContactsRequest {
    BatchScoreContactsRequest {
        scores: vec![Score {
            contact_id: 1,
            score: "7".into(),
            reason: String::new(),
        }],
        ..Default::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_may_be_tried_again_and_a_statement_would_take_as_long() {
    let app = App::start_with(&["--statement-timeout=4"]).await;
    let sql = app.sql().await;
    sql.run("INSERT INTO vault.contacts (email, source) VALUES ('a@x.example', 'apollo')")
        .await;
    sql.run("BEGIN; SELECT FROM vault.contacts FOR UPDATE")
        .await;
    let mut client = app.vault().await;
    let locked = refusal(client.batch_score_contacts(score()).await)
        .is(Code::Unavailable, "LOCK_TIMEOUT")
        .says("setting", "statement-timeout");
    assert!(locked.retry, "{locked:?}");
    sql.run("ROLLBACK").await;

    slow(&app, "vault.contacts").await;
    let cut = refusal(client.batch_score_contacts(score()).await)
        .is(Code::DeadlineExceeded, "STATEMENT_TIMEOUT")
        .says("setting", "statement-timeout");
    assert!(!cut.retry, "{cut:?}");
    app.stop().await;
}

/// Nothing of the chunk is stored, and its lane goes on where it was.
#[tokio::test(flavor = "multi_thread")]
async fn a_chunk_that_takes_too_long_can_be_sent_again() {
    let app = App::start_with(&["--statement-timeout=4"]).await;
    slow(&app, "intake.raw_loads").await;
    let (mut lane, _) = app.lane(open("b", "apollo")).await.unwrap();
    refusal(lane.rows(0, &people(0..2)).await).is(Code::DeadlineExceeded, "STATEMENT_TIMEOUT");
    app.sql()
        .await
        .run("DROP TRIGGER slow ON intake.raw_loads")
        .await;
    let (mut lane, opened) = app.lane(open("b", "apollo")).await.unwrap();
    assert_eq!(opened.next_offset, 0);
    assert_eq!(lane.rows(0, &people(0..2)).await.unwrap().accepted, 2);
    app.stop().await;
}

/// `leadvault load` waits for better times, as it does for a service that is away.
#[tokio::test(flavor = "multi_thread")]
async fn a_load_outlasts_chunks_that_take_too_long() {
    let app = App::start_with(&["--statement-timeout=4"]).await;
    let workspace = Workspace::new();
    slow(&app, "intake.raw_loads").await;
    let rows = people(0..3).join("\n");
    let file = workspace.file("people.ndjson", rows);
    let args = [
        "load",
        &file,
        "--source",
        "crm",
        "--endpoint",
        &app.endpoint(),
    ];
    let load = Running::spawn(leadvault(&args));
    tokio::time::sleep(Duration::from_secs(8)).await;
    app.sql()
        .await
        .run("DROP TRIGGER slow ON intake.raw_loads")
        .await;
    load.finish().await.ok();
    let loads: i64 = app
        .sql()
        .await
        .one("SELECT count(*) FROM intake.raw_loads", &[])
        .await;
    assert_eq!(loads, 3);
    app.stop().await;
}
