//! Must-show: a network between service and database that stalls, cuts and trickles.

mod feed;

use std::time::{Duration, Instant};

use leadvault::proto::vault::v1::{
    BatchScoreContactsRequest, ContactKey, ExportContactsRequest, GetContactRequest,
    ListContactsRequest, PromoteContactsRequest, batch_score_contacts_request::Score,
    contact_key::Key,
};
use tonic::{Code, Request, Status, Streaming};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

use self::feed::Feed;
use super::{SLACK, within};
use crate::harness::{App, Network, Proxy, Sql, fresh_database, refusal, until};

/// The service's own, which it gives to calls whose clients give none: no clock but its own rings then.
const DEADLINE: Duration = Duration::from_secs(1);
const FLAGS: [&str; 3] = ["--pool-size=8", SHORT_WAIT, "--default-deadline=1"];
/// What is seen of the network is not hidden by long waits for the pool.
const SHORT_WAIT: &str = "--pool-timeout=0.5";
const POOL_SIZE: i64 = 8;
/// Of a URL that asks for a server that takes writes.
const READ_WRITE: &str = "?target_session_attrs=read-write";
/// Shared by point reads, beside the pool.
const POINT_READS: i64 = 2;

async fn get(app: &App) -> Result<(), Status> {
    let request = GetContactRequest {
        key: Some(ContactKey {
            key: Some(Key::ContactId(1)),
        }),
    };
    app.vault().await.get_contact(request).await.map(drop)
}

async fn list(app: &App) -> Result<(), Status> {
    let request = ListContactsRequest::default();
    app.vault().await.list_contacts(request).await.map(drop)
}

async fn score(app: &App) -> Result<(), Status> {
    let request = BatchScoreContactsRequest {
        scores: vec![Score {
            contact_id: 1,
            score: "7".into(),
            reason: String::new(),
        }],
        ..Default::default()
    };
    let mut client = app.vault().await;
    client.batch_score_contacts(request).await.map(drop)
}

/// A stream has a deadline only where its client gives one.
fn request<T>(deadline: Option<Duration>, message: T) -> Request<T> {
    match deadline {
        Some(deadline) => within(deadline, message),
        None => Request::new(message),
    }
}

async fn export(app: &App, deadline: Option<Duration>) -> Result<(), Status> {
    let request = request(deadline, ExportContactsRequest::default());
    let mut client = app.vault().await;
    to_its_end(client.export_contacts(request).await?.into_inner()).await
}

async fn promote(app: &App, deadline: Option<Duration>) -> Result<(), Status> {
    let request = request(deadline, PromoteContactsRequest::default());
    let mut client = app.vault().await;
    to_its_end(client.promote_contacts(request).await?.into_inner()).await
}

async fn to_its_end<T>(mut stream: Streaming<T>) -> Result<(), Status> {
    while stream.message().await?.is_some() {}
    Ok(())
}

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Succeeded,
    Refused,
    /// The client's own clock rang before its stream had begun: the machine is busy, and it tells nothing.
    Unheard,
}

/// Holds a call against its deadline.
async fn in_time(network: Network, call: impl Future<Output = Result<(), Status>>) -> End {
    let begun = Instant::now();
    let answer = call.await;
    let elapsed = begun.elapsed();
    // What its own clock has ended may be late; what else ends it is soon after the deadline.
    let is_own = matches!(&answer, Err(status) if status.code() == Code::DeadlineExceeded);
    let slack = if is_own {
        SLACK
    } else {
        Duration::from_secs(3)
    };
    assert!(elapsed < DEADLINE + slack, "{network:?}: {elapsed:?}");
    match answer {
        Ok(()) => End::Succeeded,
        Err(status) => {
            let codes = [Code::DeadlineExceeded, Code::Unavailable];
            assert!(codes.contains(&status.code()), "{network:?}: {status:?}");
            End::Refused
        }
    }
}

/// The same of a stream, whose client has a clock, too.
async fn stream_in_time(network: Network, call: impl Future<Output = Result<(), Status>>) -> End {
    let begun = Instant::now();
    let mut is_unheard = false;
    let heard = async {
        let answer = call.await;
        // The driver's words for its own clock.
        is_unheard = answer
            .as_ref()
            .is_err_and(|status| status.message() == "Timeout expired");
        if is_unheard { Ok(()) } else { answer }
    };
    let end = in_time(network, heard).await;
    if is_unheard {
        assert!(begun.elapsed() >= DEADLINE, "{network:?}: too early");
        return End::Unheard;
    }
    end
}

/// Ready or not, the port for operators says so within a second.
async fn ready(app: &App, network: Network) -> bool {
    let begun = Instant::now();
    let (status, why) = app.page("/readyz").await;
    assert!(begun.elapsed() < DEADLINE + SLACK, "{network:?}: {why}");
    assert!([200, 503].contains(&status), "{network:?}: {why}");
    assert_eq!(app.page("/healthz").await.0, 200, "{network:?}");
    status == 200
}

