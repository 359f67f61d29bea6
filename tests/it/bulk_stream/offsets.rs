//! Where rows go: offsets, gaps, appends, replays.

use leadvault::proto::{
    intake::v1::bulk_ingest_request::{Message, Rows},
    r#type::v1::RejectionReason,
};
use tonic::Code;

use crate::harness::{
    App, evidence, open, refusal,
    rows::{json, people, row},
};

#[tokio::test(flavor = "multi_thread")]
async fn an_ack_counts_its_rows_and_says_why_some_are_rejected() {
    let app = App::start().await;
    let (mut lane, opened) = app.lane(open("b", "apollo")).await.unwrap();
    assert_eq!((opened.next_offset, opened.finished), (0, false));
    let email = row("a@x.example");
    let ack = lane.rows(0, &[email.as_str(), "", &email, "{}"]).await;
    let ack = ack.unwrap();
    assert_eq!((ack.offset, ack.row_count, ack.next_offset), (0, 4, 4));
    assert_eq!((ack.accepted, ack.duplicate, ack.rejected), (1, 1, 2));
    assert_eq!(ack.replayed, 0);
    assert_eq!(
        evidence::reasons(&ack.rejections),
        [
            (1, RejectionReason::EmptyRow, String::new()),
            (3, RejectionReason::MissingEmail, "/email".to_owned()),
        ]
    );
    let ack = lane.rows(4, &people(0..3)).await.unwrap();
    assert_eq!((ack.offset, ack.next_offset, ack.accepted), (4, 7, 3));
    assert_eq!(evidence::fates(&app, "b", 0).await, "ardraaa");
}

