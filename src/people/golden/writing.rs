//! Changes of people by somebody who read them.

use crate::{
    domain::Actor,
    golden::fields,
    people::{convert, repository::people as repository},
    proto::people::v1 as pb,
    room::Room,
    rpc::Error,
};

pub(super) async fn update(
    room: &Room,
    request: pb::UpdatePersonRequest,
    actor: Actor,
) -> Result<pb::UpdatePersonResponse, Error> {
    let person = request
        .person
        .ok_or_else(|| Error::invalid("person", "is missing"))?;
    let person_id = fields::id("person.person_id", &person.person_id)?;
    let etag = fields::etag("person.etag", &person.etag)?;
    let mask = request.update_mask.unwrap_or_default().paths;
    let mask = convert::columns("update_mask", &mask)?;
    let unpin = convert::columns("unpin", &request.unpin)?;
    if request.enrichment && !unpin.is_empty() {
        return Err(Error::invalid("unpin", "an enrichment leaves pins alone"));
    }
    // That an enrichment found nothing is worth its time.
    fields::check_mask(&mask, &unpin, request.enrichment)?;
    let changes = convert::changes(&person, &mask)?;
    let mut connection = room.connection().await?;
    let enrichment = request.enrichment;
    let outcome = room
        .uncut(async move {
            repository::update_person(
                &mut connection,
                person_id,
                &etag,
                &changes,
                &unpin,
                enrichment,
                &actor,
            )
            .await
        })
        .await?;
    Ok(pb::UpdatePersonResponse {
        person: Some(convert::written(person_id, outcome)?),
    })
}

pub(super) async fn archive(
    room: &Room,
    request: pb::ArchivePersonRequest,
    actor: Actor,
) -> Result<pb::ArchivePersonResponse, Error> {
    let person_id = fields::id("person_id", &request.person_id)?;
    let etag = fields::etag("etag", &request.etag)?;
    let mut connection = room.connection().await?;
    let outcome = room
        .uncut(async move {
            repository::archive_person(&mut connection, person_id, &etag, &actor).await
        })
        .await?;
    Ok(pb::ArchivePersonResponse {
        person: Some(convert::written(person_id, outcome)?),
    })
}
