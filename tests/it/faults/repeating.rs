//! What is repeated inside, and what is not: a call that was rolled back always, one that may be done only where
//! that is safe.

use leadvault::proto::intake::v1::IngestRowsRequest;
use tonic::Code;

use crate::harness::{App, Sql, refusal, row};

/// Stores fail with this SQLSTATE as long as `public.faults` has rows; each failure takes one away, though its
/// transaction is rolled back.
async fn faults(app: &App, count: i64, raise: &str) -> Sql {
    let sql = app.sql().await;
    sql.run(&format!(
        "CREATE SEQUENCE public.faults;
         CREATE FUNCTION public.f_fault() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS
             $$ BEGIN IF nextval('public.faults') <= {count} THEN {raise}; END IF; RETURN NULL; END $$;
         GRANT EXECUTE ON FUNCTION public.f_fault TO PUBLIC;
         CREATE TRIGGER fault AFTER INSERT ON intake.raw_loads
             FOR EACH STATEMENT EXECUTE FUNCTION public.f_fault()"
    ))
    .await;
    sql
}

fn request(request_id: &str) -> IngestRowsRequest {
    IngestRowsRequest {
        batch_id: "b".to_owned(),
        source: "apollo".to_owned(),
        json_rows: vec![row("a@x.example").into_bytes().into()],
        request_id: request_id.to_owned(),
        ..Default::default()
    }
}

async fn loads(sql: &Sql) -> i64 {
    sql.one("SELECT count(*) FROM intake.raw_loads", &[]).await
}

const DEADLOCK: &str = "RAISE 'deadlock detected' USING ERRCODE = 'deadlock_detected'";
const SERIALIZATION: &str =
    "RAISE 'could not serialize access' USING ERRCODE = 'serialization_failure'";
const LOST: &str = "PERFORM pg_terminate_backend(pg_backend_pid())";
const REQUEST_ID: &str = "f81d4fae-7dec-11d0-a765-00a0c91e6bf6";

#[tokio::test(flavor = "multi_thread")]
async fn deadlocks_and_serialization_failures_are_repeated() {
    for raise in [DEADLOCK, SERIALIZATION] {
        let app = App::start().await;
        let sql = faults(&app, 2, raise).await;
        app.intake().await.ingest_rows(request("")).await.unwrap();
        assert_eq!(loads(&sql).await, 1);
        app.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_each_time_is_told_in_the_end() {
    let app = App::start().await;
    let sql = faults(&app, 3, DEADLOCK).await;
    let answer = app.intake().await.ingest_rows(request("")).await;
    let refusal = refusal(answer)
        .is(Code::Unavailable, "DATABASE_UNAVAILABLE")
        .says("outcome", "not_done");
    assert!(refusal.retry, "{refusal:?}");
    assert_eq!(loads(&sql).await, 0);
    let attempts: i64 = sql.one("SELECT last_value FROM public.faults", &[]).await;
    assert_eq!(attempts, 3);
    app.stop().await;
}

/// Nobody can know whether a connection that was lost had committed: only a call that is done once is repeated.
#[tokio::test(flavor = "multi_thread")]
async fn a_lost_connection_is_repeated_only_with_a_request_id() {
    let app = App::start().await;
    let sql = faults(&app, 1, LOST).await;
    let answer = app.intake().await.ingest_rows(request("")).await;
    let refusal = refusal(answer)
        .is(Code::Unavailable, "DATABASE_UNAVAILABLE")
        .says("outcome", "unknown");
    assert!(refusal.retry, "{refusal:?}");
    assert_eq!(loads(&sql).await, 0);
    sql.run("ALTER SEQUENCE public.faults RESTART").await;
    app.intake()
        .await
        .ingest_rows(request(REQUEST_ID))
        .await
        .unwrap();
    assert_eq!(loads(&sql).await, 1);
    app.stop().await;
}
