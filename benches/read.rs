//! How fast is a point read, measured by PostgreSQL's own pgbench?
//!
//! In one run, in turn, over one private PostgreSQL with 200,000 contacts: pgbench (`-M prepared`) with the
//! statement of `GetContact` by email, and `GetContact` by email through a real `leadvault serve`, both with
//! the same number of clients, each of which asks, waits for its answer and asks again. Each client of pgbench
//! has a connection of its own to PostgreSQL; the callers share one HTTP/2 connection, as the callers in one
//! process do.
//!
//! `cargo bench --bench read`; rounds and seconds can be given: `cargo bench --bench read -- 3 5`.
//! pgbench has to be in `PATH`; it comes with PostgreSQL.

#![allow(
    clippy::expect_used,
    missing_docs,
    unreachable_pub,
    dead_code,
    reason = "a bench that cannot go on has failed; the benches share more than each uses"
)]

mod support;

use std::{
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use leadvault::proto::vault::v1::{
    ContactKey, GetContactRequest, contact_key, vault_service_client::VaultServiceClient,
};
use support::{Cluster, connect, serve};
use tonic::transport::{Channel, Endpoint};

/// The callers take the allocator that the service takes: what they cost is not what is measured.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const CONTACTS: u64 = 200_000;
const CLIENTS: [usize; 3] = [1, 8, 32];

const CONTACTS_OF_THE_BENCH: &str = "
    INSERT INTO vault.contacts (email, name, phone, company, title, source, tags, custom_fields)
    SELECT 'lead' || n || '@company.example', 'First Last ' || n, '+1 415-555-0100', 'Company ' || n % 5000,
           'Head of Department', 'bench', '[\"one\", \"two\"]',
           jsonb_build_object('city', 'San Francisco', 'country', 'United States', 'n', n)
    FROM generate_series(1, 200000) AS n";

/// As the service asks; its parameter is of the same type.
const STATEMENT: &str = r"
\set n random(1, 200000)
SELECT c.contact_id, c.email, c.name, c.phone, c.company, c.title, c.source, c.tags::text AS tags,
       c.custom_fields::text AS custom_fields, c.load_id, c.created_at, c.updated_at, c.last_activity_at,
       c.score::text AS score, c.status, c.pinned_fields,
       vault.f_etag(c) AS etag
FROM vault.contacts AS c
WHERE c.email = 'lead' || :n || '@company.example';
";

/// What one way did.
#[derive(Clone, Debug)]
struct Figures {
    reads_a_second: f64,
    p50: Duration,
    p99: Duration,
}

#[tokio::main]
async fn main() {
    let numbers: Vec<usize> = std::env::args()
        .filter_map(|arg| arg.parse().ok())
        .collect();
    let rounds = numbers.first().copied().unwrap_or(3);
    let seconds = Duration::from_secs(numbers.get(1).copied().unwrap_or(5) as u64);
    println!("{rounds} rounds of {seconds:?}");

    let mut cluster = Cluster::start("bench-read").await;
    let url = cluster.fresh_database().await;
    let admin = connect(&url).await;
    admin
        .batch_execute(CONTACTS_OF_THE_BENCH)
        .await
        .expect("contacts");
    admin
        .batch_execute("VACUUM ANALYZE vault.contacts")
        .await
        .expect("statistics");
    let scratch = tempfile::tempdir().expect("a folder");
    let (mut server, address) = serve(&url);
    println!(
        "\n| clients | way | reads a second (median) | of pgbench | p50 | p99 | rounds |\n|---|---|---|---|---|---|---|"
    );
    for clients in CLIENTS {
        let mut figures: [Vec<Figures>; 2] = Default::default();
        for _ in 0..rounds {
            figures[0].push(pgbench(&url, clients, seconds, scratch.path()));
            let address = address.clone();
            let calling = move || get_contact(&address, clients, seconds);
            figures[1].push(tokio::task::spawn_blocking(calling).await.expect("callers"));
        }
        report(clients, &figures);
    }
    server.kill().expect("the server can be stopped");
    server.wait().expect("the server ends");
    cluster.remove().await;
}

fn report(clients: usize, figures: &[Vec<Figures>; 2]) {
    let median = |figures: &[Figures]| {
        let mut figures = figures.to_vec();
        figures.sort_by(|a, b| a.reads_a_second.total_cmp(&b.reads_a_second));
        figures[figures.len() / 2].clone()
    };
    let yardstick = median(&figures[0]).reads_a_second;
    for (name, of_way) in ["pgbench", "GetContact"].iter().zip(figures) {
        let Figures {
            reads_a_second,
            p50,
            p99,
        } = median(of_way);
        let rounds: Vec<String> = of_way
            .iter()
            .map(|round| format!("{:.0}", round.reads_a_second))
            .collect();
        println!(
            "| {clients} | {name} | {reads_a_second:.0} | {:.2} | {p50:.0?} | {p99:.0?} | {} |",
            reads_a_second / yardstick,
            rounds.join(", ")
        );
    }
}

/// The figures of reads that took these times, in microseconds, by clients who did nothing else.
fn figures(mut micros: Vec<u64>, elapsed: Duration) -> Figures {
    micros.sort_unstable();
    let at = |percent: usize| Duration::from_micros(micros[(micros.len() - 1) * percent / 100]);
    Figures {
        reads_a_second: micros.len() as f64 / elapsed.as_secs_f64(),
        p50: at(50),
        p99: at(99),
    }
}

/// pgbench's log has a line a transaction; its third field is the time that it took in microseconds.
fn pgbench(url: &str, clients: usize, seconds: Duration, scratch: &Path) -> Figures {
    let script = scratch.join("read.sql");
    std::fs::write(&script, STATEMENT).expect("the script is written");
    let prefix = scratch.join("log");
    let status = Command::new("pgbench")
        .args(["-n", "-M", "prepared", "--log"])
        .arg(format!("--log-prefix={}", prefix.display()))
        .args([
            "-c",
            &clients.to_string(),
            "-j",
            &clients.min(2).to_string(),
        ])
        .args(["-T", &seconds.as_secs().to_string(), "-f"])
        .arg(&script)
        .arg(url)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .expect("pgbench is in PATH");
    assert!(status.success(), "pgbench failed");
    let mut micros = Vec::new();
    for entry in std::fs::read_dir(scratch).expect("its folder") {
        let path = entry.expect("a file").path();
        if path == script {
            continue;
        }
        let log = std::fs::read_to_string(&path).expect("its log");
        micros.extend(
            log.lines()
                .filter_map(|line| line.split(' ').nth(2)?.parse::<u64>().ok()),
        );
        std::fs::remove_file(&path).expect("the log can be removed");
    }
    figures(micros, seconds)
}

/// The callers run on one thread, as pgbench's clients do on one or two: the fewer processors they take, the
/// more are left for what is measured.
fn get_contact(address: &str, clients: usize, seconds: Duration) -> Figures {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let channel = Endpoint::from_shared(address.to_owned())
            .expect("an address")
            .tcp_nodelay(true)
            .connect()
            .await
            .expect("a connection");
        let started = Instant::now();
        let callers: Vec<_> = (0..clients)
            .map(|caller| tokio::spawn(call(channel.clone(), caller as u64, started + seconds)))
            .collect();
        let mut micros = Vec::new();
        for caller in callers {
            micros.extend(caller.await.expect("a caller"));
        }
        figures(micros, started.elapsed())
    })
}

/// One caller: asks until it is time, each time for another contact.
async fn call(channel: Channel, seed: u64, until: Instant) -> Vec<u64> {
    let mut client = VaultServiceClient::new(channel);
    let mut micros = Vec::new();
    let mut number = seed;
    while Instant::now() < until {
        // A linear congruential generator: which contact does not matter, only that it is seldom the same.
        number = number
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let email = format!("lead{}@company.example", (number >> 33) % CONTACTS + 1);
        let key = ContactKey {
            key: Some(contact_key::Key::Email(email)),
        };
        let started = Instant::now();
        let response = client
            .get_contact(GetContactRequest { key: Some(key) })
            .await
            .expect("an answer");
        assert!(response.into_inner().contact.is_some());
        micros.push(started.elapsed().as_micros() as u64);
    }
    micros
}
