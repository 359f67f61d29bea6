//! Slots of people: what staging, promotion and lists have of their own.

use diesel_async::AsyncPgConnection;
use serde_json::{Map, Value};

use super::{PEOPLE, reading};
use crate::{
    domain::{
        Actor, Email,
        row::{RowLimits, RowRejection},
    },
    golden::{
        Kind,
        from_vault::{self, Contact},
        promotion::{self, PendingSlot, Promoted, Promoting},
        slots::{self as shared, SlotQuery},
        staging::{Sent, Staged, Staging},
    },
    metrics::ChunkOf,
    people::repository::promotion as repository,
    proto::people::v1 as pb,
    room::Room,
    rpc::{Error, PageRequest},
};

/// `StagePeople`.
pub(super) struct StagePeople;

impl Staging for StagePeople {
    const KIND: Kind = PEOPLE;
    const METHOD: &'static str = "StagePeople";
    type Request = pb::StagePeopleRequest;
    type Response = pb::StagePeopleResponse;

    fn sent(request: Self::Request) -> Sent {
        Sent {
            batch_id: request.batch_id,
            source: request.source,
            rows: request.rows,
            json_rows: request.json_rows,
            offset: request.offset,
            request_id: request.request_id,
            validate_only: request.validate_only,
        }
    }

    fn key(raw: &[u8], limits: &RowLimits) -> Result<String, RowRejection> {
        reading::key(raw, limits)
    }

    fn respond(staged: Staged) -> Self::Response {
        pb::StagePeopleResponse {
            batch_id: staged.batch_id,
            first_offset: staged.first_offset,
            outcomes: staged.outcomes,
            tally: Some(staged.tally),
        }
    }
}

/// `StagePeopleFromVault`.
pub(super) struct FromVault;

impl from_vault::FromVault for FromVault {
    const KIND: Kind = PEOPLE;
    type Response = pb::StagePeopleFromVaultResponse;

    fn slot(contact: &Contact) -> Option<(String, String)> {
        Some((contact.email.clone(), contact_row(contact)))
    }

    fn message(progress: from_vault::Progress) -> Self::Response {
        pb::StagePeopleFromVaultResponse {
            done: progress.done,
            staged: progress.total.staged,
            unchanged: progress.total.unchanged,
            left: progress.left,
            rows_per_second: progress.rows_per_second,
            finished: progress.finished,
        }
    }
}

/// The row that a contact makes: what it says of its own stands over its custom fields, which stay the exact
/// JSON that they are, their numbers too.
fn contact_row(contact: &Contact) -> String {
    let mut own = Map::new();
    for (key, text) in [
        ("email", Some(&contact.email)),
        ("name", contact.name.as_ref()),
        ("phone", contact.phone.as_ref()),
        ("company", contact.company.as_ref()),
        ("title", contact.title.as_ref()),
    ] {
        own.extend(text.map(|text| (key.to_owned(), Value::String(text.clone()))));
    }
    let own = Value::Object(own).to_string();
    // Both are objects, and own has an email: of a key that is there twice jsonb keeps the last.
    match contact.custom_fields.trim_end().strip_suffix('}') {
        Some(custom) if custom.len() > 1 => format!("{custom},{}", &own[1..]),
        _ => own,
    }
}

/// `PromotePeople`.
pub(super) struct Promoter;

impl Promoting for Promoter {
    const KIND: Kind = PEOPLE;
    const CHUNK_OF: ChunkOf = ChunkOf::PromotePeople;
    type Response = pb::PromotePeopleResponse;

    async fn promote(
        connection: &mut AsyncPgConnection,
        slots: Vec<PendingSlot>,
        actor: &Actor,
    ) -> Result<Promoted, Error> {
        let (mut values, mut refusals) = (Vec::new(), Vec::new());
        for slot in slots {
            match reading::read(&slot) {
                Ok(value) => values.push(value),
                Err(refusal) => refusals.push(refusal),
            }
        }
        repository::promote(connection, &values, &refusals, actor).await
    }

    fn message(progress: promotion::Progress) -> Self::Response {
        pb::PromotePeopleResponse {
            done: progress.done,
            promoted: progress.total.promoted,
            updated: progress.total.updated,
            unchanged: progress.total.unchanged,
            rejected: progress.total.rejected,
            noted: progress.total.noted,
            people_linked: progress.total.linked,
            left: progress.left,
            rows_per_second: progress.rows_per_second,
            finished: progress.finished,
        }
    }
}

/// `ListPersonSlots`.
pub(super) async fn list(
    room: &Room,
    mut request: pb::ListPersonSlotsRequest,
) -> Result<pb::ListPersonSlotsResponse, Error> {
    let paging = PageRequest::of("ListPersonSlots", &mut request, |request| {
        (&mut request.page_size, &mut request.page_token)
    })?;
    let email = (!request.email.is_empty()).then(|| Email::parse(&request.email));
    let email = email
        .transpose()
        .map_err(|error| Error::invalid("email", error))?;
    let query = SlotQuery {
        status: request.status,
        key: email.map(|email| email.to_string()),
        source: request.source,
        batch_id: request.batch_id,
        created_from: request.created_from,
        created_before: request.created_before,
        rejection_reason: request.rejection_reason,
        order_by: request.order_by,
    };
    let (slots, next_page_token) = shared::list(room, &PEOPLE, query, paging).await?;
    let slots = slots.into_iter().map(|(email, slot)| pb::PersonSlot {
        email,
        slot: Some(slot),
    });
    Ok(pb::ListPersonSlotsResponse {
        slots: slots.collect(),
        next_page_token,
    })
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;

    #[test]
    fn a_contacts_own_fields_stand_over_its_custom_ones() {
        for (custom, row) in [
            ("{}", r#"{"email":"a@x.example","title":"CTO"}"#),
            (
                r#"{"n": 1.10, "title": "old"}"#,
                r#"{"n": 1.10, "title": "old","email":"a@x.example","title":"CTO"}"#,
            ),
        ] {
            let contact = Contact {
                contact_id: 1,
                email: "a@x.example".into(),
                name: None,
                phone: None,
                company: None,
                title: Some("CTO".into()),
                source: "apollo".into(),
                custom_fields: custom.into(),
                updated_at: DateTime::UNIX_EPOCH,
            };
            assert_eq!(contact_row(&contact), row);
        }
    }
}
