//! Arguments, and the batch that a call writes to.

use leadvault::proto::intake::v1::{AbandonBatchRequest, BatchState, GetBatchRequest};

use super::ingest;
use crate::harness::{App, Lane, Sql, fresh_database, open, row};

#[tokio::test(flavor = "multi_thread")]
async fn no_rows_are_a_summary_of_nothing() {
    let sql = Sql::connect(&fresh_database().await).await;
    for rows in ["NULL", "'{}'"] {
        let answers = sql
            .rows(
                &format!(
                    "SELECT load_id, message FROM intake.f_ingest_json({rows}, 'apollo', 'b')"
                ),
                &[],
            )
            .await;
        assert_eq!(answers.len(), 1);
        assert_eq!(answers[0].get::<_, Option<i64>>(0), None);
        let message: &str = answers[0].get(1);
        assert_eq!(message, "inserted 0, skipped 0 (0 duplicate, 0 rejected)");
    }
}

/// What the API could not name afterwards must not come in here.
#[tokio::test(flavor = "multi_thread")]
async fn a_batch_and_a_source_are_texts_that_the_api_takes_too() {
    let sql = Sql::connect(&fresh_database().await).await;
    let long = format!("repeat('x', {})", 1_001);
    for bad in [
        "NULL",
        "''",
        "'  '",
        &long,
        "E'\\t'",
        "E'a\\nb'",
        "E'a\\u007fb'",
        "E'a\\u0085b'",
        "U&'\\00a0'",
        "U&'\\3000'",
    ] {
        for (source, batch_id, argument) in [(bad, "'b'", "p_source"), ("'s'", bad, "p_batch_id")] {
            let call = format!("SELECT * FROM intake.f_ingest_json('{{}}', {source}, {batch_id})");
            let refusal = sql.refused(&call).await;
            assert!(refusal.starts_with(argument), "{call}: {refusal}");
        }
    }
    let longest = "SELECT * FROM intake.f_ingest_json('{}', repeat('x', 1000), repeat('é', 500))";
    sql.run(longest).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_has_one_source() {
    let sql = Sql::connect(&fresh_database().await).await;
    ingest(&sql, "b", "apollo", &[&row("a@x.example")]).await;
    let refusal = sql
        .refused("SELECT * FROM intake.f_ingest_json(ARRAY['{}'::jsonb], 'apify', 'b')")
        .await;
    assert_eq!(refusal, r#"batch "b" has the source "apollo""#);
    let rejected: i64 = sql
        .one("SELECT count(*) FROM intake.rejected_rows", &[])
        .await;
    assert_eq!(rejected, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_abandoned_batch_takes_no_more_rows() {
    let app = App::start().await;
    let sql = app.sql().await;
    ingest(&sql, "b", "apollo", &[&row("a@x.example")]).await;
    let request = AbandonBatchRequest {
        batch_id: "b".into(),
        reason: "test".into(),
    };
    app.intake().await.abandon_batch(request).await.unwrap();
    let refusal = sql
        .refused("SELECT * FROM intake.f_ingest_json(ARRAY['{}'::jsonb], 'apollo', 'b')")
        .await;
    assert_eq!(refusal, r#"batch "b" is abandoned: it takes no more rows"#);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_by_sql_and_by_grpc_append_to_the_same_lane() {
    let app = App::start().await;
    let sql = app.sql_as_app().await;
    ingest(&sql, "b", "apollo", &[&row("a@x.example"), "{}"]).await;
    let second = app
        .ingest("b", "apollo", &[row("A@x.example"), row("b@x.example")])
        .await;
    assert_eq!(second.first_offset, 2);
    ingest(&sql, "b", "apollo", &[&row("b@x.example")]).await;

    let request = GetBatchRequest {
        batch_id: "b".into(),
    };
    let response = app
        .intake()
        .await
        .get_batch(request)
        .await
        .unwrap()
        .into_inner();
    let batch = response.batch.unwrap();
    assert_eq!(batch.state(), BatchState::Open);
    assert_eq!((batch.lane_count, batch.lanes.len()), (0, 1));
    let (lane, tally) = (&batch.lanes[0], batch.lanes[0].tally.unwrap());
    assert_eq!((lane.lane, lane.next_offset), (-1, 5));
    assert_eq!(
        (
            tally.received,
            tally.accepted,
            tally.duplicate,
            tally.rejected
        ),
        (5, 2, 2, 1)
    );
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_bulk_ingest_finished_still_takes_single_calls() {
    let app = App::start().await;
    let (mut lane, _) = Lane::open(app.intake().await, open("b", "apollo"))
        .await
        .unwrap();
    lane.rows(0, &[row("a@x.example")]).await.unwrap();
    lane.finish(1).await.unwrap();
    let answers = ingest(
        &app.sql().await,
        "b",
        "apollo",
        &[&row("a@x.example"), &row("b@x.example")],
    )
    .await;
    assert!(answers[0].message.starts_with("duplicate"), "{answers:?}");
    assert_eq!(answers[1].message, "ingested");
    app.stop().await;
}
