//! The demo's outreach: two campaigns on the promoted people, and what came of them.
//!
//! Everything in it is made up, and the same each time: who opens, replies, bounces and buys follows from a
//! person's place among all people in the order of their emails.

use prost_types::Timestamp;
use tonic::Status;
use uuid::Uuid;

use super::{
    Error,
    client::Service,
    credentials::Connection,
    report::{count, new_table},
};
use crate::proto::{
    google::r#type::Decimal,
    marketing::v1::{
        BounceType, CampaignType, ConversionType, CreateCampaignRequest, EngagementKind,
        MessageType, OutreachChannel, RecordConversionsRequest, RecordEngagementsRequest,
        RecordOutreachRequest, StartCampaignRequest,
        marketing_service_client::MarketingServiceClient, record_conversions_request,
        record_conversions_response::outcome::Result as Converted, record_engagements_request,
        record_engagements_response::outcome::Result as Engaged, record_outreach_request,
        record_outreach_response,
    },
    people::v1::{ListPeopleRequest, Person},
    vault::v1::{
        Channel as Scope, SuppressContactsRequest, SuppressionReason, suppress_contacts_request,
    },
};

/// The most items of a batch write.
const MOST: usize = 1_000;

/// A message that was sent.
struct Message {
    /// The person's place among all people.
    place: usize,
    person_id: String,
    outreach_id: String,
    sent: Option<Timestamp>,
}

/// What became of the messages of a campaign.
struct Sent {
    messages: Vec<Message>,
    refused: usize,
}

/// Writes to the promoted people twice and lets some of them answer; returns a table of what was done.
pub(super) async fn reach_out(service: &Service) -> Result<String, Error> {
    let people = people(service).await?;
    let unsubscribed = unsubscribe(service, &people).await?;
    let mut client = service.marketing_client();
    let first = campaign(
        &mut client,
        "Spring launch",
        CampaignType::ColdOutreach,
        people.len(),
    );
    let first = first.await?;
    let everyone = people.iter().enumerate().collect();
    let sent = send(&mut client, &first, MessageType::Initial, everyone).await?;
    let mut events = engage(&mut client, &sent.messages).await?;
    let mut conversions = convert(&mut client, &first, &sent.messages).await?;
    // Those who bounced just now are among them: the gate holds them back.
    let silent: Vec<(usize, &Person)> = people
        .iter()
        .enumerate()
        .filter(|(place, _)| place % 3 == 0 && !replies(*place))
        .collect();
    let second = campaign(
        &mut client,
        "Second look",
        CampaignType::FollowUp,
        silent.len(),
    )
    .await?;
    let again = send(&mut client, &second, MessageType::FollowUp, silent).await?;
    events += engage(&mut client, &again.messages).await?;
    conversions += convert(&mut client, &second, &again.messages).await?;
    let mut table = new_table(["outreach", "count"]);
    for (what, number) in [
        ("people who had unsubscribed", unsubscribed),
        ("messages sent", sent.messages.len() + again.messages.len()),
        (
            "messages held back by the gate",
            sent.refused + again.refused,
        ),
        ("opens, replies and bounces", events),
        ("conversions", conversions),
    ] {
        table.add_row([what.to_owned(), count(number as u64)]);
    }
    Ok(table.to_string())
}

/// Everybody, in the order of their emails.
async fn people(service: &Service) -> Result<Vec<Person>, Error> {
    let mut client = service.people_client();
    let mut people = Vec::new();
    let mut page_token = String::new();
    loop {
        let request = ListPeopleRequest {
            page_size: 1_000,
            page_token,
            ..ListPeopleRequest::default()
        };
        let page = client
            .list_people(request)
            .await
            .map_err(failed("list people"))?;
        let page = page.into_inner();
        people.extend(page.people);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            people.sort_by(|a, b| a.email.cmp(&b.email));
            return Ok(people);
        }
    }
}

/// Every fiftieth has asked to be left alone.
async fn unsubscribe(service: &Service, people: &[Person]) -> Result<usize, Error> {
    let entry = |person: &Person| suppress_contacts_request::Entry {
        email: person.email.clone(),
        scope: Scope::All.into(),
        reason: SuppressionReason::Unsubscribed.into(),
        evidence: "clicked the link at the end of a newsletter".to_owned(),
    };
    let entries: Vec<_> = people.iter().skip(7).step_by(50).map(entry).collect();
    let mut client = service.vault_client();
    for entries in entries.chunks(MOST) {
        let request = SuppressContactsRequest {
            entries: entries.to_vec(),
            ..SuppressContactsRequest::default()
        };
        client
            .suppress_contacts(request)
            .await
            .map_err(failed("suppress addresses"))?;
    }
    Ok(entries.len())
}

/// A campaign that runs; returns its id.
async fn campaign(
    client: &mut MarketingServiceClient<Connection>,
    name: &str,
    r#type: CampaignType,
    target: usize,
) -> Result<String, Error> {
    let campaign_id = Uuid::new_v4().to_string();
    let request = CreateCampaignRequest {
        campaign_id: campaign_id.clone(),
        name: name.to_owned(),
        r#type: r#type.into(),
        target_count: i32::try_from(target).ok(),
    };
    client
        .create_campaign(request)
        .await
        .map_err(failed("create a campaign"))?;
    let request = StartCampaignRequest {
        campaign_id: campaign_id.clone(),
    };
    client
        .start_campaign(request)
        .await
        .map_err(failed("start a campaign"))?;
    Ok(campaign_id)
}