#[tokio::test(flavor = "multi_thread")]
async fn skipped_rows_are_refused_with_the_offset_that_was_expected() {
    let app = App::start().await;
    let (mut lane, _) = app.lane(open("b", "apollo")).await.unwrap();
    lane.rows(0, &people(0..2)).await.unwrap();
    refusal(lane.rows(3, &people(3..4)).await)
        .is(Code::OutOfRange, "OFFSET_GAP")
        .says("expected_offset", 2)
        .says("offset", 3);
    // What was acked stays, and the lane goes on where it was.
    let (mut lane, opened) = app.lane(open("b", "apollo")).await.unwrap();
    assert_eq!(opened.next_offset, 2);
    assert_eq!(lane.rows(2, &people(2..4)).await.unwrap().accepted, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_frame_past_the_end_is_a_gap_too() {
    let app = App::start().await;
    let (mut lane, _) = app.lane(open("b", "apollo")).await.unwrap();
    refusal(lane.each(1, vec![]).await).is(Code::OutOfRange, "OFFSET_GAP");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gap_is_refused_after_the_acks_of_what_came_before_it() {
    let app = App::start().await;
    let (mut lane, _) = app.lane(open("b", "apollo")).await.unwrap();
    lane.send_rows(Some(0), &people(0..500)).await;
    lane.send_rows(Some(500), &people(500..1_000)).await;
    lane.send_rows(Some(2_000), &people(2_000..2_001)).await;
    for next_offset in [500, 1_000] {
        let ack = crate::harness::ack(lane.receive().await.unwrap());
        assert_eq!((ack.next_offset, ack.accepted), (next_offset, 500));
    }
    refusal(lane.receive().await).says("expected_offset", 1_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_negative_offset_is_malformed() {
    let app = App::start().await;
    let (mut lane, _) = app.lane(open("b", "apollo")).await.unwrap();
    refusal(lane.rows(-1, &people(0..1)).await).blames("rows.offset");
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_without_an_offset_are_appended() {
    let app = App::start().await;
    let (mut lane, _) = app.lane(open("b", "apollo")).await.unwrap();
    assert_eq!(lane.rows(None, &people(0..2)).await.unwrap().offset, 0);
    let ack = lane.rows(None, &people(2..5)).await.unwrap();
    assert_eq!((ack.offset, ack.next_offset, ack.replayed), (2, 5, 0));
    let (mut lane, _) = app.lane(open("b", "apollo")).await.unwrap();
    assert_eq!(lane.rows(None, &people(5..6)).await.unwrap().offset, 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_frame_is_a_heartbeat() {
    let app = App::start().await;
    let (mut lane, _) = app.lane(open("b", "apollo")).await.unwrap();
    lane.rows(0, &people(0..2)).await.unwrap();
    for offset in [None, Some(2)] {
        let ack = lane.each(offset, vec![]).await.unwrap();
        assert_eq!((ack.offset, ack.row_count, ack.next_offset), (2, 0, 2));
    }
    assert_eq!(evidence::lane(&app, "b", 0).await.next_offset, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frame_sent_again_is_acked_with_its_first_outcome() {
    let app = App::start().await;
    let frame = [row("a@x.example"), "[]".into(), row("A@x.example")];
    let (mut lane, _) = app.lane(open("b", "apollo")).await.unwrap();
    let first = lane.rows(0, &frame).await.unwrap();
    assert_eq!((first.accepted, first.duplicate, first.rejected), (1, 1, 1));
    let again = lane.rows(0, &frame).await.unwrap();
    assert_eq!(again.replayed, 3);
    assert_eq!(
        leadvault::proto::intake::v1::bulk_ingest_response::Ack {
            replayed: 0,
            ..again
        },
        first
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_looks_at_offsets_and_not_at_bytes() {
    let app = App::start().await;
    let (mut lane, _) = app.lane(open("b", "apollo")).await.unwrap();
    lane.rows(0, &people(0..2)).await.unwrap();
    let ack = lane.rows(0, &["not", "json"]).await.unwrap();
    assert_eq!((ack.accepted, ack.rejected, ack.replayed), (2, 0, 2));
    assert_eq!(evidence::fates(&app, "b", 0).await, "aa");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_frame_that_overlaps_only_the_new_rows_are_stored() {
    let app = App::start().await;
    let rows = [
        row("a@x.example"),
        "first bad".into(),
        row("a@x.example"),
        row("b@x.example"),
        "second bad".into(),
    ];
    let (mut lane, _) = app.lane(open("b", "apollo")).await.unwrap();
    lane.rows(0, &rows[..1]).await.unwrap();
    lane.rows(1, &rows[1..3]).await.unwrap();
    // Begins in the second chunk of two, ends past the last.
    let ack = lane.rows(1, &rows[1..]).await.unwrap();
    assert_eq!((ack.offset, ack.row_count, ack.next_offset), (1, 4, 5));
    assert_eq!((ack.accepted, ack.duplicate, ack.rejected), (1, 1, 2));
    assert_eq!(ack.replayed, 2);
    let offsets: Vec<_> = ack.rejections.iter().map(|row| row.offset).collect();
    assert_eq!(offsets, [1, 4]);
    assert_eq!(evidence::fates(&app, "b", 0).await, "ardar");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_may_begin_and_end_within_chunks() {
    let app = App::start().await;
    let rows = [
        row("a@x.example"),
        row("a@x.example"),
        String::new(),
        row("b@x.example"),
        row("b@x.example"),
        row("c@x.example"),
    ];
    let (mut lane, _) = app.lane(open("b", "apollo")).await.unwrap();
    lane.rows(0, &rows[0..2]).await.unwrap();
    lane.rows(2, &rows[2..4]).await.unwrap();
    lane.rows(4, &rows[4..6]).await.unwrap();
    let ack = lane.rows(1, &rows[1..5]).await.unwrap();
    assert_eq!((ack.replayed, ack.next_offset), (4, 5));
    assert_eq!((ack.accepted, ack.duplicate, ack.rejected), (1, 2, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn ndjson_ends_with_or_without_a_newline_and_blank_lines_are_rows() {
    let app = App::start().await;
    let (mut lane, _) = app.lane(open("b", "apollo")).await.unwrap();
    let (a, b) = (row("a@x.example"), row("b@x.example"));
    for (ndjson, row_count) in [
        (a.clone(), 1),
        (format!("{a}\n"), 1),
        (format!("{a}\r\n\r\n{b}"), 3),
        ("\n".to_owned(), 1),
        ("\n\n".to_owned(), 2),
    ] {
        lane.send(Message::Rows(Rows {
            ndjson: ndjson.clone().into(),
            ..Default::default()
        }))
        .await;
        let ack = crate::harness::ack(lane.receive().await.unwrap());
        assert_eq!(ack.row_count, row_count, "{ndjson:?}");
    }
    assert_eq!(evidence::fates(&app, "b", 0).await, "addrarrr");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frame_holds_rows_or_ndjson_but_not_both() {
    let app = App::start().await;
    let (mut lane, _) = app.lane(open("b", "apollo")).await.unwrap();
    lane.send(Message::Rows(Rows {
        offset: Some(0),
        rows: vec![json(row("a@x.example"))],
        ndjson: row("b@x.example").into(),
    }))
    .await;
    refusal(lane.receive().await).blames("rows");
    assert_eq!(evidence::lane(&app, "b", 0).await.next_offset, 0);
}
