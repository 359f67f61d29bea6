//! The tonic service: one line a call, since each subject has a file of its own.

use std::sync::Arc;

use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::{Request, Response, Status};

use super::{contacts, promotion, repository::contacts::PointReads, suppressions};
use crate::{
    config::Limits,
    db::Pool,
    metrics::Metrics,
    proto::vault::v1::{self as pb, vault_service_server::VaultService},
    room::{AnswerStream, Room},
    rpc::{actor, client},
};

/// The Vault service.
#[derive(Clone)]
pub struct Vault {
    room: Arc<Room>,
    point_reads: Arc<PointReads>,
    exports: contacts::Exports,
}

impl Vault {
    /// A service over a pool. Long jobs end when `shutdown` is cancelled; `tasks` knows when they have.
    pub fn new(
        pool: Pool,
        limits: Limits,
        metrics: Metrics,
        shutdown: CancellationToken,
        tasks: TaskTracker,
    ) -> Self {
        Self {
            point_reads: Arc::new(PointReads::new(&pool)),
            exports: contacts::Exports::new(pool.usage().max),
            room: Room::new(pool, limits, metrics, shutdown, tasks),
        }
    }
}

#[tonic::async_trait]
impl VaultService for Vault {
    type PromoteContactsStream = AnswerStream<pb::PromoteContactsResponse>;
    type ExportContactsStream = AnswerStream<pb::ExportContactsResponse>;

    async fn promote_contacts(
        &self,
        request: Request<pb::PromoteContactsRequest>,
    ) -> Result<Response<Self::PromoteContactsStream>, Status> {
        let actor = actor(&request);
        let call = promotion::Promotion::parse(request.into_inner(), actor)?;
        Ok(self.room.stream(|room, answers| call.run(room, answers)))
    }

    async fn get_contact(
        &self,
        request: Request<pb::GetContactRequest>,
    ) -> Result<Response<pb::GetContactResponse>, Status> {
        Ok(Response::new(
            contacts::get(&self.point_reads, request.into_inner()).await?,
        ))
    }

    async fn batch_get_contacts(
        &self,
        request: Request<pb::BatchGetContactsRequest>,
    ) -> Result<Response<pb::BatchGetContactsResponse>, Status> {
        Ok(Response::new(
            contacts::batch_get(&self.room, request.into_inner()).await?,
        ))
    }

    async fn list_contacts(
        &self,
        request: Request<pb::ListContactsRequest>,
    ) -> Result<Response<pb::ListContactsResponse>, Status> {
        Ok(Response::new(
            contacts::list(&self.room, request.into_inner()).await?,
        ))
    }

    async fn export_contacts(
        &self,
        request: Request<pb::ExportContactsRequest>,
    ) -> Result<Response<Self::ExportContactsStream>, Status> {
        let client = client(&request);
        let (call, place) = contacts::Export::admit(&self.exports, client, request.into_inner())?;
        let answer = self.room.stream(|room, answers| call.run(room, answers));
        Ok(answer.map(|answer| place.until_read(answer)))
    }

    async fn update_contact(
        &self,
        request: Request<pb::UpdateContactRequest>,
    ) -> Result<Response<pb::UpdateContactResponse>, Status> {
        let actor = actor(&request);
        Ok(Response::new(
            contacts::update(&self.room, request.into_inner(), actor).await?,
        ))
    }

    async fn delete_contact(
        &self,
        request: Request<pb::DeleteContactRequest>,
    ) -> Result<Response<pb::DeleteContactResponse>, Status> {
        let actor = actor(&request);
        Ok(Response::new(
            contacts::delete(&self.room, request.into_inner(), actor).await?,
        ))
    }

    async fn batch_score_contacts(
        &self,
        request: Request<pb::BatchScoreContactsRequest>,
    ) -> Result<Response<pb::BatchScoreContactsResponse>, Status> {
        let actor = actor(&request);
        Ok(Response::new(
            contacts::score(&self.room, request.into_inner(), actor).await?,
        ))
    }

    async fn suppress_contacts(
        &self,
        request: Request<pb::SuppressContactsRequest>,
    ) -> Result<Response<pb::SuppressContactsResponse>, Status> {
        let actor = actor(&request);
        Ok(Response::new(
            suppressions::suppress(&self.room, request.into_inner(), actor).await?,
        ))
    }

    async fn unsuppress_contact(
        &self,
        request: Request<pb::UnsuppressContactRequest>,
    ) -> Result<Response<pb::UnsuppressContactResponse>, Status> {
        let actor = actor(&request);
        Ok(Response::new(
            suppressions::unsuppress(&self.room, request.into_inner(), actor).await?,
        ))
    }

    async fn list_suppressions(
        &self,
        request: Request<pb::ListSuppressionsRequest>,
    ) -> Result<Response<pb::ListSuppressionsResponse>, Status> {
        Ok(Response::new(
            suppressions::list(&self.room, request.into_inner()).await?,
        ))
    }

    async fn check_contactability(
        &self,
        request: Request<pb::CheckContactabilityRequest>,
    ) -> Result<Response<pb::CheckContactabilityResponse>, Status> {
        Ok(Response::new(
            suppressions::check(&self.room, request.into_inner()).await?,
        ))
    }
}
