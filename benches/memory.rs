//! Does the server's memory grow with the length of a stream?
//!
//! Two million rows stream through one lane of a real `leadvault serve`; its resident memory is read along
//! the way. It has to stay under 150 MB. Linux only, where `/proc` tells.
//!
//! `cargo bench --bench memory`; another number of rows: `cargo bench --bench memory -- 500000`.

#![allow(
    clippy::expect_used,
    missing_docs,
    unreachable_pub,
    dead_code,
    reason = "a bench that cannot go on has failed; the benches share more than each uses"
)]

mod support;

use std::time::{Duration, Instant};

use support::{Cluster, frames, serve, status_mb, stream_lane};
use tonic::transport::Endpoint;

const LIMIT_MB: u64 = 150;

#[tokio::main]
async fn main() {
    let row_count = std::env::args()
        .find_map(|arg| arg.parse().ok())
        .unwrap_or(2_000_000);
    let mut cluster = Cluster::start("bench-memory").await;
    let (mut server, address) = serve(&cluster.fresh_database().await);
    let before = status_mb(&server, "VmRSS:");
    let channel = Endpoint::from_shared(address)
        .expect("an address")
        .connect()
        .await
        .expect("a connection");

    let started = Instant::now();
    let stream = tokio::spawn(stream_lane(channel, 0, 1, frames(row_count, 0, 1)));
    let mut samples = Vec::new();
    while !stream.is_finished() {
        tokio::time::sleep(Duration::from_secs(1)).await;
        samples.push(status_mb(&server, "VmRSS:"));
    }
    let accepted = stream.await.expect("the lane ends");
    let rate = row_count as f64 / started.elapsed().as_secs_f64();
    let peak = status_mb(&server, "VmHWM:");
    server.kill().expect("the server can be stopped");
    server.wait().expect("the server ends");
    cluster.remove().await;

    let at = |part: usize| {
        samples
            .get(samples.len() * part / 10)
            .copied()
            .unwrap_or(peak)
    };
    println!("{accepted} rows accepted, {rate:.0} rows a second");
    println!(
        "resident memory in MB: {before} before, {} after a tenth, {} after half, {} after nine tenths, {peak} at the peak",
        at(1),
        at(5),
        at(9)
    );
    assert_eq!(usize::try_from(accepted), Ok(row_count));
    assert!(
        peak < LIMIT_MB,
        "the server used {peak} MB, at most {LIMIT_MB} are allowed"
    );
}
