//! The queue of those who are to be enriched.

use std::sync::Arc;

use tonic::{Response, Status};

use crate::{domain::Actor, proto::people::v1 as pb, room::Room};

pub(super) async fn enqueue_enrichment(
    _room: &Arc<Room>,
    _request: pb::EnqueueEnrichmentRequest,
    _actor: Actor,
) -> Result<Response<pb::EnqueueEnrichmentResponse>, Status> {
    Err(Status::unimplemented("not built yet"))
}

pub(super) async fn lease_enrichment(
    _room: &Arc<Room>,
    _request: pb::LeaseEnrichmentRequest,
    _actor: Actor,
) -> Result<Response<pb::LeaseEnrichmentResponse>, Status> {
    Err(Status::unimplemented("not built yet"))
}

pub(super) async fn complete_enrichment(
    _room: &Arc<Room>,
    _request: pb::CompleteEnrichmentRequest,
    _actor: Actor,
) -> Result<Response<pb::CompleteEnrichmentResponse>, Status> {
    Err(Status::unimplemented("not built yet"))
}

pub(super) async fn fail_enrichment(
    _room: &Arc<Room>,
    _request: pb::FailEnrichmentRequest,
    _actor: Actor,
) -> Result<Response<pb::FailEnrichmentResponse>, Status> {
    Err(Status::unimplemented("not built yet"))
}

pub(super) async fn list_enrichment(
    _room: &Arc<Room>,
    _request: pb::ListEnrichmentRequest,
    _actor: Actor,
) -> Result<Response<pb::ListEnrichmentResponse>, Status> {
    Err(Status::unimplemented("not built yet"))
}

pub(super) async fn revive_enrichment(
    _room: &Arc<Room>,
    _request: pb::ReviveEnrichmentRequest,
    _actor: Actor,
) -> Result<Response<pb::ReviveEnrichmentResponse>, Status> {
    Err(Status::unimplemented("not built yet"))
}

pub(super) async fn get_enrichment_stats(
    _room: &Arc<Room>,
    _request: pb::GetEnrichmentStatsRequest,
    _actor: Actor,
) -> Result<Response<pb::GetEnrichmentStatsResponse>, Status> {
    Err(Status::unimplemented("not built yet"))
}
