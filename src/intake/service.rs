//! The tonic service: parse, call, convert. No SQL here.

use std::{collections::HashSet, sync::Arc};

use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::{Request, Response, Status, Streaming};

use super::{
    bulk, convert,
    frame::within,
    ingest_rows::IngestCall,
    repository::{self, AuditFilter, BatchFilter, BatchKey, LoadFilter, RejectedFilter},
    trace::{identity_of, trace},
};
use crate::{
    config::Limits,
    db::{Pool, PooledConnection},
    domain::{BatchId, Email},
    metrics::Metrics,
    proto::intake::v1::{self as pb, intake_service_server::IntakeService},
    room::{AnswerStream, Room},
    rpc::{Error, PageRequest, actor, from_timestamp},
};

/// The longest reason that a caller gives for the audit trail, in bytes.
const MAX_REASON_BYTES: usize = 1_000;

/// The Intake service.
#[derive(Clone)]
pub struct Intake(Arc<Room>);

impl Intake {
    /// A service over a pool. Streams end when `shutdown` is cancelled; `tasks` knows when they have.
    pub fn new(
        pool: Pool,
        limits: Limits,
        metrics: Metrics,
        shutdown: CancellationToken,
        tasks: TaskTracker,
    ) -> Self {
        Self(Room::new(pool, limits, metrics, shutdown, tasks))
    }
}

#[tonic::async_trait]
impl IntakeService for Intake {
    type BulkIngestStream = AnswerStream<pb::BulkIngestResponse>;

    async fn ingest_rows(
        &self,
        request: Request<pb::IngestRowsRequest>,
    ) -> Result<Response<pb::IngestRowsResponse>, Status> {
        let actor = actor(&request);
        let request = request.into_inner();
        let limits = self.0.limits.clone();
        let call = tokio::task::spawn_blocking(move || IngestCall::parse(request, &limits))
            .await
            .map_err(Error::internal)??;
        let connection = self.0.connection().await?;
        Ok(Response::new(
            self.0
                .uncut(call.run(connection, actor, self.0.metrics.clone()))
                .await?,
        ))
    }

    async fn bulk_ingest(
        &self,
        request: Request<Streaming<pb::BulkIngestRequest>>,
    ) -> Result<Response<Self::BulkIngestStream>, Status> {
        let actor = actor(&request);
        let inbound = request.into_inner();
        let serve = |room, answers| bulk::serve(room, actor, inbound, answers);
        Ok(self.0.stream(serve))
    }

    async fn get_batch(
        &self,
        request: Request<pb::GetBatchRequest>,
    ) -> Result<Response<pb::GetBatchResponse>, Status> {
        let batch_id = convert::batch_id(&request.into_inner().batch_id)?;
        let mut connection = self.0.connection().await?;
        let batch = batch(&mut connection, &batch_id).await?;
        Ok(Response::new(pb::GetBatchResponse { batch: Some(batch) }))
    }

    async fn list_batches(
        &self,
        request: Request<pb::ListBatchesRequest>,
    ) -> Result<Response<pb::ListBatchesResponse>, Status> {
        let mut request = request.into_inner();
        let paging = PageRequest::of("ListBatches", &mut request, |request| {
            (&mut request.page_size, &mut request.page_token)
        })?
        .within(self.0.limits.max_page_bytes);
        let filter = BatchFilter {
            source: convert::optional(&request.source, convert::source)?,
            state: convert::batch_state(request.state)?,
            order: convert::order(request.order_by)?,
        };
        let mut connection = self.0.connection().await?;
        let page = repository::list_batches(&mut connection, &filter, &paging).await?;
        let last = page.items.last().filter(|_| page.more).map(BatchKey::of);
        Ok(Response::new(pb::ListBatchesResponse {
            next_page_token: next_page_token(&paging, last)?,
            batches: page
                .items
                .into_iter()
                .map(|batch| convert::batch(batch, Vec::new()))
                .collect(),
        }))
    }

    async fn get_raw_load(
        &self,
        request: Request<pb::GetRawLoadRequest>,
    ) -> Result<Response<pb::GetRawLoadResponse>, Status> {
        let load_id = request.into_inner().load_id;
        let mut connection = self.0.connection().await?;
        let load = repository::get_load(&mut connection, load_id)
            .await?
            .ok_or_else(|| not_found("load", load_id))?;
        Ok(Response::new(pb::GetRawLoadResponse {
            load: Some(convert::raw_load(load)),
        }))
    }

