//! `open`, then rows, then `finish`: anything else is refused.

use leadvault::proto::intake::v1::{
    BulkIngestRequest, LaneState,
    bulk_ingest_request::{Finish, Message, Rows},
};
use tonic::Code;

use crate::harness::{App, Lane, evidence, open, refusal, rows::people};

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_begins_with_open() {
    let app = App::start().await;
    for first in [
        Message::Rows(Rows::default()),
        Message::Finish(Finish { row_count: 0 }),
    ] {
        let mut lane = Lane::connect(app.intake().await).await;
        lane.send(first).await;
        refusal(lane.receive().await).is(Code::InvalidArgument, "STREAM_ORDER");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_says_nothing_is_refused_when_it_ends() {
    let app = App::start().await;
    let mut lane = Lane::connect(app.intake().await).await;
    lane.hang_up();
    refusal(lane.receive().await).is(Code::InvalidArgument, "STREAM_ORDER");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_is_one_of_the_three() {
    let app = App::start().await;
    let empty = tokio_stream::once(BulkIngestRequest { message: None });
    let mut client = app.intake().await;
    let mut answers = client.bulk_ingest(empty).await.unwrap().into_inner();
    refusal(answers.message().await).is(Code::InvalidArgument, "STREAM_ORDER");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_open_is_refused_and_what_was_acked_stays() {
    let app = App::start().await;
    let (mut lane, _) = app.lane(open("b", "apollo")).await.unwrap();
    lane.rows(0, &people(0..3)).await.unwrap();
    lane.send(Message::Open(open("b", "apollo"))).await;
    refusal(lane.receive().await).is(Code::InvalidArgument, "STREAM_ORDER");
    assert_eq!(evidence::lane(&app, "b", 0).await.next_offset, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_follows_finish() {
    let app = App::start().await;
    for (number, after) in [
        Message::Open(open("b0", "apollo")),
        Message::Rows(Rows::default()),
        Message::Finish(Finish { row_count: 1 }),
    ]
    .into_iter()
    .enumerate()
    {
        let batch_id = format!("b{number}");
        let (mut lane, _) = app.lane(open(&batch_id, "apollo")).await.unwrap();
        lane.rows(0, &["{}"]).await.unwrap();
        lane.finish(1).await.unwrap();
        lane.send(after).await;
        // The summary ended the stream: nobody reads on, and the finish stands.
        lane.expect_end().await;
        let lane = evidence::lane(&app, &batch_id, 0).await;
        assert_eq!(lane.state(), LaneState::Finished);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_in_order_ends_without_a_word_of_blame() {
    let app = App::start().await;
    let (mut lane, _) = app.lane(open("b", "apollo")).await.unwrap();
    lane.finish(0).await.unwrap();
    lane.hang_up();
    lane.expect_end().await;
}
