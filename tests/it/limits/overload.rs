//! Must-show: a thousand calls at once on a pool of eight.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use leadvault::proto::intake::v1::{IngestRowsRequest, intake_service_client::IntakeServiceClient};
use nix::unistd::Pid;
use tokio::task::JoinSet;
use tonic::{Code, Status, transport::Channel};

use super::{SLACK, within};
use crate::harness::{App, Service, fresh_database, leadvault, refusal};

/// So long that a busy machine is in time: bench `overload` says how long it takes.
const DEADLINE: Duration = Duration::from_secs(60);

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

/// Makes all connections of the pool: whoever waits for one that is not made yet does not wait for others.
async fn fill_pool(client: &IntakeServiceClient<Channel>) {
    for round in 0..4 {
        let calls = (0..64).map(|number| ingest(client.clone(), 2_000 + 64 * round + number));
        join_all(calls).await;
    }
}

/// A thousand at once: whether each was answered, and after how long.
async fn all_at_once(client: &IntakeServiceClient<Channel>) -> Vec<(Result<(), Status>, Duration)> {
    let mut calls = JoinSet::new();
    for number in 0..1_000 {
        calls.spawn(ingest(client.clone(), number));
    }
    calls.join_all().await
}

/// None fails but for want of room, none is answered after its deadline, and what was said is true.
#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_calls_at_once_are_answered_or_refused() {
    // All of them come to the pool.
    let flags = [
        "--pool-size=8",
        "--pool-timeout=0.5",
        "--max-calls=1000",
        "--max-calls-per-client=1000",
    ];
    let app = App::start_with(&flags).await;
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
    fill_pool(&client).await;
    let loads = "SELECT count(*) FROM intake.raw_loads";
    let mut accepted = owner.one::<i64>(loads, &[]).await;
    let least = accepted + 8;
    for (answer, elapsed) in all_at_once(&client).await {
        assert!(elapsed < DEADLINE + SLACK, "{elapsed:?}: {answer:?}");
        match answer {
            Ok(()) => accepted += 1,
            Err(status) => {
                assert_eq!(status.code(), Code::ResourceExhausted, "{status:?}");
                assert!(refusal(Err::<(), _>(status)).retry);
            }
        }
    }
    // Each connection answers one at the least, even on a machine that is busy.
    assert!(accepted >= least, "{accepted}, not {least}");
    assert_eq!(owner.one::<i64>(loads, &[]).await, accepted);
    ingest(client, 1_000).await.0.unwrap();
    app.stop().await;
}

/// The most that a process has held of memory so far, in MB; nothing where the system does not say it.
fn peak_mb(pid: Pid) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    let kilobytes: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kilobytes / 1024)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_calls_at_once_take_little_memory() {
    const LIMIT_MB: u64 = 150;
    let url = fresh_database().await;
    let mut command = leadvault(&["serve", "--listen", "127.0.0.1:0", "--pool-size=8"]);
    command.args(["--pool-timeout=0.5", "--database-url", &url]);
    let service = Service::start(command).await;
    let client = service.intake().await;
    fill_pool(&client).await;
    for _ in 0..3 {
        for (answer, _) in all_at_once(&client).await {
            let is_right = match &answer {
                Ok(()) => true,
                Err(status) => status.code() == Code::ResourceExhausted,
            };
            assert!(is_right, "{answer:?}");
        }
    }
    match peak_mb(service.pid()) {
        Some(peak) => assert!(peak < LIMIT_MB, "the service held {peak} MB"),
        None => eprintln!("SKIPPED: this system does not say how much memory a process has held"),
    }
    assert_eq!(service.stop().await.0.code(), Some(0));
}
