//! `PromoteCompanies`: one golden record a distinct domain, merged field by field.

use leadvault::proto::company::v1::PromoteCompaniesRequest;
use serde_json::json;
use tonic::Code;

use super::{bring, get, history, promote, promote_all, rows, stage, try_stage, writes};
use crate::harness::{App, refusal};

#[tokio::test(flavor = "multi_thread")]
async fn one_record_a_domain_and_the_same_again_changes_nothing() {
    let app = App::start().await;
    let values: Vec<_> = (0..300)
        .map(|n| json!({"domain": format!("c{}.com", n % 100), "name": format!("Name {}", n / 100), "employee_count": "1,200"}))
        .collect();
    assert_eq!(stage(&app, "x", &values).await, "s".repeat(300));
    assert_eq!(promote_all(&app).await, [100, 200, 0, 0]);
    let company = get(&app, "c7.com").await;
    assert_eq!(
        (company.name.as_str(), company.employee_count),
        ("Name 2", Some(1_200))
    );
    let sql = app.sql().await;
    let before = writes(&sql).await;
    // Law 8: the same again, also from elsewhere, touches no company.
    assert_eq!(stage(&app, "x", &values[200..]).await, "u".repeat(100));
    assert_eq!(promote_all(&app).await, [0, 0, 0, 0]);
    assert_eq!(stage(&app, "y", &values[200..]).await, "s".repeat(100));
    assert_eq!(promote_all(&app).await, [0, 0, 100, 0]);
    assert_eq!(writes(&sql).await, before);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_slot_only_fills_what_is_empty() {
    let app = App::start().await;
    let first = try_stage(
        &app,
        rows(
            "old",
            "x",
            &[r#"{"domain":"a.com","name":"Old","industry":"Old"}"#],
        ),
    );
    let old = first.await.unwrap().outcomes.remove(0).slot_id;
    let second = try_stage(
        &app,
        rows("new", "y", &[r#"{"domain":"a.com","name":"New"}"#]),
    );
    let new = second.await.unwrap().outcomes.remove(0).slot_id;
    for (slot_id, counts) in [(new, [1, 0]), (old.clone(), [0, 1]), (old, [0, 0])] {
        let request = PromoteCompaniesRequest {
            slot_ids: vec![slot_id],
            ..Default::default()
        };
        let done = promote(&app, request).await;
        assert_eq!([done.promoted, done.updated], counts);
    }
    let company = get(&app, "a.com").await;
    assert_eq!(
        (company.name.as_str(), company.industry.as_str()),
        ("New", "Old")
    );
    // What says nothing takes nothing away.
    assert_eq!(
        bring(
            &app,
            "z",
            json!({"domain": "a.com", "name": " ", "industry": null})
        )
        .await,
        [0, 0, 1, 0]
    );
    assert_eq!(history(&app, "a.com").await.len(), 2);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_promoters_at_once_promote_each_slot_once() {
    let app = App::start().await;
    for source in ["x", "y", "z"] {
        let values: Vec<_> = (0..900)
            .map(|n| json!({"domain": format!("c{}.com", (n * 7) % 900), "name": source}))
            .collect();
        stage(&app, source, &values).await;
    }
    let calls = (0..4).map(|_| promote_all(&app));
    let counts = futures_util::future::join_all(calls).await;
    let sum = |which: usize| counts.iter().map(|counts| counts[which]).sum::<i64>();
    assert_eq!((sum(0), sum(0) + sum(1) + sum(2), sum(3)), (900, 2_700, 0));
    let sql = app.sql().await;
    let wrong: i64 = sql
        .one("SELECT count(*) FROM company.master WHERE name <> 'z'", &[])
        .await;
    assert_eq!(wrong, 0, "the newest slot wins, whoever promotes it when");
    let pending: i64 = sql
        .one("SELECT count(*) FROM company.slot WHERE validation_status <> 'validated' OR promoted_at IS NULL", &[])
        .await;
    assert_eq!(pending, 0);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn validate_only_changes_nothing_and_a_batch_is_promoted_alone() {
    let app = App::start().await;
    stage(
        &app,
        "x",
        &[
            json!({"domain": "a.com", "employee_count": "many"}),
            json!({"domain": "gmail.com"}),
        ],
    )
    .await;
    stage(&app, "y", &[json!({"domain": "b.com"})]).await;
    let batch = |validate_only| PromoteCompaniesRequest {
        batch_id: "b-x".into(),
        validate_only,
        ..Default::default()
    };
    for validate_only in [true, false] {
        let done = promote(&app, batch(validate_only)).await;
        assert_eq!((done.promoted, done.rejected, done.noted), (1, 1, 1));
        let made: i64 = app
            .sql()
            .await
            .one("SELECT count(*) FROM company.master", &[])
            .await;
        assert_eq!(made, i64::from(!validate_only));
    }
    assert_eq!(promote_all(&app).await, [1, 0, 0, 0]);

    let mut client = app.company().await;
    let both = PromoteCompaniesRequest {
        slot_ids: vec!["x".into()],
        ..batch(false)
    };
    refusal(client.promote_companies(both).await).blames("slot_ids");
    let bad = PromoteCompaniesRequest {
        slot_ids: vec!["x".into()],
        ..Default::default()
    };
    refusal(client.promote_companies(bad).await).blames("slot_ids");
    let missing = PromoteCompaniesRequest {
        batch_id: "no".into(),
        ..Default::default()
    };
    let mut stream = client
        .promote_companies(missing)
        .await
        .unwrap()
        .into_inner();
    refusal(stream.message().await).is(Code::NotFound, "NOT_FOUND");
    app.stop().await;
}
