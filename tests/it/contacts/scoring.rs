//! `BatchScoreContacts`.

use leadvault::proto::vault::v1::{
    BatchScoreContactsRequest, batch_score_contacts_request::Score,
    batch_score_contacts_response::Outcome,
};
use tonic::Code;

use super::{make, read, vault, writes};
use crate::harness::{App, assert_field, refused};

fn score(contact_id: i64, score: &str) -> Score {
    Score {
        contact_id,
        score: score.to_owned(),
        reason: "model 7".to_owned(),
    }
}

fn call(scores: Vec<Score>) -> BatchScoreContactsRequest {
    BatchScoreContactsRequest {
        scores,
        ..Default::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_score_has_its_outcome_in_order() {
    let app = App::start().await;
    let sql = app.sql().await;
    let ids = make(&sql, 4).await;
    let mut client = vault(&app).await;
    let request = call(vec![
        score(ids[3], "100"),
        score(ids[0], "nan"),
        score(999, "5"),
        score(ids[1], "0.00"),
        score(ids[2], "87.5"),
        score(0, "100.01"),
    ]);
    let response = client
        .batch_score_contacts(request.clone())
        .await
        .unwrap()
        .into_inner();
    let outcomes: Vec<Outcome> = response.outcomes().collect();
    assert_eq!(
        outcomes,
        [
            Outcome::Scored,
            Outcome::InvalidScore,
            Outcome::NotFound,
            Outcome::Unchanged,
            Outcome::Scored,
            Outcome::InvalidScore
        ]
    );
    assert_eq!(read(&app, ids[3]).await.score, "100.00");
    assert_eq!(read(&app, ids[2]).await.score, "87.50");
    let entries: String = sql
        .one(
            "SELECT string_agg(action || ' ' || contact_id || ' ' || details::text, E'\n' ORDER BY contact_id)
             FROM intake.audit_log",
            &[],
        )
        .await;
    let entry = |id, score| {
        format!(
            "contact_updated {id} {{\"actor\": \"anonymous\", \"reason\": \"model 7\", \
             \"new_values\": {{\"score\": {score}}}, \"old_values\": {{\"score\": 0.00}}}}"
        )
    };
    assert_eq!(
        entries,
        format!("{}\n{}", entry(ids[2], "87.50"), entry(ids[3], "100.00"))
    );

    // Law 8: again, nothing is written.
    let before = writes(&sql).await;
    let again = client
        .batch_score_contacts(request)
        .await
        .unwrap()
        .into_inner();
    assert!(again.outcomes().all(|outcome| outcome != Outcome::Scored));
    assert_eq!(writes(&sql).await, before);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_id_returns_the_first_answer() {
    let app = App::start().await;
    let sql = app.sql().await;
    let id = make(&sql, 1).await[0];
    let mut client = vault(&app).await;
    let mut request = call(vec![score(id, "50")]);
    request.request_id = "6e1b1c9e-3d8c-4a3e-8f0a-111111111111".into();
    let first = client
        .batch_score_contacts(request.clone())
        .await
        .unwrap()
        .into_inner();
    let before = writes(&sql).await;
    let second = client
        .batch_score_contacts(request.clone())
        .await
        .unwrap()
        .into_inner();
    assert_eq!(first, second);
    assert_eq!(writes(&sql).await, before);
    request.scores[0].score = "51".into();
    refused(client.batch_score_contacts(request.clone()).await)
        .is(Code::AlreadyExists, "REQUEST_ID_REUSED");
    request.request_id = "x".into();
    assert_field(client.batch_score_contacts(request).await, "request_id");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_cannot_be_right_is_refused_as_a_whole() {
    let app = App::start().await;
    let sql = app.sql().await;
    make(&sql, 1).await;
    let before = writes(&sql).await;
    let mut client = vault(&app).await;
    assert_field(client.batch_score_contacts(call(vec![])).await, "scores");
    let many = |count| call((1..=count).map(|id| score(id, "7")).collect());
    refused(client.batch_score_contacts(many(1_001)).await).exceeds(1_000, 1_001);
    assert_eq!(writes(&sql).await, before);
    let most = client.batch_score_contacts(many(1_000)).await.unwrap();
    assert_eq!(most.into_inner().outcomes.len(), 1_000);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_score_that_cannot_be_set_takes_no_other_down() {
    let app = App::start().await;
    let ids = make(&app.sql().await, 3).await;
    let because = |id, reason: &str| Score {
        reason: reason.to_owned(),
        ..score(id, "7")
    };
    let request = call(vec![
        score(ids[0], "1"),
        score(ids[0], "2"),
        because(ids[1], &"x".repeat(1_001)),
        because(ids[1], "a\0"),
        score(-1, "3"),
        score(ids[1], "4"),
        score(ids[2], "x"),
        score(ids[2], "5"),
    ]);
    let response = vault(&app).await.batch_score_contacts(request).await;
    let outcomes: Vec<Outcome> = response.unwrap().into_inner().outcomes().collect();
    assert_eq!(
        outcomes,
        [
            Outcome::Scored,
            Outcome::Repeated,
            Outcome::InvalidReason,
            Outcome::InvalidReason,
            Outcome::NotFound,
            Outcome::Scored,
            Outcome::InvalidScore,
            Outcome::Scored,
        ]
    );
    for (id, expected) in ids.iter().zip(["1.00", "4.00", "5.00"]) {
        assert_eq!(read(&app, *id).await.score, expected);
    }
    app.stop().await;
}

/// Two scorers and a promotion over the same contacts, in opposite orders: nobody deadlocks.
#[tokio::test(flavor = "multi_thread")]
async fn scorers_in_opposite_orders_do_not_deadlock() {
    let app = App::start().await;
    let sql = app.sql().await;
    let mut ids = make(&sql, 300).await;
    let mut calls = tokio::task::JoinSet::new();
    for caller in 0..4 {
        ids.reverse();
        let mut client = vault(&app).await;
        let ids = ids.clone();
        calls.spawn(async move {
            for round in 0..8 {
                let value = format!("{}.{caller}", round * 10 + caller);
                let scores = ids.iter().map(|id| score(*id, &value)).collect();
                client.batch_score_contacts(call(scores)).await.unwrap();
            }
        });
    }
    calls.join_all().await;
    let unexplained: i64 = sql
        .one(
            "SELECT count(*) FROM vault.contacts AS c
             WHERE c.score IS DISTINCT FROM (
                 SELECT (a.details #>> '{new_values,score}')::numeric FROM intake.audit_log AS a
                 WHERE a.contact_id = c.contact_id ORDER BY a.timestamp DESC, a.log_id DESC LIMIT 1)",
            &[],
        )
        .await;
    assert_eq!(unexplained, 0);
    app.stop().await;
}
