//! Lists of campaigns.

use leadvault::proto::marketing::v1::{
    CampaignOrder, CampaignStatus, CampaignType, ListCampaignsRequest,
};
use prost_types::Timestamp;

use super::{active, draft};
use crate::harness::App;

async fn listed(app: &App, request: ListCampaignsRequest) -> Vec<String> {
    let mut client = app.marketing().await;
    let mut names = Vec::new();
    let mut request = ListCampaignsRequest {
        page_size: 2,
        ..request
    };
    loop {
        let page = client
            .list_campaigns(request.clone())
            .await
            .unwrap()
            .into_inner();
        assert!(page.campaigns.len() <= 2);
        names.extend(page.campaigns.into_iter().map(|campaign| campaign.name));
        if page.next_page_token.is_empty() {
            return names;
        }
        request.page_token = page.next_page_token;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_is_filtered_and_comes_in_pages() {
    let app = App::start().await;
    let sql = app.sql().await;
    for name in ["Spring %1", "spring 2", "Summer", "SPRING %3", "Autumn"] {
        draft(&app, name).await;
    }
    let started = active(&app, "Started").await;
    // Two of one moment, which the id tells apart.
    sql.run("UPDATE marketing.campaigns SET created_at = '2026-01-01T00:00:00Z' WHERE name LIKE 'Spring%' OR name = 'Summer'")
        .await;
    let all = ListCampaignsRequest::default();
    let names = listed(&app, all.clone()).await;
    assert_eq!(names.len(), 6);
    assert_eq!(names[2..], ["spring 2", "SPRING %3", "Autumn", "Started"]);
    let mut backwards = listed(
        &app,
        ListCampaignsRequest {
            order_by: CampaignOrder::CreatedDesc.into(),
            ..all.clone()
        },
    )
    .await;
    backwards.reverse();
    assert_eq!(backwards, names);
    for (request, expected) in [
        (
            ListCampaignsRequest {
                name_prefix: "sPrInG %".into(),
                ..all.clone()
            },
            vec!["Spring %1", "SPRING %3"],
        ),
        (
            ListCampaignsRequest {
                status: CampaignStatus::Active.into(),
                ..all.clone()
            },
            vec!["Started"],
        ),
        (
            ListCampaignsRequest {
                r#type: CampaignType::Nurture.into(),
                ..all.clone()
            },
            vec![],
        ),
        (
            ListCampaignsRequest {
                created_from: started.create_time,
                ..all.clone()
            },
            vec!["Started"],
        ),
        (
            ListCampaignsRequest {
                created_before: Some(Timestamp {
                    seconds: 1_767_225_600,
                    nanos: 0,
                }),
                ..all.clone()
            },
            vec![],
        ),
    ] {
        assert_eq!(listed(&app, request.clone()).await, expected, "{request:?}");
    }
    app.stop().await;
}
