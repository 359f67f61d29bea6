//! `RecordConversions`.

use diesel_async::{AsyncConnection as _, AsyncPgConnection};
use pb::record_conversions_response::{
    Outcome,
    outcome::{Refusal, Result as Kind},
};
use prost::Message as _;

use super::{
    super::{
        convert::InvalidItem,
        repository::conversions::{self as repository, NewConversion, Recorded},
    },
    convert,
};
use crate::{
    config::Limits,
    db::PooledConnection,
    domain::Actor,
    golden::fields,
    proto::marketing::v1 as pb,
    room::Room,
    rpc::{Answers, Error, check_items},
};

pub(in crate::marketing) async fn record(
    room: &Room,
    request: pb::RecordConversionsRequest,
    actor: Actor,
) -> Result<pb::RecordConversionsResponse, Error> {
    let call = RecordCall::parse(request, &room.limits)?;
    let connection = room.connection().await?;
    room.uncut(call.run(connection, actor)).await
}

/// One call of `RecordConversions`, parsed.
struct RecordCall {
    request: pb::RecordConversionsRequest,
    /// The items whose fields are right.
    items: Vec<NewConversion>,
    /// For each item of the request what is wrong with it, if something is.
    invalid: Vec<Option<InvalidItem>>,
}

impl RecordCall {
    fn parse(request: pb::RecordConversionsRequest, limits: &Limits) -> Result<Self, Error> {
        check_items("items", request.items.len())?;
        let (bytes, limit) = (request.encoded_len(), limits.max_frame_bytes);
        fields::within("bytes of items", bytes, limit, "max-frame-bytes")?;
        let (mut items, mut invalid) = (Vec::new(), Vec::new());
        for item in &request.items {
            match convert::item(item) {
                Ok(item) => {
                    items.push(item);
                    invalid.push(None);
                }
                Err(wrong) => invalid.push(Some(wrong)),
            }
        }
        Ok(Self {
            request,
            items,
            invalid,
        })
    }

    /// Records everything and keeps the answer, in one transaction.
    async fn run(
        self,
        mut connection: PooledConnection,
        actor: Actor,
    ) -> Result<pb::RecordConversionsResponse, Error> {
        let request_id = &self.request.request_id;
        let answers = Answers::parse(&actor, "RecordConversions", request_id, &self.request)?;
        let (items, invalid) = (&self.items, self.invalid);
        connection
            .transaction(async |connection| {
                Answers::once(answers, connection, async |connection| {
                    record_items(connection, items, invalid).await
                })
                .await
            })
            .await
    }
}

async fn record_items(
    connection: &mut AsyncPgConnection,
    items: &[NewConversion],
    invalid: Vec<Option<InvalidItem>>,
) -> Result<pb::RecordConversionsResponse, Error> {
    let recorded = repository::record(connection, items).await?;
    let mut recorded = recorded.into_iter();
    let outcomes = invalid.into_iter().map(|invalid| match invalid {
        Some(InvalidItem { field, detail }) => Ok(Outcome {
            field: field.to_owned(),
            ..refused(Refusal::InvalidItem, detail)
        }),
        None => recorded
            .next()
            .ok_or_else(|| Error::internal("an outcome is missing"))
            .and_then(outcome),
    });
    Ok(pb::RecordConversionsResponse {
        outcomes: outcomes.collect::<Result<_, Error>>()?,
    })
}

fn outcome(recorded: Recorded) -> Result<Outcome, Error> {
    let (refusal, detail) = match recorded.outcome.as_str() {
        "recorded" => {
            return Ok(Outcome {
                result: Kind::Recorded.into(),
                replayed: recorded.replayed,
                conversion: recorded.stored.map(convert::conversion),
                ..Default::default()
            });
        }
        "id_conflict" => (
            Refusal::IdConflict,
            "the id is that of another conversion; choose a new one",
        ),
        "person_unknown" => (Refusal::PersonUnknown, "there is no such person"),
        "campaign_unknown" => (Refusal::CampaignUnknown, "there is no such campaign"),
        "in_future" => (
            Refusal::InFuture,
            "conversion_time is more than 5 minutes from now; record it once it happened",
        ),
        other => return Err(Error::internal(format!("f_record_conversions: {other}"))),
    };
    Ok(refused(refusal, detail.to_owned()))
}

fn refused(refusal: Refusal, detail: String) -> Outcome {
    Outcome {
        result: Kind::Refused.into(),
        refusal: refusal.into(),
        detail,
        ..Default::default()
    }
}
