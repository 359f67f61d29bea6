//! What do a thousand calls at once cost, on a pool of eight?
//!
//! Each call stores a row, which takes 10 milliseconds in PostgreSQL by a trigger, and has five seconds. None may
//! fail but for want of room (`RESOURCE_EXHAUSTED`); of those that are answered 99 of 100 take less than a second,
//! and the server stays under 150 MB.
//!
//! `cargo bench --bench overload`; in more rounds: `cargo bench --bench overload -- 20`.

#![allow(
    clippy::expect_used,
    missing_docs,
    unreachable_pub,
    dead_code,
    reason = "a bench that cannot go on has failed; the benches share more than each uses"
)]

mod support;

use std::time::{Duration, Instant};

use leadvault::proto::intake::v1::{IngestRowsRequest, intake_service_client::IntakeServiceClient};
use support::{Cluster, connect, serve_with, status_mb};
use tokio::task::JoinSet;
use tonic::{
    Code, Request, Status,
    transport::{Channel, Endpoint},
};

const CALLS: usize = 1_000;
const DEADLINE: Duration = Duration::from_secs(5);
const P99_LIMIT: Duration = Duration::from_secs(1);
const LIMIT_MB: u64 = 150;
const SLOW: &str = "CREATE FUNCTION public.f_slow() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN PERFORM pg_sleep(0.01); RETURN NULL; END $$;
    GRANT EXECUTE ON FUNCTION public.f_slow TO PUBLIC;
    CREATE TRIGGER slow BEFORE INSERT ON intake.raw_loads
        FOR EACH STATEMENT EXECUTE FUNCTION public.f_slow()";

#[tokio::main]
async fn main() {
    let rounds = std::env::args()
        .find_map(|arg| arg.parse().ok())
        .unwrap_or(5);
    let mut cluster = Cluster::start("bench-overload").await;
    let url = cluster.fresh_database().await;
    let (mut server, address) = serve_with(&url, &["--pool-size=8"]);
    let database = connect(&url).await;
    database.batch_execute(SLOW).await.expect("the trigger");
    let before = status_mb(&server, "VmRSS:");
    let channel = Endpoint::from_shared(address)
        .expect("an address")
        .connect()
        .await
        .expect("a connection");
    let (mut times, mut refused) = (Vec::new(), 0);
    for round in 0..rounds {
        let (answered, none) = all_at_once(channel.clone(), round).await;
        times.extend(answered);
        refused += none;
    }
    let peak = status_mb(&server, "VmHWM:");
    server.kill().expect("the server can be stopped");
    server.wait().expect("the server ends");
    drop(database);
    cluster.remove().await;
    report(times, refused, before, peak);
}

/// How long those took that were answered, and how many were refused.
async fn all_at_once(channel: Channel, round: usize) -> (Vec<Duration>, usize) {
    let client = IntakeServiceClient::new(channel);
    let mut calls = JoinSet::new();
    for number in 0..CALLS {
        calls.spawn(ingest(client.clone(), round * CALLS + number));
    }
    let (mut times, mut refused) = (Vec::new(), 0);
    for (answer, elapsed) in calls.join_all().await {
        assert!(elapsed < DEADLINE, "{elapsed:?}: {answer:?}");
        match answer {
            Ok(()) => times.push(elapsed),
            Err(status) if status.code() == Code::ResourceExhausted => refused += 1,
            Err(status) => panic!("{status:?}"),
        }
    }
    (times, refused)
}

async fn ingest(
    mut client: IntakeServiceClient<Channel>,
    number: usize,
) -> (Result<(), Status>, Duration) {
    let mut request = Request::new(IngestRowsRequest {
        batch_id: format!("b{number}"),
        source: "bench".into(),
        json_rows: vec![format!(r#"{{"email":"p{number}@x.example"}}"#).into()],
        ..Default::default()
    });
    request.set_timeout(DEADLINE);
    let begun = Instant::now();
    let answer = client.ingest_rows(request).await;
    (answer.map(drop), begun.elapsed())
}

fn report(mut times: Vec<Duration>, refused: usize, before: u64, peak: u64) {
    times.sort_unstable();
    let at = |share: usize| times[(times.len() - 1) * share / 100].as_millis();
    let (p50, p99, longest) = (at(50), at(99), at(100));
    println!("{} answered, {refused} refused", times.len());
    println!("milliseconds of the answered: {p50} median, {p99} p99, {longest} the longest");
    println!("resident memory in MB: {before} before, {peak} at the peak");
    assert!(p99 < P99_LIMIT.as_millis(), "p99 is {p99} ms");
    assert!(peak < LIMIT_MB, "the server used {peak} MB");
}