    async fn list_raw_loads(
        &self,
        request: Request<pb::ListRawLoadsRequest>,
    ) -> Result<Response<pb::ListRawLoadsResponse>, Status> {
        let mut request = request.into_inner();
        let paging = PageRequest::of("ListRawLoads", &mut request, |request| {
            (&mut request.page_size, &mut request.page_token)
        })?
        .within(self.0.limits.max_page_bytes);
        let filter = LoadFilter {
            batch_id: convert::optional(&request.batch_id, convert::batch_id)?,
            source: convert::optional(&request.source, convert::source)?,
            status: convert::load_status(request.status)?,
            email: convert::optional(&request.email, |email| {
                Email::parse(email).map_err(|error| Error::invalid("email", error))
            })?,
            created_from: from_timestamp("created_from", request.created_from)?,
            created_before: from_timestamp("created_before", request.created_before)?,
            order: convert::order(request.order_by)?,
        };
        let mut connection = self.0.connection().await?;
        let page = repository::list_loads(&mut connection, &filter, &paging).await?;
        let last = page.items.last().filter(|_| page.more);
        Ok(Response::new(pb::ListRawLoadsResponse {
            next_page_token: next_page_token(&paging, last.map(|load| load.load_id))?,
            loads: page.items.into_iter().map(convert::raw_load).collect(),
        }))
    }

    async fn list_rejected_rows(
        &self,
        request: Request<pb::ListRejectedRowsRequest>,
    ) -> Result<Response<pb::ListRejectedRowsResponse>, Status> {
        let mut request = request.into_inner();
        let paging = PageRequest::of("ListRejectedRows", &mut request, |request| {
            (&mut request.page_size, &mut request.page_token)
        })?
        .within(self.0.limits.max_page_bytes);
        let filter = RejectedFilter {
            batch_id: convert::optional(&request.batch_id, convert::batch_id)?,
            reason: convert::rejection_reason(request.reason)?,
            order: convert::order(request.order_by)?,
        };
        let mut connection = self.0.connection().await?;
        let page = repository::list_rejected(&mut connection, &filter, &paging).await?;
        let last = page.items.last().filter(|_| page.more);
        Ok(Response::new(pb::ListRejectedRowsResponse {
            next_page_token: next_page_token(&paging, last.map(|row| row.rejected_id))?,
            rows: page.items.into_iter().map(convert::rejected_row).collect(),
        }))
    }

    async fn trace_row(
        &self,
        request: Request<pb::TraceRowRequest>,
    ) -> Result<Response<pb::TraceRowResponse>, Status> {
        let mut connection = self.0.connection().await?;
        let row = match request.into_inner().key {
            Some(pb::trace_row_request::Key::Row(row)) => convert::row_identity(&row)?,
            Some(pb::trace_row_request::Key::LoadId(load_id)) => {
                identity_of(&mut connection, load_id).await?
            }
            None => return Err(Error::invalid("key", "give either row or load_id").into()),
        };
        Ok(Response::new(trace(&mut connection, row).await?))
    }

    async fn abandon_batch(
        &self,
        request: Request<pb::AbandonBatchRequest>,
    ) -> Result<Response<pb::AbandonBatchResponse>, Status> {
        let actor = actor(&request);
        let request = request.into_inner();
        let batch_id = convert::batch_id(&request.batch_id)?;
        if request.reason.len() > MAX_REASON_BYTES {
            let description = format!(
                "has {} bytes, at most {MAX_REASON_BYTES} are taken",
                request.reason.len()
            );
            return Err(Error::invalid("reason", description).into());
        }
        let reason = convert::storable(&request.reason, MAX_REASON_BYTES);
        let mut connection = self.0.connection().await?;
        repository::abandon_batch(&mut connection, &batch_id, &reason, &actor).await?;
        // On the same connection: to wait for another one could fail what is done.
        let batch = batch(&mut connection, &batch_id).await?;
        Ok(Response::new(pb::AbandonBatchResponse {
            batch: Some(batch),
        }))
    }

