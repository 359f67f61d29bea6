//! How fast is promotion, measured by one SQL statement written by hand?
//!
//! In one run, in turn, into a fresh database each of one private PostgreSQL with durability on: 200,000
//! pending loads of about 380 bytes into an empty vault; then 200,000 more of the same emails, half of which
//! say something new, into the vault that is full now. Once by the statement (upsert, the loads' status, an
//! audit row a load, no rules), once by `PromoteContacts` through a real server.
//!
//! `cargo bench --bench promote`; rounds and loads can be given: `cargo bench --bench promote -- 3 50000`.

#![allow(
    clippy::expect_used,
    missing_docs,
    unreachable_pub,
    dead_code,
    reason = "a bench that cannot go on has failed; the benches share more than each uses"
)]

mod support;

use std::{
    fmt::Write as _,
    time::{Duration, Instant},
};

use bytes::Bytes;
use clap::Parser;
use futures_util::SinkExt as _;
use leadvault::{
    config::{DoorSettings, ServiceSettings},
    db::{DatabaseUrl, Pool, PoolOptions},
    proto::vault::v1::{
        PromoteContactsRequest, PromoteContactsResponse, vault_service_client::VaultServiceClient,
    },
    server::{Server, doors::Doors},
};
use support::{Cluster, connect, row};
use tokio_postgres::Client;

/// What anybody would write first: the later value wins, whatever it is.
const STATEMENT: &str = "
    WITH upserted AS (
        INSERT INTO vault.contacts (email, name, phone, company, title, source, custom_fields, load_id)
        SELECT raw_data ->> 'email', concat_ws(' ', raw_data ->> 'first_name', raw_data ->> 'last_name'),
               raw_data ->> 'phone', raw_data ->> 'company', raw_data ->> 'title', source,
               raw_data - ARRAY['email', 'phone', 'company', 'title'], load_id
        FROM intake.raw_loads
        WHERE status = 'pending'
        ON CONFLICT (email) DO UPDATE
        SET name = excluded.name, phone = excluded.phone, company = excluded.company,
            title = excluded.title, custom_fields = excluded.custom_fields, load_id = excluded.load_id,
            updated_at = now()
        RETURNING contact_id, load_id
    ), marked AS (
        UPDATE intake.raw_loads AS l SET status = 'promoted', promoted_at = now()
        FROM upserted AS u WHERE l.load_id = u.load_id
    )
    INSERT INTO intake.audit_log (action, load_id, contact_id, details)
    SELECT 'contact_promoted', load_id, contact_id, '{\"actor\": \"bench\"}' FROM upserted";

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
    let loads = numbers.get(1).copied().unwrap_or(200_000);
    println!("{rounds} rounds of {loads} loads");

    let mut cluster = Cluster::start("bench-promote").await;
    // Statement and service; empty and full.
    let mut times: [[Vec<Duration>; 2]; 2] = Default::default();
    for _ in 0..rounds {
        for (way, way_times) in times.iter_mut().enumerate() {
            let url = cluster.fresh_database().await;
            let client = connect(&url).await;
            for (vault, vault_times) in way_times.iter_mut().enumerate() {
                fill(&client, loads, vault == 1).await;
                let elapsed = if way == 0 {
                    statement(&client, loads).await
                } else {
                    promote(&url, loads, vault == 1).await
                };
                vault_times.push(elapsed);
            }
        }
    }
    cluster.remove().await;

    let rate = |time: &Duration| loads as f64 / time.as_secs_f64();
    let median = |times: &[Duration]| {
        let mut times = times.to_vec();
        times.sort();
        rate(&times[times.len() / 2])
    };
    println!(
        "\n| vault | way | loads a second (median) | of the statement | rounds |\n|---|---|---|---|---|"
    );
    for (vault, vault_name) in ["empty", "full, half changed"].iter().enumerate() {
        for (way, way_name) in ["one SQL statement", "PromoteContacts"].iter().enumerate() {
            let rounds: Vec<String> = times[way][vault]
                .iter()
                .map(|time| format!("{:.0}", rate(time)))
                .collect();
            println!(
                "| {vault_name} | {way_name} | {:.0} | {:.2} | {} |",
                median(&times[way][vault]),
                median(&times[way][vault]) / median(&times[0][vault]),
                rounds.join(", ")
            );
        }
    }
}

/// Stores pending loads with their claims, as ingestion leaves them; `again`: half of them with a new title.
async fn fill(client: &Client, loads: usize, again: bool) {
    const CHUNK: usize = 5_000;
    let sink = client
        .copy_in("COPY intake.raw_loads (batch_id, source, raw_data, metadata) FROM STDIN")
        .await
        .expect("COPY begins");
    futures_util::pin_mut!(sink);
    for first in (0..loads).step_by(CHUNK) {
        let mut lines = String::new();
        for number in first..(first + CHUNK).min(loads) {
            let mut row = row(number);
            if again && number % 2 == 0 {
                row = row.replace("Head of", "Director of");
            }
            let _ = writeln!(
                lines,
                "bench\tbench\t{row}\t{{\"lane\":0,\"offset\":{number}}}"
            );
        }
        sink.send(Bytes::from(lines)).await.expect("COPY goes on");
    }
    assert_eq!(sink.finish().await.expect("COPY ends"), loads as u64);
    client
        .batch_execute(
            "INSERT INTO intake.email_claims (email, load_id, accepted_at, content_hash)
             SELECT raw_data ->> 'email', load_id, created_at, 0 FROM intake.raw_loads WHERE status = 'pending'
             ON CONFLICT (email) DO UPDATE
             SET load_id = excluded.load_id, accepted_at = excluded.accepted_at;
             ANALYZE intake.raw_loads, intake.email_claims, vault.contacts;
             CHECKPOINT",
        )
        .await
        .expect("claims");
}

async fn statement(client: &Client, loads: usize) -> Duration {
    let started = Instant::now();
    let done = client.execute(STATEMENT, &[]).await.expect("the statement");
    assert_eq!(done, loads as u64);
    started.elapsed()
}

/// `PromoteContacts` through a real server.
async fn promote(url: &str, loads: usize, again: bool) -> Duration {
    let settings = Settings::parse_from(["bench", "--listen", "127.0.0.1:0"]).service;
    let url = DatabaseUrl::parse(url).expect("a URL");
    let pool = Pool::connect(PoolOptions::new(url)).await.expect("a pool");
    let doors = Doors::open(&DoorSettings::default(), settings.listen).expect("doors");
    let server = Server::start(settings, doors, pool)
        .await
        .expect("a server");
    let mut client = VaultServiceClient::connect(format!("http://{}", server.address()))
        .await
        .expect("a connection");
    let started = Instant::now();
    let mut stream = client
        .promote_contacts(PromoteContactsRequest::default())
        .await
        .expect("it begins")
        .into_inner();
    let mut last = PromoteContactsResponse::default();
    while let Some(message) = stream.message().await.expect("it goes on") {
        last = message;
    }
    let elapsed = started.elapsed();
    assert!(last.finished);
    let half = loads.div_ceil(2) as i64;
    let expected = if again {
        (0, half, loads as i64 - half)
    } else {
        (loads as i64, 0, 0)
    };
    assert_eq!((last.promoted, last.updated, last.unchanged), expected);
    server.stop().await.expect("the server stops");
    elapsed
}
