//! How fast is bulk ingest, measured by PostgreSQL's own COPY?
//!
//! In one run, in turn, three rounds of 300,000 rows of about 380 bytes: COPY of the rows over one
//! connection into `intake.raw_loads`, with the same indexes; `BulkIngest` with one lane; with two. Each
//! into a fresh database of one private PostgreSQL with durability on, after a checkpoint. COPY only
//! stores; `BulkIngest` also validates each row, claims its email, writes its audit row and its fate.
//!
//! `cargo bench --bench ingest`; rounds and rows can be given: `cargo bench --bench ingest -- 5 100000`.

#![allow(
    clippy::expect_used,
    missing_docs,
    unreachable_pub,
    dead_code,
    reason = "a bench that cannot go on has failed; the benches share more than each uses"
)]

mod support;

use std::time::{Duration, Instant};

use bytes::Bytes;
use clap::Parser;
use futures_util::SinkExt as _;
use leadvault::{
    config::{DoorSettings, ServiceSettings},
    db::{DatabaseUrl, Pool, PoolOptions},
    server::{Server, doors::Doors},
};
use support::{Cluster, FRAME_ROWS, connect, frames, row, stream_lane};
use tonic::transport::Endpoint;

#[derive(Parser)]
struct Settings {
    #[command(flatten)]
    service: ServiceSettings,
}

#[tokio::main]
async fn main() {
    let numbers: Vec<usize> = std::env::args()
        .filter_map(|arg| arg.parse().ok())
        .collect();
    let rounds = numbers.first().copied().unwrap_or(3);
    let row_count = numbers.get(1).copied().unwrap_or(300_000);
    let row_bytes = (0..1_000)
        .map(|n| row(n * row_count / 1_000).len())
        .sum::<usize>()
        / 1_000;
    println!("{rounds} rounds of {row_count} rows of {row_bytes} bytes, {FRAME_ROWS} rows a frame");

    let mut cluster = Cluster::start("bench-ingest").await;
    let mut times: [Vec<Duration>; 3] = Default::default();
    for _ in 0..rounds {
        times[0].push(copy(&cluster.fresh_database().await, row_count).await);
        times[1].push(ingest(&cluster.fresh_database().await, row_count, 1).await);
        times[2].push(ingest(&cluster.fresh_database().await, row_count, 2).await);
    }
    cluster.remove().await;

    println!("\n| way | rows a second (median) | of COPY | rounds |\n|---|---|---|---|");
    let rate = |time: &Duration| row_count as f64 / time.as_secs_f64();
    let median = |times: &[Duration]| {
        let mut times = times.to_vec();
        times.sort();
        rate(&times[times.len() / 2])
    };
    for (way, way_times) in ["COPY", "BulkIngest, one lane", "BulkIngest, two lanes"]
        .iter()
        .zip(&times)
    {
        let rounds: Vec<String> = way_times
            .iter()
            .map(|time| format!("{:.0}", rate(time)))
            .collect();
        println!(
            "| {way} | {:.0} | {:.2} | {} |",
            median(way_times),
            median(way_times) / median(&times[0]),
            rounds.join(", ")
        );
    }
}

/// COPY over one connection.
async fn copy(url: &str, row_count: usize) -> Duration {
    let lines: Vec<Bytes> = (0..row_count.div_ceil(FRAME_ROWS))
        .map(|chunk| {
            let numbers = chunk * FRAME_ROWS..((chunk + 1) * FRAME_ROWS).min(row_count);
            numbers
                .map(|n| format!("bench\tbench\t{}\n", row(n)))
                .collect::<String>()
                .into()
        })
        .collect();
    let client = connect(url).await;
    let started = Instant::now();
    let sink = client
        .copy_in("COPY intake.raw_loads (batch_id, source, raw_data) FROM STDIN")
        .await
        .expect("COPY begins");
    futures_util::pin_mut!(sink);
    for chunk in lines {
        sink.send(chunk).await.expect("COPY goes on");
    }
    let copied = sink.finish().await.expect("COPY ends");
    assert_eq!(copied, row_count as u64);
    started.elapsed()
}

/// `BulkIngest` through a real server, a connection a lane.
async fn ingest(url: &str, row_count: usize, lanes: usize) -> Duration {
    let settings = Settings::parse_from(["bench", "--listen", "127.0.0.1:0"]).service;
    let url = DatabaseUrl::parse(url).expect("a URL");
    let pool = Pool::connect(PoolOptions::new(url)).await.expect("a pool");
    let doors = Doors::open(&DoorSettings::default(), settings.listen).expect("doors");
    let server = Server::start(settings, doors, pool)
        .await
        .expect("a server");
    let mut lane_frames = Vec::new();
    for lane in 0..lanes {
        lane_frames.push(frames(row_count, lane, lanes).collect::<Vec<_>>());
    }
    let started = Instant::now();
    let mut streams = Vec::new();
    for (lane, frames) in lane_frames.into_iter().enumerate() {
        let endpoint =
            Endpoint::from_shared(format!("http://{}", server.address())).expect("an address");
        let channel = endpoint.connect().await.expect("a connection");
        streams.push(tokio::spawn(stream_lane(
            channel,
            lane,
            lanes,
            frames.into_iter(),
        )));
    }
    let mut accepted = 0;
    for stream in streams {
        accepted += stream.await.expect("a lane");
    }
    let elapsed = started.elapsed();
    assert_eq!(accepted, row_count as i64);
    server.stop().await.expect("the server stops");
    elapsed
}
