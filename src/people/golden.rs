//! The golden records of people: staging, promotion, reading, changing, history.

use std::sync::Arc;

use tonic::{Response, Status};

use crate::{
    domain::Actor,
    proto::people::v1 as pb,
    room::{AnswerStream, Room},
};

pub(super) async fn stage_people(
    _room: &Arc<Room>,
    _request: pb::StagePeopleRequest,
    _actor: Actor,
) -> Result<Response<pb::StagePeopleResponse>, Status> {
    Err(Status::unimplemented("not built yet"))
}

pub(super) async fn stage_people_from_vault(
    _room: &Arc<Room>,
    _request: pb::StagePeopleFromVaultRequest,
    _actor: Actor,
) -> Result<Response<AnswerStream<pb::StagePeopleFromVaultResponse>>, Status> {
    Err(Status::unimplemented("not built yet"))
}

pub(super) async fn list_person_slots(
    _room: &Arc<Room>,
    _request: pb::ListPersonSlotsRequest,
    _actor: Actor,
) -> Result<Response<pb::ListPersonSlotsResponse>, Status> {
    Err(Status::unimplemented("not built yet"))
}

pub(super) async fn promote_people(
    _room: &Arc<Room>,
    _request: pb::PromotePeopleRequest,
    _actor: Actor,
) -> Result<Response<AnswerStream<pb::PromotePeopleResponse>>, Status> {
    Err(Status::unimplemented("not built yet"))
}

pub(super) async fn get_person(
    _room: &Arc<Room>,
    _request: pb::GetPersonRequest,
    _actor: Actor,
) -> Result<Response<pb::GetPersonResponse>, Status> {
    Err(Status::unimplemented("not built yet"))
}

pub(super) async fn batch_get_people(
    _room: &Arc<Room>,
    _request: pb::BatchGetPeopleRequest,
    _actor: Actor,
) -> Result<Response<pb::BatchGetPeopleResponse>, Status> {
    Err(Status::unimplemented("not built yet"))
}

pub(super) async fn list_people(
    _room: &Arc<Room>,
    _request: pb::ListPeopleRequest,
    _actor: Actor,
) -> Result<Response<pb::ListPeopleResponse>, Status> {
    Err(Status::unimplemented("not built yet"))
}

pub(super) async fn update_person(
    _room: &Arc<Room>,
    _request: pb::UpdatePersonRequest,
    _actor: Actor,
) -> Result<Response<pb::UpdatePersonResponse>, Status> {
    Err(Status::unimplemented("not built yet"))
}

pub(super) async fn archive_person(
    _room: &Arc<Room>,
    _request: pb::ArchivePersonRequest,
    _actor: Actor,
) -> Result<Response<pb::ArchivePersonResponse>, Status> {
    Err(Status::unimplemented("not built yet"))
}

pub(super) async fn list_person_history(
    _room: &Arc<Room>,
    _request: pb::ListPersonHistoryRequest,
    _actor: Actor,
) -> Result<Response<pb::ListPersonHistoryResponse>, Status> {
    Err(Status::unimplemented("not built yet"))
}
