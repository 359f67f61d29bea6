//! The gate before each send, and the messages that passed it.

use crate::{domain::Actor, proto::marketing::v1 as pb, room::Room, rpc::Error};

pub(super) async fn record(
    _room: &Room,
    _request: pb::RecordOutreachRequest,
    _actor: Actor,
) -> Result<pb::RecordOutreachResponse, Error> {
    Err(unwritten("RecordOutreach"))
}

pub(super) async fn list(
    _room: &Room,
    _request: pb::ListOutreachRequest,
) -> Result<pb::ListOutreachResponse, Error> {
    Err(unwritten("ListOutreach"))
}

/// The calls that are not written yet.
fn unwritten(call: &str) -> Error {
    Error::Transport(tonic::Status::unimplemented(format!(
        "{call} is not written yet"
    )))
}
