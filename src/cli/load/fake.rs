//! An intake service in memory that keeps the contract of `BulkIngest` and breaks on command.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard},
    time::{Duration, Instant},
};

use tokio::{net::TcpListener, sync::mpsc};
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::{Code, Request, Response, Status, Streaming, transport::Server};

pub(crate) use super::fake_store::Fault;
use super::fake_store::{FakeBatch, Store, refusal, rejections, tally};
use crate::proto::intake::v1::{
    bulk_ingest_request::{Finish, Message, Open, Rows, row},
    bulk_ingest_response::{Ack, Message as Answer, Opened, Summary},
    intake_service_server::{IntakeService, IntakeServiceServer},
    *,
};

/// The port of a service that has just ended may be taken for a moment.
fn bind(port: u16) -> std::net::TcpListener {
    let begun = Instant::now();
    loop {
        match std::net::TcpListener::bind(("127.0.0.1", port)) {
            Err(_) if port != 0 && begun.elapsed() < Duration::from_secs(20) => {
                std::thread::sleep(Duration::from_millis(20));
            }
            bound => return bound.unwrap(),
        }
    }
}

/// The service; its clones share one store.
#[derive(Debug, Default, Clone)]
pub(crate) struct Fake {
    store: Arc<Mutex<Store>>,
}

