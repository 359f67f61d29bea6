//! The tonic service: one line a call, since each subject has a file of its own.

use std::sync::Arc;

use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::{Request, Response, Status};

use super::{
    promotion::PromoteSlots,
    records,
    staging::{StageContacts, StageRows},
    write,
};
use crate::{
    config::Limits,
    db::Pool,
    golden::{from_vault::StageFromVault, promotion::Promotion, staging},
    metrics::Metrics,
    proto::company::v1::{self as pb, company_service_server::CompanyService},
    room::{AnswerStream, Room},
    rpc::actor,
};

/// The Company service.
#[derive(Clone)]
pub struct Company(Arc<Room>);

impl Company {
    /// A service over a pool. Long jobs end when `shutdown` is cancelled; `tasks` knows when they have.
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
impl CompanyService for Company {
    type StageCompaniesFromVaultStream = AnswerStream<pb::StageCompaniesFromVaultResponse>;
    type PromoteCompaniesStream = AnswerStream<pb::PromoteCompaniesResponse>;

    async fn stage_companies(
        &self,
        request: Request<pb::StageCompaniesRequest>,
    ) -> Result<Response<pb::StageCompaniesResponse>, Status> {
        let actor = actor(&request);
        Ok(Response::new(
            staging::stage::<StageRows>(&self.0, request.into_inner(), actor).await?,
        ))
    }

    async fn stage_companies_from_vault(
        &self,
        request: Request<pb::StageCompaniesFromVaultRequest>,
    ) -> Result<Response<Self::StageCompaniesFromVaultStream>, Status> {
        let actor = actor(&request);
        let call = StageFromVault::parse(request.into_inner().contact_ids, actor)?;
        Ok(self
            .0
            .stream(|room, answers| call.run::<StageContacts>(room, answers)))
    }

    async fn list_company_slots(
        &self,
        request: Request<pb::ListCompanySlotsRequest>,
    ) -> Result<Response<pb::ListCompanySlotsResponse>, Status> {
        Ok(Response::new(
            records::list_slots(&self.0, request.into_inner()).await?,
        ))
    }

    async fn promote_companies(
        &self,
        request: Request<pb::PromoteCompaniesRequest>,
    ) -> Result<Response<Self::PromoteCompaniesStream>, Status> {
        let actor = actor(&request);
        let sent = request.into_inner();
        let call = Promotion::parse(&sent.slot_ids, &sent.batch_id, sent.validate_only, actor)?;
        Ok(self
            .0
            .stream(|room, answers| call.run::<PromoteSlots>(room, answers)))
    }

    async fn get_company(
        &self,
        request: Request<pb::GetCompanyRequest>,
    ) -> Result<Response<pb::GetCompanyResponse>, Status> {
        Ok(Response::new(
            records::get(&self.0, request.into_inner()).await?,
        ))
    }

    async fn batch_get_companies(
        &self,
        request: Request<pb::BatchGetCompaniesRequest>,
    ) -> Result<Response<pb::BatchGetCompaniesResponse>, Status> {
        Ok(Response::new(
            records::batch_get(&self.0, request.into_inner()).await?,
        ))
    }

    async fn list_companies(
        &self,
        request: Request<pb::ListCompaniesRequest>,
    ) -> Result<Response<pb::ListCompaniesResponse>, Status> {
        Ok(Response::new(
            records::list(&self.0, request.into_inner()).await?,
        ))
    }

    async fn update_company(
        &self,
        request: Request<pb::UpdateCompanyRequest>,
    ) -> Result<Response<pb::UpdateCompanyResponse>, Status> {
        let actor = actor(&request);
        Ok(Response::new(
            write::update(&self.0, request.into_inner(), actor).await?,
        ))
    }

    async fn archive_company(
        &self,
        request: Request<pb::ArchiveCompanyRequest>,
    ) -> Result<Response<pb::ArchiveCompanyResponse>, Status> {
        let actor = actor(&request);
        Ok(Response::new(
            write::archive(&self.0, request.into_inner(), actor).await?,
        ))
    }

    async fn list_company_history(
        &self,
        request: Request<pb::ListCompanyHistoryRequest>,
    ) -> Result<Response<pb::ListCompanyHistoryResponse>, Status> {
        Ok(Response::new(
            records::list_history(&self.0, request.into_inner()).await?,
        ))
    }
}
