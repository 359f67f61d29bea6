//! `RetryFailedLoads`. Promotion, which fails loads, is not there yet: the tests fail them as it will.

use leadvault::proto::intake::v1::{
    RetryFailedLoadsRequest, RetryFailedLoadsResponse,
    retry_failed_loads_response::outcome::Result as Retry,
};

use crate::harness::{App, Sql, assert_field, emails, refused, row};

/// Fails loads, and gives their claims back.
async fn fail(sql: &Sql, load_ids: &[i64]) {
    let ids = load_ids
        .iter()
        .map(i64::to_string)
        .collect::<Vec<_>>()
        .join(",");
    sql.run(&format!(
        r#"UPDATE intake.raw_loads SET status = 'failed', metadata = metadata || '{{"failure":"broken"}}'
           WHERE load_id IN ({ids});
           DELETE FROM intake.email_claims WHERE load_id IN ({ids})"#
    ))
    .await;
}

async fn retry(app: &App, request: RetryFailedLoadsRequest) -> RetryFailedLoadsResponse {
    let response = app.intake().await.retry_failed_loads(request).await;
    response.unwrap().into_inner()
}

fn by_ids(load_ids: &[i64]) -> RetryFailedLoadsRequest {
    RetryFailedLoadsRequest {
        load_ids: load_ids.to_vec(),
        ..Default::default()
    }
}

fn outcomes(response: &RetryFailedLoadsResponse) -> Vec<(i64, Retry, i64)> {
    let outcomes = response.outcomes.iter();
    outcomes
        .map(|o| (o.load_id, o.result(), o.claim_load_id))
        .collect()
}

