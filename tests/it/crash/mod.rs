//! Law 2, exactly once, and law 1, conservation, through `kill -9` of the service and of the loader and
//! restarts of PostgreSQL: the load ends by itself, and every row is there once.
//!
//! All of it with real processes. The moments of the kills are random, from a seed that a failure's message
//! names; none is waited for by the clock.

pub(crate) mod exact;
mod postgresql;
pub(crate) mod rows;

use std::time::Duration;

use leadvault::proto::intake::v1::{BatchState, GetBatchRequest};

use self::{
    exact::{assert_exact, stored},
    rows::{Random, Rows, rows},
};
use crate::harness::{App, Running, Service, Sql, Workspace, free_port, leadvault, until};

const BATCH: &str = "crash";
const KILLS: u64 = 20;

#[tokio::test(flavor = "multi_thread")]
async fn law_2_twenty_kills_of_the_service_with_one_lane() {
    twenty_kills_of_the_service(1, 0x00c0_ffee).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn law_2_twenty_kills_of_the_service_with_two_lanes() {
    twenty_kills_of_the_service(2, 0x0bad_cafe).await;
}

async fn twenty_kills_of_the_service(lanes: i64, seed: u64) {
    let workspace = Workspace::new();
    let rows = rows(60_000);
    let file = workspace.file("rows.ndjson", &rows.ndjson);
    let port = free_port();
    let mut service = Service::start(workspace.serve(port)).await;
    let sql = Sql::connect(service.database_url()).await;
    let mut loader = load(&file, &service.endpoint(), lanes);
    let mut random = Random::seeded(seed);
    let mut opens = 0;
    for number in 1..=KILLS {
        let moment = Moment::at_random(&mut random, &rows);
        opens = moment.wait(&sql, &mut loader, opens).await;
        if !matches!(moment, Moment::WhileStoring) {
            // Not for anything to happen: to be somewhere between one commit and the next.
            tokio::time::sleep(Duration::from_micros(random.below(20_000))).await;
        }
        service.kill().await;
        assert!(
            !loader.has_ended(),
            "seed {seed:#x}: the load was over before kill {number}"
        );
        service = Service::start(workspace.serve(port)).await;
    }
    assert_ended_well(loader, &rows).await;
    assert_exact(&sql, BATCH, lanes, &rows).await;
    assert_told(&service, &rows).await;

    let again = load(&file, &service.endpoint(), lanes).finish().await;
    assert_eq!(again.json()["batches"][0]["run"], "already_complete");
    assert_exact(&sql, BATCH, lanes, &rows).await;
    assert_eq!(service.stop().await.0.code(), Some(0));
}

/// When the service is to die.
#[derive(Debug)]
enum Moment {
    /// As soon as PostgreSQL is storing a chunk.
    WhileStoring,
    /// As soon as so many more rows are stored, and before the loader may know.
    AfterRows(i64),
    /// As soon as a lane is open.
    AfterOpen,
}

impl Moment {
    fn at_random(random: &mut Random, rows: &Rows) -> Self {
        match random.below(10) {
            0..=4 => Self::WhileStoring,
            5..=7 => {
                let most = u64::try_from(rows.count).unwrap() / KILLS / 2;
                Self::AfterRows(i64::try_from(random.below(most)).unwrap() + 1)
            }
            _ => Self::AfterOpen,
        }
    }

    /// Waits for it, and says how often lanes were opened until then: a moment comes only after the loader
    /// came back from the one before.
    async fn wait(&self, sql: &Sql, loader: &mut Running, opens_before: i64) -> i64 {
        let opens = until("the loader to open a lane", async || {
            assert!(!loader.has_ended(), "the load ended early");
            let opens: i64 = sql
                .one(
                    "SELECT coalesce(sum(writer), 0)::bigint FROM intake.batch_lanes WHERE batch_id = $1",
                    &[&BATCH],
                )
                .await;
            (opens > opens_before).then_some(opens)
        })
        .await;
        let begin = stored(sql, BATCH).await;
        until(&format!("{self:?}"), async || {
            assert!(!loader.has_ended(), "the load ended before {self:?}");
            let come = match self {
                Self::AfterOpen => true,
                Self::AfterRows(count) => stored(sql, BATCH).await >= begin + count,
                Self::WhileStoring => {
                    sql.one(
                        "SELECT EXISTS (SELECT FROM pg_stat_activity
                         WHERE datname = current_database() AND pid <> pg_backend_pid()
                             AND state = 'active' AND query LIKE '%f_ingest_chunk%')",
                        &[],
                    )
                    .await
                }
            };
            come.then_some(())
        })
        .await;
        opens
    }
}

/// The service dies and PostgreSQL does not notice: what it was told to store commits after the next service
/// came, which must not have told the loader an offset before that.
#[tokio::test(flavor = "multi_thread")]
async fn law_2_a_chunk_outlives_the_service_that_sent_it() {
    let workspace = Workspace::new();
    let rows = rows(5_000);
    let file = workspace.file("rows.ndjson", &rows.ndjson);
    let port = free_port();
    // What waits for the lock waits for as long as it takes another service to come.
    let serve = || {
        let mut command = workspace.serve(port);
        command.arg("--statement-timeout=600");
        Service::start(command)
    };
    let service = serve().await;
    let sql = Sql::connect(service.database_url()).await;
    let blocker = Sql::connect(service.database_url()).await;
    blocker
        .run("BEGIN; LOCK TABLE intake.email_claims IN SHARE MODE")
        .await;
    let loader = load(&file, &service.endpoint(), 1);
    until_waiting(&sql, "f_ingest_chunk").await;
    service.kill().await;

    let service = serve().await;
    until_waiting(&sql, "f_open_lane").await;
    assert_eq!(stored(&sql, BATCH).await, 0);
    blocker.run("COMMIT").await;
    assert_ended_well(loader, &rows).await;
    assert_exact(&sql, BATCH, 1, &rows).await;
    assert_eq!(service.stop().await.0.code(), Some(0));
}

