//! Campaigns: made, read, changed, and moved from state to state.

use crate::{domain::Actor, proto::marketing::v1 as pb, room::Room, rpc::Error};

pub(super) async fn create(
    _room: &Room,
    _request: pb::CreateCampaignRequest,
    _actor: Actor,
) -> Result<pb::CreateCampaignResponse, Error> {
    Err(unwritten("CreateCampaign"))
}

pub(super) async fn get(
    _room: &Room,
    _request: pb::GetCampaignRequest,
) -> Result<pb::GetCampaignResponse, Error> {
    Err(unwritten("GetCampaign"))
}

pub(super) async fn list(
    _room: &Room,
    _request: pb::ListCampaignsRequest,
) -> Result<pb::ListCampaignsResponse, Error> {
    Err(unwritten("ListCampaigns"))
}

pub(super) async fn update(
    _room: &Room,
    _request: pb::UpdateCampaignRequest,
    _actor: Actor,
) -> Result<pb::UpdateCampaignResponse, Error> {
    Err(unwritten("UpdateCampaign"))
}

pub(super) async fn start(
    _room: &Room,
    _request: pb::StartCampaignRequest,
    _actor: Actor,
) -> Result<pb::StartCampaignResponse, Error> {
    Err(unwritten("StartCampaign"))
}

pub(super) async fn pause(
    _room: &Room,
    _request: pb::PauseCampaignRequest,
    _actor: Actor,
) -> Result<pb::PauseCampaignResponse, Error> {
    Err(unwritten("PauseCampaign"))
}

pub(super) async fn resume(
    _room: &Room,
    _request: pb::ResumeCampaignRequest,
    _actor: Actor,
) -> Result<pb::ResumeCampaignResponse, Error> {
    Err(unwritten("ResumeCampaign"))
}

pub(super) async fn complete(
    _room: &Room,
    _request: pb::CompleteCampaignRequest,
    _actor: Actor,
) -> Result<pb::CompleteCampaignResponse, Error> {
    Err(unwritten("CompleteCampaign"))
}

/// The calls that are not written yet.
fn unwritten(call: &str) -> Error {
    Error::Transport(tonic::Status::unimplemented(format!(
        "{call} is not written yet"
    )))
}
