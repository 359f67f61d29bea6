//! Health follows the database, and short calls get over its restart.

use std::time::{Duration, Instant};

use leadvault::{
    db::{DatabaseUrl, migrate},
    proto::{
        intake::v1::{
            GetBatchRequest, IngestRowsRequest, ListRawLoadsRequest,
            intake_service_client::IntakeServiceClient,
        },
        vault::v1::{ContactKey, GetContactRequest, contact_key::Key},
    },
};
use tonic::{Code, Request, Response, Status, transport::Channel};
use tonic_health::pb::health_check_response::ServingStatus;

use super::{health, until_health};
use crate::harness::{App, Postgres, Service, Sql, Workspace, leadvault, refusal, row, until};

async fn app_on(postgres: &Postgres) -> App {
    app_with(postgres, &[]).await
}

async fn app_with(postgres: &Postgres, flags: &[&str]) -> App {
    postgres.start();
    let admin = Sql::connect(&postgres.url("postgres")).await;
    admin.run("CREATE DATABASE leads").await;
    let url = format!("{}?sslmode=disable", postgres.url("leads"));
    migrate::up(&DatabaseUrl::parse(&url).unwrap())
        .await
        .unwrap();
    // What is seen of the database is not hidden by long waits for the pool.
    App::start_on(url, &[&["--pool-timeout=0.5"], flags].concat()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn health_follows_the_database() {
    let workspace = Workspace::new();
    let postgres = Postgres::create(&workspace, "postgres");
    let app = app_on(&postgres).await;
    let channel = app.channel().await;
    assert_eq!(health(&channel).await, ServingStatus::Serving);

    postgres.stop("fast");
    until_health(&channel, ServingStatus::NotServing).await;
    let request = GetContactRequest {
        key: Some(ContactKey {
            key: Some(Key::ContactId(1)),
        }),
    };
    let refusal = refusal(app.vault().await.get_contact(request).await)
        .is(Code::Unavailable, "DATABASE_UNAVAILABLE");
    assert!(refusal.retry, "{refusal:?}");
    postgres.start();
    until_health(&channel, ServingStatus::Serving).await;

    postgres.set("default_transaction_read_only = on");
    postgres.reload();
    until_health(&channel, ServingStatus::NotServing).await;
    for (path, shown) in [
        ("/status", ">read only<"),
        ("/metrics", "leadvault_database_up 1\n"),
        ("/metrics", "leadvault_database_takes_writes 0\n"),
    ] {
        until(shown, async || {
            let (_, page) = app.page(path).await;
            page.contains(shown).then_some(())
        })
        .await;
    }
    postgres.set("default_transaction_read_only = off");
    postgres.reload();
    until_health(&channel, ServingStatus::Serving).await;
    app.stop().await;
}

/// How long a call waits for a connection that is still to be made.
const WAIT: Duration = Duration::from_secs(5);

/// Lists with the patience of a caller that is in a hurry.
async fn list(app: &App, patience: Duration) -> Result<(), Status> {
    let mut request = Request::new(ListRawLoadsRequest::default());
    request.set_timeout(patience);
    let answer = app.intake().await.list_raw_loads(request).await;
    answer.map(drop)
}

/// However long the database was away, a pool that callers wait for is there as soon as health says that it is back.
#[tokio::test(flavor = "multi_thread")]
async fn the_pool_is_back_with_the_health() {
    /// Long enough for pauses between attempts that double to be longer than anybody waits.
    const OUTAGE: Duration = Duration::from_secs(14);
    let workspace = Workspace::new();
    let postgres = Postgres::create(&workspace, "postgres");
    let app = app_with(&postgres, &["--pool-size=1"]).await;
    let channel = app.channel().await;
    list(&app, OUTAGE).await.unwrap();

    postgres.stop("fast");
    let begun = Instant::now();
    while begun.elapsed() < OUTAGE {
        list(&app, Duration::from_millis(500)).await.unwrap_err();
    }
    until_health(&channel, ServingStatus::NotServing).await;
    postgres.start();
    until_health(&channel, ServingStatus::Serving).await;
    list(&app, Duration::from_millis(4_500)).await.unwrap();
    app.stop().await;
}

/// How long calls queue for a busy pool is not how long they wait for a database that is away.
#[tokio::test(flavor = "multi_thread")]
async fn a_long_pool_timeout_is_no_wait_for_the_database() {
    let workspace = Workspace::new();
    let postgres = Postgres::create(&workspace, "postgres");
    postgres.start();
    let url = format!("{}?sslmode=disable", postgres.url("postgres"));
    let serve = ["serve", "--listen", "127.0.0.1:0", "--pool-timeout=80"];
    let mut command = leadvault(&[&serve[..], &["--default-deadline=80"]].concat());
    command.env("DATABASE_URL", url);
    let service = Service::start(command).await;
    let mut client = service.intake().await;
    let all = ListRawLoadsRequest::default();
    client.list_raw_loads(all.clone()).await.unwrap();

    postgres.stop("fast");
    let begun = Instant::now();
    refusal(client.list_raw_loads(all).await).is(Code::Unavailable, "DATABASE_UNAVAILABLE");
    assert!(begun.elapsed() < WAIT * 8, "{:?}", begun.elapsed());
    service.stop().await;
}

/// Many callers read, and append with a request id, while PostgreSQL restarts thrice: none of them hears of it,
/// unless it takes too long for their patience, and each row is there once.
#[tokio::test(flavor = "multi_thread")]
async fn law_2_restarts_under_short_calls_are_not_noticed() {
    const CALLERS: usize = 4;
    let workspace = Workspace::new();
    let postgres = Postgres::create(&workspace, "postgres");
    let app = app_on(&postgres).await;
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let mut callers = Vec::new();
    for caller in 0..CALLERS {
        let client = app.intake().await;
        callers.push(tokio::spawn(write_and_read(
            client,
            caller,
            stopped.clone(),
        )));
    }
    let mut slowest = Duration::ZERO;
    for _ in 0..3 {
        let sql = Sql::connect(&postgres.url("leads")).await;
        let before: i64 = count(&sql).await;
        until("calls to be made", async || {
            (count(&sql).await > before + 20).then_some(())
        })
        .await;
        let begun = Instant::now();
        postgres.stop("immediate");
        postgres.start();
        slowest = slowest.max(begun.elapsed());
    }
    stop.send(true).unwrap();
    let (mut appended, mut noticed) = (0, 0);
    for caller in callers {
        let (rows, unavailable) = caller.await.unwrap();
        appended += rows;
        noticed += unavailable;
    }
    assert!(
        noticed == 0 || slowest > WAIT / 2,
        "{noticed} noticed a restart of {slowest:?}"
    );
    let sql = Sql::connect(&postgres.url("leads")).await;
    assert_eq!(count(&sql).await, appended);
    app.stop().await;
}

async fn count(sql: &Sql) -> i64 {
    sql.one("SELECT count(*) FROM intake.raw_loads", &[]).await
}

/// The answer to a call that is made again where it is told UNAVAILABLE; counts how often.
async fn answered<T, Answering>(noticed: &mut u32, mut call: impl FnMut() -> Answering) -> T
where
    Answering: Future<Output = Result<Response<T>, Status>>,
{
    loop {
        match call().await {
            Err(status) if status.code() == Code::Unavailable => *noticed += 1,
            answer => return answer.unwrap().into_inner(),
        }
    }
}

/// How many rows a caller appended until it was told to stop, and how often it noticed a restart.
async fn write_and_read(
    client: IntakeServiceClient<Channel>,
    caller: usize,
    stopped: tokio::sync::watch::Receiver<bool>,
) -> (i64, u32) {
    let batch_id = format!("b{caller}");
    let mut noticed = 0;
    for number in 0.. {
        if *stopped.borrow() {
            return (number, noticed);
        }
        let request = IngestRowsRequest {
            batch_id: batch_id.clone(),
            source: "apollo".to_owned(),
            json_rows: vec![
                row(&format!("p{number}@c{caller}.example"))
                    .into_bytes()
                    .into(),
            ],
            request_id: format!("00000000-0000-4000-8000-{caller:04}{number:08}"),
            ..Default::default()
        };
        let ingested = answered(&mut noticed, || {
            let (mut client, request) = (client.clone(), request.clone());
            async move { client.ingest_rows(request).await }
        });
        assert_eq!(ingested.await.outcomes.len(), 1);
        answered(&mut noticed, || {
            let (mut client, batch_id) = (client.clone(), batch_id.clone());
            async move { client.get_batch(GetBatchRequest { batch_id }).await }
        })
        .await;
        answered(&mut noticed, || {
            let mut client = client.clone();
            async move { client.list_raw_loads(ListRawLoadsRequest::default()).await }
        })
        .await;
    }
    unreachable!()
}
