//! What campaigns came to, the funnel, and feedback reports.

use crate::{domain::Actor, proto::marketing::v1 as pb, room::Room, rpc::Error};

pub(super) async fn get_performance(
    _room: &Room,
    _request: pb::GetCampaignPerformanceRequest,
) -> Result<pb::GetCampaignPerformanceResponse, Error> {
    Err(unwritten("GetCampaignPerformance"))
}

pub(super) async fn list_performance(
    _room: &Room,
    _request: pb::ListCampaignPerformanceRequest,
) -> Result<pb::ListCampaignPerformanceResponse, Error> {
    Err(unwritten("ListCampaignPerformance"))
}

pub(super) async fn funnel(
    _room: &Room,
    _request: pb::GetFunnelRequest,
) -> Result<pb::GetFunnelResponse, Error> {
    Err(unwritten("GetFunnel"))
}

pub(super) async fn create_feedback(
    _room: &Room,
    _request: pb::CreateFeedbackReportRequest,
    _actor: Actor,
) -> Result<pb::CreateFeedbackReportResponse, Error> {
    Err(unwritten("CreateFeedbackReport"))
}

pub(super) async fn list_feedback(
    _room: &Room,
    _request: pb::ListFeedbackReportsRequest,
) -> Result<pb::ListFeedbackReportsResponse, Error> {
    Err(unwritten("ListFeedbackReports"))
}

/// The calls that are not written yet.
fn unwritten(call: &str) -> Error {
    Error::Transport(tonic::Status::unimplemented(format!(
        "{call} is not written yet"
    )))
}
