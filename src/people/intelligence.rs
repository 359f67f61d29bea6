//! What is known of people, for as long as it is fresh.

use std::sync::Arc;

use tonic::{Response, Status};

use crate::{domain::Actor, proto::people::v1 as pb, room::Room};

pub(super) async fn put_intelligence(
    _room: &Arc<Room>,
    _request: pb::PutIntelligenceRequest,
    _actor: Actor,
) -> Result<Response<pb::PutIntelligenceResponse>, Status> {
    Err(Status::unimplemented("not built yet"))
}

pub(super) async fn get_intelligence(
    _room: &Arc<Room>,
    _request: pb::GetIntelligenceRequest,
    _actor: Actor,
) -> Result<Response<pb::GetIntelligenceResponse>, Status> {
    Err(Status::unimplemented("not built yet"))
}
