//! What campaigns and sources came to, and the funnel.

use super::{
    convert::{self, CAMPAIGN_STATUSES, CAMPAIGN_TYPES},
    repository::reports::{
        self as repository, Performance, PerformanceKey, PerformanceOrder, PerformanceQuery,
        SourceQuality,
    },
};
use crate::{
    golden::fields,
    proto::marketing::v1 as pb,
    room::Room,
    rpc::{Error, PageRequest, to_decimal, to_timestamp},
};

pub(super) async fn get_performance(
    room: &Room,
    request: pb::GetCampaignPerformanceRequest,
) -> Result<pb::GetCampaignPerformanceResponse, Error> {
    let id = fields::id("campaign_id", &request.campaign_id)?;
    let mut connection = room.connection().await?;
    let found = repository::performance(&mut connection, id).await?;
    let found = found.ok_or_else(|| Error::NotFound {
        resource: "campaign",
        key: id.to_string(),
    })?;
    Ok(pb::GetCampaignPerformanceResponse {
        performance: Some(performance(found)),
    })
}

pub(super) async fn list_performance(
    room: &Room,
    mut request: pb::ListCampaignPerformanceRequest,
) -> Result<pb::ListCampaignPerformanceResponse, Error> {
    let paging =
        PageRequest::<PerformanceKey>::of("ListCampaignPerformance", &mut request, |request| {
            (&mut request.page_size, &mut request.page_token)
        })?
        .within(room.limits.max_page_bytes);
    let query = performance_query(&request)?;
    let mut connection = room.connection().await?;
    let page = repository::performances(&mut connection, &query, &paging).await?;
    let next_page_token = match page.items.last().filter(|_| page.more) {
        Some(last) => paging.token(&PerformanceKey::of(&last.performance))?,
        None => String::new(),
    };
    let items = page.items.into_iter();
    Ok(pb::ListCampaignPerformanceResponse {
        performances: items.map(|row| performance(row.performance)).collect(),
        next_page_token,
    })
}

fn performance_query(
    request: &pb::ListCampaignPerformanceRequest,
) -> Result<PerformanceQuery, Error> {
    use pb::CampaignPerformanceOrder as Order;
    let status = convert::to_name(request.status, &CAMPAIGN_STATUSES);
    let kind = convert::to_name(request.r#type, &CAMPAIGN_TYPES);
    Ok(PerformanceQuery {
        status: status.map_err(|error| Error::invalid("status", error))?,
        kind: kind.map_err(|error| Error::invalid("type", error))?,
        order: match fields::known("order_by", request.order_by)? {
            Order::Unspecified | Order::CreatedAsc => PerformanceOrder::Oldest,
            Order::CreatedDesc => PerformanceOrder::Newest,
            Order::ResponseRateDesc => PerformanceOrder::HighestRate,
        },
    })
}

fn performance(found: Performance) -> pb::CampaignPerformance {
    pb::CampaignPerformance {
        campaign_id: found.campaign_id.to_string(),
        name: found.name,
        r#type: convert::from_name(&found.kind, &CAMPAIGN_TYPES).into(),
        status: convert::from_name(&found.status, &CAMPAIGN_STATUSES).into(),
        target_count: found.target_count,
        sent_count: found.sent_count,
        opened_count: found.opened_count,
        response_count: found.response_count,
        bounced_count: found.bounced_count,
        conversion_count: found.conversion_count,
        conversion_value: Some(to_decimal(found.conversion_value)),
        open_rate: found.open_rate.map(to_decimal),
        response_rate: found.response_rate.map(to_decimal),
        bounce_rate: found.bounce_rate.map(to_decimal),
        create_time: Some(to_timestamp(found.created_at)),
        start_time: found.started_at.map(to_timestamp),
        end_time: found.ended_at.map(to_timestamp),
    }
}

pub(super) async fn funnel(
    room: &Room,
    _request: pb::GetFunnelRequest,
) -> Result<pb::GetFunnelResponse, Error> {
    use pb::get_funnel_response::Stage;
    let mut connection = room.connection().await?;
    let stages = repository::funnel(&mut connection).await?;
    let stages = stages.into_iter().map(|stage| Stage {
        stage: stage.stage,
        count: stage.count,
    });
    Ok(pb::GetFunnelResponse {
        stages: stages.collect(),
    })
}

pub(super) async fn list_source_quality(
    room: &Room,
    mut request: pb::ListSourceQualityRequest,
) -> Result<pb::ListSourceQualityResponse, Error> {
    let paging = PageRequest::<String>::of("ListSourceQuality", &mut request, |request| {
        (&mut request.page_size, &mut request.page_token)
    })?
    .within(room.limits.max_page_bytes);
    let mut connection = room.connection().await?;
    let page = repository::sources(&mut connection, &paging).await?;
    let next_page_token = match page.items.last().filter(|_| page.more) {
        Some(last) => paging.token(&last.source)?,
        None => String::new(),
    };
    Ok(pb::ListSourceQualityResponse {
        sources: page.items.into_iter().map(source_quality).collect(),
        next_page_token,
    })
}

fn source_quality(found: SourceQuality) -> pb::SourceQuality {
    pb::SourceQuality {
        source: found.source,
        received_count: found.received,
        accepted_count: found.accepted,
        duplicate_count: found.duplicate,
        rejected_count: found.rejected,
        promoted_count: found.promoted,
        bounced_count: found.bounced,
        replied_count: found.replied,
        converted_count: found.converted,
    }
}
