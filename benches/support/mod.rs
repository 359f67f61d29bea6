//! What the benches share: rows, a private PostgreSQL with its durability on, and a bulk client.

use std::{
    fmt::Write as _,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use bytes::Bytes;
use leadvault::{
    db::{DatabaseUrl, Embedded, EmbeddedOptions, migrate},
    proto::intake::v1::{
        BulkIngestRequest, bulk_ingest_request as request, bulk_ingest_response as response,
        intake_service_client::IntakeServiceClient,
    },
};
use tokio::sync::mpsc;
use tokio_postgres::{Client, NoTls};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;

/// Rows a frame: large enough that a call's fixed costs vanish, small enough for three in memory.
pub const FRAME_ROWS: usize = 5_000;

/// A made-up row of about 380 bytes with an email of its own, as an export of a lead tool has them.
pub fn row(number: usize) -> String {
    let company = number % 5_000;
    format!(
        concat!(
            r#"{{"email":"first{n}.last{n}@company{c}.example","first_name":"First{n}","#,
            r#""last_name":"Last{n}","company":"Company {c} Ltd","#,
            r#""title":"Head of Department {d}","phone":"+1 415-555-{p:04}","city":"San Francisco","#,
            r#""country":"United States","website":"https://www.company{c}.example","#,
            r#""linkedin_url":"https://www.linkedin.com/in/first-last-{n}","industry":"Software","#,
            r#""employee_count":"{e}","n":{n}}}"#
        ),
        n = number,
        c = company,
        d = number % 40,
        p = number % 10_000,
        e = number % 900 + 10,
    )
}

/// Frames of newline-delimited rows with their first offsets: the rows of one lane of `lanes`, of
/// `row_count` in all.
pub fn frames(row_count: usize, lane: usize, lanes: usize) -> impl Iterator<Item = (usize, Bytes)> {
    let numbers: Vec<usize> = (lane..row_count).step_by(lanes).collect();
    let chunks: Vec<Vec<usize>> = numbers.chunks(FRAME_ROWS).map(<[usize]>::to_vec).collect();
    let mut offset = 0;
    chunks.into_iter().map(move |chunk| {
        let mut frame = String::with_capacity(chunk.len() * 450);
        for number in &chunk {
            let _ = writeln!(frame, "{}", row(*number));
        }
        let first = offset;
        offset += chunk.len();
        (first, Bytes::from(frame))
    })
}

/// A private PostgreSQL in a folder of its own, with fsync on: a speed without durability is no speed.
pub struct Cluster {
    embedded: Embedded,
    data_dir: PathBuf,
    databases: usize,
}

impl Cluster {
    /// Starts it, and migrates a template.
    pub async fn start(name: &str) -> Self {
        let data_dir =
            std::env::temp_dir().join(format!("leadvault-{name}-{}", std::process::id()));
        let embedded = Embedded::start(&EmbeddedOptions::new(&data_dir))
            .await
            .expect("PostgreSQL starts");
        let url = DatabaseUrl::parse(&embedded.url()).expect("its URL is one");
        migrate::up(&url).await.expect("it can be migrated");
        Self {
            embedded,
            data_dir,
            databases: 0,
        }
    }

    /// Where its data is.
    pub fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    /// The URL of a fresh, migrated database; the one before is dropped.
    pub async fn fresh_database(&mut self) -> String {
        let template = self.embedded.url();
        let url = |name: &str| template.replacen("/leadvault?", &format!("/{name}?"), 1);
        let admin = connect(&url("postgres")).await;
        let before = format!("bench_{}", self.databases);
        self.databases += 1;
        let name = format!("bench_{}", self.databases);
        for statement in [
            format!("DROP DATABASE IF EXISTS {before} WITH (FORCE)"),
            format!("CREATE DATABASE {name} TEMPLATE leadvault"),
            "CHECKPOINT".to_owned(),
        ] {
            admin.batch_execute(&statement).await.expect("a database");
        }
        url(&name)
    }

    /// Stops it and removes its folder.
    pub async fn remove(self) {
        self.embedded.stop().await.expect("PostgreSQL stops");
        std::fs::remove_dir_all(&self.data_dir).expect("its folder can be removed");
    }
}

/// Starts a real `leadvault serve` over a database; returns it and where it listens.
pub fn serve(url: &str) -> (Child, String) {
    serve_with(url, &[])
}

/// The same with flags.
pub fn serve_with(url: &str, flags: &[&str]) -> (Child, String) {
    let mut server = Command::new(env!("CARGO_BIN_EXE_leadvault"))
        .args([
            "serve",
            "--listen",
            "127.0.0.1:0",
            "--database-url",
            url,
            "--ops-listen",
            "off",
        ])
        .args(flags)
        // One write a call would be measured, too; README says what it costs.
        .env("LEADVAULT_LOG", "warn")
        .stdout(Stdio::piped())
        .spawn()
        .expect("the server starts");
    let mut stdout = BufReader::new(server.stdout.take().expect("its output is a pipe"));
    let mut line = String::new();
    stdout
        .read_line(&mut line)
        .expect("the server says where it listens");
    server.stdout = Some(stdout.into_inner());
    let address = line.trim().trim_start_matches("listening on ").to_owned();
    (server, address)
}

/// A connection.
pub async fn connect(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls)
        .await
        .expect("PostgreSQL answers");
    tokio::spawn(connection);
    client
}

