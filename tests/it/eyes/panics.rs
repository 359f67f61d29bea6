//! A stream whose job panics ends as a failure: a client that counts what was acked must not take it for the end.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::{Buf as _, Bytes};
use clap::Parser;
use http_body::Frame;
use leadvault::{
    config::Limits,
    db::{DatabaseUrl, Pool, PoolOptions},
    intake::Intake,
    metrics::Metrics,
    proto::{
        DESCRIPTORS,
        intake::v1::{BulkIngestRequest, intake_service_server::IntakeService as _},
    },
};
use tokio_stream::StreamExt as _;
use tonic::{
    Code, Request, Status, Streaming,
    codec::{DecodeBuf, Decoder},
};

use crate::harness::fresh_database;

#[derive(Parser)]
struct Settings {
    #[command(flatten)]
    limits: Limits,
}

/// Whatever a message is, it is a bug.
struct Panicking;

impl Decoder for Panicking {
    type Item = BulkIngestRequest;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Self::Item>, Status> {
        panic!(
            "cannot cut the row of ada@x.example: {}",
            buffer.remaining()
        )
    }
}

/// One message of one byte.
struct OneMessage(Option<Bytes>);

impl http_body::Body for OneMessage {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        Poll::Ready(self.0.take().map(|bytes| Ok(Frame::data(bytes))))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bulk_stream_that_panics_ends_as_a_fault() {
    let url = DatabaseUrl::parse(&fresh_database().await).unwrap();
    let pool = Pool::connect(PoolOptions::new(url)).await.unwrap();
    let intake = Intake::new(
        pool,
        Settings::parse_from(["leadvault"]).limits,
        Metrics::new(&[DESCRIPTORS], Vec::new()),
        tokio_util::sync::CancellationToken::new(),
        tokio_util::task::TaskTracker::new(),
    );
    let message = OneMessage(Some(Bytes::from_static(&[0, 0, 0, 0, 1, 7])));
    let inbound = Streaming::new_request(Panicking, message, None, None);
    let answers = intake.bulk_ingest(Request::new(inbound)).await.unwrap();
    let answers: Vec<_> = answers.into_inner().collect().await;
    assert_eq!(answers.len(), 1, "{answers:?}");
    let fault = answers[0].as_ref().unwrap_err();
    assert_eq!(fault.code(), Code::Internal);
    assert!(fault.message().contains("its log has the cause"), "{fault}");
    assert!(!format!("{fault:?}").contains("ada@x.example"));
}
