//! Must-show: a thousand calls at once on a pool of eight.

use std::time::{Duration, Instant};

use leadvault::proto::intake::v1::{IngestRowsRequest, intake_service_client::IntakeServiceClient};
use tokio::task::JoinSet;
use tonic::{Code, Status, transport::Channel};

use super::{SLACK, within};
use crate::harness::{App, refusal};

const DEADLINE: Duration = Duration::from_secs(10);

async fn ingest(
    mut client: IntakeServiceClient<Channel>,
    number: usize,
) -> (Result<(), Status>, Duration) {
    let request = IngestRowsRequest {
        batch_id: format!("b{number}"),
        source: "manual".into(),
        json_rows: vec![format!(r#"{{"email":"p{number}@x.example"}}"#).into()],
        ..Default::default()
    };
    let begun = Instant::now();
    let answer = client.ingest_rows(within(DEADLINE, request)).await;
    (answer.map(drop), begun.elapsed())
}

/// None fails but for want of room, none is answered after its deadline, and what was said is true.
#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_calls_at_once_are_answered_or_refused() {
    let app = App::start_with(&["--pool-size=8"]).await;
    let owner = app.sql().await;
    owner
        .run(
            "CREATE FUNCTION public.f_slow() RETURNS trigger LANGUAGE plpgsql AS
             $$ BEGIN PERFORM pg_sleep(0.02); RETURN NULL; END $$;
             GRANT EXECUTE ON FUNCTION public.f_slow TO PUBLIC;
             CREATE TRIGGER slow BEFORE INSERT ON intake.raw_loads
                 FOR EACH STATEMENT EXECUTE FUNCTION public.f_slow()",
        )
        .await;
    let client = app.intake().await;
    let mut calls = JoinSet::new();
    for number in 0..1_000 {
        calls.spawn(ingest(client.clone(), number));
    }
    let mut accepted = 0;
    for (answer, elapsed) in calls.join_all().await {
        assert!(elapsed < DEADLINE + SLACK, "{elapsed:?}: {answer:?}");
        match answer {
            Ok(()) => accepted += 1,
            Err(status) => {
                assert_eq!(status.code(), Code::ResourceExhausted, "{status:?}");
                assert!(refusal(Err::<(), _>(status)).retry);
            }
        }
    }
    assert!(accepted > 0);
    let loads = "SELECT count(*) FROM intake.raw_loads";
    assert_eq!(owner.one::<i64>(loads, &[]).await, accepted);
    ingest(client, 1_000).await.0.unwrap();
    app.stop().await;
}
