//! The gate before each send, and the messages that passed it.
//!
//! Calls that come at the same time share a transaction: a campaign's counter is one row, at which a hundred
//! transactions would queue. Who gives up before its turn is not recorded. A call with a `request_id` has a
//! transaction of its own, which keeps its answer too.

use std::sync::Arc;

use diesel_async::AsyncConnection as _;
use prost::Message as _;

use super::{
    convert::{
        self, CHANNELS, InvalidItem, MESSAGE_TYPES, OUTREACH_STATUSES, REASONS, SCOPES, item_field,
    },
    repository::{
        campaigns::PageKey,
        outreach::{self as repository, Gated, NewOutreach, OutreachFilter, StoredOutreach},
    },
};
use crate::{
    config::Limits,
    db::{Batcher, PooledConnection, Unwritten},
    domain::Actor,
    golden::fields,
    proto::{
        marketing::v1::{
            self as pb, record_outreach_request::Item, record_outreach_response as answers,
        },
        vault::v1::Suppression,
    },
    room::Room,
    rpc::{Answers, Error, PageRequest, check_items, to_timestamp},
};

use answers::{
    Outcome,
    outcome::{Refusal, Result as Verdict},
};

/// How many batches are on their way at the same time: while one commits another one waits for its locks. More
/// would make many small batches of few large ones.
const BATCHES: usize = 2;

/// The gate: the way into `marketing.outreach_history`.
pub(super) type Gate = Batcher<NewOutreach, Gated, Error>;

/// The gate of a room.
pub(super) fn gate(room: &Room) -> Arc<Gate> {
    Arc::new(room.batcher(BATCHES, ask))
}

/// Asks the gate, in a transaction.
async fn ask(
    mut connection: PooledConnection,
    messages: Vec<NewOutreach>,
) -> Result<Vec<Gated>, Error> {
    repository::record(&mut connection, &messages).await
}

pub(super) async fn record(
    room: &Room,
    gate: &Gate,
    request: pb::RecordOutreachRequest,
    actor: Actor,
) -> Result<pb::RecordOutreachResponse, Error> {
    let call = RecordCall::parse(request, &room.limits)?;
    if !call.request.request_id.is_empty() {
        let connection = room.connection().await?;
        return room.uncut(call.run_once(connection, actor)).await;
    }
    let messages = call.messages();
    if messages.is_empty() {
        return call.response(Vec::new());
    }
    let gated = match gate.write(messages).await {
        Ok(gated) => gated,
        Err(Unwritten::Alone) => {
            let connection = room.connection().await?;
            room.uncut(ask(connection, call.messages())).await?
        }
        Err(Unwritten::Failed(error)) => return Err(error),
        Err(Unwritten::Full(limit)) => return Err(Error::QueueFull { limit }),
        Err(Unwritten::Unconnected(error)) => return Err(error.into()),
    };
    call.response(gated)
}

/// One call of `RecordOutreach`, parsed.
struct RecordCall {
    request: pb::RecordOutreachRequest,
    /// For each item the message, or what is wrong with it.
    items: Vec<Result<NewOutreach, InvalidItem>>,
}

impl RecordCall {
    fn parse(request: pb::RecordOutreachRequest, limits: &Limits) -> Result<Self, Error> {
        check_items("items", request.items.len())?;
        let bytes = request.encoded_len();
        fields::within(
            "bytes of items",
            bytes,
            limits.max_frame_bytes,
            "max-frame-bytes",
        )?;
        let items = request.items.iter().map(message).collect();
        Ok(Self { request, items })
    }

    fn messages(&self) -> Vec<NewOutreach> {
        self.items.iter().flatten().cloned().collect()
    }

    /// Asks the gate and keeps the answer, in one transaction.
    async fn run_once(
        self,
        mut connection: PooledConnection,
        actor: Actor,
    ) -> Result<pb::RecordOutreachResponse, Error> {
        let request_id = &self.request.request_id;
        let answers = Answers::parse(&actor, "RecordOutreach", request_id, &self.request)?;
        connection
            .transaction(async |connection| {
                Answers::once(answers, connection, async |connection| {
                    let gated = repository::record(connection, &self.messages()).await?;
                    self.response(gated)
                })
                .await
            })
            .await
    }

    /// The answer, with what the gate said of the items that are messages.
    fn response(&self, gated: Vec<Gated>) -> Result<pb::RecordOutreachResponse, Error> {
        let mut gated = gated.into_iter();
        let outcomes = self.items.iter().map(|item| match item {
            Ok(_) => gated
                .next()
                .ok_or_else(|| Error::internal("an outcome is missing"))
                .and_then(outcome),
            Err(invalid) => Ok(Outcome {
                result: Verdict::Refused.into(),
                refusal: Refusal::InvalidItem.into(),
                field: invalid.field.to_owned(),
                detail: invalid.detail.clone(),
                ..Default::default()
            }),
        });
        Ok(pb::RecordOutreachResponse {
            outcomes: outcomes.collect::<Result<_, Error>>()?,
        })
    }
}

fn message(item: &Item) -> Result<NewOutreach, InvalidItem> {
    let channel = convert::required_name(item.channel, &CHANNELS);
    let message_type = convert::required_name(item.message_type, &MESSAGE_TYPES);
    Ok(NewOutreach {
        id: item_field("outreach_id", convert::id(&item.outreach_id))?,
        person_id: item_field("person_id", convert::id(&item.person_id))?,
        campaign_id: item_field("campaign_id", convert::optional_id(&item.campaign_id))?,
        channel: item_field("channel", channel)?,
        message_type: item_field("message_type", message_type)?,
    })
}

