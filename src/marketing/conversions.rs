//! Conversions, and whose they are.

use crate::{domain::Actor, proto::marketing::v1 as pb, room::Room, rpc::Error};

pub(super) async fn record(
    _room: &Room,
    _request: pb::RecordConversionsRequest,
    _actor: Actor,
) -> Result<pb::RecordConversionsResponse, Error> {
    Err(unwritten("RecordConversions"))
}

pub(super) async fn list(
    _room: &Room,
    _request: pb::ListConversionsRequest,
) -> Result<pb::ListConversionsResponse, Error> {
    Err(unwritten("ListConversions"))
}

pub(super) async fn attribution_report(
    _room: &Room,
    _request: pb::GetAttributionReportRequest,
) -> Result<pb::GetAttributionReportResponse, Error> {
    Err(unwritten("GetAttributionReport"))
}

/// The calls that are not written yet.
fn unwritten(call: &str) -> Error {
    Error::Transport(tonic::Status::unimplemented(format!(
        "{call} is not written yet"
    )))
}
