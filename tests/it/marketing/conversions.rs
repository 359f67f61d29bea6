//! Conversions: recorded once, with their touchpoints, and refused singly.

use std::time::{Duration, SystemTime};

use leadvault::proto::{
    marketing::v1::{
        Conversion, ConversionType, RecordConversionsRequest, record_conversions_request::Item,
    },
    vault::v1::{
        Channel, SuppressContactsRequest, SuppressionReason, suppress_contacts_request::Entry,
    },
};
use prost_types::Timestamp;
use tonic::Code;

use super::journeys::{call, campaigns, convert, decimal, hour, id, message, people, sale, words};
use crate::harness::{App, Sql, refused};

pub(super) async fn stored(sql: &Sql) -> i64 {
    sql.one("SELECT count(*) FROM marketing.attribution", &[])
        .await
}

/// First and last touchpoint of the only outcome.
fn touchpoints(conversion: &Conversion) -> (&str, &str) {
    (&conversion.source_touchpoint, &conversion.final_touchpoint)
}

async fn converted(app: &App, item: Item) -> Conversion {
    let answer = convert(app, vec![item]).await;
    assert_eq!(words(&answer), ["recorded"]);
    answer.outcomes[0].conversion.clone().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn touchpoints_come_from_the_messages_before_the_conversion() {
    let app = App::start().await;
    let sql = app.sql().await;
    let who = &people(&app, 2).await;
    // The first bounced unseen, the second bounced after it was opened; the last comes after the conversion.
    for (number, channel, sent, with) in [
        (1, "email", 1, "status = 'bounced'"),
        (
            2,
            "phone",
            2,
            "status = 'bounced', opened_at = sent_at + interval '1 hour'",
        ),
        (3, "email", 3, ""),
        (
            4,
            "linkedin",
            10,
            "status = 'replied', replied_at = sent_at",
        ),
        (5, "email", 11, "status = 'bounced'"),
        (6, "phone", 12, ""),
    ] {
        message(&sql, number, &who[0], None, channel, sent, with).await;
    }
    message(&sql, 7, &who[1], None, "email", 1, "").await;

    let at = |number, converted| sale(number, &who[0], converted, "1");
    let first = converted(&app, at(100, 10)).await;
    assert_eq!(
        touchpoints(&first),
        ("phone", "linkedin"),
        "a message at the time of the conversion counts"
    );
    let before = converted(&app, at(101, 1)).await;
    assert_eq!(
        touchpoints(&before),
        ("", ""),
        "a message that bounced unseen is no touch"
    );
    let one = converted(&app, at(102, 2)).await;
    assert_eq!(touchpoints(&one), ("phone", "phone"));
    let given = Item {
        source_touchpoint: "fair in Hanover".into(),
        ..at(103, 12)
    };
    let given = converted(&app, given).await;
    assert_eq!(touchpoints(&given), ("fair in Hanover", "phone"));
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conversion_is_stored_as_it_was_sent() {
    let app = App::start().await;
    let who = &people(&app, 1).await;
    campaigns(&app, 1..2).await;
    let mut item = sale(7, &who[0], 5, "1.50e3");
    item.campaign_id = id(1);
    let sent = Conversion {
        conversion_id: id(7),
        person_id: who[0].clone(),
        campaign_id: id(1),
        conversion_type: ConversionType::Sale.into(),
        conversion_time: Some(hour(5)),
        value: decimal("1500.00"),
        ..Default::default()
    };
    assert_eq!(converted(&app, item).await, sent);

    // The largest value, none, and a time that is only just not in the future.
    let largest = converted(&app, sale(8, &who[0], 5, "9999999999999999.99")).await;
    assert_eq!(largest.value, decimal("9999999999999999.99"));
    let soon = SystemTime::now() + Duration::from_secs(240);
    let meeting = Item {
        conversion_type: ConversionType::Meeting.into(),
        conversion_time: Some(Timestamp::from(soon)),
        ..sale(9, &who[0], 0, "")
    };
    let meeting = converted(&app, meeting).await;
    assert_eq!(
        (meeting.conversion_type(), meeting.value),
        (ConversionType::Meeting, None)
    );

    // A suppressed person may convert.
    let suppression = SuppressContactsRequest {
        entries: vec![Entry {
            email: "p0000@journey.example".into(),
            scope: Channel::All.into(),
            reason: SuppressionReason::Legal.into(),
            evidence: "a letter".into(),
        }],
        request_id: String::new(),
    };
    app.vault()
        .await
        .suppress_contacts(suppression)
        .await
        .unwrap();
    converted(&app, sale(10, &who[0], 6, "1")).await;
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_id_counts_once_and_another_conversion_of_it_is_a_conflict() {
    let app = App::start().await;
    let sql = app.sql().await;
    let who = &people(&app, 2).await;
    campaigns(&app, 1..3).await;
    message(&sql, 1, &who[0], None, "email", 1, "").await;
    let mut item = sale(7, &who[0], 5, "10.5");
    item.campaign_id = id(1);
    let first = convert(&app, vec![item.clone(), item.clone()]).await;
    assert_eq!(words(&first), ["recorded", "replayed"]);
    let stored_as = first.outcomes[0].conversion.clone();
    assert_eq!(first.outcomes[1].conversion, stored_as);

    // An earlier message that is known only now changes nothing of it.
    message(&sql, 2, &who[0], None, "phone", 0, "").await;
    let same = Item {
        value: decimal("10.500"),
        ..item.clone()
    };
    let said = Item {
        source_touchpoint: "email".into(),
        ..item.clone()
    };
    let again = convert(&app, vec![same, said]).await;
    assert_eq!(words(&again), ["replayed", "replayed"]);
    assert_eq!(again.outcomes[1].conversion, stored_as);

    let changes: [fn(&mut Item, &[String]); 8] = [
        |item, who| item.person_id = who[1].clone(),
        |item, _| item.campaign_id = id(2),
        |item, _| item.campaign_id.clear(),
        |item, _| item.conversion_type = ConversionType::Demo.into(),
        |item, _| item.conversion_time = Some(hour(6)),
        |item, _| item.value = decimal("10.51"),
        |item, _| item.value = None,
        |item, _| item.final_touchpoint = "phone".into(),
    ];
    let changed = changes.map(|change| {
        let mut changed = item.clone();
        change(&mut changed, who);
        changed
    });
    let answer = convert(&app, changed.to_vec()).await;
    assert_eq!(words(&answer), ["conflict"; 8]);
    assert!(
        answer
            .outcomes
            .iter()
            .all(|outcome| outcome.conversion.is_none())
    );
    assert_eq!(stored(&sql).await, 1);

    // Of one id the first that can be stored is.
    let nobody = sale(8, &id(99), 5, "1");
    let answer = convert(
        &app,
        vec![nobody, sale(8, &who[0], 5, "1"), sale(8, &who[0], 5, "2")],
    )
    .await;
    assert_eq!(words(&answer), ["conflict", "recorded", "conflict"]);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_id_brings_the_first_answer_again() {
    let app = App::start().await;
    let sql = app.sql().await;
    let mut client = app.marketing().await;
    let who = &people(&app, 1).await;
    let request = RecordConversionsRequest {
        request_id: id(500),
        ..call(vec![sale(1, &who[0], 5, "1"), {
            let mut item = sale(2, &who[0], 5, "1");
            item.campaign_id = id(1);
            item
        }])
    };
    let first = client.record_conversions(request.clone()).await.unwrap();
    assert_eq!(words(first.get_ref()), ["recorded", "no campaign"]);
    campaigns(&app, 1..2).await;
    let again = client.record_conversions(request.clone()).await.unwrap();
    assert_eq!(again.into_inner(), first.into_inner());
    let other = RecordConversionsRequest {
        items: vec![sale(3, &who[0], 5, "1")],
        ..request
    };
    refused(client.record_conversions(other).await).is(Code::AlreadyExists, "REQUEST_ID_REUSED");
    assert_eq!(stored(&sql).await, 1);
    app.stop().await;
}

/// Each of two callers sends the same conversions, in opposite orders: nobody waits in a circle, and of each id
/// one of them records what the other finds.
#[tokio::test(flavor = "multi_thread")]
async fn callers_with_the_same_ids_at_once_record_each_once() {
    let app = App::start().await;
    let who = &people(&app, 1).await;
    for round in 0..10 {
        let ids = round * 1_000..round * 1_000 + 500;
        let forth: Vec<Item> = ids.map(|number| sale(number, &who[0], 5, "1")).collect();
        let back: Vec<Item> = forth.iter().rev().cloned().collect();
        let (forth, back) = tokio::join!(convert(&app, forth), convert(&app, back));
        for (one, other) in words(&forth).iter().zip(words(&back).iter().rev()) {
            let mut both = [*one, *other];
            both.sort_unstable();
            assert_eq!(both, ["recorded", "replayed"]);
        }
    }
    app.stop().await;
}
