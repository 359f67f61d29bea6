//! `TraceRow`: from a row's identity to its fate, its load or slot, its contact and its person.

use super::{
    convert,
    repository::{self, RowIdentity},
    service::not_found,
};
use crate::{
    db::PooledConnection,
    domain::{BatchId, Fate},
    proto::intake::v1 as pb,
    rpc::Error,
};

/// The identity of a load's row, as its metadata keeps it.
pub(super) async fn identity_of(
    connection: &mut PooledConnection,
    load_id: i64,
) -> Result<RowIdentity, Error> {
    let load = repository::get_load(connection, load_id)
        .await?
        .ok_or_else(|| not_found("load", load_id))?;
    let (Some(lane), Some(offset)) = (load.lane, load.row_offset) else {
        return Err(not_found("row of load", load_id));
    };
    Ok(RowIdentity {
        batch_id: BatchId::parse(&load.batch_id).map_err(Error::internal)?,
        lane,
        offset,
    })
}

/// What became of a row, from its fate to its person.
pub(super) async fn trace(
    connection: &mut PooledConnection,
    row: RowIdentity,
) -> Result<pb::TraceRowResponse, Error> {
    let (fate, load) = repository::find_row(connection, &row)
        .await?
        .ok_or_else(|| {
            not_found(
                "row",
                format!(
                    "{} of lane {} of batch {}",
                    row.offset, row.lane, row.batch_id
                ),
            )
        })?;
    let mut response = pb::TraceRowResponse {
        fate: convert::fate(fate).into(),
        ..Default::default()
    };
    if let Some(email) = load.as_ref().and_then(|load| load.email.as_deref()) {
        let followed = repository::follow_email(connection, email).await?;
        let own = load.as_ref().map(|load| load.load_id);
        response.claim_load_id = followed
            .claim_load_id
            .filter(|claim| Some(*claim) != own)
            .unwrap_or_default();
        response.contact = followed.contact().map(convert::contact);
        response.person = followed.person().map(convert::person);
    }
    if fate == Fate::Rejected {
        let offsets = row.offset..row.offset + 1;
        let rejected =
            repository::get_rejected(connection, &row.batch_id, row.lane, offsets, 1).await?;
        response.rejected_row = rejected.into_iter().next().map(convert::rejected_row);
    }
    if let Some(slot) = repository::find_slot(connection, &row).await? {
        response.slot_id = slot.id.to_string();
        if let Some(email) = &slot.email {
            let followed = repository::follow_email(connection, email).await?;
            response.contact = followed.contact().map(convert::contact);
            response.person = followed.person().map(convert::person);
        }
    }
    response.load = load.map(convert::raw_load);
    response.row = Some(convert::identity(row));
    Ok(response)
}