impl Fake {
    /// Looks into the store.
    pub(crate) fn store(&self) -> MutexGuard<'_, Store> {
        self.store.lock().unwrap()
    }

    /// Plans what goes wrong.
    pub(crate) fn break_with(&self, faults: impl IntoIterator<Item = Fault>) {
        self.store().faults.extend(faults);
    }

    /// The rows of a lane as text.
    pub(crate) fn texts(&self, batch_id: &str, lane: i32) -> Vec<String> {
        self.store().batches[batch_id].lanes[&lane]
            .rows
            .iter()
            .map(|row| match row.row.as_ref().unwrap() {
                row::Row::Json(json) => String::from_utf8_lossy(json).into_owned(),
                other => format!("{other:?}"),
            })
            .collect()
    }

    /// Serves on a free port for as long as the test's runtime lives.
    pub(crate) async fn serve(&self) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(self.clone().serve_on(listener));
        format!("http://{address}")
    }

    /// Serves on a runtime of its own: dropping that cuts every connection, as a killed process does.
    pub(crate) fn serve_apart(&self, port: u16) -> (tokio::runtime::Runtime, SocketAddr) {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let listener = bind(port);
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let fake = self.clone();
        runtime.spawn(async move {
            fake.serve_on(TcpListener::from_std(listener).unwrap())
                .await;
        });
        (runtime, address)
    }

    async fn serve_on(self, listener: TcpListener) {
        let service = IntakeServiceServer::new(self).max_decoding_message_size(16 * 1024 * 1024);
        let _ = Server::builder()
            .add_service(service)
            .serve_with_incoming(TcpListenerStream::new(listener))
            .await;
    }

    fn open(&self, open: &Open) -> Result<(Opened, Option<Fault>), Status> {
        let mut store = self.store();
        store.streams += 1;
        let fault = store.faults.pop_front();
        if fault == Some(Fault::Away) {
            return Err(Status::unavailable("shutting down"));
        }
        let batch = store
            .batches
            .entry(open.batch_id.clone())
            .or_insert_with(|| FakeBatch {
                open: open.clone(),
                ..FakeBatch::default()
            });
        let differs = open.metadata.is_some() && open.metadata != batch.open.metadata;
        if differs || open.source != batch.open.source || open.lane_count != batch.open.lane_count {
            return Err(refusal(Code::FailedPrecondition, "BATCH_MISMATCH"));
        }
        let lane = batch.lanes.entry(open.lane).or_default();
        let opened = Opened {
            next_offset: lane.rows.len() as i64,
            finished: lane.finished,
        };
        Ok((opened, fault))
    }

    /// Stores the new part of a frame, or its first rows.
    fn store_rows(&self, open: &Open, rows: &Rows, at_most: usize) -> Result<Ack, Status> {
        let mut store = self.store();
        if rows.rows.is_empty() {
            store.heartbeats += 1;
            return Ok(Ack::default());
        }
        let batch = store.batches.get_mut(&open.batch_id).unwrap();
        let lane = batch.lanes.get_mut(&open.lane).unwrap();
        let offset = rows.offset.unwrap() as usize;
        if lane.finished {
            return Err(refusal(Code::FailedPrecondition, "LANE_FINISHED"));
        }
        if offset > lane.rows.len() {
            return Err(refusal(Code::OutOfRange, "OFFSET_GAP"));
        }
        let replayed = (lane.rows.len() - offset).min(rows.rows.len());
        lane.rows
            .extend(rows.rows.iter().take(at_most).skip(replayed).cloned());
        let tally = tally(&rows.rows);
        Ok(Ack {
            offset: offset as i64,
            row_count: rows.rows.len() as i32,
            next_offset: lane.rows.len() as i64,
            accepted: tally.accepted as i32,
            rejected: tally.rejected as i32,
            rejections: rejections(offset, &rows.rows),
            replayed: replayed as i32,
            ..Ack::default()
        })
    }

    fn finish(&self, open: &Open, finish: Finish) -> Result<Summary, Status> {
        let mut store = self.store();
        let batch = store.batches.get_mut(&open.batch_id).unwrap();
        let lane = batch.lanes.get_mut(&open.lane).unwrap();
        if finish.row_count != lane.rows.len() as i64 {
            return Err(refusal(Code::FailedPrecondition, "ROW_COUNT_MISMATCH"));
        }
        lane.finished = true;
        Ok(Summary {
            tally: Some(tally(&lane.rows)),
            finish_time: None,
        })
    }

    /// Serves one stream; no status means that it is cut.
    async fn stream(
        &self,
        requests: &mut Streaming<BulkIngestRequest>,
        answers: &mpsc::Sender<Result<BulkIngestResponse, Status>>,
    ) -> Result<(), Option<Status>> {
        let Some(Message::Open(open)) = next(requests).await? else {
            return Err(Some(refusal(Code::InvalidArgument, "STREAM_ORDER")));
        };
        let answer = async |message: Answer| {
            let message = Some(message);
            answers
                .send(Ok(BulkIngestResponse { message }))
                .await
                .map_err(|_| None)
        };
        let (opened, fault) = self.open(&open)?;
        answer(Answer::Opened(opened)).await?;
        let mut frames = 0;
        while let Some(message) = next(requests).await? {
            match message {
                Message::Open(_) => {
                    return Err(Some(refusal(Code::InvalidArgument, "STREAM_ORDER")));
                }
                Message::Rows(rows) => {
                    frames += 1;
                    if fault == Some(Fault::Cut(frames)) {
                        self.store_rows(&open, &rows, rows.rows.len() / 2)?;
                        return Err(None);
                    }
                    if fault == Some(Fault::Fence(frames)) {
                        return Err(Some(refusal(Code::Aborted, "LANE_FENCED")));
                    }
                    let ack = self.store_rows(&open, &rows, usize::MAX)?;
                    answer(Answer::Ack(ack)).await?;
                }
                Message::Finish(finish) => {
                    let summary = self.finish(&open, finish)?;
                    if fault == Some(Fault::LoseSummary) {
                        return Err(None);
                    }
                    answer(Answer::Summary(summary)).await?;
                }
            }
        }
        Ok(())
    }
}

async fn next(requests: &mut Streaming<BulkIngestRequest>) -> Result<Option<Message>, Status> {
    Ok(requests
        .message()
        .await?
        .and_then(|request| request.message))
}