/// Writes an email to each whom the gate lets through.
async fn send(
    client: &mut MarketingServiceClient<Connection>,
    campaign_id: &str,
    message_type: MessageType,
    people: Vec<(usize, &Person)>,
) -> Result<Sent, Error> {
    let mut sent = Sent {
        messages: Vec::new(),
        refused: 0,
    };
    for people in people.chunks(MOST) {
        let item = |(_, person): &(usize, &Person)| record_outreach_request::Item {
            outreach_id: Uuid::new_v4().to_string(),
            person_id: person.person_id.clone(),
            campaign_id: campaign_id.to_owned(),
            channel: OutreachChannel::Email.into(),
            message_type: message_type.into(),
        };
        let items: Vec<_> = people.iter().map(item).collect();
        let request = RecordOutreachRequest {
            items: items.clone(),
            ..RecordOutreachRequest::default()
        };
        let response = client
            .record_outreach(request)
            .await
            .map_err(failed("record outreach"))?;
        for ((outcome, item), (place, _)) in response
            .into_inner()
            .outcomes
            .into_iter()
            .zip(items)
            .zip(people)
        {
            if outcome.result() == record_outreach_response::outcome::Result::Recorded {
                sent.messages.push(Message {
                    place: *place,
                    person_id: item.person_id,
                    outreach_id: item.outreach_id,
                    sent: outcome.send_time,
                });
            } else {
                sent.refused += 1;
            }
        }
    }
    Ok(sent)
}

fn opens(place: usize) -> bool {
    place % 100 < 34
}

fn replies(place: usize) -> bool {
    place % 100 < 5
}

/// How the message to the person of this place comes back, if it does.
fn bounces(place: usize) -> Option<BounceType> {
    match place % 100 {
        60 | 61 => Some(BounceType::Hard),
        62 => Some(BounceType::Soft),
        _ => None,
    }
}

/// What the email provider would tell of these messages; returns how many events that were.
async fn engage(
    client: &mut MarketingServiceClient<Connection>,
    messages: &[Message],
) -> Result<usize, Error> {
    let event = |message: &Message, kind: EngagementKind, bounce: BounceType| {
        record_engagements_request::Event {
            event_id: format!("{}-{}", message.outreach_id, kind.as_str_name()),
            outreach_id: message.outreach_id.clone(),
            kind: kind.into(),
            bounce_type: bounce.into(),
            occur_time: message.sent,
        }
    };
    let mut events = Vec::new();
    for message in messages {
        if opens(message.place) {
            events.push(event(
                message,
                EngagementKind::Opened,
                BounceType::Unspecified,
            ));
        }
        if replies(message.place) {
            events.push(event(
                message,
                EngagementKind::Replied,
                BounceType::Unspecified,
            ));
        }
        if let Some(bounce) = bounces(message.place) {
            events.push(event(message, EngagementKind::Bounced, bounce));
        }
    }
    let mut recorded = 0;
    for events in events.chunks(MOST) {
        let request = RecordEngagementsRequest {
            events: events.to_vec(),
            ..RecordEngagementsRequest::default()
        };
        let response = client
            .record_engagements(request)
            .await
            .map_err(failed("record engagements"))?;
        let outcomes = response.into_inner().outcomes;
        recorded += outcomes
            .iter()
            .filter(|o| o.result() == Engaged::Recorded)
            .count();
    }
    Ok(recorded)
}

/// What those who replied agree to; returns how many conversions that were.
async fn convert(
    client: &mut MarketingServiceClient<Connection>,
    campaign_id: &str,
    messages: &[Message],
) -> Result<usize, Error> {
    let item = |message: &Message| {
        let (r#type, value) = match message.place % 100 {
            0 => (ConversionType::Sale, Some(1_200 + message.place % 7 * 450)),
            1 => (ConversionType::Demo, None),
            _ => (ConversionType::Meeting, None),
        };
        record_conversions_request::Item {
            conversion_id: Uuid::new_v4().to_string(),
            person_id: message.person_id.clone(),
            campaign_id: campaign_id.to_owned(),
            conversion_type: r#type.into(),
            conversion_time: message.sent,
            value: value.map(|value| Decimal {
                value: value.to_string(),
            }),
            ..record_conversions_request::Item::default()
        }
    };
    let who_agree = messages.iter().filter(|message| message.place % 100 < 3);
    let items: Vec<_> = who_agree.map(item).collect();
    let mut recorded = 0;
    for items in items.chunks(MOST) {
        let request = RecordConversionsRequest {
            items: items.to_vec(),
            ..RecordConversionsRequest::default()
        };
        let response = client
            .record_conversions(request)
            .await
            .map_err(failed("record conversions"))?;
        let outcomes = response.into_inner().outcomes;
        recorded += outcomes
            .iter()
            .filter(|o| o.result() == Converted::Recorded)
            .count();
    }
    Ok(recorded)
}

fn failed(doing: &'static str) -> impl FnOnce(Status) -> Error {
    move |status| Error::DemoCall {
        doing,
        status: Box::new(status),
    }
}
