//! Campaigns: made, read, changed, moved from state to state.

use leadvault::proto::marketing::v1::{
    Campaign, CampaignOrder, CampaignStatus, CampaignType, CreateCampaignRequest,
    ListCampaignsRequest, UpdateCampaignRequest,
};
use prost_types::{FieldMask, Timestamp};
use tonic::{Code, Status};

use super::{active, campaign, draft, make, new_id};
use crate::harness::{App, Sql, refusal};

const MOVES: [&str; 4] = ["start", "pause", "resume", "complete"];

/// What each move makes of each state; `None` where the state has no such move.
fn after(state: &str, name: &str) -> Option<&'static str> {
    match (state, name) {
        ("draft" | "active", "start") | ("active" | "paused", "resume") => Some("active"),
        ("active" | "paused", "pause") => Some("paused"),
        ("active" | "paused" | "completed", "complete") => Some("completed"),
        _ => None,
    }
}

/// The moves that change a state, as an error names them.
fn moves_of(state: &str) -> &'static str {
    match state {
        "draft" => "start",
        "active" => "pause,complete",
        "paused" => "resume,complete",
        _ => "",
    }
}

const STATES: [(&str, &[&str]); 4] = [
    ("draft", &[]),
    ("active", &["start"]),
    ("paused", &["start", "pause"]),
    ("completed", &["start", "complete"]),
];

async fn brought_to(app: &App, way: &[&str]) -> Campaign {
    let mut campaign = draft(app, "Spring").await;
    for name in way {
        campaign = make(app, name, &campaign.campaign_id).await.unwrap();
    }
    campaign
}

fn state(campaign: &Campaign) -> String {
    let name = campaign.status().as_str_name();
    name.trim_start_matches("CAMPAIGN_STATUS_").to_lowercase()
}

async fn changes(sql: &Sql, campaign_id: &str) -> Vec<String> {
    let rows = sql
        .rows(
            "SELECT format('%s: %s -> %s by %s', changed_fields, old_values - 'started_at' - 'ended_at',
                           new_values - 'started_at' - 'ended_at', changed_by)
             FROM marketing.campaign_history WHERE campaign_id::text = $1 ORDER BY history_id",
            &[&campaign_id],
        )
        .await;
    rows.iter().map(|row| row.get(0)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_state_makes_the_moves_that_it_has_and_refuses_the_others() {
    let app = App::start().await;
    let sql = app.sql().await;
    for (from, way) in STATES {
        for name in MOVES {
            let before = brought_to(&app, way).await;
            let id = &before.campaign_id;
            let written = changes(&sql, id).await;
            let made = make(&app, name, id).await;
            let now = campaign(&app, id).await;
            match after(from, name) {
                Some(to) if to == from => {
                    // Law 8: what is made already changes nothing.
                    assert_eq!(made.unwrap(), before, "{name} of {from}");
                    assert_eq!(changes(&sql, id).await, written);
                }
                Some(to) => {
                    assert_eq!(made.unwrap(), now);
                    assert_eq!(state(&now), to, "{name} of {from}");
                    assert_ne!(now.etag, before.etag);
                    assert_eq!(changes(&sql, id).await.len(), written.len() + 1);
                    assert_eq!(now.end_time.is_some(), to == "completed");
                    assert!(now.start_time.is_some());
                    assert!(before.start_time.is_none() || now.start_time == before.start_time);
                }
                None => {
                    refusal(made)
                        .is(Code::FailedPrecondition, "CAMPAIGN_STATE")
                        .says("state", from)
                        .says("move", name)
                        .says("moves", moves_of(from))
                        .says("campaign_id", id);
                    assert_eq!(now, before);
                }
            }
        }
    }
    app.stop().await;
}

/// Two callers at once: what came of it is what one after the other would have made, in some order.
#[tokio::test(flavor = "multi_thread")]
async fn any_two_moves_at_once_end_as_one_after_the_other() {
    let app = App::start().await;
    let sql = app.sql().await;
    for (from, way) in STATES {
        for first in MOVES {
            for second in MOVES {
                let id = brought_to(&app, way).await.campaign_id;
                let written = changes(&sql, &id).await.len();
                let (one, two) = tokio::join!(make(&app, first, &id), make(&app, second, &id));
                let one: Result<String, Code> =
                    one.map(|made| state(&made)).map_err(|error| error.code());
                let two = two.map(|made| state(&made)).map_err(|error| error.code());
                let ended = campaign(&app, &id).await;
                let found = (one, two, state(&ended));
                let orders = [
                    run(from, first, second, false),
                    run(from, second, first, true),
                ];
                assert!(
                    orders.contains(&found),
                    "{first} and {second} of {from}: {found:?}"
                );
                // Each change of the state is in the history, once, beginning where the one before ended.
                let rows = changes(&sql, &id).await.len();
                assert!(rows - written <= 2);
            }
        }
    }
    let torn: i64 = sql
        .one(
            "SELECT count(*) FROM (
                 SELECT old_values ->> 'status' AS old, lag(new_values ->> 'status')
                     OVER (PARTITION BY campaign_id ORDER BY history_id) AS before
                 FROM marketing.campaign_history) AS h
             WHERE old <> before",
            &[],
        )
        .await;
    assert_eq!(torn, 0);
    app.stop().await;
}

type Raced = (Result<String, Code>, Result<String, Code>, String);

