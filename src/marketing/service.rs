//! The tonic service: one line a call, since each subject has a file of its own.

use std::sync::Arc;

use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::{Request, Response, Status};

use super::{campaigns, conversions, engagements, feedback, outreach, reports};
use crate::{
    config::Limits,
    db::Pool,
    metrics::Metrics,
    proto::marketing::v1::{self as pb, marketing_service_server::MarketingService},
    room::Room,
    rpc::actor,
};

/// The Marketing service.
#[derive(Clone)]
pub struct Marketing {
    room: Arc<Room>,
    gate: Arc<outreach::Gate>,
    soft_bounce_limit: i32,
}

impl Marketing {
    /// A service over a pool. As many soft bounces in a row as `soft_bounce_limit` count as a hard one. `tasks` knows when writes that outlive their callers have ended.
    pub fn new(
        pool: Pool,
        limits: Limits,
        metrics: Metrics,
        soft_bounce_limit: i32,
        shutdown: CancellationToken,
        tasks: TaskTracker,
    ) -> Self {
        let room = Room::new(pool, limits, metrics, shutdown, tasks);
        Self {
            gate: outreach::gate(&room),
            room,
            soft_bounce_limit,
        }
    }
}

#[tonic::async_trait]
impl MarketingService for Marketing {
    async fn create_campaign(
        &self,
        request: Request<pb::CreateCampaignRequest>,
    ) -> Result<Response<pb::CreateCampaignResponse>, Status> {
        let actor = actor(&request);
        Ok(Response::new(
            campaigns::create(&self.room, request.into_inner(), actor).await?,
        ))
    }

    async fn get_campaign(
        &self,
        request: Request<pb::GetCampaignRequest>,
    ) -> Result<Response<pb::GetCampaignResponse>, Status> {
        Ok(Response::new(
            campaigns::get(&self.room, request.into_inner()).await?,
        ))
    }

    async fn list_campaigns(
        &self,
        request: Request<pb::ListCampaignsRequest>,
    ) -> Result<Response<pb::ListCampaignsResponse>, Status> {
        Ok(Response::new(
            campaigns::list(&self.room, request.into_inner()).await?,
        ))
    }

    async fn update_campaign(
        &self,
        request: Request<pb::UpdateCampaignRequest>,
    ) -> Result<Response<pb::UpdateCampaignResponse>, Status> {
        let actor = actor(&request);
        Ok(Response::new(
            campaigns::update(&self.room, request.into_inner(), actor).await?,
        ))
    }

    async fn start_campaign(
        &self,
        request: Request<pb::StartCampaignRequest>,
    ) -> Result<Response<pb::StartCampaignResponse>, Status> {
        let actor = actor(&request);
        Ok(Response::new(
            campaigns::start(&self.room, request.into_inner(), actor).await?,
        ))
    }

    async fn pause_campaign(
        &self,
        request: Request<pb::PauseCampaignRequest>,
    ) -> Result<Response<pb::PauseCampaignResponse>, Status> {
        let actor = actor(&request);
        Ok(Response::new(
            campaigns::pause(&self.room, request.into_inner(), actor).await?,
        ))
    }

    async fn resume_campaign(
        &self,
        request: Request<pb::ResumeCampaignRequest>,
    ) -> Result<Response<pb::ResumeCampaignResponse>, Status> {
        let actor = actor(&request);
        Ok(Response::new(
            campaigns::resume(&self.room, request.into_inner(), actor).await?,
        ))
    }

    async fn complete_campaign(
        &self,
        request: Request<pb::CompleteCampaignRequest>,
    ) -> Result<Response<pb::CompleteCampaignResponse>, Status> {
        let actor = actor(&request);
        Ok(Response::new(
            campaigns::complete(&self.room, request.into_inner(), actor).await?,
        ))
    }

    async fn record_outreach(
        &self,
        request: Request<pb::RecordOutreachRequest>,
    ) -> Result<Response<pb::RecordOutreachResponse>, Status> {
        let actor = actor(&request);
        Ok(Response::new(
            outreach::record(&self.room, &self.gate, request.into_inner(), actor).await?,
        ))
    }

    async fn record_engagements(
        &self,
        request: Request<pb::RecordEngagementsRequest>,
    ) -> Result<Response<pb::RecordEngagementsResponse>, Status> {
        let actor = actor(&request);
        Ok(Response::new(
            engagements::record(
                &self.room,
                request.into_inner(),
                self.soft_bounce_limit,
                actor,
            )
            .await?,
        ))
    }

    async fn list_outreach(
        &self,
        request: Request<pb::ListOutreachRequest>,
    ) -> Result<Response<pb::ListOutreachResponse>, Status> {
        Ok(Response::new(
            outreach::list(&self.room, request.into_inner()).await?,
        ))
    }

    async fn record_conversions(
        &self,
        request: Request<pb::RecordConversionsRequest>,
    ) -> Result<Response<pb::RecordConversionsResponse>, Status> {
        let actor = actor(&request);
        Ok(Response::new(
            conversions::record(&self.room, request.into_inner(), actor).await?,
        ))
    }

    async fn list_conversions(
        &self,
        request: Request<pb::ListConversionsRequest>,
    ) -> Result<Response<pb::ListConversionsResponse>, Status> {
        Ok(Response::new(
            conversions::list(&self.room, request.into_inner()).await?,
        ))
    }

    async fn get_attribution_report(
        &self,
        request: Request<pb::GetAttributionReportRequest>,
    ) -> Result<Response<pb::GetAttributionReportResponse>, Status> {
        Ok(Response::new(
            conversions::attribution_report(&self.room, request.into_inner()).await?,
        ))
    }

    async fn get_campaign_performance(
        &self,
        request: Request<pb::GetCampaignPerformanceRequest>,
    ) -> Result<Response<pb::GetCampaignPerformanceResponse>, Status> {
        Ok(Response::new(
            reports::get_performance(&self.room, request.into_inner()).await?,
        ))
    }

    async fn list_campaign_performance(
        &self,
        request: Request<pb::ListCampaignPerformanceRequest>,
    ) -> Result<Response<pb::ListCampaignPerformanceResponse>, Status> {
        Ok(Response::new(
            reports::list_performance(&self.room, request.into_inner()).await?,
        ))
    }

    async fn get_funnel(
        &self,
        request: Request<pb::GetFunnelRequest>,
    ) -> Result<Response<pb::GetFunnelResponse>, Status> {
        Ok(Response::new(
            reports::funnel(&self.room, request.into_inner()).await?,
        ))
    }

    async fn list_source_quality(
        &self,
        request: Request<pb::ListSourceQualityRequest>,
    ) -> Result<Response<pb::ListSourceQualityResponse>, Status> {
        Ok(Response::new(
            reports::list_source_quality(&self.room, request.into_inner()).await?,
        ))
    }

    async fn create_feedback_report(
        &self,
        request: Request<pb::CreateFeedbackReportRequest>,
    ) -> Result<Response<pb::CreateFeedbackReportResponse>, Status> {
        Ok(Response::new(
            feedback::create(&self.room, request.into_inner()).await?,
        ))
    }

    async fn list_feedback_reports(
        &self,
        request: Request<pb::ListFeedbackReportsRequest>,
    ) -> Result<Response<pb::ListFeedbackReportsResponse>, Status> {
        Ok(Response::new(
            feedback::list(&self.room, request.into_inner()).await?,
        ))
    }
}
