//! The tonic service: one line a call, since each subject has a file of its own.

use std::sync::Arc;

use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::{Request, Response, Status};

use super::{enrichment, golden, intelligence};
use crate::{
    config::Limits,
    db::Pool,
    proto::people::v1::{self as pb, people_service_server::PeopleService},
    room::{AnswerStream, Room},
    rpc::actor,
};

/// The People service.
#[derive(Clone)]
pub struct People(Arc<Room>);

impl People {
    /// A service over a pool. Long jobs end when `shutdown` is cancelled; `tasks` knows when they have.
    pub fn new(
        pool: Pool,
        limits: Limits,
        shutdown: CancellationToken,
        tasks: TaskTracker,
    ) -> Self {
        Self(Room::new(pool, limits, shutdown, tasks))
    }
}

#[tonic::async_trait]
impl PeopleService for People {
    type StagePeopleFromVaultStream = AnswerStream<pb::StagePeopleFromVaultResponse>;
    type PromotePeopleStream = AnswerStream<pb::PromotePeopleResponse>;

    async fn stage_people(
        &self,
        request: Request<pb::StagePeopleRequest>,
    ) -> Result<Response<pb::StagePeopleResponse>, Status> {
        let actor = actor(&request);
        golden::stage_people(&self.0, request.into_inner(), actor).await
    }

    async fn stage_people_from_vault(
        &self,
        request: Request<pb::StagePeopleFromVaultRequest>,
    ) -> Result<Response<Self::StagePeopleFromVaultStream>, Status> {
        let actor = actor(&request);
        golden::stage_people_from_vault(&self.0, request.into_inner(), actor).await
    }

    async fn list_person_slots(
        &self,
        request: Request<pb::ListPersonSlotsRequest>,
    ) -> Result<Response<pb::ListPersonSlotsResponse>, Status> {
        let actor = actor(&request);
        golden::list_person_slots(&self.0, request.into_inner(), actor).await
    }

    async fn promote_people(
        &self,
        request: Request<pb::PromotePeopleRequest>,
    ) -> Result<Response<Self::PromotePeopleStream>, Status> {
        let actor = actor(&request);
        golden::promote_people(&self.0, request.into_inner(), actor).await
    }

    async fn get_person(
        &self,
        request: Request<pb::GetPersonRequest>,
    ) -> Result<Response<pb::GetPersonResponse>, Status> {
        let actor = actor(&request);
        golden::get_person(&self.0, request.into_inner(), actor).await
    }

    async fn batch_get_people(
        &self,
        request: Request<pb::BatchGetPeopleRequest>,
    ) -> Result<Response<pb::BatchGetPeopleResponse>, Status> {
        let actor = actor(&request);
        golden::batch_get_people(&self.0, request.into_inner(), actor).await
    }

    async fn list_people(
        &self,
        request: Request<pb::ListPeopleRequest>,
    ) -> Result<Response<pb::ListPeopleResponse>, Status> {
        let actor = actor(&request);
        golden::list_people(&self.0, request.into_inner(), actor).await
    }

    async fn update_person(
        &self,
        request: Request<pb::UpdatePersonRequest>,
    ) -> Result<Response<pb::UpdatePersonResponse>, Status> {
        let actor = actor(&request);
        golden::update_person(&self.0, request.into_inner(), actor).await
    }

    async fn archive_person(
        &self,
        request: Request<pb::ArchivePersonRequest>,
    ) -> Result<Response<pb::ArchivePersonResponse>, Status> {
        let actor = actor(&request);
        golden::archive_person(&self.0, request.into_inner(), actor).await
    }

    async fn list_person_history(
        &self,
        request: Request<pb::ListPersonHistoryRequest>,
    ) -> Result<Response<pb::ListPersonHistoryResponse>, Status> {
        let actor = actor(&request);
        golden::list_person_history(&self.0, request.into_inner(), actor).await
    }

    async fn put_intelligence(
        &self,
        request: Request<pb::PutIntelligenceRequest>,
    ) -> Result<Response<pb::PutIntelligenceResponse>, Status> {
        let actor = actor(&request);
        intelligence::put_intelligence(&self.0, request.into_inner(), actor).await
    }

    async fn get_intelligence(
        &self,
        request: Request<pb::GetIntelligenceRequest>,
    ) -> Result<Response<pb::GetIntelligenceResponse>, Status> {
        let actor = actor(&request);
        intelligence::get_intelligence(&self.0, request.into_inner(), actor).await
    }

    async fn enqueue_enrichment(
        &self,
        request: Request<pb::EnqueueEnrichmentRequest>,
    ) -> Result<Response<pb::EnqueueEnrichmentResponse>, Status> {
        let actor = actor(&request);
        enrichment::enqueue_enrichment(&self.0, request.into_inner(), actor).await
    }

    async fn lease_enrichment(
        &self,
        request: Request<pb::LeaseEnrichmentRequest>,
    ) -> Result<Response<pb::LeaseEnrichmentResponse>, Status> {
        let actor = actor(&request);
        enrichment::lease_enrichment(&self.0, request.into_inner(), actor).await
    }

    async fn complete_enrichment(
        &self,
        request: Request<pb::CompleteEnrichmentRequest>,
    ) -> Result<Response<pb::CompleteEnrichmentResponse>, Status> {
        let actor = actor(&request);
        enrichment::complete_enrichment(&self.0, request.into_inner(), actor).await
    }

    async fn fail_enrichment(
        &self,
        request: Request<pb::FailEnrichmentRequest>,
    ) -> Result<Response<pb::FailEnrichmentResponse>, Status> {
        let actor = actor(&request);
        enrichment::fail_enrichment(&self.0, request.into_inner(), actor).await
    }

    async fn list_enrichment(
        &self,
        request: Request<pb::ListEnrichmentRequest>,
    ) -> Result<Response<pb::ListEnrichmentResponse>, Status> {
        let actor = actor(&request);
        enrichment::list_enrichment(&self.0, request.into_inner(), actor).await
    }

    async fn revive_enrichment(
        &self,
        request: Request<pb::ReviveEnrichmentRequest>,
    ) -> Result<Response<pb::ReviveEnrichmentResponse>, Status> {
        let actor = actor(&request);
        enrichment::revive_enrichment(&self.0, request.into_inner(), actor).await
    }

    async fn get_enrichment_stats(
        &self,
        request: Request<pb::GetEnrichmentStatsRequest>,
    ) -> Result<Response<pb::GetEnrichmentStatsResponse>, Status> {
        let actor = actor(&request);
        enrichment::get_enrichment_stats(&self.0, request.into_inner(), actor).await
    }
}
