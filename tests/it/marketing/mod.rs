//! Marketing: campaigns, the gate before each send, what came of it, and what it came to.

mod attribution;
mod attribution_limits;
mod attribution_sums;
mod campaigns;
mod campaigns_badly;
mod campaigns_listing;
mod conversions;
mod conversions_badly;
mod conversions_listing;
mod decided_once;
mod engagements;
mod engagements_any_order;
mod engagements_badly;
mod feedback;
mod journeys;
mod outreach;
mod outreach_badly;
mod outreach_consent;
mod outreach_forgotten;
mod outreach_listing;
mod outreach_plans;
mod outreach_races;
mod outreach_waiting;
mod reports;
mod sources;

use leadvault::proto::marketing::v1::{
    Campaign, CampaignType, CompleteCampaignRequest, CreateCampaignRequest, GetCampaignRequest,
    MessageType, OutreachChannel, PauseCampaignRequest, RecordOutreachRequest,
    RecordOutreachResponse, ResumeCampaignRequest, StartCampaignRequest,
    record_outreach_request::Item, record_outreach_response::Outcome,
};
use tonic::Status;
use uuid::Uuid;

use crate::harness::{App, Sql};

/// An id that nothing has.
fn new_id() -> String {
    Uuid::new_v4().to_string()
}

/// A campaign that was just made: a draft.
async fn draft(app: &App, name: &str) -> Campaign {
    let request = CreateCampaignRequest {
        name: name.to_owned(),
        r#type: CampaignType::ColdOutreach.into(),
        ..Default::default()
    };
    let response = app.marketing().await.create_campaign(request).await;
    response.unwrap().into_inner().campaign.unwrap()
}

/// A campaign that sends.
async fn active(app: &App, name: &str) -> Campaign {
    let made = draft(app, name).await;
    make(app, "start", &made.campaign_id).await.unwrap()
}

/// Makes a move.
async fn make(app: &App, name: &str, campaign_id: &str) -> Result<Campaign, Status> {
    let mut client = app.marketing().await;
    let campaign_id = campaign_id.to_owned();
    let campaign = match name {
        "start" => {
            let request = StartCampaignRequest { campaign_id };
            client.start_campaign(request).await?.into_inner().campaign
        }
        "pause" => {
            let request = PauseCampaignRequest { campaign_id };
            client.pause_campaign(request).await?.into_inner().campaign
        }
        "resume" => {
            let request = ResumeCampaignRequest { campaign_id };
            client.resume_campaign(request).await?.into_inner().campaign
        }
        _ => {
            let request = CompleteCampaignRequest { campaign_id };
            client
                .complete_campaign(request)
                .await?
                .into_inner()
                .campaign
        }
    };
    Ok(campaign.unwrap())
}

async fn campaign(app: &App, campaign_id: &str) -> Campaign {
    let campaign_id = campaign_id.to_owned();
    let request = GetCampaignRequest { campaign_id };
    let response = app.marketing().await.get_campaign(request).await.unwrap();
    response.into_inner().campaign.unwrap()
}

/// Makes people with these emails, and their contacts; their ids.
async fn people(sql: &Sql, emails: &[&str]) -> Vec<String> {
    let rows = sql
        .rows(
            "WITH contacts AS (
                 INSERT INTO vault.contacts (email, source) SELECT unnest($1::text[]), 'apollo'
             ), made AS (
                 INSERT INTO people.master (email) SELECT unnest($1::text[]) RETURNING id, email
             )
             SELECT id::text FROM made ORDER BY array_position($1, email)",
            &[&emails],
        )
        .await;
    rows.iter().map(|row| row.get(0)).collect()
}

/// A first email to a person, with an id of its own.
fn email_to(person_id: &str, campaign_id: &str) -> Item {
    Item {
        outreach_id: new_id(),
        person_id: person_id.to_owned(),
        campaign_id: campaign_id.to_owned(),
        channel: OutreachChannel::Email.into(),
        message_type: MessageType::Initial.into(),
    }
}

async fn try_record(app: &App, items: Vec<Item>) -> Result<RecordOutreachResponse, Status> {
    let request = RecordOutreachRequest {
        items,
        ..Default::default()
    };
    let response = app.marketing().await.record_outreach(request).await?;
    Ok(response.into_inner())
}

/// Asks the gate about messages; an outcome each.
async fn record(app: &App, items: Vec<Item>) -> Vec<Outcome> {
    let count = items.len();
    let outcomes = try_record(app, items).await.unwrap().outcomes;
    assert_eq!(outcomes.len(), count);
    outcomes
}
