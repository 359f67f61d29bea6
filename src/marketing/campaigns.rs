//! Campaigns: made, read, changed, and moved from state to state.
//!
//! ```text
//!   draft --start--> active --complete--> completed
//!                    |    ^                   ^
//!                  pause  resume              |
//!                    v    |                   |
//!                    paused ------complete----+
//! ```

use uuid::Uuid;

use super::{
    convert::{self, CAMPAIGN_STATUSES, CAMPAIGN_TYPES},
    repository::campaigns::{
        self as repository, CampaignFilter, CampaignOutcome, Changes, NewCampaign, PageKey,
        StoredCampaign,
    },
};
use crate::{
    domain::Actor,
    golden::fields,
    proto::marketing::v1 as pb,
    room::Room,
    rpc::{Error, PageRequest, to_timestamp},
};

/// The fields that `UpdateCampaign` changes; their columns are called alike.
const EDITABLE: [&str; 3] = ["name", "type", "target_count"];
/// The fields that nobody changes, or that moves change.
const IMMUTABLE: [&str; 8] = [
    "campaign_id",
    "status",
    "sent_count",
    "response_count",
    "create_time",
    "start_time",
    "end_time",
    "etag",
];

/// A move from state to state.
struct Move {
    name: &'static str,
    from: &'static [&'static str],
    to: &'static str,
}

const START: Move = Move {
    name: "start",
    from: &["draft"],
    to: "active",
};
const PAUSE: Move = Move {
    name: "pause",
    from: &["active"],
    to: "paused",
};
const RESUME: Move = Move {
    name: "resume",
    from: &["paused"],
    to: "active",
};
const COMPLETE: Move = Move {
    name: "complete",
    from: &["active", "paused"],
    to: "completed",
};

const MOVES: [&Move; 4] = [&START, &PAUSE, &RESUME, &COMPLETE];

/// The moves that lead out of a state.
fn moves(state: &str) -> Vec<&'static str> {
    let leading_out = MOVES.iter().filter(|own| own.from.contains(&state));
    leading_out.map(|own| own.name).collect()
}

pub(super) async fn create(
    room: &Room,
    request: pb::CreateCampaignRequest,
    actor: Actor,
) -> Result<pb::CreateCampaignResponse, Error> {
    let new = new_campaign(request)?;
    let mut connection = room.connection().await?;
    let written = room
        .uncut(async move { repository::create(&mut connection, &new, &actor).await })
        .await?;
    if written.outcome == "conflict" {
        return Err(Error::CampaignExists(
            written.campaign.campaign_id.to_string(),
        ));
    }
    Ok(pb::CreateCampaignResponse {
        campaign: Some(campaign(written.campaign)),
    })
}

