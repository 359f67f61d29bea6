//! Calls about messages that are refused: an item alone, or the whole call; nothing half done.

use leadvault::proto::marketing::v1::{
    ListOutreachRequest, RecordOutreachRequest,
    record_outreach_request::Item,
    record_outreach_response::outcome::{Refusal, Result as Verdict},
};
use prost_types::Timestamp;
use tonic::Code;

use super::{email_to, outreach::messages, people, record, try_record};
use crate::harness::{App, assert_field, refusal, refused};

#[tokio::test(flavor = "multi_thread")]
async fn law_3_an_item_that_is_wrong_takes_no_other_down() {
    let app = App::start().await;
    let sql = app.sql().await;
    let person = people(&sql, &["a@x.example"]).await.remove(0);
    let right = email_to(&person, "");
    let wrong = [
        (
            "outreach_id",
            Item {
                outreach_id: String::new(),
                ..right.clone()
            },
        ),
        (
            "outreach_id",
            Item {
                outreach_id: "1".into(),
                ..right.clone()
            },
        ),
        (
            "person_id",
            Item {
                person_id: "a@x.example".into(),
                ..right.clone()
            },
        ),
        (
            "person_id",
            Item {
                person_id: String::new(),
                ..right.clone()
            },
        ),
        (
            "campaign_id",
            Item {
                campaign_id: "spring\0".into(),
                ..right.clone()
            },
        ),
        (
            "channel",
            Item {
                channel: 0,
                ..right.clone()
            },
        ),
        (
            "channel",
            Item {
                channel: 4,
                ..right.clone()
            },
        ),
        (
            "message_type",
            Item {
                message_type: 0,
                ..right.clone()
            },
        ),
        (
            "message_type",
            Item {
                message_type: -1,
                ..right.clone()
            },
        ),
    ];
    let mut items: Vec<Item> = wrong.iter().map(|(_, item)| item.clone()).collect();
    items.insert(4, right);
    let mut outcomes = record(&app, items).await;
    assert_eq!(outcomes.remove(4).result(), Verdict::Recorded);
    for (outcome, (field, _)) in outcomes.iter().zip(&wrong) {
        assert_eq!(outcome.refusal(), Refusal::InvalidItem);
        assert_eq!(outcome.field, *field);
        assert!(!outcome.detail.is_empty());
    }
    assert_eq!(messages(&sql).await, 1);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn law_12_a_call_of_too_many_or_none_is_refused_whole() {
    let app = App::start_with(&["--max-frame-bytes", "200000"]).await;
    let sql = app.sql().await;
    let person = people(&sql, &["a@x.example"]).await.remove(0);
    let items = |count: usize| {
        (0..count)
            .map(|_| email_to(&person, ""))
            .collect::<Vec<_>>()
    };
    refusal(try_record(&app, items(1_001)).await).exceeds(1_000, 1_001);
    refusal(try_record(&app, items(0)).await).blames("items");
    let huge = Item {
        campaign_id: "x".repeat(200_000),
        ..email_to(&person, "")
    };
    refusal(try_record(&app, vec![huge]).await)
        .is(Code::InvalidArgument, "LIMIT_EXCEEDED")
        .says("setting", "max-frame-bytes");
    let request = RecordOutreachRequest {
        items: items(1),
        request_id: "x".into(),
    };
    assert_field(
        app.marketing().await.record_outreach(request).await,
        "request_id",
    );
    assert_eq!(messages(&sql).await, 0);
    assert_eq!(record(&app, items(1_000)).await.len(), 1_000);
    assert_eq!(messages(&sql).await, 1_000);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_that_makes_no_sense_is_refused_by_field() {
    let app = App::start().await;
    let mut client = app.marketing().await;
    let request = ListOutreachRequest::default();
    let no_time = Some(Timestamp {
        seconds: 0,
        nanos: 2_000_000_000,
    });
    for (field, request) in [
        (
            "page_size",
            ListOutreachRequest {
                page_size: -1,
                ..request.clone()
            },
        ),
        (
            "sent_before",
            ListOutreachRequest {
                sent_from: Some(Timestamp {
                    seconds: 2,
                    nanos: 0,
                }),
                sent_before: Some(Timestamp {
                    seconds: 1,
                    nanos: 0,
                }),
                ..request.clone()
            },
        ),
        (
            "page_token",
            ListOutreachRequest {
                page_token: "AAAA".into(),
                ..request.clone()
            },
        ),
        (
            "person_id",
            ListOutreachRequest {
                person_id: "x".into(),
                ..request.clone()
            },
        ),
        (
            "campaign_id",
            ListOutreachRequest {
                campaign_id: "x".into(),
                ..request.clone()
            },
        ),
        (
            "channel",
            ListOutreachRequest {
                channel: 9,
                ..request.clone()
            },
        ),
        (
            "status",
            ListOutreachRequest {
                status: 9,
                ..request.clone()
            },
        ),
        (
            "order_by",
            ListOutreachRequest {
                order_by: 9,
                ..request.clone()
            },
        ),
        (
            "sent_from",
            ListOutreachRequest {
                sent_from: no_time,
                ..request.clone()
            },
        ),
        (
            "sent_before",
            ListOutreachRequest {
                sent_before: no_time,
                ..request.clone()
            },
        ),
    ] {
        let refusal = refused(client.list_outreach(request).await);
        assert_eq!(refusal.code, Code::InvalidArgument, "{field}");
        assert_eq!(refusal.fields, [field], "{refusal:?}");
    }
    app.stop().await;
}
