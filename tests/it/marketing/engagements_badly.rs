//! Events that are refused: one alone, or the whole call; nothing half done.

use leadvault::proto::marketing::v1::{
    BounceType, RecordEngagementsRequest,
    record_engagements_request::Event,
    record_engagements_response::outcome::{Refusal, Result as Verdict},
};
use prost_types::Timestamp;
use tonic::Code;

use super::{
    email_to,
    engagements::{Opened, Replied, bounce, event, from_now, try_tell},
    new_id, people, record,
};
use crate::harness::{App, Sql, assert_field, refusal};

async fn events(sql: &Sql) -> i64 {
    sql.one("SELECT count(*) FROM marketing.engagement_events", &[])
        .await
}

async fn message(app: &App, sql: &Sql) -> String {
    let person = people(sql, &["a@x.example"]).await.remove(0);
    let item = email_to(&person, "");
    let id = item.outreach_id.clone();
    record(app, vec![item]).await;
    id
}

#[tokio::test(flavor = "multi_thread")]
async fn law_3_an_event_that_is_wrong_takes_no_other_down() {
    let app = App::start().await;
    let sql = app.sql().await;
    let message = message(&app, &sql).await;
    let right = event("right", &message, Opened, 0);
    let wrong = [
        (
            "event_id",
            Event {
                event_id: String::new(),
                ..right.clone()
            },
        ),
        (
            "event_id",
            Event {
                event_id: "x".repeat(1_001),
                ..right.clone()
            },
        ),
        (
            "event_id",
            Event {
                event_id: "a\0".into(),
                ..right.clone()
            },
        ),
        (
            "outreach_id",
            Event {
                outreach_id: "x".into(),
                ..right.clone()
            },
        ),
        (
            "kind",
            Event {
                kind: 0,
                ..right.clone()
            },
        ),
        (
            "kind",
            Event {
                kind: 9,
                ..right.clone()
            },
        ),
        (
            "bounce_type",
            Event {
                bounce_type: 1,
                ..right.clone()
            },
        ),
        (
            "bounce_type",
            bounce("b", &message, BounceType::Unspecified),
        ),
        (
            "bounce_type",
            Event {
                bounce_type: 9,
                ..bounce("b", &message, BounceType::Hard)
            },
        ),
        (
            "occur_time",
            Event {
                occur_time: None,
                ..right.clone()
            },
        ),
        (
            "occur_time",
            Event {
                occur_time: Some(Timestamp {
                    seconds: i64::MIN,
                    nanos: 0,
                }),
                ..right.clone()
            },
        ),
    ];
    let mut all: Vec<Event> = wrong.iter().map(|(_, event)| event.clone()).collect();
    all.insert(5, right);
    let mut outcomes = try_tell(&app, all).await.unwrap().outcomes;
    assert_eq!(outcomes.remove(5).result(), Verdict::Recorded);
    for (outcome, (field, _)) in outcomes.iter().zip(&wrong) {
        assert_eq!(outcome.refusal(), Refusal::InvalidEvent, "{outcome:?}");
        assert_eq!(outcome.field, *field);
    }
    assert_eq!(events(&sql).await, 1);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn events_of_no_message_or_of_a_time_that_cannot_be_are_refused_singly() {
    let app = App::start().await;
    let sql = app.sql().await;
    let message = message(&app, &sql).await;
    let told = vec![
        event("e1", &new_id(), Opened, 0),
        event("e2", &message, Opened, 360),
        event("e3", &message, Replied, -360),
        bounce("e4", &new_id(), BounceType::Hard),
        // The provider's clock may be off by 5 minutes.
        event("e5", &message, Opened, 240),
        event("e6", &message, Replied, -240),
    ];
    let outcomes = try_tell(&app, told).await.unwrap().outcomes;
    let refusals: Vec<Refusal> = outcomes.iter().map(|outcome| outcome.refusal()).collect();
    assert_eq!(
        refusals,
        [
            Refusal::OutreachUnknown,
            Refusal::InFuture,
            Refusal::BeforeSent,
            Refusal::OutreachUnknown,
            Refusal::Unspecified,
            Refusal::Unspecified,
        ]
    );
    assert!(
        outcomes[..4]
            .iter()
            .all(|outcome| !outcome.detail.is_empty())
    );
    // An id that was refused is still free.
    let again = try_tell(&app, vec![event("e1", &message, Opened, 0)])
        .await
        .unwrap();
    assert_eq!(again.outcomes[0].result(), Verdict::Recorded);
    assert_eq!(events(&sql).await, 3);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn law_12_a_call_of_too_many_or_none_is_refused_whole() {
    let app = App::start_with(&["--max-frame-bytes", "200000"]).await;
    let sql = app.sql().await;
    let message = message(&app, &sql).await;
    let many = |count: usize| -> Vec<Event> {
        (0..count)
            .map(|nth| event(&nth.to_string(), &message, Opened, 0))
            .collect()
    };
    refusal(try_tell(&app, many(1_001)).await).exceeds(1_000, 1_001);
    refusal(try_tell(&app, Vec::new()).await).blames("events");
    let huge = vec![event(&"x".repeat(200_000), &message, Opened, 0)];
    refusal(try_tell(&app, huge).await)
        .is(Code::InvalidArgument, "LIMIT_EXCEEDED")
        .says("setting", "max-frame-bytes");
    let request = RecordEngagementsRequest {
        events: many(1),
        request_id: "x".into(),
    };
    assert_field(
        app.marketing().await.record_engagements(request).await,
        "request_id",
    );
    assert_eq!(events(&sql).await, 0);
    assert_eq!(
        try_tell(&app, many(1_000)).await.unwrap().outcomes.len(),
        1_000
    );
    assert_eq!(events(&sql).await, 1_000);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_id_answers_again_what_was_answered_first() {
    let app = App::start().await;
    let sql = app.sql().await;
    let message = message(&app, &sql).await;
    let request = RecordEngagementsRequest {
        events: vec![Event {
            occur_time: Some(from_now(0)),
            ..event("e", &message, Opened, 0)
        }],
        request_id: new_id(),
    };
    let mut client = app.marketing().await;
    let first = client
        .record_engagements(request.clone())
        .await
        .unwrap()
        .into_inner();
    let again = client
        .record_engagements(request.clone())
        .await
        .unwrap()
        .into_inner();
    assert_eq!(again, first);
    assert_eq!(first.outcomes[0].result(), Verdict::Recorded);
    let other = RecordEngagementsRequest {
        events: vec![event("f", &message, Opened, 0)],
        ..request
    };
    refusal(client.record_engagements(other).await).is(Code::AlreadyExists, "REQUEST_ID_REUSED");
    app.stop().await;
}
