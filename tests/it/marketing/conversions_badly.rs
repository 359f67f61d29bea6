//! Conversions that are refused, alone or with their whole call.

use std::time::{Duration, SystemTime};

use leadvault::proto::marketing::v1::{RecordConversionsRequest, record_conversions_request::Item};
use prost::Message as _;
use prost_types::Timestamp;

use super::{
    conversions::stored,
    journeys::{call, convert, decimal, id, people, sale, words},
};
use crate::harness::{App, assert_field, refused};

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_an_item_refuses_it_alone() {
    let app = App::start().await;
    let sql = app.sql().await;
    let who = &people(&app, 1).await;
    let good = |number| sale(number, &who[0], 5, "1");
    let forty_digits = "1234567890".repeat(4);
    let long = "x".repeat(1_001);
    let cases: Vec<(&str, Item)> = vec![
        (
            "conversion_id",
            Item {
                conversion_id: String::new(),
                ..good(1)
            },
        ),
        (
            "conversion_id",
            Item {
                conversion_id: "7".into(),
                ..good(1)
            },
        ),
        (
            "person_id",
            Item {
                person_id: String::new(),
                ..good(2)
            },
        ),
        (
            "person_id",
            Item {
                person_id: "p\0".into(),
                ..good(2)
            },
        ),
        (
            "campaign_id",
            Item {
                campaign_id: "spring".into(),
                ..good(3)
            },
        ),
        (
            "conversion_type",
            Item {
                conversion_type: 0,
                ..good(4)
            },
        ),
        (
            "conversion_type",
            Item {
                conversion_type: 99,
                ..good(4)
            },
        ),
        (
            "conversion_time",
            Item {
                conversion_time: None,
                ..good(5)
            },
        ),
        (
            "conversion_time",
            Item {
                conversion_time: Some(Timestamp {
                    seconds: i64::MAX,
                    nanos: 0,
                }),
                ..good(5)
            },
        ),
        (
            "conversion_time",
            Item {
                conversion_time: Some(Timestamp {
                    seconds: 0,
                    nanos: -1,
                }),
                ..good(5)
            },
        ),
        (
            "value",
            Item {
                value: decimal("-0.01"),
                ..good(6)
            },
        ),
        (
            "value",
            Item {
                value: decimal(&forty_digits),
                ..good(6)
            },
        ),
        (
            "value",
            Item {
                value: decimal("0.001"),
                ..good(6)
            },
        ),
        (
            "value",
            Item {
                value: decimal("NaN"),
                ..good(6)
            },
        ),
        (
            "value",
            Item {
                value: decimal("1e999999999"),
                ..good(6)
            },
        ),
        (
            "value",
            Item {
                value: Some(Default::default()),
                ..good(6)
            },
        ),
        (
            "source_touchpoint",
            Item {
                source_touchpoint: long.clone(),
                ..good(7)
            },
        ),
        (
            "source_touchpoint",
            Item {
                source_touchpoint: "a\0b".into(),
                ..good(7)
            },
        ),
        (
            "final_touchpoint",
            Item {
                final_touchpoint: long,
                ..good(8)
            },
        ),
    ];
    let mut items: Vec<Item> = cases.iter().map(|(_, item)| item.clone()).collect();
    let in_an_hour = SystemTime::now() + Duration::from_secs(3_600);
    items.extend([
        sale(20, &id(99), 5, "1"),
        Item {
            campaign_id: id(99),
            ..good(21)
        },
        Item {
            conversion_time: Some(Timestamp::from(in_an_hour)),
            ..good(22)
        },
        good(23),
    ]);
    let answer = convert(&app, items).await;
    let mut expected = vec!["invalid"; cases.len()];
    expected.extend(["no person", "no campaign", "future", "recorded"]);
    assert_eq!(words(&answer), expected);
    for ((field, item), outcome) in cases.iter().zip(&answer.outcomes) {
        assert_eq!(outcome.field, *field, "{item:?}");
        assert!(!outcome.detail.is_empty(), "{item:?}");
    }
    let refusals = &answer.outcomes[cases.len()..cases.len() + 3];
    assert!(refusals.iter().all(|outcome| !outcome.detail.is_empty()));
    assert_eq!(stored(&sql).await, 1);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_is_wrong_as_a_whole_records_nothing() {
    let app = App::start().await;
    let sql = app.sql().await;
    let mut client = app.marketing().await;
    let who = &people(&app, 1).await;
    let good = |number| sale(number, &who[0], 5, "1");

    assert_field(client.record_conversions(call(vec![])).await, "items");
    let wrong_id = RecordConversionsRequest {
        request_id: "again".into(),
        ..call(vec![good(1)])
    };
    assert_field(client.record_conversions(wrong_id).await, "request_id");
    let many = call((0..1_001).map(good).collect());
    refused(client.record_conversions(many).await).exceeds(1_000, 1_001);
    let large = |number| Item {
        source_touchpoint: "x".repeat(8_500),
        ..good(number)
    };
    let large = call((0..1_000).map(large).collect());
    let bytes = large.encoded_len();
    let refusal = refused(client.record_conversions(large).await);
    refusal.limits("max-frame-bytes", 8 * 1024 * 1024, bytes);
    assert_eq!(stored(&sql).await, 0);

    let most = convert(&app, (0..1_000).map(good).collect()).await;
    assert_eq!(words(&most), vec!["recorded"; 1_000]);
    assert_eq!(stored(&sql).await, 1_000);
    app.stop().await;
}
