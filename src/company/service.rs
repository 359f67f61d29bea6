//! The tonic service: one line a call, since each subject has a file of its own.

use std::sync::Arc;

use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::{Request, Response, Status};

use crate::{
    config::Limits,
    db::Pool,
    proto::company::v1::{self as pb, company_service_server::CompanyService},
    room::{AnswerStream, Room},
};

/// The Company service.
#[derive(Clone)]
pub struct Company(Arc<Room>);

impl Company {
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
impl CompanyService for Company {
    type StageCompaniesFromVaultStream = AnswerStream<pb::StageCompaniesFromVaultResponse>;
    type PromoteCompaniesStream = AnswerStream<pb::PromoteCompaniesResponse>;

    async fn stage_companies(
        &self,
        _request: Request<pb::StageCompaniesRequest>,
    ) -> Result<Response<pb::StageCompaniesResponse>, Status> {
        Err(Status::unimplemented("not built yet"))
    }

    async fn stage_companies_from_vault(
        &self,
        _request: Request<pb::StageCompaniesFromVaultRequest>,
    ) -> Result<Response<Self::StageCompaniesFromVaultStream>, Status> {
        Err(Status::unimplemented("not built yet"))
    }

    async fn list_company_slots(
        &self,
        _request: Request<pb::ListCompanySlotsRequest>,
    ) -> Result<Response<pb::ListCompanySlotsResponse>, Status> {
        Err(Status::unimplemented("not built yet"))
    }

    async fn promote_companies(
        &self,
        _request: Request<pb::PromoteCompaniesRequest>,
    ) -> Result<Response<Self::PromoteCompaniesStream>, Status> {
        Err(Status::unimplemented("not built yet"))
    }

    async fn get_company(
        &self,
        _request: Request<pb::GetCompanyRequest>,
    ) -> Result<Response<pb::GetCompanyResponse>, Status> {
        Err(Status::unimplemented("not built yet"))
    }

    async fn batch_get_companies(
        &self,
        _request: Request<pb::BatchGetCompaniesRequest>,
    ) -> Result<Response<pb::BatchGetCompaniesResponse>, Status> {
        Err(Status::unimplemented("not built yet"))
    }

    async fn list_companies(
        &self,
        _request: Request<pb::ListCompaniesRequest>,
    ) -> Result<Response<pb::ListCompaniesResponse>, Status> {
        Err(Status::unimplemented("not built yet"))
    }

    async fn update_company(
        &self,
        _request: Request<pb::UpdateCompanyRequest>,
    ) -> Result<Response<pb::UpdateCompanyResponse>, Status> {
        Err(Status::unimplemented("not built yet"))
    }

    async fn archive_company(
        &self,
        _request: Request<pb::ArchiveCompanyRequest>,
    ) -> Result<Response<pb::ArchiveCompanyResponse>, Status> {
        Err(Status::unimplemented("not built yet"))
    }

    async fn list_company_history(
        &self,
        _request: Request<pb::ListCompanyHistoryRequest>,
    ) -> Result<Response<pb::ListCompanyHistoryResponse>, Status> {
        Err(Status::unimplemented("not built yet"))
    }
}
