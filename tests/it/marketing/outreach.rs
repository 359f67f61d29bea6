//! The gate before each send: what passes is recorded once and counted, whatever is repeated.

use leadvault::proto::{
    marketing::v1::{
        MessageType, OutreachChannel, RecordOutreachRequest,
        record_outreach_request::Item,
        record_outreach_response::outcome::{Refusal, Result as Verdict},
    },
    vault::v1::{Channel, SuppressionReason},
};
use tonic::Code;

use super::{
    active, campaign, draft, email_to, make, new_id, outreach_consent::suppress, people, record,
    try_record,
};
use crate::harness::{App, Sql, refusal};

pub(super) fn over(channel: OutreachChannel, item: Item) -> Item {
    Item {
        channel: channel.into(),
        ..item
    }
}

pub(super) async fn messages(sql: &Sql) -> i64 {
    sql.one("SELECT count(*) FROM marketing.outreach_history", &[])
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_passes_is_recorded_with_the_servers_time_and_counted() {
    let app = App::start().await;
    let sql = app.sql().await;
    let people = people(&sql, &["a@x.example", "b@x.example"]).await;
    let spring = active(&app, "Spring").await.campaign_id;
    let items = vec![
        email_to(&people[0], &spring),
        over(OutreachChannel::Phone, email_to(&people[0], &spring)),
        email_to(&people[1], ""),
    ];
    let before: std::time::SystemTime = sql.one("SELECT clock_timestamp()", &[]).await;
    let outcomes = record(&app, items.clone()).await;
    for outcome in &outcomes {
        assert_eq!(outcome.result(), Verdict::Recorded);
        assert!(!outcome.replayed);
        let sent = std::time::SystemTime::try_from(outcome.send_time.unwrap()).unwrap();
        assert!(sent >= before);
    }
    assert_eq!(campaign(&app, &spring).await.sent_count, 2);

    // Again, and again within one call: answered as the first time, counted once.
    let twice = [items.clone(), items.clone()].concat();
    for (again, first) in record(&app, twice)
        .await
        .iter()
        .zip(outcomes.iter().cycle())
    {
        assert!(again.replayed);
        assert_eq!(
            (again.result(), again.send_time),
            (Verdict::Recorded, first.send_time)
        );
    }
    // Also when nothing may go out any more.
    suppress(&app, "a@x.example", Channel::All, SuppressionReason::Legal).await;
    make(&app, "pause", &spring).await.unwrap();
    let late = record(&app, items).await;
    assert!(
        late.iter()
            .all(|outcome| outcome.replayed && outcome.result() == Verdict::Recorded)
    );
    assert_eq!(campaign(&app, &spring).await.sent_count, 2);
    assert_eq!(messages(&sql).await, 3);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_that_is_used_twice_for_different_messages_is_a_conflict() {
    let app = App::start().await;
    let sql = app.sql().await;
    let people = people(&sql, &["a@x.example", "b@x.example"]).await;
    let spring = active(&app, "Spring").await.campaign_id;
    let item = email_to(&people[0], &spring);
    let others = vec![
        item.clone(),
        Item {
            person_id: people[1].clone(),
            ..item.clone()
        },
        Item {
            campaign_id: String::new(),
            ..item.clone()
        },
        over(OutreachChannel::Linkedin, item.clone()),
        Item {
            message_type: MessageType::Reply.into(),
            ..item.clone()
        },
    ];
    let outcomes = record(&app, others.clone()).await;
    assert_eq!(outcomes[0].result(), Verdict::Recorded);
    assert!(!outcomes[0].replayed);
    for outcome in outcomes
        .iter()
        .skip(1)
        .chain(&record(&app, others[1..].to_vec()).await)
    {
        assert_eq!(outcome.refusal(), Refusal::IdConflict, "{outcome:?}");
    }
    assert_eq!(messages(&sql).await, 1);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_an_active_campaign_sends() {
    let app = App::start().await;
    let sql = app.sql().await;
    let person = &people(&sql, &["a@x.example"]).await[0];
    let id = draft(&app, "Spring").await.campaign_id;
    for (made, state) in [
        ("", "draft"),
        ("pause", "paused"),
        ("complete", "completed"),
    ] {
        if made == "pause" {
            make(&app, "start", &id).await.unwrap();
        }
        if !made.is_empty() {
            make(&app, made, &id).await.unwrap();
        }
        let outcome = record(&app, vec![email_to(person, &id)]).await.remove(0);
        assert_eq!(outcome.refusal(), Refusal::CampaignNotActive);
        assert!(outcome.detail.contains(state), "{outcome:?}");
    }
    let stranger = record(&app, vec![email_to(person, &new_id())])
        .await
        .remove(0);
    assert_eq!(stranger.refusal(), Refusal::CampaignUnknown);
    assert_eq!(messages(&sql).await, 0);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_id_keeps_refusals_too() {
    let app = App::start().await;
    let sql = app.sql().await;
    let person = people(&sql, &["a@x.example"]).await.remove(0);
    let id = draft(&app, "Spring").await.campaign_id;
    let request = RecordOutreachRequest {
        items: vec![email_to(&person, &id), email_to(&person, "")],
        request_id: new_id(),
    };
    let mut client = app.marketing().await;
    let first = client
        .record_outreach(request.clone())
        .await
        .unwrap()
        .into_inner();
    make(&app, "start", &id).await.unwrap();
    let again = client
        .record_outreach(request.clone())
        .await
        .unwrap()
        .into_inner();
    assert_eq!(again, first);
    assert_eq!(first.outcomes[0].refusal(), Refusal::CampaignNotActive);
    let other = RecordOutreachRequest {
        items: vec![email_to(&person, &id)],
        ..request
    };
    refusal(client.record_outreach(other).await).is(Code::AlreadyExists, "REQUEST_ID_REUSED");
    assert_eq!(messages(&sql).await, 1);
    app.stop().await;
}

/// Law 10, also for rows that are written past the service.
#[tokio::test(flavor = "multi_thread")]
async fn law_10_counters_follow_messages_that_are_written_by_hand() {
    let app = App::start().await;
    let sql = app.sql().await;
    people(&sql, &["a@x.example", "b@x.example"]).await;
    let (spring, summer) = (active(&app, "Spring").await, active(&app, "Summer").await);
    let counts = async || {
        let of = async |id: &str| {
            let campaign = campaign(&app, id).await;
            (campaign.sent_count, campaign.response_count)
        };
        (of(&spring.campaign_id).await, of(&summer.campaign_id).await)
    };
    sql.run(
        "INSERT INTO marketing.outreach_history (person_id, campaign_id, channel, message_type, replied_at)
         SELECT p.id, c.campaign_id, 'email', 'initial', CASE WHEN p.email < 'b' THEN now() END
         FROM people.master AS p, marketing.campaigns AS c WHERE c.name = 'Spring'",
    )
    .await;
    assert_eq!(counts().await, ((2, 1), (0, 0)));
    sql.run("UPDATE marketing.outreach_history SET campaign_id = (SELECT campaign_id FROM marketing.campaigns WHERE name = 'Summer') WHERE replied_at IS NULL")
        .await;
    assert_eq!(counts().await, ((1, 1), (1, 0)));
    sql.run("UPDATE marketing.outreach_history SET replied_at = now()")
        .await;
    assert_eq!(counts().await, ((1, 1), (1, 1)));
    sql.run("UPDATE marketing.outreach_history SET campaign_id = NULL WHERE campaign_id IN (SELECT campaign_id FROM marketing.campaigns WHERE name = 'Summer')")
        .await;
    sql.run("DELETE FROM marketing.outreach_history").await;
    assert_eq!(counts().await, ((0, 0), (0, 0)));
    // Counters are bookkeeping: made and started, and nothing more.
    let rows: i64 = sql
        .one("SELECT count(*) FROM marketing.campaign_history", &[])
        .await;
    assert_eq!(rows, 4);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_without_a_valid_item_is_answered_all_the_same() {
    let app = App::start().await;
    let response = try_record(&app, vec![Item::default()]).await.unwrap();
    assert_eq!(response.outcomes[0].refusal(), Refusal::InvalidItem);
    assert_eq!(response.outcomes[0].field, "outreach_id");
    app.stop().await;
}