/// What two moves answer, one after the other; `swapped` answers the second one first.
fn run(from: &str, first: &str, second: &str, swapped: bool) -> Raced {
    let refused = Code::FailedPrecondition;
    let one = after(from, first);
    let between = one.unwrap_or(from);
    let two = after(between, second);
    let ended = two.unwrap_or(between).to_owned();
    let one = one.map(str::to_owned).ok_or(refused);
    let two = two.map(str::to_owned).ok_or(refused);
    if swapped {
        (two, one, ended)
    } else {
        (one, two, ended)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_campaign_is_made_once_however_often_it_is_asked_for() {
    let app = App::start().await;
    let sql = app.sql().await;
    let request = CreateCampaignRequest {
        campaign_id: new_id(),
        name: "  Spring ".into(),
        r#type: CampaignType::Nurture.into(),
        target_count: Some(0),
    };
    let calls = (0..8).map(|_| async {
        let response = app.marketing().await.create_campaign(request.clone()).await;
        response.unwrap().into_inner().campaign.unwrap()
    });
    let made = futures_util::future::join_all(calls).await;
    assert!(made.iter().all(|campaign| *campaign == made[0]));
    assert_eq!(made[0].name, "Spring");
    assert_eq!(made[0].target_count, Some(0));
    assert_eq!(made[0].status(), CampaignStatus::Draft);
    assert_eq!(
        changes(&sql, &request.campaign_id).await,
        [
            r#"["name", "type", "status", "target_count"]: {} -> {"name": "Spring", "type": "nurture", "status": "draft", "target_count": 0} by anonymous"#
        ]
    );

    // Also after it went on: a retry finds what the first call made, as it is now.
    let started = make(&app, "start", &request.campaign_id).await.unwrap();
    let renamed = update(&app, &started, "Summer", &["name"]).await.unwrap();
    let again = app.marketing().await.create_campaign(request.clone()).await;
    assert_eq!(again.unwrap().into_inner().campaign.unwrap(), renamed);

    for other in [
        CreateCampaignRequest {
            name: "Summer".into(),
            ..request.clone()
        },
        CreateCampaignRequest {
            r#type: CampaignType::FollowUp.into(),
            ..request.clone()
        },
        CreateCampaignRequest {
            target_count: None,
            ..request.clone()
        },
    ] {
        refusal(app.marketing().await.create_campaign(other).await)
            .is(Code::AlreadyExists, "CAMPAIGN_EXISTS")
            .says("campaign_id", &request.campaign_id);
    }
    app.stop().await;
}

async fn update(app: &App, read: &Campaign, name: &str, mask: &[&str]) -> Result<Campaign, Status> {
    let request = UpdateCampaignRequest {
        campaign: Some(Campaign {
            name: name.to_owned(),
            ..read.clone()
        }),
        update_mask: Some(FieldMask {
            paths: mask.iter().map(|path| (*path).to_owned()).collect(),
        }),
    };
    let response = app.marketing().await.update_campaign(request).await?;
    Ok(response.into_inner().campaign.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_update_changes_what_its_mask_names_and_refuses_a_stale_etag() {
    let app = App::start().await;
    let sql = app.sql().await;
    let made = draft(&app, "Spring").await;
    let wanted = Campaign {
        r#type: CampaignType::FollowUp.into(),
        target_count: Some(500),
        ..made.clone()
    };
    let changed = update(&app, &wanted, "Ignored", &["type", "target_count"])
        .await
        .unwrap();
    assert_eq!(
        (changed.name.as_str(), changed.target_count),
        ("Spring", Some(500))
    );
    assert_eq!(changed.r#type(), CampaignType::FollowUp);
    // Law 7.
    refusal(update(&app, &made, "Lost", &["name"]).await)
        .is(Code::Aborted, "ETAG_MISMATCH")
        .says("current_etag", &changed.etag);
    // Law 8.
    let same = update(&app, &changed, "Spring", &["name"]).await.unwrap();
    assert_eq!(same, changed);
    assert_eq!(changes(&sql, &made.campaign_id).await.len(), 2);

    // A change and back is noticed.
    let there = update(&app, &changed, "Summer", &["name"]).await.unwrap();
    update(&app, &there, "Spring", &["name"]).await.unwrap();
    refusal(update(&app, &changed, "Lost", &["name"]).await).is(Code::Aborted, "ETAG_MISMATCH");

    // The counters are no change, and a target can be cleared.
    let read = campaign(&app, &made.campaign_id).await;
    sql.run("UPDATE marketing.campaigns SET sent_count = 7, response_count = 3")
        .await;
    let counted = campaign(&app, &made.campaign_id).await;
    assert_eq!((counted.sent_count, counted.etag), (7, read.etag.clone()));
    let cleared = Campaign {
        target_count: None,
        ..read
    };
    let cleared = update(&app, &cleared, "", &["target_count"]).await.unwrap();
    assert_eq!(cleared.target_count, None);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_updates_that_read_the_same_one_wins() {
    let app = App::start().await;
    for _ in 0..20 {
        let read = draft(&app, "Spring").await;
        let (one, two) = tokio::join!(
            update(&app, &read, "One", &["name"]),
            update(&app, &read, "Two", &["name"])
        );
        assert!(one.is_ok() != two.is_ok(), "{one:?} {two:?}");
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_type_of_a_campaign_that_started_is_fixed_and_its_name_never_is() {
    let app = App::start().await;
    for (state, way) in STATES.into_iter().skip(1) {
        let read = brought_to(&app, way).await;
        let other = Campaign {
            r#type: CampaignType::Nurture.into(),
            ..read.clone()
        };
        refusal(update(&app, &other, "", &["type"]).await)
            .is(Code::FailedPrecondition, "CAMPAIGN_STARTED")
            .says("state", state)
            .says("field", "type");
        let same = update(&app, &read, "", &["type"]).await.unwrap();
        assert_eq!(same, read);
        let renamed = update(&app, &read, "Renamed", &["name"]).await.unwrap();
        assert_eq!(renamed.name, "Renamed");
    }
    app.stop().await;
}

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
