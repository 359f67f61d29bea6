//! Loads that cannot become contacts end failed, with a reason, and take no other down.

use leadvault::proto::{intake::v1::RetryFailedLoadsRequest, vault::v1::PromoteContactsRequest};
use serde_json::json;
use tonic::Code;

use super::{ingest, promote_all, status};
use crate::harness::{App, refusal};

/// Only rows that an administrator wrote past the functions can fail.
const BROKEN: &str = r#"
    INSERT INTO intake.raw_loads (load_id, batch_id, source, raw_data, metadata) VALUES
        (9001, 'b', 'manual', '{"email":"no address"}', '{}'),
        (9002, 'b', 'manual', '{"name":"Ada"}', '{}'),
        (9003, 'b', 'manual', '[1]', '{}'),
        (9004, 'b', 'manual', jsonb_build_object('email', 'l@x.example', 'company', repeat('x', 9000)), '{}'),
        (9005, 'b', 'manual', '{"name":"forged"}', '{"lane": 0, "offset": 1}'),
        (9006, 'b', 'manual', '{"email":"Good@X.example","name":"Good"}', '{}');
    INSERT INTO intake.email_claims VALUES ('no address', 9001, now(), 0)"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_load_without_an_address_ends_failed_with_its_reason_and_gives_its_claim_back() {
    let app = App::start().await;
    let sql = app.sql().await;
    let good = ingest(&app, "apollo", &[json!({"email": "a@x.example"})]).await[0];
    sql.run(BROKEN).await;
    assert_eq!(promote_all(&app).await, [2, 0, 0, 5]);
    assert_eq!(status(&sql, good).await, "promoted");
    assert_eq!(status(&sql, 9006).await, "promoted");
    for (load_id, reason) in [
        (9001, "INVALID_EMAIL"),
        (9002, "MISSING_EMAIL"),
        (9003, "NOT_AN_OBJECT"),
        (9004, "TEXT_TOO_LONG"),
        (9005, "MISSING_EMAIL"),
    ] {
        assert_eq!(status(&sql, load_id).await, "failed");
        let rows = sql
            .rows(
                "SELECT l.metadata -> 'failure' ->> 'reason', a.details -> 'failure' ->> 'reason',
                        a.details ->> 'actor', l.promoted_at IS NULL
                 FROM intake.raw_loads AS l JOIN intake.audit_log AS a USING (load_id)
                 WHERE l.load_id = $1 AND a.action = 'load_failed'",
                &[&load_id],
            )
            .await;
        assert_eq!(rows.len(), 1);
        let found: (&str, &str, &str, bool) = (
            rows[0].get(0),
            rows[0].get(1),
            rows[0].get(2),
            rows[0].get(3),
        );
        assert_eq!(found, (reason, reason, "anonymous", true), "{load_id}");
    }
    let claims: i64 = sql
        .one(
            "SELECT count(*) FROM intake.email_claims WHERE load_id >= 9001",
            &[],
        )
        .await;
    assert_eq!(claims, 0);

    // An administrator corrects one; it is retried, and promoted.
    sql.run(r#"UPDATE intake.raw_loads SET raw_data = '{"email":"right@x.example"}' WHERE load_id = 9001"#)
        .await;
    let request = RetryFailedLoadsRequest {
        load_ids: vec![9001],
        ..Default::default()
    };
    let retried = app.intake().await.retry_failed_loads(request).await;
    assert_eq!(retried.unwrap().into_inner().retried_count, 1);
    assert_eq!(promote_all(&app).await, [1, 0, 0, 0]);
    assert_eq!(status(&sql, 9001).await, "promoted");
    app.stop().await;
}

/// What is the database's fault is not the loads': they stay pending, the job ends with an error, and the next one
/// promotes them.
#[tokio::test(flavor = "multi_thread")]
async fn a_fault_of_the_database_fails_no_load() {
    const LOADS: i64 = 150;
    let app = App::start().await;
    let sql = app.sql().await;
    let rows: Vec<_> = (0..LOADS)
        .map(|n| json!({"email": format!("p{n}@x.example")}))
        .collect();
    ingest(&app, "apollo", &rows).await;
    sql.run(
        "CREATE FUNCTION public.refuse() RETURNS trigger LANGUAGE plpgsql AS
             $$ BEGIN RAISE insufficient_privilege USING MESSAGE = 'permission denied for table contacts'; END $$;
         CREATE TRIGGER refuse BEFORE INSERT ON vault.contacts FOR EACH ROW EXECUTE FUNCTION public.refuse()",
    )
    .await;
    let mut client = app.vault().await;
    let request = PromoteContactsRequest::default();
    let mut answers = client.promote_contacts(request).await.unwrap().into_inner();
    refusal(answers.message().await).is(Code::Internal, "INTERNAL");
    let pending = "SELECT count(*) FROM intake.raw_loads WHERE status = 'pending'";
    assert_eq!(sql.one::<i64>(pending, &[]).await, LOADS);

    sql.run("DROP TRIGGER refuse ON vault.contacts").await;
    assert_eq!(promote_all(&app).await, [LOADS, 0, 0, 0]);
    app.stop().await;
}