fn outcome(gated: Gated) -> Result<Outcome, Error> {
    if gated.result == "recorded" {
        return Ok(Outcome {
            result: Verdict::Recorded.into(),
            replayed: gated.replayed,
            send_time: gated.sent_at.map(to_timestamp),
            ..Default::default()
        });
    }
    let (refusal, detail) = refusal(&gated)?;
    Ok(Outcome {
        result: Verdict::Refused.into(),
        refusal: refusal.into(),
        detail,
        suppression: suppression(gated),
        ..Default::default()
    })
}

/// Why a message is refused, and the same for a person to read.
fn refusal(gated: &Gated) -> Result<(Refusal, String), Error> {
    let status = gated.campaign_status.as_deref().unwrap_or_default();
    Ok(match gated.result.as_str() {
        "id_conflict" => (
            Refusal::IdConflict,
            "the id is that of a message with another person, campaign, channel or type; choose a new one"
                .to_owned(),
        ),
        "campaign_unknown" => (Refusal::CampaignUnknown, "there is no such campaign".to_owned()),
        "campaign_not_active" => (
            Refusal::CampaignNotActive,
            format!("the campaign is {status}; only an active one sends"),
        ),
        "person_unknown" => (Refusal::PersonUnknown, "there is no such person".to_owned()),
        "person_suppressed" => (Refusal::PersonSuppressed, because(gated, "the contact is unsubscribed")),
        "person_bounced" => (Refusal::PersonBounced, because(gated, "mail to the person bounces")),
        "channel_suppressed" => (Refusal::ChannelSuppressed, because(gated, "the channel is suppressed")),
        "person_inactive" => (
            Refusal::PersonInactive,
            "the person is archived, or the contact was deleted".to_owned(),
        ),
        other => return Err(Error::internal(format!("f_record_outreach: {other}"))),
    })
}

/// What the ledger says, or else the status.
fn because(gated: &Gated, status: &str) -> String {
    match (&gated.scope, &gated.reason) {
        (Some(scope), Some(reason)) => {
            format!("the address is suppressed: scope {scope}, reason {reason}")
        }
        _ => status.to_owned(),
    }
}

/// The entry of the ledger that forbids a message.
fn suppression(gated: Gated) -> Option<Suppression> {
    Some(Suppression {
        suppression_id: gated.suppression_id?,
        email: gated.email?,
        scope: convert::from_name(&gated.scope?, &SCOPES).into(),
        reason: convert::from_name(&gated.reason?, &REASONS).into(),
        evidence: gated.evidence?,
        actor: gated.created_by?,
        create_time: gated.created_at.map(to_timestamp),
        ..Default::default()
    })
}

pub(super) async fn list(
    room: &Room,
    mut request: pb::ListOutreachRequest,
) -> Result<pb::ListOutreachResponse, Error> {
    let paging = PageRequest::<PageKey>::of("ListOutreach", &mut request, |request| {
        (&mut request.page_size, &mut request.page_token)
    })?
    .within(room.limits.max_page_bytes);
    let filter = filter(request)?;
    let mut connection = room.connection().await?;
    let page = repository::list(&mut connection, &filter, &paging).await?;
    let next_page_token = match page.items.last().filter(|_| page.more) {
        Some(last) => paging.token(&PageKey::new(last.sent_at, last.id))?,
        None => String::new(),
    };
    Ok(pb::ListOutreachResponse {
        outreach: page.items.into_iter().map(outreach).collect(),
        next_page_token,
    })
}

fn filter(request: pb::ListOutreachRequest) -> Result<OutreachFilter, Error> {
    let wrong = |field: &'static str| move |error: String| Error::invalid(field, error);
    let (sent_from, sent_before) = convert::period(
        ["sent_from", "sent_before"],
        [request.sent_from, request.sent_before],
    )?;
    let order: pb::OutreachOrder = fields::known("order_by", request.order_by)?;
    Ok(OutreachFilter {
        person_id: convert::optional_id(&request.person_id).map_err(wrong("person_id"))?,
        campaign_id: convert::optional_id(&request.campaign_id).map_err(wrong("campaign_id"))?,
        channel: convert::to_name(request.channel, &CHANNELS).map_err(wrong("channel"))?,
        status: convert::to_name(request.status, &OUTREACH_STATUSES).map_err(wrong("status"))?,
        sent_from,
        sent_before,
        newest_first: order == pb::OutreachOrder::SentDesc,
    })
}

fn outreach(stored: StoredOutreach) -> pb::Outreach {
    pb::Outreach {
        outreach_id: stored.id.to_string(),
        person_id: stored.person_id.to_string(),
        campaign_id: stored
            .campaign_id
            .map(|id| id.to_string())
            .unwrap_or_default(),
        channel: convert::from_name(&stored.channel, &CHANNELS).into(),
        message_type: convert::from_name(&stored.message_type, &MESSAGE_TYPES).into(),
        send_time: Some(to_timestamp(stored.sent_at)),
        open_time: stored.opened_at.map(to_timestamp),
        reply_time: stored.replied_at.map(to_timestamp),
        status: convert::from_name(&stored.status, &OUTREACH_STATUSES).into(),
    }
}
