//! People with messages and conversions, for the tests of conversions and their attribution.

use leadvault::proto::{
    google::r#type::Decimal,
    marketing::v1::{
        CampaignType, ConversionType, CreateCampaignRequest, RecordConversionsRequest,
        RecordConversionsResponse, StartCampaignRequest,
        record_conversions_request::Item,
        record_conversions_response::outcome::{Refusal, Result as Outcome},
    },
    people::v1::{
        GetPersonRequest, PersonKey, PromotePeopleRequest, StagePeopleRequest,
        people_service_client::PeopleServiceClient, person_key::Key,
    },
};
use prost_types::Timestamp;

use crate::harness::{App, Sql, row};

/// 2026-01-01 00:00:00 UTC.
const NEW_YEAR: i64 = 1_767_225_600;

/// The id with this number, of whatever kind.
pub(super) fn id(number: usize) -> String {
    format!("00000000-0000-4000-8000-{number:012}")
}

/// So many hours into the year.
pub(super) fn hour(hour: i64) -> Timestamp {
    Timestamp {
        seconds: NEW_YEAR + hour * 3_600,
        nanos: 0,
    }
}

/// The same for SQL.
pub(super) fn sql_hour(hour: i64) -> String {
    format!("timestamptz '2026-01-01 00:00Z' + interval '{hour} hours'")
}

/// `count` people, staged and promoted; their ids.
pub(super) async fn people(app: &App, count: usize) -> Vec<String> {
    let mut client = PeopleServiceClient::new(app.channel().await);
    let email = |nth| format!("p{nth:04}@journey.example");
    let request = StagePeopleRequest {
        batch_id: "journeys".into(),
        source: "apollo".into(),
        json_rows: (0..count).map(|nth| row(&email(nth)).into()).collect(),
        ..Default::default()
    };
    client.stage_people(request).await.unwrap();
    let request = PromotePeopleRequest::default();
    let mut promotion = client.promote_people(request).await.unwrap().into_inner();
    while promotion.message().await.unwrap().is_some() {}
    let mut ids = Vec::new();
    for nth in 0..count {
        let key = Some(PersonKey {
            key: Some(Key::Email(email(nth))),
        });
        let request = GetPersonRequest { key, as_of: None };
        let answer = client.get_person(request).await.unwrap().into_inner();
        ids.push(answer.person.unwrap().person_id);
    }
    ids
}

/// Active campaigns, named `c<number>`.
pub(super) async fn campaigns(app: &App, numbers: std::ops::Range<usize>) {
    let mut client = app.marketing().await;
    for number in numbers {
        let campaign_id = id(number);
        let campaign = CreateCampaignRequest {
            campaign_id: campaign_id.clone(),
            name: format!("c{number}"),
            r#type: CampaignType::Nurture.into(),
            ..Default::default()
        };
        client.create_campaign(campaign).await.unwrap();
        let start = StartCampaignRequest { campaign_id };
        client.start_campaign(start).await.unwrap();
    }
}

/// A message that was sent; `with` sets further columns, such as `status = 'bounced'`.
pub(super) async fn message(
    sql: &Sql,
    number: usize,
    person_id: &str,
    campaign: Option<usize>,
    channel: &str,
    sent: i64,
    with: &str,
) {
    let (outreach, sent) = (id(number), sql_hour(sent));
    let campaign = campaign.map_or("NULL".to_owned(), |number| format!("'{}'", id(number)));
    sql.run(&format!(
        "INSERT INTO marketing.outreach_history (id, person_id, campaign_id, channel, message_type, sent_at)
         VALUES ('{outreach}', '{person_id}', {campaign}, '{channel}', 'initial', {sent})"
    ))
    .await;
    if !with.is_empty() {
        sql.run(&format!(
            "UPDATE marketing.outreach_history SET {with} WHERE id = '{outreach}'"
        ))
        .await;
    }
}

/// A sale at an hour of the year.
pub(super) fn sale(number: usize, person_id: &str, converted: i64, value: &str) -> Item {
    Item {
        conversion_id: id(number),
        person_id: person_id.to_owned(),
        conversion_type: ConversionType::Sale.into(),
        conversion_time: Some(hour(converted)),
        value: decimal(value),
        ..Default::default()
    }
}

/// A number; none for the empty text.
pub(super) fn decimal(text: &str) -> Option<Decimal> {
    (!text.is_empty()).then(|| Decimal {
        value: text.to_owned(),
    })
}

/// A call.
pub(super) fn call(items: Vec<Item>) -> RecordConversionsRequest {
    RecordConversionsRequest {
        items,
        request_id: String::new(),
    }
}

/// Records conversions; the call must be taken.
pub(super) async fn convert(app: &App, items: Vec<Item>) -> RecordConversionsResponse {
    let mut client = app.marketing().await;
    let answer = client.record_conversions(call(items)).await.unwrap();
    answer.into_inner()
}

/// What became of each item, a word each: `recorded`, `replayed`, or why it was refused.
pub(super) fn words(answer: &RecordConversionsResponse) -> Vec<&'static str> {
    let words = answer
        .outcomes
        .iter()
        .map(|outcome| match outcome.result() {
            Outcome::Recorded if outcome.replayed => "replayed",
            Outcome::Recorded => "recorded",
            Outcome::Refused => refusal(outcome.refusal()),
            Outcome::Unspecified => "?",
        });
    words.collect()
}

fn refusal(refusal: Refusal) -> &'static str {
    match refusal {
        Refusal::Unspecified => "?",
        Refusal::InvalidItem => "invalid",
        Refusal::IdConflict => "conflict",
        Refusal::PersonUnknown => "no person",
        Refusal::CampaignUnknown => "no campaign",
        Refusal::InFuture => "future",
    }
}
