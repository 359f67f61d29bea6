//! The queue under fire: two hundred workers, leases that are overrun, workers that die.

use std::{
    collections::HashSet,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use leadvault::proto::people::v1::{
    GetEnrichmentStatsRequest, LeaseEnrichmentRequest, lease_enrichment_response::Lease,
    people_service_client::PeopleServiceClient,
};
use tonic::{Code, transport::Channel};

use super::{enqueue, found, id, order, persons};
use crate::harness::{App, refused};

const WORKERS: usize = 200;
const PEOPLE: i32 = 300;
/// A lease that is overrun, by a worker that dies or takes longer.
const SHORT_LEASE_MS: i64 = 50;
/// A lease that is in time on the busiest machine.
const LONG_LEASE_MS: i64 = 600_000;

/// What the workers saw.
#[derive(Default)]
struct Journal {
    /// Each lease: a person and its token.
    leases: Mutex<Vec<(String, i64)>>,
    /// Each completion that was taken.
    completions: Mutex<Vec<(String, i64)>>,
    /// Completions that were refused for their token.
    lost: AtomicUsize,
    /// Leases whose worker died.
    abandoned: AtomicUsize,
}

/// What a worker makes of its leases.
#[derive(Clone, Copy, PartialEq)]
enum Fate {
    InTime,
    /// Its work takes longer than its leases.
    Late,
    /// It ends with its leases, and another one takes its place.
    Dead,
}

impl Fate {
    /// That of one who asks for the so-manieth time, counted from a different number by each worker.
    const fn of(round: usize) -> Self {
        match round {
            round if round % 7 == 3 => Self::Dead,
            round if round % 4 == 1 => Self::Late,
            _ => Self::InTime,
        }
    }

    const fn lease_ms(self) -> i64 {
        match self {
            Self::InTime => LONG_LEASE_MS,
            Self::Late | Self::Dead => SHORT_LEASE_MS,
        }
    }
}

/// One that works until nobody is left.
async fn work(journal: &Journal, channel: Channel, nth: usize) {
    let mut client = PeopleServiceClient::new(channel);
    for round in nth.. {
        let fate = Fate::of(round);
        let request = LeaseEnrichmentRequest {
            worker: format!("worker {nth}"),
            max_count: 1 + i32::try_from(round % 3).unwrap(),
            lease_ms: fate.lease_ms(),
        };
        let answer = client.lease_enrichment(request).await.unwrap();
        let leases = answer.into_inner().leases;
        if leases.is_empty() {
            let stats = client.get_enrichment_stats(GetEnrichmentStatsRequest {});
            if stats.await.unwrap().into_inner().completed == i64::from(PEOPLE) {
                return;
            }
            // Whoever asks without a pause holds up those who have something to complete.
            tokio::time::sleep(Duration::from_millis(200)).await;
            continue;
        }
        let held = leases.iter().map(|lease| (id(lease), lease.lease_token));
        journal.leases.lock().unwrap().extend(held);
        if fate == Fate::Dead {
            journal.abandoned.fetch_add(leases.len(), Ordering::Relaxed);
            continue;
        }
        if fate == Fate::Late {
            tokio::time::sleep(Duration::from_millis(60)).await;
        }
        for lease in leases {
            end(&mut client, journal, lease, fate).await;
        }
    }
}

/// Completes a lease; whoever lost it must be told so, and nobody loses it who is in time.
async fn end(
    client: &mut PeopleServiceClient<Channel>,
    journal: &Journal,
    lease: Lease,
    fate: Fate,
) {
    let (person_id, token) = (id(&lease), lease.lease_token);
    let request = found(&person_id, token, &format!("by token {token}"));
    match client.complete_enrichment(request).await {
        Ok(_) => {
            let mut completions = journal.completions.lock().unwrap();
            completions.push((person_id, token));
        }
        late => {
            refused(late).is(Code::Aborted, "LEASE_LOST");
            assert!(fate == Fate::Late, "{person_id} was taken from its holder");
            journal.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_workers_complete_every_person_exactly_once() {
    // On a busy machine a worker waits long for its turn, and overruns short leases many times: nobody may end dead.
    let app = App::start_with(&["--enrichment-max-overruns=1000000"]).await;
    let sql = app.sql().await;
    let ids = persons(&sql, PEOPLE).await;
    // In several calls, so that equals waited for different times.
    for (nth, ids) in ids.chunks(50).enumerate() {
        let priority = i32::try_from(nth % 5).unwrap();
        enqueue(&app, ids.iter().map(|id| (id, priority))).await;
    }
    order::watch(&sql).await;
    let journal = Journal::default();
    let channel = app.channel().await;
    let workers = (0..WORKERS).map(|nth| work(&journal, channel.clone(), nth));
    futures_util::future::join_all(workers).await;

    // Exactly once: as the workers saw it, as the table has it, as PostgreSQL wrote it down.
    let completions = journal.completions.into_inner().unwrap();
    assert_eq!(completions.len(), ids.len());
    let people: HashSet<&String> = completions.iter().map(|(id, _)| id).collect();
    assert_eq!(people.len(), ids.len());
    let endings: i64 = sql.one("SELECT count(*) FROM ple.endings", &[]).await;
    assert_eq!(endings, i64::from(PEOPLE));
    // No two workers ever had the same lease.
    let leases = journal.leases.into_inner().unwrap();
    let distinct: HashSet<&(String, i64)> = leases.iter().collect();
    assert_eq!(distinct.len(), leases.len());
    // Each by the token that was the newest: nothing was leased after it.
    for (person_id, token) in &completions {
        let fits: bool = sql
            .one(
                "SELECT q.state = 'completed' AND q.lease_token = $2 AND q.attempts = $2
                        AND p.title = format('by token %s', $2)
                 FROM ple.enrichment_queue AS q JOIN people.master AS p ON p.id = q.person_id
                 WHERE q.person_id = $1::text::uuid",
                &[person_id, token],
            )
            .await;
        assert!(fits, "{person_id} was completed by {token}");
    }
    // One enrichment, one row of history beside that of the person's making.
    let history: i64 = sql.one("SELECT count(*) FROM people.history", &[]).await;
    assert_eq!(history, 2 * i64::from(PEOPLE));
    assert_eq!(order::passed_over(&sql).await, 0);
    let deadlocks = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()";
    assert_eq!(sql.one::<i64>(deadlocks, &[]).await, 0);

    // All of it happened: leases were overrun, their late workers refused, others died.
    let (lost, abandoned) = (journal.lost.into_inner(), journal.abandoned.into_inner());
    assert!(
        lost > 0 && abandoned > 0,
        "{lost} lost, {abandoned} abandoned"
    );
    assert_eq!(leases.len(), completions.len() + lost + abandoned);
    app.stop().await;
}
