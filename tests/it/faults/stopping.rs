//! SIGTERM: health says `NOT_SERVING`, streams end behind their chunk, the process ends with 0 in time, and whoever was
//! loading goes on with the next server.

use std::time::{Duration, Instant};

use leadvault::proto::vault::v1::{
    PromoteContactsRequest, vault_service_client::VaultServiceClient,
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tonic::{
    Code,
    transport::{Channel, Endpoint},
};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

use super::{barrier::Barrier, load};
use crate::{
    crash::{
        exact::assert_exact,
        rows::{Rows, rows},
    },
    harness::{
        App, Lane, Running, Service, Sql, Workspace, free_port, leadvault, open, refusal, row,
        until, until_dead,
    },
};

const LOADS: usize = 8;
/// What the server has to end in.
const GRACE: Duration = Duration::from_secs(30);

/// The rows of one of several loads, with addresses of its own.
fn rows_of(number: usize) -> Rows {
    let mut rows = rows(6_000);
    let text = String::from_utf8(rows.ndjson).unwrap();
    let text = text.replace("@acme.example", &format!("@acme{number}.example"));
    rows.ndjson = text
        .replace("@Acme.Example", &format!("@Acme{number}.Example"))
        .into();
    rows
}

/// All of it with real processes, the embedded PostgreSQL among them.
#[tokio::test(flavor = "multi_thread")]
async fn law_2_eight_loads_outlive_a_sigterm() {
    let workspace = Workspace::new();
    let port = free_port();
    let service = Service::start(workspace.serve(port)).await;
    let endpoint = service.endpoint();
    // Each has stored something, and is in the middle of storing more.
    let stored = "EXISTS (SELECT FROM intake.batch_chunks AS c WHERE c.batch_id = new.batch_id)";
    let barrier = Barrier::raise(service.database_url(), stored).await;
    let (mut loads, mut expected): (Vec<Running>, Vec<Rows>) = (Vec::new(), Vec::new());
    for number in 0..LOADS {
        let rows = rows_of(number);
        let file = workspace.file(&format!("{number}.ndjson"), &rows.ndjson);
        loads.push(load(&file, &endpoint, &batch(number), 1));
        expected.push(rows);
    }
    barrier.until_reached_by(LOADS as i64).await;
    let postmaster = workspace.postmaster().unwrap();
    // Held open, and PostgreSQL waits for it as long as it is not told to stop fast.
    let watcher = Sql::connect(service.database_url()).await;

    let health = channel(&service).await;
    let begun = Instant::now();
    let stopping = tokio::spawn(service.stop());
    until_no_calls(&health).await;
    barrier.lift().await;
    let (status, log) = stopping.await.unwrap();
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(begun.elapsed() < GRACE, "{:?}: {log}", begun.elapsed());
    assert!(!log.contains("outlived the shutdown"), "{log}");
    until_dead(postmaster).await;
    drop(watcher);
    for (number, load) in loads.iter_mut().enumerate() {
        assert!(!load.has_ended(), "load {number} was over before the stop");
    }

    let service = Service::start(workspace.serve(port)).await;
    let sql = Sql::connect(service.database_url()).await;
    for (number, load) in loads.into_iter().enumerate() {
        let report = load.finish().await.json();
        assert_eq!(
            report["batches"][0]["received"], expected[number].count,
            "{report}"
        );
        assert_exact(&sql, &batch(number), 1, &expected[number]).await;
    }
    assert_eq!(service.stop().await.0.code(), Some(0));
}

fn batch(number: usize) -> String {
    format!("load-{number}")
}

/// A service on the database of an app, to be ended without it.
async fn service_on(app: &App) -> Service {
    let mut command = leadvault(&["serve", "--listen", "127.0.0.1:0"]);
    command.env("DATABASE_URL", &app.url);
    Service::start(command).await
}

async fn channel(service: &Service) -> Channel {
    let endpoint = Endpoint::from_shared(service.endpoint()).unwrap();
    endpoint.connect().await.unwrap()
}

/// No new calls: the server takes no connection any more, or lets none of its calls through.
async fn until_no_calls(channel: &Channel) {
    until("the server to take no calls", async || {
        let request = HealthCheckRequest::default();
        let answer = HealthClient::new(channel.clone()).check(request).await;
        answer.is_err().then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_is_told_to_every_stream_and_to_those_who_watch_the_health() {
    let app = App::start().await;
    let service = service_on(&app).await;
    let mut watch = HealthClient::new(channel(&service).await)
        .watch(HealthCheckRequest::default())
        .await
        .unwrap()
        .into_inner();
    let serving = watch.message().await.unwrap().unwrap();
    assert_eq!(serving.status(), ServingStatus::Serving);
    let client = service.intake().await;
    let (mut lane, _) = Lane::open(client, open("b", "apollo")).await.unwrap();
    lane.rows(0, &[row("a@x.example")]).await.unwrap();
    let idle = Lane::open(service.intake().await, open("c", "apollo")).await;
    let mut idle = idle.unwrap().0;

    let stopping = tokio::spawn(service.stop());
    let said = watch.message().await.unwrap().unwrap();
    assert_eq!(said.status(), ServingStatus::NotServing);
    for lane in [&mut lane, &mut idle] {
        let refusal = refusal(lane.receive().await).is(Code::Unavailable, "SHUTTING_DOWN");
        assert!(refusal.retry, "{refusal:?}");
    }
    // Whoever watches is not waited for.
    assert!(watch.message().await.ok().flatten().is_none());
    let (status, log) = stopping.await.unwrap();
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(!log.contains("outlived the shutdown"), "{log}");
    app.stop().await;
}

/// The chunk that is being stored is stored, and the client is told so before the stream ends.
#[tokio::test(flavor = "multi_thread")]
async fn a_chunk_that_is_being_stored_is_acked_before_the_end() {
    let app = App::start().await;
    let service = service_on(&app).await;
    let sql = app.sql().await;
    sql.run("BEGIN; LOCK TABLE intake.email_claims IN SHARE MODE")
        .await;
    let client = service.intake().await;
    let (mut lane, _) = Lane::open(client, open("b", "apollo")).await.unwrap();
    // Those behind it are not begun.
    for (offset, email) in [(0, "a@x.example"), (1, "b@x.example"), (2, "c@x.example")] {
        lane.send_rows(Some(offset), &[row(email)]).await;
    }
    app.sql().await.until_somebody_waits().await;
    let channel = channel(&service).await;
    let stopping = tokio::spawn(service.stop());
    until_no_calls(&channel).await;
    assert!(!stopping.is_finished());
    sql.run("COMMIT").await;
    let ack = crate::harness::ack(lane.receive().await.unwrap());
    assert_eq!(ack.accepted, 1);
    refusal(lane.receive().await).is(Code::Unavailable, "SHUTTING_DOWN");
    assert_eq!(stopping.await.unwrap().0.code(), Some(0));
    app.stop().await;
}

/// A job that answers in a stream ends behind its chunk, and says that it may be asked for again.
#[tokio::test(flavor = "multi_thread")]
async fn a_promotion_ends_behind_its_chunk() {
    let app = App::start().await;
    let rows: Vec<String> = (0..5_000)
        .map(|n| row(&format!("p{n}@x.example")))
        .collect();
    let (mut lane, _) = app.lane(open("b", "apollo")).await.unwrap();
    lane.rows(0, &rows).await.unwrap();
    let service = service_on(&app).await;
    let sql = app.sql().await;
    sql.run("BEGIN; LOCK TABLE vault.contacts IN SHARE MODE")
        .await;
    let mut promotion = VaultServiceClient::new(channel(&service).await)
        .promote_contacts(PromoteContactsRequest::default())
        .await
        .unwrap()
        .into_inner();
    app.sql().await.until_somebody_waits().await;
    let health = channel(&service).await;
    let stopping = tokio::spawn(service.stop());
    until_no_calls(&health).await;
    sql.run("COMMIT").await;
    let end = loop {
        match promotion.message().await {
            Ok(progress) => assert!(progress.is_some(), "it ended as if all were done"),
            Err(status) => break status,
        }
    };
    let refusal = refusal::<()>(Err(end)).is(Code::Unavailable, "SHUTTING_DOWN");
    assert!(refusal.retry, "{refusal:?}");
    assert_eq!(stopping.await.unwrap().0.code(), Some(0));
    let (contacts, pending): (i64, i64) = (
        sql.one("SELECT count(*) FROM vault.contacts", &[]).await,
        sql.one(
            "SELECT count(*) FROM intake.raw_loads WHERE status = 'pending'",
            &[],
        )
        .await,
    );
    assert!(
        contacts > 0 && pending > 0,
        "{contacts} contacts, {pending} pending"
    );
    assert_eq!(contacts + pending, 5_000);
    app.stop().await;
}

/// A transaction that somebody else holds up would take the whole grace: the second signal does not wait.
#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_ends_at_once() {
    let app = App::start().await;
    let mut service = service_on(&app).await;
    let sql = app.sql().await;
    sql.run("BEGIN; LOCK TABLE intake.email_claims IN SHARE MODE")
        .await;
    let (mut lane, _) = Lane::open(service.intake().await, open("b", "apollo"))
        .await
        .unwrap();
    lane.send_rows(Some(0), &[row("a@x.example")]).await;
    app.sql().await.until_somebody_waits().await;
    let health = channel(&service).await;
    kill(service.pid(), Signal::SIGTERM).unwrap();
    until("the first signal to be heard", async || {
        let request = HealthCheckRequest::default();
        match HealthClient::new(health.clone()).check(request).await {
            Ok(response) => {
                (response.into_inner().status() == ServingStatus::NotServing).then_some(())
            }
            Err(_gone) => Some(()),
        }
    })
    .await;
    assert!(!service.has_ended(), "it did not wait for the chunk");
    let begun = Instant::now();
    let (status, log) = service.stop().await;
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(log.contains("a second signal"), "{log}");
    assert!(begun.elapsed() < GRACE / 3, "{:?}", begun.elapsed());
    sql.run("COMMIT").await;
    app.stop().await;
}

/// A PostgreSQL of its own that does not come to its end is not waited for either.
#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_ends_the_embedded_postgresql_at_once() {
    let workspace = Workspace::new();
    let service = Service::start(workspace.serve(free_port())).await;
    let postmaster = workspace.postmaster().unwrap();
    let sql = Sql::connect(service.database_url()).await;
    let stuck: i32 = sql.one("SELECT pg_backend_pid()", &[]).await;
    kill(Pid::from_raw(stuck), Signal::SIGSTOP).unwrap();
    let health = channel(&service).await;
    let begun = Instant::now();
    kill(service.pid(), Signal::SIGTERM).unwrap();
    until_no_calls(&health).await;
    let (status, log) = service.stop().await;
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(log.contains("PostgreSQL is ended at once"), "{log}");
    assert!(begun.elapsed() < GRACE, "{:?}", begun.elapsed());
    until_dead(postmaster).await;
}

/// What does not end is cut when the grace is over: nothing that was not acked is lost, for the client still has it.
#[tokio::test(flavor = "multi_thread")]
async fn what_outlives_the_grace_is_cut() {
    let app = App::start().await;
    let service = service_on(&app).await;
    let sql = app.sql().await;
    sql.run(
        "CREATE FUNCTION public.hesitate() RETURNS trigger LANGUAGE plpgsql AS
             'BEGIN PERFORM pg_sleep(50); RETURN NULL; END';
         CREATE TRIGGER hesitate AFTER INSERT ON intake.raw_loads EXECUTE FUNCTION public.hesitate()",
    )
    .await;
    let opened = Lane::open(service.intake().await, open("b", "apollo")).await;
    let (mut lane, _) = opened.unwrap();
    let rows = [row("a@x.example")];
    lane.send_rows(Some(0), &rows).await;
    let asleep =
        "FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep'";
    until("the chunk to take its time", async || {
        let count = format!("SELECT count(*) {asleep}");
        (sql.one::<i64>(&count, &[]).await == 1).then_some(())
    })
    .await;
    let begun = Instant::now();
    let (status, log) = service.stop().await;
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(log.contains("outlived the shutdown"), "{log}");
    let took = begun.elapsed();
    assert!(took >= GRACE && took < GRACE * 3 / 2, "{took:?}");
    let end = lane.receive().await.unwrap_err();
    assert!(
        matches!(end.code(), Code::Unavailable | Code::Unknown),
        "{end:?}"
    );
    sql.run(&format!("SELECT pg_terminate_backend(pid) {asleep}"))
        .await;
    sql.run("DROP TRIGGER hesitate ON intake.raw_loads").await;

    let (mut lane, _) = app.lane(open("b", "apollo")).await.unwrap();
    let ack = lane.rows(0, &rows).await.unwrap();
    assert_eq!(ack.accepted, 1);
    lane.finish(1).await.unwrap();
    app.stop().await;
}
