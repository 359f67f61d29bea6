//! What campaigns came to.

use leadvault::proto::marketing::v1::{
    CampaignPerformance, CampaignPerformanceOrder as Order, CampaignStatus, CampaignType,
    GetCampaignPerformanceRequest, ListCampaignPerformanceRequest, ListSourceQualityRequest,
};
use tonic::Code;

use super::{active, draft, new_id, people};
use crate::harness::{App, Sql, refused};

/// Writes a message; times that are empty did not come. The counters of campaigns follow.
pub(crate) async fn message(
    sql: &Sql,
    person_id: &str,
    campaign_id: &str,
    [sent_at, opened_at, replied_at]: [&str; 3],
    status: &str,
) -> String {
    let id = new_id();
    sql.rows(
        "INSERT INTO marketing.outreach_history
             (id, person_id, campaign_id, channel, message_type, sent_at, opened_at, replied_at, status)
         VALUES ($1::text::uuid, $2::text::uuid, nullif($3::text, '')::uuid, 'email', 'initial',
                 $4::text::timestamptz, nullif($5::text, '')::timestamptz, nullif($6::text, '')::timestamptz, $7)",
        &[&id, &person_id, &campaign_id, &sent_at, &opened_at, &replied_at, &status],
    )
    .await;
    id
}

/// Writes that a message bounced.
pub(crate) async fn bounce(sql: &Sql, outreach_id: &str, occurred_at: &str) {
    sql.rows(
        "INSERT INTO marketing.engagement_events (event_id, outreach_id, kind, bounce_type, occurred_at)
         VALUES ('bounce-' || $1::text, $1::text::uuid, 'bounced', 'hard', $2::text::timestamptz)",
        &[&outreach_id, &occurred_at],
    )
    .await;
}

/// Writes a conversion; an empty value is none.
pub(crate) async fn conversion(
    sql: &Sql,
    person_id: &str,
    campaign_id: &str,
    converted_at: &str,
    value: &str,
) -> String {
    sql.one(
        "INSERT INTO marketing.attribution (person_id, campaign_id, conversion_type, converted_at, value)
         VALUES ($1::text::uuid, nullif($2::text, '')::uuid, 'sale', $3::text::timestamptz,
                 nullif($4::text, '')::numeric)
         RETURNING id::text",
        &[&person_id, &campaign_id, &converted_at, &value],
    )
    .await
}

pub(crate) async fn performance(app: &App, campaign_id: &str) -> CampaignPerformance {
    let request = GetCampaignPerformanceRequest {
        campaign_id: campaign_id.to_owned(),
    };
    let mut client = app.marketing().await;
    let response = client.get_campaign_performance(request).await;
    response.unwrap().into_inner().performance.unwrap()
}

/// Every page of a list.
async fn list(app: &App, request: ListCampaignPerformanceRequest) -> Vec<CampaignPerformance> {
    let mut client = app.marketing().await;
    let mut request = request;
    let mut all = Vec::new();
    loop {
        let page = client.list_campaign_performance(request.clone()).await;
        let page = page.unwrap().into_inner();
        assert!(request.page_size == 0 || page.performances.len() <= 2);
        all.extend(page.performances);
        if page.next_page_token.is_empty() {
            return all;
        }
        request.page_token = page.next_page_token;
    }
}

fn text(decimal: Option<&leadvault::proto::google::r#type::Decimal>) -> &str {
    decimal.map_or("none", |decimal| decimal.value.as_str())
}

fn names(performances: &[CampaignPerformance]) -> Vec<&str> {
    performances.iter().map(|one| one.name.as_str()).collect()
}

const DAY: &str = "2026-03-02T09:00:00Z";
const LATER: &str = "2026-03-02T10:00:00Z";

