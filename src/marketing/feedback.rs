//! Feedback reports: what a campaign had come to by the end of a day, and what its owner makes of it.

use chrono::{Datelike as _, NaiveDate};
use diesel_async::AsyncConnection as _;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{
    convert,
    repository::feedback::{self as repository, FeedbackFilter, FeedbackKey, FeedbackReport},
};
use crate::{
    domain,
    golden::fields,
    proto::{google::r#type::Decimal, marketing::v1 as pb},
    room::Room,
    rpc::{Error, PageRequest, to_decimal, to_timestamp},
};

/// The longest insights, in bytes.
const MAX_INSIGHTS_BYTES: usize = 64 * 1024;

pub(super) async fn create(
    room: &Room,
    request: pb::CreateFeedbackReportRequest,
) -> Result<pb::CreateFeedbackReportResponse, Error> {
    let id = fields::id("campaign_id", &request.campaign_id)?;
    let date = date("report_date", &request.report_date)?
        .ok_or_else(|| Error::invalid("report_date", "is required"))?;
    convert::check_text(&request.insights, MAX_INSIGHTS_BYTES)
        .map_err(|error| Error::invalid("insights", error))?;
    let mut connection = room.connection().await?;
    let ground = repository::ground(&mut connection, id).await?;
    if date > ground.today {
        let description = format!("must not be after today, {} (UTC)", ground.today);
        return Err(Error::invalid("report_date", description));
    }
    if !ground.is_known {
        return Err(Error::NotFound {
            resource: "campaign",
            key: id.to_string(),
        });
    }
    let stored = room.uncut(async move {
        let insights = Some(request.insights.as_str()).filter(|text| !text.is_empty());
        connection
            .transaction(async |connection| {
                repository::compute(connection, id, date, insights).await
            })
            .await
    });
    Ok(pb::CreateFeedbackReportResponse {
        report: Some(report(stored.await?)),
    })
}

/// A day as `2026-11-22`; `None` for the empty text.
fn date(field: &'static str, text: &str) -> Result<Option<NaiveDate>, Error> {
    if text.is_empty() {
        return Ok(None);
    }
    NaiveDate::parse_from_str(text, "%Y-%m-%d")
        .ok()
        // Nothing but this spelling: 2026-1-2 and +2026-01-02 are read too.
        .filter(|date| date.to_string() == text && (1..=9999).contains(&date.year()))
        .map(Some)
        .ok_or_else(|| Error::invalid(field, "must be a day of the calendar, as 2026-11-22"))
}

pub(super) async fn list(
    room: &Room,
    mut request: pb::ListFeedbackReportsRequest,
) -> Result<pb::ListFeedbackReportsResponse, Error> {
    let paging = PageRequest::<FeedbackKey>::of("ListFeedbackReports", &mut request, |request| {
        (&mut request.page_size, &mut request.page_token)
    })?
    .within(room.limits.max_page_bytes);
    let filter = filter(&request)?;
    let mut connection = room.connection().await?;
    let page = repository::list(&mut connection, &filter, &paging).await?;
    let next_page_token = match page.items.last().filter(|_| page.more) {
        Some(last) => paging.token(&FeedbackKey::of(&last.report))?,
        None => String::new(),
    };
    let items = page.items.into_iter();
    Ok(pb::ListFeedbackReportsResponse {
        reports: items.map(|row| report(row.report)).collect(),
        next_page_token,
    })
}

fn filter(request: &pb::ListFeedbackReportsRequest) -> Result<FeedbackFilter, Error> {
    use pb::FeedbackReportOrder as Order;
    let campaign_id = convert::optional_id(&request.campaign_id);
    let order: Order = fields::known("order_by", request.order_by)?;
    let filter = FeedbackFilter {
        campaign_id: campaign_id.map_err(|error| Error::invalid("campaign_id", error))?,
        date_from: date("date_from", &request.date_from)?,
        date_to: date("date_to", &request.date_to)?,
        newest_first: order == Order::DateDesc,
    };
    match (filter.date_from, filter.date_to) {
        (Some(from), Some(to)) if from > to => {
            Err(Error::invalid("date_to", "must not be before date_from"))
        }
        _ => Ok(filter),
    }
}

/// The metrics as they are stored. Decimals stay the texts that they are.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Metrics {
    sent_count: i64,
    opened_count: i64,
    response_count: i64,
    bounced_count: i64,
    conversion_count: i64,
    conversion_value: Option<Box<RawValue>>,
    open_rate: Option<Box<RawValue>>,
    response_rate: Option<Box<RawValue>>,
    bounce_rate: Option<Box<RawValue>>,
}

fn report(stored: FeedbackReport) -> pb::FeedbackReport {
    pb::FeedbackReport {
        report_id: stored.id.to_string(),
        campaign_id: stored.campaign_id.to_string(),
        report_date: stored.report_date.to_string(),
        metrics: Some(metrics(&stored.metrics)),
        insights: stored.insights.unwrap_or_default(),
        create_time: Some(to_timestamp(stored.created_at)),
    }
}

/// Metrics of another make, which somebody wrote past the service, are shown as none: the rest of a list is not to
/// suffer from them.
fn metrics(json: &str) -> pb::FeedbackMetrics {
    let metrics: Metrics = serde_json::from_str(json).unwrap_or_default();
    pb::FeedbackMetrics {
        sent_count: metrics.sent_count,
        opened_count: metrics.opened_count,
        response_count: metrics.response_count,
        bounced_count: metrics.bounced_count,
        conversion_count: metrics.conversion_count,
        conversion_value: decimal(metrics.conversion_value),
        open_rate: decimal(metrics.open_rate),
        response_rate: decimal(metrics.response_rate),
        bounce_rate: decimal(metrics.bounce_rate),
    }
}

fn decimal(number: Option<Box<RawValue>>) -> Option<Decimal> {
    let number = domain::Decimal::parse(number?.get()).ok()?;
    Some(to_decimal(number.to_string()))
}
