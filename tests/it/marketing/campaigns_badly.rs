//! Calls about campaigns that are refused: clear errors, and nothing half done.

use leadvault::proto::marketing::v1::{
    Campaign, CampaignType, CreateCampaignRequest, GetCampaignRequest, ListCampaignsRequest,
    StartCampaignRequest, UpdateCampaignRequest,
};
use prost_types::{FieldMask, Timestamp};
use tonic::Code;

use super::{draft, make, new_id};
use crate::harness::{App, assert_field, refused};

fn valid() -> CreateCampaignRequest {
    CreateCampaignRequest {
        name: "Spring".into(),
        r#type: CampaignType::Nurture.into(),
        ..Default::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_campaign_that_says_nothing_or_nonsense_is_not_made() {
    let app = App::start().await;
    let mut client = app.marketing().await;
    for (field, request) in [
        (
            "name",
            CreateCampaignRequest {
                name: " \t".into(),
                ..valid()
            },
        ),
        (
            "name",
            CreateCampaignRequest {
                name: "x".repeat(1_001),
                ..valid()
            },
        ),
        (
            "name",
            CreateCampaignRequest {
                name: "a\0b".into(),
                ..valid()
            },
        ),
        (
            "type",
            CreateCampaignRequest {
                r#type: 0,
                ..valid()
            },
        ),
        (
            "type",
            CreateCampaignRequest {
                r#type: 99,
                ..valid()
            },
        ),
        (
            "target_count",
            CreateCampaignRequest {
                target_count: Some(-1),
                ..valid()
            },
        ),
        (
            "campaign_id",
            CreateCampaignRequest {
                campaign_id: "spring".into(),
                ..valid()
            },
        ),
    ] {
        assert_field(client.create_campaign(request).await, field);
    }
    let made: i64 = app
        .sql()
        .await
        .one("SELECT count(*) FROM marketing.campaigns", &[])
        .await;
    assert_eq!(made, 0);
    // The longest name is taken.
    let longest = CreateCampaignRequest {
        name: "é".repeat(500),
        ..valid()
    };
    client.create_campaign(longest).await.unwrap();
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_campaign_that_is_not_there_is_not_found() {
    let app = App::start().await;
    let mut client = app.marketing().await;
    let id = new_id();
    let request = GetCampaignRequest {
        campaign_id: id.clone(),
    };
    refused(client.get_campaign(request).await)
        .is(Code::NotFound, "NOT_FOUND")
        .says("resource", "campaign")
        .says("key", &id);
    for name in ["start", "pause", "resume", "complete"] {
        let moved = make(&app, name, &id).await.map(tonic::Response::new);
        refused(moved).is(Code::NotFound, "NOT_FOUND");
        let moved = make(&app, name, "spring").await.map(tonic::Response::new);
        assert_field(moved, "campaign_id");
    }
    let request = GetCampaignRequest {
        campaign_id: String::new(),
    };
    assert_field(client.get_campaign(request).await, "campaign_id");
    let request = StartCampaignRequest {
        campaign_id: "'; --".into(),
    };
    assert_field(client.start_campaign(request).await, "campaign_id");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_update_that_makes_no_sense_is_refused_by_field() {
    let app = App::start().await;
    let mut client = app.marketing().await;
    let read = draft(&app, "Spring").await;
    let update = |campaign: Campaign, mask: &[&str]| UpdateCampaignRequest {
        campaign: Some(campaign),
        update_mask: Some(FieldMask {
            paths: mask.iter().map(|path| (*path).to_owned()).collect(),
        }),
    };
    let with = |change: fn(&mut Campaign)| {
        let mut campaign = read.clone();
        change(&mut campaign);
        campaign
    };
    for (field, request) in [
        ("campaign", UpdateCampaignRequest::default()),
        ("update_mask", update(read.clone(), &[])),
        ("update_mask", update(read.clone(), &["status"])),
        ("update_mask", update(read.clone(), &["sent_count"])),
        ("update_mask", update(read.clone(), &["nonsense"])),
        (
            "campaign.name",
            update(with(|c| c.name = "  ".into()), &["name"]),
        ),
        (
            "campaign.name",
            update(with(|c| c.name = "x".repeat(1_001)), &["name"]),
        ),
        ("campaign.type", update(with(|c| c.r#type = 0), &["type"])),
        ("campaign.type", update(with(|c| c.r#type = -3), &["type"])),
        (
            "campaign.target_count",
            update(with(|c| c.target_count = Some(-5)), &["target_count"]),
        ),
        ("campaign.etag", update(with(|c| c.etag.clear()), &["name"])),
        (
            "campaign.campaign_id",
            update(with(|c| c.campaign_id.clear()), &["name"]),
        ),
    ] {
        assert_field(client.update_campaign(request).await, field);
    }
    let stranger = update(with(|c| c.campaign_id = new_id()), &["name"]);
    refused(client.update_campaign(stranger).await).is(Code::NotFound, "NOT_FOUND");
    let now = super::campaign(&app, &read.campaign_id).await;
    assert_eq!(now, read);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_that_makes_no_sense_is_refused_by_field() {
    let app = App::start().await;
    let mut client = app.marketing().await;
    let request = ListCampaignsRequest::default();
    for (field, request) in [
        (
            "page_size",
            ListCampaignsRequest {
                page_size: -1,
                ..request.clone()
            },
        ),
        (
            "created_before",
            ListCampaignsRequest {
                created_from: Some(prost_types::Timestamp {
                    seconds: 2,
                    nanos: 0,
                }),
                created_before: Some(prost_types::Timestamp {
                    seconds: 1,
                    nanos: 0,
                }),
                ..request.clone()
            },
        ),
        (
            "page_token",
            ListCampaignsRequest {
                page_token: "x".into(),
                ..request.clone()
            },
        ),
        (
            "status",
            ListCampaignsRequest {
                status: 77,
                ..request.clone()
            },
        ),
        (
            "type",
            ListCampaignsRequest {
                r#type: 77,
                ..request.clone()
            },
        ),
        (
            "order_by",
            ListCampaignsRequest {
                order_by: 77,
                ..request.clone()
            },
        ),
        (
            "name_prefix",
            ListCampaignsRequest {
                name_prefix: "x".repeat(1_001),
                ..request.clone()
            },
        ),
        (
            "created_from",
            ListCampaignsRequest {
                created_from: Some(Timestamp {
                    seconds: i64::MAX,
                    nanos: 0,
                }),
                ..request.clone()
            },
        ),
        (
            "created_before",
            ListCampaignsRequest {
                created_before: Some(Timestamp {
                    seconds: 0,
                    nanos: -1,
                }),
                ..request.clone()
            },
        ),
    ] {
        let refusal = refused(client.list_campaigns(request).await);
        assert_eq!(refusal.code, Code::InvalidArgument, "{field}");
        assert_eq!(refusal.fields, [field], "{refusal:?}");
    }
    app.stop().await;
}