/// Each kind of call, twice; none is later than its deadline, and the service says so itself.
async fn all_end_in_time(app: &App, network: Network) {
    let mut ends = Vec::new();
    let mut was_ready = false;
    for _ in 0..2 {
        let (got, listed, scored, exported, promoted, is_ready) = tokio::join!(
            in_time(network, get(app)),
            in_time(network, list(app)),
            in_time(network, score(app)),
            stream_in_time(network, export(app, Some(DEADLINE))),
            stream_in_time(network, promote(app, Some(DEADLINE))),
            ready(app, network),
        );
        ends.extend([got, listed, scored, exported, promoted]);
        was_ready |= is_ready;
    }
    assert!(ends.contains(&End::Refused), "{network:?}: {ends:?}");
    let may_succeed = network == Network::Trickling;
    assert!(
        may_succeed || !(was_ready || ends.contains(&End::Succeeded)),
        "{network:?}: {ends:?}, ready: {was_ready}"
    );
}

/// Every kind of call succeeds again, and nothing is left of what was given up.
async fn heals(app: &App, sql: &Sql) {
    until("reads by key succeed", async || get(app).await.ok()).await;
    until("lists succeed", async || list(app).await.ok()).await;
    until("writes succeed", async || score(app).await.ok()).await;
    until("exports succeed", async || export(app, None).await.ok()).await;
    until("promotions succeed", async || promote(app, None).await.ok()).await;
    until("it is ready", async || {
        ready(app, Network::Well).await.then_some(())
    })
    .await;
    let mut health = HealthClient::new(app.channel().await);
    until("it is healthy", async || {
        let said = health.check(HealthCheckRequest::default()).await.unwrap();
        (said.into_inner().status() == ServingStatus::Serving).then_some(())
    })
    .await;
    let theirs = "SELECT count(*) FROM pg_stat_activity
                  WHERE datname = current_database() AND backend_type = 'client backend'
                    AND pid <> pg_backend_pid()";
    until("no connection is too many", async || {
        (sql.one::<i64>(theirs, &[]).await <= POOL_SIZE + POINT_READS).then_some(())
    })
    .await;
    let forgotten = format!(
        "{theirs} AND state LIKE 'idle in transaction%' AND state_change < clock_timestamp() - interval '1 s'"
    );
    until("no transaction stays open", async || {
        (sql.one::<i64>(&forgotten, &[]).await == 0).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_end_in_time_on_a_broken_network_and_it_heals() {
    end_in_time_and_heal("").await;
}

/// Each connection is looked at before it is used, which is one more chance to wait in vain.
#[tokio::test(flavor = "multi_thread")]
async fn calls_end_in_time_where_the_server_is_to_take_writes() {
    end_in_time_and_heal(READ_WRITE).await;
}

async fn end_in_time_and_heal(attributes: &str) {
    let url = fresh_database().await;
    let sql = Sql::connect(&url).await;
    sql.run("INSERT INTO vault.contacts (email, source) VALUES ('a@x.example', 'apollo')")
        .await;
    let proxy = Proxy::before(&url).await;
    let app = App::start_on(format!("{}{attributes}", proxy.url), &FLAGS).await;
    let feed = Feed::begin(&app).await;
    feed.goes_on().await;
    heals(&app, &sql).await;
    for network in [Network::Stalled, Network::Cut, Network::Trickling] {
        proxy.turn(network);
        Box::pin(all_end_in_time(&app, network)).await;
        proxy.turn(Network::Well);
        feed.goes_on().await;
        Box::pin(heals(&app, &sql)).await;
    }
    feed.finish(&sql).await;
    until("all that was acked to be promoted", async || {
        promote(&app, None).await.unwrap();
        let left = "SELECT count(*) FROM intake.raw_loads WHERE status = 'pending'";
        (sql.one::<i64>(left, &[]).await == 0).then_some(())
    })
    .await;
    app.stop().await;
}

/// The only connection of a pool says nothing any more: that is no pool that others keep busy, and it is not lent again.
#[tokio::test(flavor = "multi_thread")]
async fn a_silent_connection_is_no_busy_one_and_is_not_lent_again() {
    let url = fresh_database().await;
    let proxy = Proxy::before(&url).await;
    let url = format!("{}{READ_WRITE}", proxy.url);
    let app = App::start_on(url, &["--pool-size=1", SHORT_WAIT]).await;
    list(&app).await.unwrap();

    proxy.turn(Network::Forgetful);
    // The look at it is in vain, and the next one is a new one.
    list(&app).await.unwrap();

    proxy.turn(Network::Stalled);
    let refusal = refusal(list(&app).await).is(Code::Unavailable, "DATABASE_UNAVAILABLE");
    assert!(refusal.retry, "{refusal:?}");
    proxy.turn(Network::Well);
    until("lists succeed", async || list(&app).await.ok()).await;
    app.stop().await;
}