async fn status(sql: &Sql, load_id: i64) -> String {
    sql.one(
        "SELECT status FROM intake.raw_loads WHERE load_id = $1",
        &[&load_id],
    )
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_load_is_pending_again_and_holds_its_claim() {
    let app = App::start().await;
    let sql = app.sql().await;
    let load = app.ingest_emails("b", "apollo", &["A@x.example"]).await[0];
    fail(&sql, &[load]).await;
    let response = retry(&app, by_ids(&[load])).await;
    assert_eq!(outcomes(&response), [(load, Retry::Retried, 0)]);
    assert_eq!(response.retried_count, 1);
    assert_eq!(status(&sql, load).await, "pending");
    let failure: bool = sql
        .one("SELECT metadata ? 'failure' FROM intake.raw_loads", &[])
        .await;
    assert!(!failure);
    // The same email is a duplicate from here on.
    let later = app.ingest_emails("c", "apollo", &["a@x.example"]).await[0];
    assert_eq!(status(&sql, later).await, "duplicate");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn law_9_a_retry_leaves_its_trace() {
    let app = App::start().await;
    let sql = app.sql().await;
    let load = app.ingest_emails("b", "apollo", &["a@x.example"]).await[0];
    fail(&sql, &[load]).await;
    retry(&app, by_ids(&[load])).await;
    retry(&app, by_ids(&[load])).await;
    let rows = sql
        .rows(
            "SELECT load_id, details::text FROM intake.audit_log WHERE action = 'load_retried'",
            &[],
        )
        .await;
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0].get::<_, i64>(0), load);
    assert_eq!(
        rows[0].get::<_, &str>(1),
        r#"{"to": "pending", "from": "failed", "actor": "anonymous", "failure": "broken"}"#
    );
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn law_4_a_corrected_row_that_came_since_keeps_the_claim() {
    let app = App::start().await;
    let sql = app.sql().await;
    let broken = app.ingest_emails("b", "apollo", &["a@x.example"]).await[0];
    fail(&sql, &[broken]).await;
    let corrected = app.ingest_emails("c", "apollo", &["a@x.example"]).await[0];
    assert_eq!(status(&sql, corrected).await, "pending");
    let response = retry(&app, by_ids(&[broken])).await;
    assert_eq!(outcomes(&response), [(broken, Retry::Claimed, corrected)]);
    assert_eq!(response.retried_count, 0);
    assert_eq!(status(&sql, broken).await, "failed");
    // Until its window is over.
    sql.run(&format!(
        "UPDATE intake.raw_loads SET created_at = now() - interval '31 days' WHERE load_id = {corrected}"
    ))
    .await;
    assert_eq!(
        outcomes(&retry(&app, by_ids(&[broken])).await),
        [(broken, Retry::Retried, 0)]
    );
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn law_4_of_two_failed_loads_of_one_email_one_wins() {
    let app = App::start().await;
    let sql = app.sql().await;
    let first = app.ingest_emails("b", "apollo", &["a@x.example"]).await[0];
    fail(&sql, &[first]).await;
    let second = app.ingest_emails("b", "apollo", &["A@x.example"]).await[0];
    fail(&sql, &[second]).await;
    let response = retry(&app, by_ids(&[second, first])).await;
    assert_eq!(
        outcomes(&response),
        [(second, Retry::Claimed, first), (first, Retry::Retried, 0)]
    );
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_id_has_its_outcome_in_order() {
    let app = App::start().await;
    let sql = app.sql().await;
    let loads = app
        .ingest_emails(
            "b",
            "apollo",
            &["a@x.example", "b@x.example", "a@x.example"],
        )
        .await;
    fail(&sql, &[loads[1]]).await;
    let asked = [9_999, loads[2], loads[1], loads[0], -1, loads[1]];
    let response = retry(&app, by_ids(&asked)).await;
    assert_eq!(
        outcomes(&response),
        [
            (9_999, Retry::NotFound, 0),
            (loads[2], Retry::NotFailed, 0),
            (loads[1], Retry::Retried, 0),
            (loads[0], Retry::NotFailed, 0),
            (-1, Retry::NotFound, 0),
            (loads[1], Retry::Retried, 0),
        ]
    );
    assert_eq!(
        response.retried_count, 1,
        "one load is pending again, though it was named twice"
    );
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_is_retried_a_thousand_loads_a_call() {
    let app = App::start().await;
    let sql = app.sql().await;
    let emails = emails(1_005);
    let emails: Vec<&str> = emails.iter().map(String::as_str).collect();
    let mut loads = app.ingest_emails("b", "apollo", &emails[..1_000]).await;
    loads.extend(app.ingest_emails("b", "apollo", &emails[1_000..]).await);
    let other = app
        .ingest_emails("other", "apollo", &["other@x.example"])
        .await[0];
    fail(&sql, &loads).await;
    fail(&sql, &[other]).await;
    // A load that stays failed must not be met again, or the pages would never end.
    app.ingest("c", "apollo", &[row(emails[0])]).await;

    let request = RetryFailedLoadsRequest {
        batch_id: "b".into(),
        ..Default::default()
    };
    let first = retry(&app, request.clone()).await;
    assert_eq!((first.outcomes.len(), first.retried_count), (1_000, 999));
    assert_eq!(first.outcomes[0].result(), Retry::Claimed);
    let request = RetryFailedLoadsRequest {
        page_token: first.next_page_token,
        ..request
    };
    let second = retry(&app, request.clone()).await;
    assert_eq!((second.outcomes.len(), second.retried_count), (5, 5));
    assert_eq!(second.next_page_token, "");
    assert_eq!(status(&sql, other).await, "failed");

    let refusal = refused(
        app.intake()
            .await
            .retry_failed_loads(RetryFailedLoadsRequest {
                batch_id: "other".into(),
                ..request
            })
            .await,
    );
    assert_eq!(refusal.reason, "INVALID_PAGE_TOKEN");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ids_or_a_batch_and_not_too_many() {
    let app = App::start().await;
    let both = RetryFailedLoadsRequest {
        batch_id: "b".into(),
        ..by_ids(&[1])
    };
    let many: Vec<i64> = (1..=1_001).collect();
    let broken = RetryFailedLoadsRequest {
        batch_id: "a\0b".into(),
        ..Default::default()
    };
    for (request, field) in [
        (RetryFailedLoadsRequest::default(), "load_ids"),
        (both, "load_ids"),
        (by_ids(&many), "load_ids"),
        (broken, "batch_id"),
    ] {
        assert_field(app.intake().await.retry_failed_loads(request).await, field);
    }
    assert_eq!(
        retry(&app, by_ids(&many[..1_000])).await.outcomes.len(),
        1_000
    );
    app.stop().await;
}

/// Rows that an administrator wrote past the functions may hold anything.
#[tokio::test(flavor = "multi_thread")]
async fn a_load_without_an_email_to_claim_holds_nobody_up() {
    let app = App::start().await;
    let sql = app.sql().await;
    let load = app.ingest_emails("b", "apollo", &["a@x.example"]).await[0];
    fail(&sql, &[load]).await;
    sql.run(
        "INSERT INTO intake.raw_loads (batch_id, source, raw_data, status) VALUES
             ('b', 'apollo', '[1]', 'failed'),
             ('b', 'apollo', jsonb_build_object('email', repeat('x', 9000)), 'failed')",
    )
    .await;
    let response = retry(&app, by_ids(&[load, load + 1, load + 2])).await;
    assert_eq!(
        outcomes(&response),
        [load, load + 1, load + 2].map(|load| (load, Retry::Retried, 0))
    );
    for load in [load, load + 1, load + 2] {
        assert_eq!(status(&sql, load).await, "pending");
    }
    app.stop().await;
}
