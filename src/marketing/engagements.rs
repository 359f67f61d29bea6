//! What providers tell of messages: opened, replied, bounced.

use crate::{domain::Actor, proto::marketing::v1 as pb, room::Room, rpc::Error};

pub(super) async fn record(
    _room: &Room,
    _request: pb::RecordEngagementsRequest,
    _soft_bounce_limit: i32,
    _actor: Actor,
) -> Result<pb::RecordEngagementsResponse, Error> {
    Err(unwritten("RecordEngagements"))
}

/// The calls that are not written yet.
fn unwritten(call: &str) -> Error {
    Error::Transport(tonic::Status::unimplemented(format!(
        "{call} is not written yet"
    )))
}
