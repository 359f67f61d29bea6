//! Must-show: a network between service and database that stalls, cuts and trickles.

use std::time::{Duration, Instant};

use leadvault::proto::vault::v1::{
    BatchScoreContactsRequest, ContactKey, GetContactRequest, ListContactsRequest,
    batch_score_contacts_request::Score, contact_key::Key,
};
use tonic::{Code, Status};

use super::{SLACK, within};
use crate::harness::{App, Network, Proxy, Sql, fresh_database, until};

const DEADLINE: Duration = Duration::from_secs(1);
const POOL_SIZE: i64 = 4;
/// Shared by point reads, beside the pool.
const POINT_READS: i64 = 2;

async fn get(app: &App) -> Result<(), Status> {
    let request = GetContactRequest {
        key: Some(ContactKey {
            key: Some(Key::ContactId(1)),
        }),
    };
    let mut client = app.vault().await;
    let got = client.get_contact(within(DEADLINE, request)).await;
    got.map(drop)
}

async fn list(app: &App) -> Result<(), Status> {
    let request = within(DEADLINE, ListContactsRequest::default());
    let mut client = app.vault().await;
    let listed = client.list_contacts(request).await;
    listed.map(drop)
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
    let scored = client.batch_score_contacts(within(DEADLINE, request)).await;
    scored.map(drop)
}

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Succeeded,
    Refused,
    /// The client's own clock rang before the answer was there: the machine is busy, and it tells nothing.
    Unheard,
}

/// Holds a call against its deadline.
async fn in_time(network: Network, call: impl Future<Output = Result<(), Status>>) -> End {
    let begun = Instant::now();
    let answer = call.await;
    let elapsed = begun.elapsed();
    assert!(elapsed < DEADLINE + SLACK, "{network:?}: {elapsed:?}");
    match answer {
        Ok(()) => End::Succeeded,
        Err(status) if status.message() == "Timeout expired" => End::Unheard,
        Err(status) => {
            let codes = [Code::DeadlineExceeded, Code::Unavailable];
            assert!(codes.contains(&status.code()), "{network:?}: {status:?}");
            End::Refused
        }
    }
}

/// Each kind of call, a few times; none is later than its deadline, and the service says so itself.
async fn all_end_in_time(app: &App, network: Network) {
    let mut ends = Vec::new();
    for _ in 0..3 {
        let (got, listed, scored) = tokio::join!(
            in_time(network, get(app)),
            in_time(network, list(app)),
            in_time(network, score(app)),
        );
        ends.extend([got, listed, scored]);
    }
    assert!(ends.contains(&End::Refused), "{network:?}: {ends:?}");
    let may_succeed = network == Network::Trickling;
    assert!(
        may_succeed || !ends.contains(&End::Succeeded),
        "{network:?}: {ends:?}"
    );
}

/// Every kind of call succeeds again, and nothing is left of what was given up.
async fn heals(app: &App, sql: &Sql) {
    until("reads by key succeed", async || get(app).await.ok()).await;
    until("lists succeed", async || list(app).await.ok()).await;
    until("writes succeed", async || score(app).await.ok()).await;
    let theirs = "SELECT count(*) FROM pg_stat_activity
                  WHERE datname = current_database() AND backend_type = 'client backend'
                    AND pid <> pg_backend_pid()";
    until("no connection is too many", async || {
        (sql.one::<i64>(theirs, &[]).await <= POOL_SIZE + POINT_READS).then_some(())
    })
    .await;
    let open = format!("{theirs} AND state LIKE 'idle in transaction%'");
    until("no transaction stays open", async || {
        (sql.one::<i64>(&open, &[]).await == 0).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_end_in_time_on_a_broken_network_and_it_heals() {
    let url = fresh_database().await;
    let sql = Sql::connect(&url).await;
    sql.run("INSERT INTO vault.contacts (email, source) VALUES ('a@x.example', 'apollo')")
        .await;
    let proxy = Proxy::before(&url).await;
    let app = App::start_on(proxy.url.clone(), &["--pool-size=4"]).await;
    heals(&app, &sql).await;
    for network in [Network::Stalled, Network::Cut, Network::Trickling] {
        proxy.turn(network);
        Box::pin(all_end_in_time(&app, network)).await;
        proxy.turn(Network::Well);
        heals(&app, &sql).await;
    }
    app.stop().await;
}