    async fn retry_failed_loads(
        &self,
        request: Request<pb::RetryFailedLoadsRequest>,
    ) -> Result<Response<pb::RetryFailedLoadsResponse>, Status> {
        let actor = actor(&request);
        let request = request.into_inner();
        let mut connection = self.0.connection().await?;
        let (load_ids, next_page_token) = self.loads_to_retry(&mut connection, request).await?;
        let outcomes = repository::retry_failed_loads(&mut connection, &load_ids, &actor).await?;
        // A load that was named twice has two outcomes, and is pending again once.
        let retried: HashSet<i64> = outcomes
            .iter()
            .filter(|outcome| outcome.outcome == "retried")
            .map(|outcome| outcome.load_id)
            .collect();
        Ok(Response::new(pb::RetryFailedLoadsResponse {
            retried_count: i64::try_from(retried.len()).map_err(Error::internal)?,
            outcomes: outcomes.iter().map(convert::retried).collect(),
            next_page_token,
        }))
    }

    async fn list_audit_log(
        &self,
        request: Request<pb::ListAuditLogRequest>,
    ) -> Result<Response<pb::ListAuditLogResponse>, Status> {
        let mut request = request.into_inner();
        let paging = PageRequest::of("ListAuditLog", &mut request, |request| {
            (&mut request.page_size, &mut request.page_token)
        })?
        .within(self.0.limits.max_page_bytes);
        let filter = AuditFilter {
            action: convert::optional(&request.action, convert::action)?,
            load_id: (request.load_id != 0).then_some(request.load_id),
            contact_id: (request.contact_id != 0).then_some(request.contact_id),
            from: from_timestamp("from", request.from)?,
            before: from_timestamp("before", request.before)?,
            order: convert::order(request.order_by)?,
        };
        let mut connection = self.0.connection().await?;
        let page = repository::list_audit_log(&mut connection, &filter, &paging).await?;
        let last = page.items.last().filter(|_| page.more);
        Ok(Response::new(pb::ListAuditLogResponse {
            next_page_token: next_page_token(&paging, last.map(|entry| entry.log_id))?,
            entries: page.items.into_iter().map(convert::audit_entry).collect(),
        }))
    }
}

impl Intake {
    /// The loads that a request names, or the next failed ones of its batch and the token for those after.
    async fn loads_to_retry(
        &self,
        connection: &mut PooledConnection,
        mut request: pb::RetryFailedLoadsRequest,
    ) -> Result<(Vec<i64>, String), Error> {
        match (request.load_ids.is_empty(), request.batch_id.is_empty()) {
            (true, true) => Err(Error::invalid("load_ids", "give load_ids or batch_id")),
            (false, false) => Err(Error::invalid(
                "load_ids",
                "give either load_ids or batch_id, not both",
            )),
            (false, true) => {
                let most = self.0.limits.max_ingest_rows;
                within("load_ids", request.load_ids.len(), most, "max-ingest-rows")?;
                Ok((request.load_ids, String::new()))
            }
            (true, false) => {
                let token = std::mem::take(&mut request.page_token);
                let paging = PageRequest::parse("RetryFailedLoads", &request, 0, &token)?;
                let batch_id = convert::batch_id(&request.batch_id)?;
                let failed = repository::failed_loads(connection, &batch_id, paging.after).await?;
                let last = failed.load_ids.last().filter(|_| failed.more).copied();
                Ok((failed.load_ids, next_page_token(&paging, last)?))
            }
        }
    }
}

async fn batch(connection: &mut PooledConnection, batch_id: &BatchId) -> Result<pb::Batch, Error> {
    let (batch, lanes) = repository::get_batch(connection, batch_id)
        .await?
        .ok_or_else(|| not_found("batch", batch_id))?;
    Ok(convert::batch(batch, lanes))
}

fn next_page_token<Key: serde::Serialize + serde::de::DeserializeOwned>(
    paging: &PageRequest<Key>,
    last: Option<Key>,
) -> Result<String, Error> {
    last.map_or(Ok(String::new()), |key| paging.token(&key))
}

pub(super) fn not_found(resource: &'static str, key: impl ToString) -> Error {
    Error::NotFound {
        resource,
        key: key.to_string(),
    }
}
