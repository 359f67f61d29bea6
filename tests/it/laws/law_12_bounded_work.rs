//! Law 12, bounded work. Rows, bytes and time per request have limits that the error names.

use leadvault::proto::{
    intake::v1::{IngestRowsRequest, ListRawLoadsRequest, RetryFailedLoadsRequest},
    r#type::v1::RejectionReason,
};

use crate::harness::{
    App, evidence, open, refusal,
    rows::{json, people},
};

fn call(rows: Vec<String>) -> IngestRowsRequest {
    IngestRowsRequest {
        batch_id: "b".into(),
        source: "manual".into(),
        json_rows: rows.into_iter().map(Into::into).collect(),
        ..Default::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn law_12_the_default_limits_are_those_that_are_documented() {
    const MIB: usize = 1024 * 1024;
    let app = App::start().await;
    refusal(evidence::ingest(&app, call(people(0..1_001))).await).limits(
        "max-ingest-rows",
        1_000,
        1_001,
    );
    evidence::ingest(&app, call(people(0..1_000)))
        .await
        .unwrap();
    let large = refusal(evidence::ingest(&app, call(vec!["x".repeat(8 * MIB)])).await);
    assert_eq!(large.metadata["setting"], "max-frame-bytes");
    assert_eq!(large.metadata["limit"], (8 * MIB).to_string());

    let (mut lane, _) = app.lane(open("s", "apollo")).await.unwrap();
    refusal(lane.rows(0, &vec![""; 10_001]).await).limits("max-frame-rows", 10_000, 10_001);
    let (mut lane, _) = app.lane(open("s", "apollo")).await.unwrap();
    refusal(lane.each(0, vec![json("x".repeat(8 * MIB + 1))]).await).limits(
        "max-frame-bytes",
        8 * MIB,
        8 * MIB + 1,
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn law_12_each_limit_is_a_setting_that_its_error_names() {
    let app = App::start_with(&[
        "--max-ingest-rows=3",
        "--max-frame-rows=4",
        "--max-frame-bytes=500",
        "--max-row-bytes=60",
        "--max-depth=2",
    ])
    .await;
    refusal(evidence::ingest(&app, call(people(0..4))).await).limits("max-ingest-rows", 3, 4);
    let large = refusal(evidence::ingest(&app, call(vec!["x".repeat(501)])).await);
    assert_eq!(large.metadata["setting"], "max-frame-bytes");
    let (mut lane, _) = app.lane(open("s", "apollo")).await.unwrap();
    refusal(lane.rows(0, &[""; 5]).await).limits("max-frame-rows", 4, 5);
    let (mut lane, _) = app.lane(open("s", "apollo")).await.unwrap();
    refusal(lane.rows(0, &["x".repeat(500)]).await).limits("max-frame-bytes", 500, 501);

    // Limits of a row take no frame down: they are reasons.
    let (mut lane, _) = app.lane(open("s", "apollo")).await.unwrap();
    let rows = [
        format!(r#"{{"email":"a@x.example","n":"{}"}}"#, "x".repeat(60)),
        r#"{"email":"b@x.example","n":{"a":[]}}"#.to_owned(),
        r#"{"email":"c@x.example","n":{"a":1}}"#.to_owned(),
    ];
    let ack = lane.rows(0, &rows).await.unwrap();
    assert_eq!((ack.accepted, ack.rejected), (1, 2));
    let [large, deep] = ack.rejections.as_slice() else {
        panic!("{ack:?}");
    };
    assert_eq!(large.reason(), RejectionReason::RowTooLarge);
    assert!(
        large.detail.contains("at most 60") && large.detail.contains("max-row-bytes"),
        "{large:?}"
    );
    assert_eq!(deep.reason(), RejectionReason::NestedTooDeeply);
    assert!(
        deep.detail.contains("more than 2 deep") && deep.detail.contains("max-depth"),
        "{deep:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn law_12_lists_of_ids_and_pages_are_bounded() {
    let app = App::start().await;
    let request = RetryFailedLoadsRequest {
        load_ids: (0..1_001).collect(),
        ..Default::default()
    };
    refusal(app.intake().await.retry_failed_loads(request).await).limits(
        "max-ingest-rows",
        1_000,
        1_001,
    );

    let (mut lane, _) = app.lane(open("s", "apollo")).await.unwrap();
    lane.rows(0, &people(0..1_100)).await.unwrap();
    for (page_size, loads) in [(0, 50), (7, 7), (1_000_000, 1_000)] {
        let request = ListRawLoadsRequest {
            page_size,
            ..Default::default()
        };
        let page = app.intake().await.list_raw_loads(request).await.unwrap();
        assert_eq!(page.into_inner().loads.len(), loads);
    }
}

/// A client that sends and never waits is held back by flow control: the server keeps a few frames, not
/// the stream. The database is held up, so that nothing can drain.
#[tokio::test(flavor = "multi_thread")]
async fn law_12_a_stream_that_outruns_the_database_is_held_back() {
    const FRAMES: usize = 60;
    let app = App::start().await;
    let owner = app.sql().await;
    let (mut lane, _) = app.lane(open("s", "apollo")).await.unwrap();
    owner
        .run("BEGIN; LOCK TABLE intake.email_claims IN ACCESS EXCLUSIVE MODE")
        .await;
    let frame = |number: usize| {
        let filler = "x".repeat(200_000);
        let row = |nth| format!(r#"{{"email":"p{number}-{nth}@x.example","n":"{filler}"}}"#);
        (0..5).map(row).collect::<Vec<_>>()
    };
    let mut sent = 0;
    let pace = std::time::Duration::from_secs(3);
    while sent < FRAMES {
        let rows = frame(sent);
        let send = lane.send_rows(None, &rows);
        if tokio::time::timeout(pace, send).await.is_err() {
            break;
        }
        sent += 1;
    }
    assert!(sent < 20, "{sent} frames of a megabyte were taken in");
    // Nothing was lost, and it all drains.
    owner.run("COMMIT").await;
    for number in 1..=sent {
        let ack = crate::harness::ack(lane.receive().await.unwrap());
        assert_eq!(ack.next_offset, number as i64 * 5);
    }
}