/// Streams frames through one lane to its end; returns how many rows were accepted.
pub async fn stream_lane(
    channel: Channel,
    lane: usize,
    lanes: usize,
    frames: impl Iterator<Item = (usize, Bytes)> + Send + 'static,
) -> i64 {
    let (outbound, messages) = mpsc::channel(2);
    let mut inbound = IntakeServiceClient::new(channel)
        .bulk_ingest(ReceiverStream::new(messages))
        .await
        .expect("the stream begins")
        .into_inner();
    let sender = tokio::spawn(send_lane(outbound, lane, lanes, frames));
    let mut accepted = 0;
    while let Some(message) = inbound.message().await.expect("the stream goes on") {
        if let Some(response::Message::Summary(summary)) = message.message {
            accepted = summary.tally.expect("a summary has a tally").accepted;
        }
    }
    sender.await.expect("all was sent");
    accepted
}

async fn send_lane(
    outbound: mpsc::Sender<BulkIngestRequest>,
    lane: usize,
    lanes: usize,
    frames: impl Iterator<Item = (usize, Bytes)>,
) {
    let open = request::Open {
        batch_id: "bench".to_owned(),
        source: "bench".to_owned(),
        lane: i32::try_from(lane).expect("few lanes"),
        lane_count: i32::try_from(lanes).expect("few lanes"),
        ..Default::default()
    };
    say(&outbound, request::Message::Open(open)).await;
    let mut row_count = 0;
    for (offset, ndjson) in frames {
        row_count = offset + memchr::memchr_iter(b'\n', &ndjson).count();
        let rows = request::Rows {
            offset: i64::try_from(offset).ok(),
            ndjson,
            ..Default::default()
        };
        say(&outbound, request::Message::Rows(rows)).await;
    }
    let finish = request::Finish {
        row_count: i64::try_from(row_count).expect("few rows"),
    };
    say(&outbound, request::Message::Finish(finish)).await;
}

async fn say(outbound: &mpsc::Sender<BulkIngestRequest>, message: request::Message) {
    let message = BulkIngestRequest {
        message: Some(message),
    };
    outbound.send(message).await.expect("the server listens");
}

/// A number of a process's status, in megabytes. Linux only, where `/proc` tells.
pub fn status_mb(process: &Child, field: &str) -> u64 {
    let status =
        std::fs::read_to_string(format!("/proc/{}/status", process.id())).expect("the server runs");
    status
        .lines()
        .find_map(|line| line.strip_prefix(field))
        .and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok())
        .expect("the system tells")
        / 1_024
}
