//! The golden records of people: staging, promotion, reading, changing, history.

pub(in crate::people) mod reading;
mod records;
mod slots;
mod writing;

use std::sync::Arc;

use tonic::{Response, Status};

use crate::{
    domain::{
        Actor,
        row::{RowLimits, RowRejection},
    },
    golden::{Kind, from_vault::StageFromVault, promotion::Promotion, staging},
    proto::people::v1 as pb,
    room::{AnswerStream, Room},
};

/// Which room this is, for what companies and people have in common.
const PEOPLE: Kind = Kind {
    schema: "people",
    key: "email",
    id: "person_id",
    lane: -3,
};

/// The email of a row as staging reads it, or why staging would reject the row.
pub(crate) fn staged_key(raw: &[u8], limits: &RowLimits) -> Result<String, RowRejection> {
    reading::key(raw, limits)
}

pub(super) async fn stage_people(
    room: &Arc<Room>,
    request: pb::StagePeopleRequest,
    actor: Actor,
) -> Result<Response<pb::StagePeopleResponse>, Status> {
    let staged = staging::stage::<slots::StagePeople>(room, request, actor).await?;
    Ok(Response::new(staged))
}

pub(super) async fn stage_people_from_vault(
    room: &Arc<Room>,
    request: pb::StagePeopleFromVaultRequest,
    actor: Actor,
) -> Result<Response<AnswerStream<pb::StagePeopleFromVaultResponse>>, Status> {
    let call = StageFromVault::parse(request.contact_ids, actor)?;
    Ok(room.stream(|room, answers| call.run::<slots::FromVault>(room, answers)))
}

pub(super) async fn list_person_slots(
    room: &Arc<Room>,
    request: pb::ListPersonSlotsRequest,
    _actor: Actor,
) -> Result<Response<pb::ListPersonSlotsResponse>, Status> {
    Ok(Response::new(slots::list(room, request).await?))
}

pub(super) async fn promote_people(
    room: &Arc<Room>,
    request: pb::PromotePeopleRequest,
    actor: Actor,
) -> Result<Response<AnswerStream<pb::PromotePeopleResponse>>, Status> {
    let call = Promotion::parse(
        &request.slot_ids,
        &request.batch_id,
        request.validate_only,
        actor,
    )?;
    Ok(room.stream(|room, answers| call.run::<slots::Promoter>(room, answers)))
}

pub(super) async fn get_person(
    room: &Arc<Room>,
    request: pb::GetPersonRequest,
    _actor: Actor,
) -> Result<Response<pb::GetPersonResponse>, Status> {
    Ok(Response::new(records::get(room, request).await?))
}

pub(super) async fn batch_get_people(
    room: &Arc<Room>,
    request: pb::BatchGetPeopleRequest,
    _actor: Actor,
) -> Result<Response<pb::BatchGetPeopleResponse>, Status> {
    Ok(Response::new(records::batch_get(room, request).await?))
}

pub(super) async fn list_people(
    room: &Arc<Room>,
    request: pb::ListPeopleRequest,
    _actor: Actor,
) -> Result<Response<pb::ListPeopleResponse>, Status> {
    Ok(Response::new(records::list(room, request).await?))
}

pub(super) async fn update_person(
    room: &Arc<Room>,
    request: pb::UpdatePersonRequest,
    actor: Actor,
) -> Result<Response<pb::UpdatePersonResponse>, Status> {
    Ok(Response::new(writing::update(room, request, actor).await?))
}

pub(super) async fn archive_person(
    room: &Arc<Room>,
    request: pb::ArchivePersonRequest,
    actor: Actor,
) -> Result<Response<pb::ArchivePersonResponse>, Status> {
    Ok(Response::new(writing::archive(room, request, actor).await?))
}

pub(super) async fn list_person_history(
    room: &Arc<Room>,
    request: pb::ListPersonHistoryRequest,
    _actor: Actor,
) -> Result<Response<pb::ListPersonHistoryResponse>, Status> {
    Ok(Response::new(records::list_history(room, request).await?))
}
