//! `AbandonBatch`.

use leadvault::proto::intake::v1::{
    AbandonBatchRequest, Batch, BatchState, IngestRowsRequest, LaneState,
};
use tonic::{Code, Response, Status};

use crate::harness::{App, Lane, assert_field, open, refused, row};

async fn abandon(app: &App, batch_id: &str, reason: &str) -> Result<Response<Batch>, Status> {
    let request = AbandonBatchRequest {
        batch_id: batch_id.into(),
        reason: reason.into(),
    };
    let response = app.intake().await.abandon_batch(request).await?;
    Ok(response.map(|response| response.batch.unwrap()))
}

/// On a pool of one connection: whoever waits for one in vain must not have abandoned anything.
#[tokio::test(flavor = "multi_thread")]
async fn a_batch_is_abandoned_if_and_only_if_its_call_succeeds() {
    const BATCHES: usize = 20;
    let app = App::start_with(&["--pool-size=1", "--pool-timeout=3"]).await;
    for number in 0..BATCHES {
        app.ingest(&format!("b{number}"), "apollo", &[row("a@x.example")])
            .await;
    }
    let sql = app.sql().await;
    // Together they take twice as long as a call waits for a connection.
    sql.run(
        "CREATE FUNCTION public.f_slow() RETURNS trigger LANGUAGE plpgsql AS
         $$ BEGIN PERFORM pg_sleep(0.3); RETURN NULL; END $$;
         GRANT EXECUTE ON FUNCTION public.f_slow TO PUBLIC;
         CREATE TRIGGER slow BEFORE INSERT ON intake.audit_log
             FOR EACH STATEMENT EXECUTE FUNCTION public.f_slow()",
    )
    .await;
    let calls = (0..BATCHES).map(|number| {
        let app = &app;
        async move {
            let batch_id = format!("b{number}");
            let answer = abandon(app, &batch_id, "").await;
            (batch_id, answer)
        }
    });
    let answers = futures_util::future::join_all(calls).await;
    let state = "SELECT abandoned_at IS NOT NULL FROM intake.batches WHERE batch_id = $1";
    let mut succeeded = 0;
    for (batch_id, answer) in answers {
        let abandoned: bool = sql.one(state, &[&batch_id]).await;
        assert_eq!(abandoned, answer.is_ok(), "{batch_id}: {answer:?}");
        succeeded += usize::from(abandoned);
        if answer.is_err() {
            assert_eq!(refused(answer).reason, "POOL_EXHAUSTED");
        }
    }
    assert!(succeeded > 1, "{succeeded}");
    app.stop().await;
}

/// What the audit trail holds of abandoning.
async fn trail(app: &App) -> Vec<String> {
    let rows = app
        .sql()
        .await
        .rows(
            "SELECT details::text FROM intake.audit_log WHERE action = 'batch_abandoned'",
            &[],
        )
        .await;
    rows.iter().map(|row| row.get(0)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_abandoned_batch_keeps_what_is_in_and_takes_no_more() {
    let app = App::start().await;
    let (mut lane, _) = Lane::open(app.intake().await, open("b", "apollo"))
        .await
        .unwrap();
    lane.rows(0, &[row("a@x.example"), "{}".into()])
        .await
        .unwrap();

    let batch = abandon(&app, "b", "the file was wrong")
        .await
        .unwrap()
        .into_inner();
    assert_eq!(batch.state(), BatchState::Abandoned);
    assert!(batch.abandon_time.is_some());
    assert_eq!(batch.lanes[0].state(), LaneState::Abandoned);
    assert_eq!(batch.tally.unwrap().received, 2);

    let status = lane.rows(2, &[row("b@x.example")]).await.unwrap_err();
    assert_eq!(status.code(), Code::FailedPrecondition);
    let status = Lane::open(app.intake().await, open("b", "apollo"))
        .await
        .err()
        .unwrap();
    assert_eq!(status.code(), Code::FailedPrecondition);
    let request = IngestRowsRequest {
        batch_id: "b".into(),
        source: "apollo".into(),
        json_rows: vec![row("c@x.example").into()],
        ..Default::default()
    };
    let refusal = refused(app.intake().await.ingest_rows(request).await);
    assert_eq!(refusal.reason, "BATCH_ABANDONED");
    let loads: i64 = app
        .sql()
        .await
        .one("SELECT count(*) FROM intake.raw_loads", &[])
        .await;
    assert_eq!(loads, 1);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn abandoning_again_changes_nothing() {
    let app = App::start().await;
    app.ingest("b", "apollo", &[row("a@x.example")]).await;
    let first = abandon(&app, "b", "first").await.unwrap().into_inner();
    let second = abandon(&app, "b", "second").await.unwrap().into_inner();
    assert_eq!(first, second);
    assert_eq!(
        trail(&app).await,
        [r#"{"actor": "anonymous", "reason": "first", "batch_id": "b"}"#]
    );
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_complete_batch_cannot_be_abandoned() {
    let app = App::start().await;
    let (mut lane, _) = Lane::open(app.intake().await, open("b", "apollo"))
        .await
        .unwrap();
    lane.finish(0).await.unwrap();
    let refusal = refused(abandon(&app, "b", "").await);
    assert_eq!(refusal.code, Code::FailedPrecondition);
    assert_eq!(refusal.reason, "BATCH_COMPLETE");
    assert_eq!(refusal.metadata["batch_id"], "b");
    assert_eq!(trail(&app).await, Vec::<String>::new());
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_is_not_there_cannot_be_abandoned() {
    let app = App::start().await;
    let refusal = refused(abandon(&app, "nothing", "").await);
    assert_eq!(
        (refusal.code, refusal.reason.as_str()),
        (Code::NotFound, "NOT_FOUND")
    );
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_reason_is_text_of_any_kind_up_to_its_limit() {
    let app = App::start().await;
    app.ingest("b", "apollo", &[row("a@x.example")]).await;
    assert_field(abandon(&app, "b", &"x".repeat(1_001)).await, "reason");
    assert_field(abandon(&app, "", "").await, "batch_id");
    assert_eq!(trail(&app).await, Vec::<String>::new());
    abandon(&app, "b", "two\nlines and a \0").await.unwrap();
    assert!(trail(&app).await[0].contains("two\\nlines and a \u{fffd}"));
    app.stop().await;
}
