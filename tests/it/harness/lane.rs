//! A bulk client that does exactly what a test tells it.

use leadvault::proto::intake::v1::{
    BulkIngestRequest, BulkIngestResponse, bulk_ingest_request as request,
    bulk_ingest_response as response, intake_service_client::IntakeServiceClient,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming, transport::Channel};

/// One bulk stream. Dropping it is vanishing without `finish`.
pub(crate) struct Lane {
    outbound: Option<mpsc::Sender<BulkIngestRequest>>,
    inbound: Streaming<BulkIngestResponse>,
}

/// `open` of a batch of one lane.
pub(crate) fn open(batch_id: &str, source: &str) -> request::Open {
    request::Open {
        batch_id: batch_id.to_owned(),
        source: source.to_owned(),
        lane_count: 1,
        ..Default::default()
    }
}

impl Lane {
    /// A stream that has said nothing yet.
    pub(crate) async fn connect(mut client: IntakeServiceClient<Channel>) -> Self {
        let (outbound, messages) = mpsc::channel(4);
        let inbound = client
            .bulk_ingest(ReceiverStream::new(messages))
            .await
            .unwrap()
            .into_inner();
        Self::of(outbound, inbound)
    }

    /// A stream that a test began itself.
    pub(crate) fn of(
        outbound: mpsc::Sender<BulkIngestRequest>,
        inbound: Streaming<BulkIngestResponse>,
    ) -> Self {
        Self {
            outbound: Some(outbound),
            inbound,
        }
    }

    /// A stream whose lane was opened.
    pub(crate) async fn open(
        client: IntakeServiceClient<Channel>,
        open: request::Open,
    ) -> Result<(Self, response::Opened), Status> {
        let mut lane = Self::connect(client).await;
        lane.send(request::Message::Open(open)).await;
        let opened = lane.receive().await?;
        Ok((lane, self::opened(opened)))
    }

    /// Says something; a stream that the server ended takes it in silence.
    pub(crate) async fn send(&mut self, message: request::Message) {
        let message = BulkIngestRequest {
            message: Some(message),
        };
        if let Some(outbound) = &self.outbound {
            let _ = outbound.send(message).await;
        }
    }

    /// Sends rows as NDJSON.
    pub(crate) async fn send_rows(&mut self, offset: Option<i64>, rows: &[impl AsRef<[u8]>]) {
        let mut ndjson = Vec::new();
        for row in rows {
            ndjson.extend_from_slice(row.as_ref());
            ndjson.push(b'\n');
        }
        self.send(request::Message::Rows(request::Rows {
            offset,
            ndjson: ndjson.into(),
            ..Default::default()
        }))
        .await;
    }

    /// Sends rows each on its own.
    pub(crate) async fn send_each(&mut self, offset: Option<i64>, rows: Vec<request::Row>) {
        self.send(request::Message::Rows(request::Rows {
            offset,
            rows,
            ..Default::default()
        }))
        .await;
    }

    /// Sends rows each on its own and waits for their ack.
    pub(crate) async fn each(
        &mut self,
        offset: impl Into<Option<i64>>,
        rows: Vec<request::Row>,
    ) -> Result<response::Ack, Status> {
        self.send_each(offset.into(), rows).await;
        self.receive().await.map(ack)
    }

    /// Sends rows and waits for their ack.
    pub(crate) async fn rows(
        &mut self,
        offset: impl Into<Option<i64>>,
        rows: &[impl AsRef<[u8]>],
    ) -> Result<response::Ack, Status> {
        self.send_rows(offset.into(), rows).await;
        self.receive().await.map(ack)
    }

    /// Says `finish` and waits for the summary.
    pub(crate) async fn finish(&mut self, row_count: i64) -> Result<response::Summary, Status> {
        self.send(request::Message::Finish(request::Finish { row_count }))
            .await;
        self.receive().await.map(summary)
    }

    /// Waits until the server has let go of this side, so that nothing can be sent any more.
    pub(crate) async fn let_go(&self) {
        if let Some(outbound) = &self.outbound {
            outbound.closed().await;
        }
    }

    /// Asserts that the server has nothing more to say.
    pub(crate) async fn expect_end(&mut self) {
        let message = self.inbound.message().await.unwrap();
        assert!(message.is_none(), "{message:?}");
    }

    /// Ends the client's side without a word.
    pub(crate) fn hang_up(&mut self) {
        self.outbound = None;
    }

    /// What the server says next.
    pub(crate) async fn receive(&mut self) -> Result<response::Message, Status> {
        let message = self.inbound.message().await?;
        Ok(message
            .and_then(|message| message.message)
            .expect("the server ended the stream without a word"))
    }
}

pub(crate) fn opened(message: response::Message) -> response::Opened {
    match message {
        response::Message::Opened(opened) => opened,
        other => panic!("expected opened, got {other:?}"),
    }
}

pub(crate) fn ack(message: response::Message) -> response::Ack {
    match message {
        response::Message::Ack(ack) => ack,
        other => panic!("expected an ack, got {other:?}"),
    }
}

pub(crate) fn summary(message: response::Message) -> response::Summary {
    match message {
        response::Message::Summary(summary) => summary,
        other => panic!("expected a summary, got {other:?}"),
    }
}
