//! What a frame may hold; past it nothing of the frame is stored, and the error names the limit.

use leadvault::proto::{
    intake::v1::bulk_ingest_request::{Message, OversizeRow, Row, Rows, UnreadableRow, row},
    r#type::v1::RejectionReason,
};
use tonic::Code;

use crate::harness::{
    App, evidence, open, refusal,
    rows::{json, people},
};

#[tokio::test(flavor = "multi_thread")]
async fn a_frame_of_too_many_rows_names_the_limit() {
    let app = App::start_with(&["--max-frame-rows", "5"]).await;
    let (mut lane, _) = app.lane(open("b", "apollo")).await.unwrap();
    lane.rows(0, &people(0..5)).await.unwrap();
    refusal(lane.rows(5, &people(5..11)).await).limits("max-frame-rows", 5, 6);
    // The same without a final newline, and row by row.
    let (mut lane, _) = app.lane(open("b", "apollo")).await.unwrap();
    lane.send(Message::Rows(Rows {
        ndjson: "\n\n\n\n\n{}".into(),
        ..Default::default()
    }))
    .await;
    refusal(lane.receive().await).limits("max-frame-rows", 5, 6);
    let (mut lane, _) = app.lane(open("b", "apollo")).await.unwrap();
    refusal(lane.each(5, vec![json("{}"); 6]).await).limits("max-frame-rows", 5, 6);
    assert_eq!(evidence::lane(&app, "b", 0).await.next_offset, 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frame_of_too_many_bytes_names_the_limit() {
    let app = App::start_with(&["--max-frame-bytes", "1000"]).await;
    let (mut lane, _) = app.lane(open("b", "apollo")).await.unwrap();
    lane.each(0, vec![json("x".repeat(500)); 2]).await.unwrap();
    refusal(lane.each(2, vec![json("x".repeat(501)); 2]).await).limits(
        "max-frame-bytes",
        1_000,
        1_002,
    );
    let (mut lane, _) = app.lane(open("b", "apollo")).await.unwrap();
    refusal(lane.rows(2, &["x".repeat(1_000)]).await).limits("max-frame-bytes", 1_000, 1_001);
    assert_eq!(evidence::lane(&app, "b", 0).await.next_offset, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_bytes_of_stand_ins_count_too() {
    let app = App::start_with(&["--max-frame-bytes", "1000"]).await;
    let (mut lane, _) = app.lane(open("b", "apollo")).await.unwrap();
    let unreadable = |detail: usize, original: usize| Row {
        row: Some(row::Row::Unreadable(UnreadableRow {
            detail: "d".repeat(detail),
            original: "o".repeat(original).into(),
        })),
    };
    lane.each(0, vec![unreadable(10, 900)]).await.unwrap();
    refusal(lane.each(1, vec![unreadable(10, 1_001)]).await)
        .is(Code::InvalidArgument, "LIMIT_EXCEEDED");
}

/// tonic refuses such a message unread. It must not look like the end of the stream.
#[tokio::test(flavor = "multi_thread")]
async fn a_message_past_twice_the_frame_limit_is_out_of_range() {
    let app = App::start_with(&["--max-frame-bytes", "1000"]).await;
    let (mut lane, _) = app.lane(open("b", "apollo")).await.unwrap();
    lane.rows(0, &people(0..3)).await.unwrap();
    let refusal = refusal(lane.rows(3, &["x".repeat(3_000)]).await).is(Code::OutOfRange, "");
    assert!(refusal.message.contains("2000 bytes"), "{refusal:?}");
    assert_eq!(evidence::lane(&app, "b", 0).await.next_offset, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stand_in_is_well_formed() {
    let app = App::start().await;
    let good = OversizeRow {
        bytes: 9_000_000,
        sha256: vec![7; 32].into(),
        head: "{".into(),
    };
    for (bad, field) in [
        (
            OversizeRow {
                bytes: 0,
                ..good.clone()
            },
            "rows.oversize.bytes",
        ),
        (
            OversizeRow {
                sha256: vec![7; 31].into(),
                ..good.clone()
            },
            "rows.oversize.sha256",
        ),
        (
            OversizeRow {
                head: vec![b'x'; 1_025].into(),
                ..good
            },
            "rows.oversize.head",
        ),
    ] {
        let (mut lane, _) = app.lane(open("b", "apollo")).await.unwrap();
        let bad = Row {
            row: Some(row::Row::Oversize(bad)),
        };
        refusal(lane.each(0, vec![json("{}"), bad]).await).blames(field);
    }
    assert_eq!(evidence::lane(&app, "b", 0).await.next_offset, 0);
}

/// The largest frame there may be, in rows and in bytes, goes in, and so does its replay.
#[tokio::test(flavor = "multi_thread")]
async fn a_frame_at_the_default_limits_is_stored() {
    const ROWS: usize = 10_000;
    let app = App::start().await;
    let (mut lane, _) = app.lane(open("b", "apollo")).await.unwrap();
    let rows: Vec<_> = (0..ROWS)
        .map(|number| {
            let head = format!(r#"{{"email":"p{number:05}@x.example","note":""#);
            json(format!("{head:x<830}\"}}"))
        })
        .collect();
    for replayed in [0, ROWS as i32] {
        let ack = lane.each(0, rows.clone()).await.unwrap();
        assert_eq!((ack.accepted, ack.replayed), (ROWS as i32, replayed));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ack_tells_of_a_thousand_rejections_and_the_rest_is_listed() {
    let app = App::start().await;
    let (mut lane, _) = app.lane(open("b", "apollo")).await.unwrap();
    let rows = vec!["{}"; 1_500];
    for replayed in [0, 1_500] {
        let ack = lane.rows(0, &rows).await.unwrap();
        assert_eq!((ack.rejected, ack.replayed), (1_500, replayed));
        assert_eq!(ack.rejections.len(), 1_000);
    }
    assert_eq!(evidence::rejected_rows(&app, "b").await.len(), 1_500);
}

/// What protobuf's JSON form makes of `{}`.
#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_is_not_set_is_an_empty_row() {
    let app = App::start().await;
    let (mut lane, _) = app.lane(open("b", "apollo")).await.unwrap();
    let ack = lane.each(0, vec![Row { row: None }]).await.unwrap();
    assert_eq!(ack.rejections[0].reason(), RejectionReason::EmptyRow);
}