/// Waits until a call of a function waits for a lock.
async fn until_waiting(sql: &Sql, function: &str) {
    let call = format!("%{function}%");
    until(&format!("{function} to wait for a lock"), async || {
        let waits: bool = sql
            .one(
                "SELECT EXISTS (SELECT FROM pg_stat_activity
                 WHERE datname = current_database() AND wait_event_type = 'Lock' AND query LIKE $1)",
                &[&call],
            )
            .await;
        waits.then_some(())
    })
    .await;
}

/// A service that is told to stop ends its streams behind a chunk; the loader waits for the next service.
#[tokio::test(flavor = "multi_thread")]
async fn law_2_orderly_stops_in_the_middle_of_a_load() {
    let workspace = Workspace::new();
    let rows = rows(60_000);
    let file = workspace.file("rows.ndjson", &rows.ndjson);
    let app = App::start().await;
    let sql = app.sql().await;
    let listen = format!("127.0.0.1:{}", free_port());
    let serve = || {
        let mut command = leadvault(&["serve", "--listen", &listen]);
        command.env("DATABASE_URL", &app.url);
        Service::start(command)
    };
    let mut service = serve().await;
    let mut loader = load(&file, &service.endpoint(), 2);
    let mut opens = 0;
    for _ in 0..3 {
        opens = Moment::WhileStoring.wait(&sql, &mut loader, opens).await;
        let (status, log) = service.stop().await;
        assert_eq!(status.code(), Some(0), "{log}");
        assert!(!log.contains("outlived the shutdown"), "{log}");
        assert!(!loader.has_ended(), "the load was over before the stop");
        service = serve().await;
    }
    assert_ended_well(loader, &rows).await;
    assert_exact(&sql, BATCH, 2, &rows).await;
    service.stop().await;
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn law_2_a_killed_loader_is_run_again() {
    let workspace = Workspace::new();
    let rows = rows(60_000);
    let file = workspace.file("rows.ndjson", &rows.ndjson);
    let app = App::start().await;
    let sql = app.sql().await;
    let mut random = Random::seeded(0x5eed);
    for _ in 0..3 {
        let begin = stored(&sql, BATCH).await;
        let more = i64::try_from(random.below(3_000)).unwrap() + 1;
        let mut loader = load(&file, &app.endpoint(), 3);
        until("more rows to be stored", async || {
            assert!(!loader.has_ended(), "the load was over before the kill");
            (stored(&sql, BATCH).await >= begin + more).then_some(())
        })
        .await;
        loader.kill().await;
    }
    let before = stored(&sql, BATCH).await;
    assert!(before < rows.count, "the kills came too late");

    // With another number of lanes: the batch keeps the one that it began with.
    let last = load(&file, &app.endpoint(), 1).finish().await;
    let notes = last.stderr.clone();
    let report = last.json()["batches"][0].take();
    assert!(notes.contains("begun with 3 lanes"), "{notes}");
    assert_eq!(report["run"], "resumed");
    assert_eq!(report["lanes"], 3);
    let resumed_from = report["resumed_from"].as_i64().unwrap();
    // What the killed loader had sent may have been stored after we looked.
    assert!(
        (before..=rows.count).contains(&resumed_from),
        "{resumed_from}"
    );
    assert_report(&report, &rows);
    assert_exact(&sql, BATCH, 3, &rows).await;
    app.stop().await;
}

/// Begins to load a file.
fn load(file: &str, endpoint: &str, lanes: i64) -> Running {
    let lanes = lanes.to_string();
    Running::spawn(leadvault(&[
        "load",
        file,
        "--endpoint",
        endpoint,
        "--source",
        "crash",
        "--batch-id",
        BATCH,
        "--lanes",
        &lanes,
        "--output",
        "json",
    ]))
}

/// The loader says success, and the right numbers.
async fn assert_ended_well(loader: Running, rows: &Rows) {
    let report = loader.finish().await.json();
    assert_report(&report["batches"][0], rows);
}

fn assert_report(report: &serde_json::Value, rows: &Rows) {
    assert_eq!(report["received"], rows.count, "{report}");
    assert_eq!(report["accepted"], rows.accepted, "{report}");
    assert_eq!(report["duplicate"], rows.duplicate, "{report}");
    assert_eq!(
        report["rejected_by_reason"],
        serde_json::json!(rows.rejected)
    );
}

/// The service tells the same, and that the batch is complete.
async fn assert_told(service: &Service, rows: &Rows) {
    let request = GetBatchRequest {
        batch_id: BATCH.to_owned(),
    };
    let response = service.intake().await.get_batch(request).await.unwrap();
    let batch = response.into_inner().batch.unwrap();
    assert_eq!(batch.state(), BatchState::Complete);
    let tally = batch.tally.unwrap();
    let rejected: i64 = rows.rejected.values().sum();
    assert_eq!(
        (
            tally.received,
            tally.accepted,
            tally.duplicate,
            tally.rejected
        ),
        (rows.count, rows.accepted, rows.duplicate, rejected)
    );
}