#[tokio::test(flavor = "multi_thread")]
async fn a_campaign_came_to_what_one_counts_by_hand() {
    let app = App::start().await;
    let sql = app.sql().await;
    let campaign = active(&app, "Spring").await.campaign_id;
    let other = active(&app, "Autumn").await.campaign_id;
    let empty = draft(&app, "Winter").await.campaign_id;
    let ids = people(&sql, &["a@x.example", "b@x.example", "c@x.example"]).await;
    // Seven messages: three opened, of which one replied; another replied unopened and had bounced before; one
    // bounced by an event, one by its status alone.
    message(&sql, &ids[0], &campaign, [DAY, "", ""], "sent").await;
    message(&sql, &ids[0], &campaign, [DAY, LATER, ""], "opened").await;
    message(&sql, &ids[1], &campaign, [DAY, LATER, ""], "opened").await;
    message(&sql, &ids[1], &campaign, [DAY, LATER, LATER], "replied").await;
    let soft = message(&sql, &ids[2], &campaign, [DAY, "", LATER], "replied").await;
    bounce(&sql, &soft, DAY).await;
    let hard = message(&sql, &ids[2], &campaign, [DAY, "", ""], "bounced").await;
    bounce(&sql, &hard, DAY).await;
    message(&sql, &ids[2], &campaign, [DAY, "", ""], "bounced").await;
    // Of others: none of it is this campaign's.
    message(&sql, &ids[0], &other, [DAY, LATER, LATER], "replied").await;
    message(&sql, &ids[0], "", [DAY, LATER, LATER], "replied").await;
    conversion(&sql, &ids[0], &campaign, LATER, "1200.10").await;
    conversion(&sql, &ids[1], &campaign, LATER, "0.05").await;
    conversion(&sql, &ids[2], &campaign, LATER, "").await;
    conversion(&sql, &ids[2], "", LATER, "7").await;

    let found = performance(&app, &campaign).await;
    assert_eq!(
        [
            found.sent_count,
            found.opened_count,
            found.response_count,
            found.bounced_count,
            found.conversion_count
        ],
        [7, 3, 2, 3, 3]
    );
    assert_eq!(
        [
            text(found.conversion_value.as_ref()),
            text(found.open_rate.as_ref()),
            text(found.response_rate.as_ref()),
            text(found.bounce_rate.as_ref())
        ],
        ["1200.15", "42.86", "28.57", "42.86"]
    );
    assert_eq!(found.status(), CampaignStatus::Active);
    assert_eq!(found.r#type(), CampaignType::ColdOutreach);
    assert!(found.start_time.is_some() && found.end_time.is_none());

    let found = performance(&app, &empty).await;
    assert_eq!((found.sent_count, found.conversion_count), (0, 0));
    assert_eq!(text(found.conversion_value.as_ref()), "0");
    assert_eq!(text(found.response_rate.as_ref()), "none");

    // The list says the same of each, and so does the query that the reference prints.
    let all = list(&app, ListCampaignPerformanceRequest::default()).await;
    assert_eq!(names(&all), ["Spring", "Autumn", "Winter"]);
    for one in &all {
        assert_eq!(*one, performance(&app, &one.campaign_id).await);
    }
    let reference = sql
        .rows(
            "SELECT q.name, q.sent_count, q.response_count, q.response_rate::text
             FROM (SELECT
                     c.name,
                     c.sent_count,
                     c.response_count,
                     ROUND(100.0 * c.response_count / NULLIF(c.sent_count, 0), 2) as response_rate
                   FROM marketing.campaigns c
                   WHERE c.status = 'active'
                   ORDER BY response_rate DESC) AS q",
            &[],
        )
        .await;
    let reference: Vec<(String, i32, i32, String)> = reference
        .iter()
        .map(|row| (row.get(0), row.get(1), row.get(2), row.get(3)))
        .collect();
    let by_rate = list(
        &app,
        ListCampaignPerformanceRequest {
            status: CampaignStatus::Active.into(),
            order_by: Order::ResponseRateDesc.into(),
            ..Default::default()
        },
    )
    .await;
    assert_eq!(names(&by_rate), ["Autumn", "Spring"]);
    let by_rate = by_rate.into_iter().map(|one| {
        let [sent, replied] =
            [one.sent_count, one.response_count].map(|count| i32::try_from(count).unwrap());
        let rate = text(one.response_rate.as_ref()).to_owned();
        (one.name, sent, replied, rate)
    });
    assert_eq!(by_rate.collect::<Vec<_>>(), reference);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_order_comes_in_pages_that_miss_and_repeat_nothing() {
    let app = App::start().await;
    let sql = app.sql().await;
    // Two share a rate, two share another, two have none.
    sql.run(
        "INSERT INTO marketing.campaigns (name, type, status, sent_count, response_count, created_at)
         SELECT 'c' || n, CASE WHEN n < 4 THEN 'nurture' ELSE 'follow_up' END,
                CASE WHEN n % 2 = 0 THEN 'active' ELSE 'paused' END, sent, replied,
                '2026-01-01'::timestamptz + make_interval(days => n / 2)
         FROM (VALUES (1, 3, 1), (2, 100, 7), (3, 0, 0), (4, 6, 2), (5, 200, 14), (6, 1, 1), (7, 0, 0))
             AS v (n, sent, replied)",
    )
    .await;
    for order in [
        Order::Unspecified,
        Order::CreatedAsc,
        Order::CreatedDesc,
        Order::ResponseRateDesc,
    ] {
        let request = ListCampaignPerformanceRequest {
            order_by: order.into(),
            ..Default::default()
        };
        let whole = list(&app, request.clone()).await;
        assert_eq!(whole.len(), 7);
        let paged = ListCampaignPerformanceRequest {
            page_size: 2,
            ..request
        };
        assert_eq!(list(&app, paged).await, whole, "{order:?}");
        if order == Order::ResponseRateDesc {
            let rates: Vec<&str> = whole
                .iter()
                .map(|one| text(one.response_rate.as_ref()))
                .collect();
            assert_eq!(
                rates,
                ["100.00", "33.33", "33.33", "7.00", "7.00", "none", "none"]
            );
        }
        if order == Order::CreatedDesc {
            assert!(whole.is_sorted_by_key(|one| {
                let time = one.create_time.unwrap();
                (-time.seconds, -time.nanos)
            }));
        }
    }
    let filtered = ListCampaignPerformanceRequest {
        page_size: 2,
        status: CampaignStatus::Active.into(),
        r#type: CampaignType::FollowUp.into(),
        ..Default::default()
    };
    assert_eq!(names(&list(&app, filtered).await), ["c4", "c6"]);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_performance_that_cannot_be_asked_for() {
    let app = App::start().await;
    let mut client = app.marketing().await;
    let get = |campaign_id: &str| GetCampaignPerformanceRequest {
        campaign_id: campaign_id.to_owned(),
    };
    for id in ["", "spring", "0"] {
        refused(client.get_campaign_performance(get(id)).await).blames("campaign_id");
    }
    let unknown = new_id();
    let refusal = refused(client.get_campaign_performance(get(&unknown)).await);
    let refusal = refusal.is(Code::NotFound, "NOT_FOUND");
    assert!(refusal.message.contains(&unknown), "{refusal:?}");

    active(&app, "One").await;
    active(&app, "Two").await;
    let first = ListCampaignPerformanceRequest {
        page_size: 1,
        ..Default::default()
    };
    let page = client.list_campaign_performance(first.clone()).await;
    let page_token = page.unwrap().into_inner().next_page_token;
    assert!(!page_token.is_empty());
    type Change = fn(&mut ListCampaignPerformanceRequest);
    let wrong: [(Change, &str); 4] = [
        (|request| request.page_size = -1, "page_size"),
        (|request| request.status = 99, "status"),
        (|request| request.r#type = -1, "type"),
        (|request| request.order_by = 4, "order_by"),
    ];
    for (change, field) in wrong {
        let mut request = first.clone();
        change(&mut request);
        refused(client.list_campaign_performance(request).await).blames(field);
    }
    for (token, order) in [
        (page_token.as_str(), Order::ResponseRateDesc),
        (&page_token[1..], Order::Unspecified),
        ("nonsense", Order::Unspecified),
    ] {
        let request = ListCampaignPerformanceRequest {
            page_token: token.to_owned(),
            order_by: order.into(),
            ..first.clone()
        };
        refused(client.list_campaign_performance(request).await)
            .is(Code::InvalidArgument, "INVALID_PAGE_TOKEN");
    }
    for page_token in ["nonsense", &page_token] {
        let request = ListSourceQualityRequest {
            page_token: page_token.to_owned(),
            ..Default::default()
        };
        refused(client.list_source_quality(request).await)
            .is(Code::InvalidArgument, "INVALID_PAGE_TOKEN");
    }
    let request = ListSourceQualityRequest {
        page_size: -5,
        ..Default::default()
    };
    refused(client.list_source_quality(request).await).blames("page_size");
    app.stop().await;
}