fn new_campaign(request: pb::CreateCampaignRequest) -> Result<NewCampaign, Error> {
    let campaign_id = convert::optional_id(&request.campaign_id)
        .map_err(|error| Error::invalid("campaign_id", error))?;
    Ok(NewCampaign {
        campaign_id: campaign_id.unwrap_or_else(Uuid::new_v4),
        name: name("name", &request.name)?,
        kind: kind("type", request.r#type)?,
        target_count: target_count("target_count", request.target_count)?,
    })
}

fn name(field: &'static str, text: &str) -> Result<String, Error> {
    fields::indexed(field, text.trim().to_owned())?
        .ok_or_else(|| Error::invalid(field, "is required"))
}

fn kind(field: &'static str, number: i32) -> Result<&'static str, Error> {
    convert::required_name(number, &CAMPAIGN_TYPES).map_err(|error| Error::invalid(field, error))
}

fn target_count(field: &'static str, count: Option<i32>) -> Result<Option<i32>, Error> {
    match count {
        Some(..0) => Err(Error::invalid(field, "must not be negative")),
        count => Ok(count),
    }
}

pub(super) async fn get(
    room: &Room,
    request: pb::GetCampaignRequest,
) -> Result<pb::GetCampaignResponse, Error> {
    let id = fields::id("campaign_id", &request.campaign_id)?;
    let mut connection = room.connection().await?;
    let found = repository::get(&mut connection, id).await?;
    Ok(pb::GetCampaignResponse {
        campaign: Some(campaign(found.ok_or_else(|| not_found(id))?)),
    })
}

pub(super) async fn list(
    room: &Room,
    mut request: pb::ListCampaignsRequest,
) -> Result<pb::ListCampaignsResponse, Error> {
    let paging = PageRequest::<PageKey>::of("ListCampaigns", &mut request, |request| {
        (&mut request.page_size, &mut request.page_token)
    })?
    .within(room.limits.max_page_bytes);
    let filter = filter(request)?;
    let mut connection = room.connection().await?;
    let page = repository::list(&mut connection, &filter, &paging).await?;
    let next_page_token = match page.items.last().filter(|_| page.more) {
        Some(last) => paging.token(&PageKey::new(last.created_at, last.campaign_id))?,
        None => String::new(),
    };
    Ok(pb::ListCampaignsResponse {
        campaigns: page.items.into_iter().map(campaign).collect(),
        next_page_token,
    })
}

fn filter(request: pb::ListCampaignsRequest) -> Result<CampaignFilter, Error> {
    let (created_from, created_before) = convert::period(
        ["created_from", "created_before"],
        [request.created_from, request.created_before],
    )?;
    let order: pb::CampaignOrder = fields::known("order_by", request.order_by)?;
    Ok(CampaignFilter {
        status: convert::to_name(request.status, &CAMPAIGN_STATUSES)
            .map_err(|error| Error::invalid("status", error))?,
        kind: convert::to_name(request.r#type, &CAMPAIGN_TYPES)
            .map_err(|error| Error::invalid("type", error))?,
        name_prefix: fields::indexed("name_prefix", request.name_prefix)?,
        created_from,
        created_before,
        newest_first: order == pb::CampaignOrder::CreatedDesc,
    })
}

pub(super) async fn update(
    room: &Room,
    request: pb::UpdateCampaignRequest,
    actor: Actor,
) -> Result<pb::UpdateCampaignResponse, Error> {
    let sent = request
        .campaign
        .ok_or_else(|| Error::invalid("campaign", "is missing"))?;
    let mask = request.update_mask.unwrap_or_default().paths;
    let changes = changes(&sent, &mask)?;
    let id = fields::id("campaign.campaign_id", &sent.campaign_id)?;
    let etag = fields::etag("campaign.etag", &sent.etag)?;
    let mut connection = room.connection().await?;
    let written = room
        .uncut(
            async move { repository::update(&mut connection, id, &etag, &changes, &actor).await },
        )
        .await?;
    let written = written.ok_or_else(|| not_found(id))?;
    Ok(pb::UpdateCampaignResponse {
        campaign: Some(updated(written)?),
    })
}

fn changes(sent: &pb::Campaign, mask: &[String]) -> Result<Changes, Error> {
    let mask = fields::columns("update_mask", mask, &EDITABLE, &IMMUTABLE)?;
    if mask.is_empty() {
        return Err(Error::invalid("update_mask", "name at least one field"));
    }
    let mut changes = Changes::new();
    for column in mask {
        let value = match column {
            "name" => Some(name("campaign.name", &sent.name)?),
            "type" => Some(kind("campaign.type", sent.r#type)?.to_owned()),
            _ => target_count("campaign.target_count", sent.target_count)?
                .map(|count| count.to_string()),
        };
        changes.insert(column, value);
    }
    Ok(changes)
}

fn updated(written: CampaignOutcome) -> Result<pb::Campaign, Error> {
    let stored = written.campaign;
    match written.outcome.as_str() {
        "etag_mismatch" => Err(Error::EtagMismatch {
            resource: "campaign",
            key: stored.campaign_id.to_string(),
            current: stored.etag,
        }),
        "not_draft" => Err(Error::CampaignStarted {
            campaign_id: stored.campaign_id.to_string(),
            state: stored.status,
            field: "type",
        }),
        _ => Ok(campaign(stored)),
    }
}

pub(super) async fn start(
    room: &Room,
    request: pb::StartCampaignRequest,
    actor: Actor,
) -> Result<pb::StartCampaignResponse, Error> {
    Ok(pb::StartCampaignResponse {
        campaign: Some(make(room, &START, &request.campaign_id, actor).await?),
    })
}

pub(super) async fn pause(
    room: &Room,
    request: pb::PauseCampaignRequest,
    actor: Actor,
) -> Result<pb::PauseCampaignResponse, Error> {
    Ok(pb::PauseCampaignResponse {
        campaign: Some(make(room, &PAUSE, &request.campaign_id, actor).await?),
    })
}

pub(super) async fn resume(
    room: &Room,
    request: pb::ResumeCampaignRequest,
    actor: Actor,
) -> Result<pb::ResumeCampaignResponse, Error> {
    Ok(pb::ResumeCampaignResponse {
        campaign: Some(make(room, &RESUME, &request.campaign_id, actor).await?),
    })
}

pub(super) async fn complete(
    room: &Room,
    request: pb::CompleteCampaignRequest,
    actor: Actor,
) -> Result<pb::CompleteCampaignResponse, Error> {
    Ok(pb::CompleteCampaignResponse {
        campaign: Some(make(room, &COMPLETE, &request.campaign_id, actor).await?),
    })
}

/// Makes a move; one that is already made is no error.
async fn make(
    room: &Room,
    wanted: &'static Move,
    campaign_id: &str,
    actor: Actor,
) -> Result<pb::Campaign, Error> {
    let id = fields::id("campaign_id", campaign_id)?;
    let mut connection = room.connection().await?;
    let moved = room
        .uncut(async move {
            repository::change_state(&mut connection, id, wanted.from, wanted.to, &actor).await
        })
        .await?;
    let moved = moved.ok_or_else(|| not_found(id))?;
    if moved.outcome == "no_such_move" {
        return Err(Error::CampaignState {
            campaign_id: id.to_string(),
            moves: moves(&moved.campaign.status),
            state: moved.campaign.status,
            wanted: wanted.name,
        });
    }
    Ok(campaign(moved.campaign))
}

/// What a call says of a campaign that there is none of.
pub(super) fn not_found(id: Uuid) -> Error {
    Error::NotFound {
        resource: "campaign",
        key: id.to_string(),
    }
}

fn campaign(stored: StoredCampaign) -> pb::Campaign {
    pb::Campaign {
        campaign_id: stored.campaign_id.to_string(),
        name: stored.name,
        r#type: convert::from_name(&stored.kind, &CAMPAIGN_TYPES).into(),
        status: convert::from_name(&stored.status, &CAMPAIGN_STATUSES).into(),
        target_count: stored.target_count,
        sent_count: stored.sent_count,
        response_count: stored.response_count,
        create_time: Some(to_timestamp(stored.created_at)),
        start_time: stored.started_at.map(to_timestamp),
        end_time: stored.ended_at.map(to_timestamp),
        etag: stored.etag,
    }
}
