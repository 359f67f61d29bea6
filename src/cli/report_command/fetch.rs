//! What the service says, page by page.

use super::{Error, Order, State};
use crate::{
    cli::client::Service,
    proto::marketing::v1::{
        CampaignPerformance, CampaignPerformanceOrder, CampaignStatus, GetFunnelRequest,
        ListCampaignPerformanceRequest, ListSourceQualityRequest, SourceQuality,
        get_funnel_response::Stage,
    },
};

const PAGE_SIZE: i32 = 1_000;

pub(super) async fn funnel(service: &Service) -> Result<Vec<Stage>, Error> {
    let mut client = service.marketing_client();
    let response = client.get_funnel(GetFunnelRequest {}).await?;
    Ok(response.into_inner().stages)
}

pub(super) async fn campaigns(
    service: &Service,
    status: Option<State>,
    order: Order,
) -> Result<Vec<CampaignPerformance>, Error> {
    let status = status.map_or(CampaignStatus::Unspecified, |status| match status {
        State::Draft => CampaignStatus::Draft,
        State::Active => CampaignStatus::Active,
        State::Paused => CampaignStatus::Paused,
        State::Completed => CampaignStatus::Completed,
    });
    let order = match order {
        Order::Created => CampaignPerformanceOrder::CreatedAsc,
        Order::Newest => CampaignPerformanceOrder::CreatedDesc,
        Order::ResponseRate => CampaignPerformanceOrder::ResponseRateDesc,
    };
    let mut client = service.marketing_client();
    let mut campaigns = Vec::new();
    let mut page_token = String::new();
    loop {
        let request = ListCampaignPerformanceRequest {
            page_size: PAGE_SIZE,
            page_token,
            status: status.into(),
            order_by: order.into(),
            ..Default::default()
        };
        let page = client.list_campaign_performance(request).await?;
        let page = page.into_inner();
        campaigns.extend(page.performances);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return Ok(campaigns);
        }
    }
}

pub(super) async fn sources(service: &Service) -> Result<Vec<SourceQuality>, Error> {
    let mut client = service.marketing_client();
    let mut sources = Vec::new();
    let mut page_token = String::new();
    loop {
        let request = ListSourceQualityRequest {
            page_size: PAGE_SIZE,
            page_token,
        };
        let page = client.list_source_quality(request).await?.into_inner();
        sources.extend(page.sources);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return Ok(sources);
        }
    }
}
