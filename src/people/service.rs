//! The tonic service: one line a call, since each subject has a file of its own.

use std::sync::Arc;

use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::{Request, Response, Status};

use super::{enrichment, golden, intelligence};
use crate::{
    config::{EnrichmentSettings, Limits},
    db::Pool,
    metrics::Metrics,
    proto::people::v1::{self as pb, people_service_server::PeopleService},
    room::{AnswerStream, Room},
    rpc::actor,
};

/// The People service.
#[derive(Clone)]
pub struct People {
    room: Arc<Room>,
    enrichment: Arc<EnrichmentSettings>,
}

impl People {
    /// A service over a pool. Long jobs end when `shutdown` is cancelled; `tasks` knows when they have.
    pub fn new(
        pool: Pool,
        limits: Limits,
        metrics: Metrics,
        enrichment: EnrichmentSettings,
        shutdown: CancellationToken,
        tasks: TaskTracker,
    ) -> Self {
        Self {
            room: Room::new(pool, limits, metrics, shutdown, tasks),
            enrichment: Arc::new(enrichment),
        }
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
        golden::stage_people(&self.room, request.into_inner(), actor).await
    }

    async fn stage_people_from_vault(
        &self,
        request: Request<pb::StagePeopleFromVaultRequest>,
    ) -> Result<Response<Self::StagePeopleFromVaultStream>, Status> {
        let actor = actor(&request);
        golden::stage_people_from_vault(&self.room, request.into_inner(), actor).await
    }

    async fn list_person_slots(
        &self,
        request: Request<pb::ListPersonSlotsRequest>,
    ) -> Result<Response<pb::ListPersonSlotsResponse>, Status> {
        let actor = actor(&request);
        golden::list_person_slots(&self.room, request.into_inner(), actor).await
    }

    async fn promote_people(
        &self,
        request: Request<pb::PromotePeopleRequest>,
    ) -> Result<Response<Self::PromotePeopleStream>, Status> {
        let actor = actor(&request);
        golden::promote_people(&self.room, request.into_inner(), actor).await
    }

    async fn get_person(
        &self,
        request: Request<pb::GetPersonRequest>,
    ) -> Result<Response<pb::GetPersonResponse>, Status> {
        let actor = actor(&request);
        golden::get_person(&self.room, request.into_inner(), actor).await
    }

    async fn batch_get_people(
        &self,
        request: Request<pb::BatchGetPeopleRequest>,
    ) -> Result<Response<pb::BatchGetPeopleResponse>, Status> {
        let actor = actor(&request);
        golden::batch_get_people(&self.room, request.into_inner(), actor).await
    }

    async fn list_people(
        &self,
        request: Request<pb::ListPeopleRequest>,
    ) -> Result<Response<pb::ListPeopleResponse>, Status> {
        let actor = actor(&request);
        golden::list_people(&self.room, request.into_inner(), actor).await
    }

    async fn update_person(
        &self,
        request: Request<pb::UpdatePersonRequest>,
    ) -> Result<Response<pb::UpdatePersonResponse>, Status> {
        let actor = actor(&request);
        golden::update_person(&self.room, request.into_inner(), actor).await
    }

    async fn archive_person(
        &self,
        request: Request<pb::ArchivePersonRequest>,
    ) -> Result<Response<pb::ArchivePersonResponse>, Status> {
        let actor = actor(&request);
        golden::archive_person(&self.room, request.into_inner(), actor).await
    }

    async fn list_person_history(
        &self,
        request: Request<pb::ListPersonHistoryRequest>,
    ) -> Result<Response<pb::ListPersonHistoryResponse>, Status> {
        let actor = actor(&request);
        golden::list_person_history(&self.room, request.into_inner(), actor).await
    }

    async fn put_intelligence(
        &self,
        request: Request<pb::PutIntelligenceRequest>,
    ) -> Result<Response<pb::PutIntelligenceResponse>, Status> {
        Ok(Response::new(
            intelligence::put_intelligence(&self.room, &self.enrichment, request.into_inner())
                .await?,
        ))
    }

    async fn get_intelligence(
        &self,
        request: Request<pb::GetIntelligenceRequest>,
    ) -> Result<Response<pb::GetIntelligenceResponse>, Status> {
        Ok(Response::new(
            intelligence::get_intelligence(&self.room, request.into_inner()).await?,
        ))
    }

    async fn enqueue_enrichment(
        &self,
        request: Request<pb::EnqueueEnrichmentRequest>,
    ) -> Result<Response<pb::EnqueueEnrichmentResponse>, Status> {
        let actor = actor(&request);
        Ok(Response::new(
            enrichment::enqueue_enrichment(
                &self.room,
                &self.enrichment,
                request.into_inner(),
                actor,
            )
            .await?,
        ))
    }

    async fn lease_enrichment(
        &self,
        request: Request<pb::LeaseEnrichmentRequest>,
    ) -> Result<Response<pb::LeaseEnrichmentResponse>, Status> {
        let actor = actor(&request);
        Ok(Response::new(
            enrichment::lease_enrichment(&self.room, &self.enrichment, request.into_inner(), actor)
                .await?,
        ))
    }

    async fn complete_enrichment(
        &self,
        request: Request<pb::CompleteEnrichmentRequest>,
    ) -> Result<Response<pb::CompleteEnrichmentResponse>, Status> {
        let actor = actor(&request);
        Ok(Response::new(
            enrichment::complete_enrichment(
                &self.room,
                &self.enrichment,
                request.into_inner(),
                actor,
            )
            .await?,
        ))
    }

    async fn fail_enrichment(
        &self,
        request: Request<pb::FailEnrichmentRequest>,
    ) -> Result<Response<pb::FailEnrichmentResponse>, Status> {
        Ok(Response::new(
            enrichment::fail_enrichment(&self.room, &self.enrichment, request.into_inner()).await?,
        ))
    }

    async fn list_enrichment(
        &self,
        request: Request<pb::ListEnrichmentRequest>,
    ) -> Result<Response<pb::ListEnrichmentResponse>, Status> {
        Ok(Response::new(
            enrichment::list_enrichment(&self.room, request.into_inner()).await?,
        ))
    }

    async fn revive_enrichment(
        &self,
        request: Request<pb::ReviveEnrichmentRequest>,
    ) -> Result<Response<pb::ReviveEnrichmentResponse>, Status> {
        let actor = actor(&request);
        Ok(Response::new(
            enrichment::revive_enrichment(
                &self.room,
                &self.enrichment,
                request.into_inner(),
                actor,
            )
            .await?,
        ))
    }

    async fn get_enrichment_stats(
        &self,
        request: Request<pb::GetEnrichmentStatsRequest>,
    ) -> Result<Response<pb::GetEnrichmentStatsResponse>, Status> {
        Ok(Response::new(
            enrichment::get_enrichment_stats(&self.room, request.into_inner()).await?,
        ))
    }
}
