//! What providers tell of messages: opened, replied, bounced.

use diesel_async::{AsyncConnection as _, AsyncPgConnection};
use prost::Message as _;

use super::{
    convert::{self, BOUNCE_TYPES, ENGAGEMENT_KINDS, InvalidItem, item_field},
    repository::engagements::{self as repository, NewEvents},
};
use crate::{
    config::Limits,
    db::PooledConnection,
    domain::Actor,
    golden::fields,
    proto::marketing::v1::{
        self as pb, record_engagements_request::Event, record_engagements_response as answers,
    },
    room::Room,
    rpc::{Answers, Error, check_items, from_timestamp},
};

use answers::{
    Outcome,
    outcome::{Refusal, Result as Verdict},
};

/// The longest id that a provider gives an event, in bytes.
const MAX_EVENT_ID_BYTES: usize = 1_000;

pub(super) async fn record(
    room: &Room,
    request: pb::RecordEngagementsRequest,
    soft_bounce_limit: i32,
    actor: Actor,
) -> Result<pb::RecordEngagementsResponse, Error> {
    let call = RecordCall::parse(request, soft_bounce_limit, &room.limits)?;
    let connection = room.connection().await?;
    room.uncut(call.run(connection, actor)).await
}

/// One call of `RecordEngagements`, parsed.
struct RecordCall {
    request: pb::RecordEngagementsRequest,
    soft_bounce_limit: i32,
    /// The events that are well-formed.
    events: NewEvents,
    /// For each event of the request what is wrong with it, if something is.
    invalid: Vec<Option<InvalidItem>>,
}

impl RecordCall {
    fn parse(
        request: pb::RecordEngagementsRequest,
        soft_bounce_limit: i32,
        limits: &Limits,
    ) -> Result<Self, Error> {
        check_items("events", request.events.len())?;
        let bytes = request.encoded_len();
        fields::within(
            "bytes of events",
            bytes,
            limits.max_frame_bytes,
            "max-frame-bytes",
        )?;
        let mut events = NewEvents::default();
        let invalid = request
            .events
            .iter()
            .map(|event| push(&mut events, event).err());
        let invalid = invalid.collect();
        Ok(Self {
            request,
            soft_bounce_limit,
            events,
            invalid,
        })
    }

    /// Records everything and keeps the answer, in one transaction.
    async fn run(
        self,
        mut connection: PooledConnection,
        actor: Actor,
    ) -> Result<pb::RecordEngagementsResponse, Error> {
        let request_id = &self.request.request_id;
        let answers = Answers::parse(&actor, "RecordEngagements", request_id, &self.request)?;
        connection
            .transaction(async |connection| {
                Answers::once(answers, connection, async |connection| {
                    self.record(connection, &actor).await
                })
                .await
            })
            .await
    }

    async fn record(
        &self,
        connection: &mut AsyncPgConnection,
        actor: &Actor,
    ) -> Result<pb::RecordEngagementsResponse, Error> {
        let recorded =
            repository::record(connection, &self.events, self.soft_bounce_limit, actor).await?;
        let mut recorded = recorded.into_iter();
        let outcomes = self.invalid.iter().map(|invalid| match invalid {
            Some(invalid) => Ok(Outcome {
                result: Verdict::Refused.into(),
                refusal: Refusal::InvalidEvent.into(),
                field: invalid.field.to_owned(),
                detail: invalid.detail.clone(),
            }),
            None => recorded
                .next()
                .ok_or_else(|| Error::internal("an outcome is missing"))
                .and_then(|result| outcome(&result)),
        });
        Ok(pb::RecordEngagementsResponse {
            outcomes: outcomes.collect::<Result<_, Error>>()?,
        })
    }
}

/// Adds an event whose fields are right.
fn push(events: &mut NewEvents, event: &Event) -> Result<(), InvalidItem> {
    item_field("event_id", event_id(&event.event_id))?;
    let outreach_id = item_field("outreach_id", convert::id(&event.outreach_id))?;
    let kind = convert::required_name(event.kind, &ENGAGEMENT_KINDS);
    let kind = item_field("kind", kind)?;
    let bounce_type = item_field("bounce_type", bounce_type(kind, event.bounce_type))?;
    let occurred_at = from_timestamp("occur_time", event.occur_time)
        .map_err(|_| "must be a time in the years 1 to 9999".to_owned())
        .and_then(|time| time.ok_or_else(|| "is required".to_owned()));
    let occurred_at = item_field("occur_time", occurred_at)?;
    events.push(&event.event_id, outreach_id, kind, bounce_type, occurred_at);
    Ok(())
}

fn event_id(text: &str) -> Result<(), String> {
    if text.is_empty() {
        return Err("is required: the provider's id of the event".to_owned());
    }
    convert::check_text(text, MAX_EVENT_ID_BYTES)
}

fn bounce_type(kind: &str, number: i32) -> Result<Option<&'static str>, String> {
    let bounce_type = convert::to_name(number, &BOUNCE_TYPES)?;
    match (kind, bounce_type) {
        ("bounced", None) => Err("is required of a bounce".to_owned()),
        ("bounced", _) | (_, None) => Ok(bounce_type),
        _ => Err("only a bounce has one".to_owned()),
    }
}

fn outcome(result: &str) -> Result<Outcome, Error> {
    let (refusal, detail) = match result {
        "recorded" => return Ok(counted(Verdict::Recorded)),
        "duplicate" => return Ok(counted(Verdict::Duplicate)),
        "event_id_conflict" => (
            Refusal::EventIdConflict,
            "the id is that of an event with another message, kind, bounce type or time",
        ),
        "outreach_unknown" => (Refusal::OutreachUnknown, "there is no such message"),
        "in_future" => (Refusal::InFuture, "happens more than 5 minutes from now"),
        "before_sent" => (
            Refusal::BeforeSent,
            "happened more than 5 minutes before its message was sent",
        ),
        other => return Err(Error::internal(format!("f_record_engagements: {other}"))),
    };
    Ok(Outcome {
        result: Verdict::Refused.into(),
        refusal: refusal.into(),
        detail: detail.to_owned(),
        ..Default::default()
    })
}

fn counted(verdict: Verdict) -> Outcome {
    Outcome {
        result: verdict.into(),
        ..Default::default()
    }
}