type Reply<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl IntakeService for Fake {
    type BulkIngestStream = ReceiverStream<Result<BulkIngestResponse, Status>>;

    async fn bulk_ingest(
        &self,
        request: Request<Streaming<BulkIngestRequest>>,
    ) -> Reply<Self::BulkIngestStream> {
        let (sender, receiver) = mpsc::channel(4);
        let fake = self.clone();
        tokio::spawn(async move {
            let mut requests = request.into_inner();
            if let Err(Some(status)) = fake.stream(&mut requests, &sender).await {
                let _ = sender.send(Err(status)).await;
            }
        });
        Ok(Response::new(ReceiverStream::new(receiver)))
    }

    async fn get_batch(&self, request: Request<GetBatchRequest>) -> Reply<GetBatchResponse> {
        let store = self.store();
        let batch_id = request.into_inner().batch_id;
        let Some(batch) = store.batches.get(&batch_id) else {
            return Err(refusal(Code::NotFound, "NOT_FOUND"));
        };
        let finished = batch.lanes.values().filter(|lane| lane.finished).count();
        let complete = finished as i32 == batch.open.lane_count;
        let lanes = batch.lanes.iter().map(|(&number, lane)| Lane {
            lane: number,
            next_offset: lane.rows.len() as i64,
            tally: Some(tally(&lane.rows)),
            ..Lane::default()
        });
        let batch = Batch {
            batch_id,
            source: batch.open.source.clone(),
            state: if complete {
                BatchState::Complete.into()
            } else {
                BatchState::Open.into()
            },
            on_duplicate: batch.open.on_duplicate,
            lane_count: batch.open.lane_count,
            metadata: batch.open.metadata.clone(),
            lanes: lanes.collect(),
            ..Batch::default()
        };
        Ok(Response::new(GetBatchResponse { batch: Some(batch) }))
    }

    /// Pages of two rows, so that paging is seen to work.
    async fn list_rejected_rows(
        &self,
        request: Request<ListRejectedRowsRequest>,
    ) -> Reply<ListRejectedRowsResponse> {
        let request = &request.into_inner();
        let skip: usize = request.page_token.parse().unwrap_or(0);
        let store = self.store();
        let batch = &store.batches[&request.batch_id];
        let all = batch.lanes.iter().flat_map(|(&lane, stored)| {
            let found = rejections(0, &stored.rows).into_iter();
            found.map(move |rejection| RejectedRow {
                batch_id: request.batch_id.clone(),
                lane,
                rejection: Some(rejection),
                ..RejectedRow::default()
            })
        });
        let rows: Vec<RejectedRow> = all.skip(skip).take(2).collect();
        let next_page_token = if rows.len() == 2 {
            (skip + 2).to_string()
        } else {
            String::new()
        };
        Ok(Response::new(ListRejectedRowsResponse {
            rows,
            next_page_token,
        }))
    }

    async fn ingest_rows(&self, _: Request<IngestRowsRequest>) -> Reply<IngestRowsResponse> {
        Err(Status::unimplemented(""))
    }

    async fn list_batches(&self, _: Request<ListBatchesRequest>) -> Reply<ListBatchesResponse> {
        Err(Status::unimplemented(""))
    }

    async fn get_raw_load(&self, _: Request<GetRawLoadRequest>) -> Reply<GetRawLoadResponse> {
        Err(Status::unimplemented(""))
    }

    async fn list_raw_loads(&self, _: Request<ListRawLoadsRequest>) -> Reply<ListRawLoadsResponse> {
        Err(Status::unimplemented(""))
    }

    async fn trace_row(&self, _: Request<TraceRowRequest>) -> Reply<TraceRowResponse> {
        Err(Status::unimplemented(""))
    }

    async fn abandon_batch(&self, _: Request<AbandonBatchRequest>) -> Reply<AbandonBatchResponse> {
        Err(Status::unimplemented(""))
    }

    async fn retry_failed_loads(
        &self,
        _: Request<RetryFailedLoadsRequest>,
    ) -> Reply<RetryFailedLoadsResponse> {
        Err(Status::unimplemented(""))
    }

    async fn list_audit_log(&self, _: Request<ListAuditLogRequest>) -> Reply<ListAuditLogResponse> {
        Err(Status::unimplemented(""))
    }
}
