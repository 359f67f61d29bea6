//! Intelligence, the enrichment queue, and the sweep that connects them.

mod crowd;
mod ending;
mod failing;
mod fire;
mod intelligence;
mod leasing;
mod listing;
mod order;
mod overrunning;
mod queue;
mod refusals;
mod suppressed;
mod sweep;

use leadvault::proto::people::v1::{
    CompleteEnrichmentRequest, CompleteEnrichmentResponse, EnqueueEnrichmentRequest,
    EnrichmentEntry, FailEnrichmentRequest, FailEnrichmentResponse, GetEnrichmentStatsRequest,
    GetEnrichmentStatsResponse, LeaseEnrichmentRequest, ListEnrichmentRequest, Person,
    enqueue_enrichment_request::Entry, enqueue_enrichment_response::Outcome,
    lease_enrichment_response::Lease, people_service_client::PeopleServiceClient,
};
use tonic::{Response, Status, transport::Channel};

use crate::harness::{App, Sql};

async fn people(app: &App) -> PeopleServiceClient<Channel> {
    PeopleServiceClient::new(app.channel().await)
}

/// Makes a person with this email, and says its id.
async fn person(sql: &Sql, email: &str) -> String {
    sql.one(
        "INSERT INTO people.master (email) VALUES ($1) RETURNING id::text",
        &[&email],
    )
    .await
}

/// Makes people `p1@x.example` and so on, and says their ids.
async fn persons(sql: &Sql, count: i32) -> Vec<String> {
    let rows = sql
        .rows(
            "INSERT INTO people.master (email)
             SELECT format('p%s@x.example', n) FROM generate_series(1, $1::integer) AS n
             RETURNING id::text",
            &[&count],
        )
        .await;
    rows.iter().map(|row| row.get(0)).collect()
}

fn entries<S: AsRef<str>>(entries: impl IntoIterator<Item = (S, i32)>) -> EnqueueEnrichmentRequest {
    EnqueueEnrichmentRequest {
        entries: entries
            .into_iter()
            .map(|(person_id, priority)| Entry {
                person_id: person_id.as_ref().to_owned(),
                priority,
            })
            .collect(),
        request_id: String::new(),
    }
}

/// Enqueues, which must be taken; an outcome a letter: `e`nqueued, `r`aised, `a`lready, `n`ot found,
/// `s`uppressed, `d`ead.
async fn enqueue<S: AsRef<str>>(
    app: &App,
    people_of: impl IntoIterator<Item = (S, i32)>,
) -> String {
    let request = entries(people_of);
    let answer = people(app).await.enqueue_enrichment(request).await.unwrap();
    letters(&answer.into_inner().outcomes)
}

fn letters(outcomes: &[i32]) -> String {
    let letter = |outcome: &i32| match Outcome::try_from(*outcome).unwrap() {
        Outcome::Unspecified => '?',
        Outcome::Enqueued => 'e',
        Outcome::Raised => 'r',
        Outcome::AlreadyQueued => 'a',
        Outcome::NotFound => 'n',
        Outcome::Suppressed => 's',
        Outcome::Dead => 'd',
    };
    outcomes.iter().map(letter).collect()
}

/// Leases to `w` for a minute, which must work.
async fn lease(app: &App, max_count: i32) -> Vec<Lease> {
    let request = LeaseEnrichmentRequest {
        worker: "w".to_owned(),
        max_count,
        lease_ms: 60_000,
    };
    let answer = people(app).await.lease_enrichment(request).await.unwrap();
    answer.into_inner().leases
}

/// Leases one person, who must be there.
async fn lease_one(app: &App) -> (String, i64) {
    let mut leases = lease(app, 1).await;
    assert_eq!(leases.len(), 1, "nobody waits");
    let lease = leases.remove(0);
    (id(&lease), lease.lease_token)
}

fn id(lease: &Lease) -> String {
    lease.person.as_ref().unwrap().person_id.clone()
}

/// The emails of leases without their domain.
fn names(leases: &[Lease]) -> Vec<String> {
    let email = |lease: &Lease| lease.person.as_ref().unwrap().email.clone();
    leases
        .iter()
        .map(|lease| email(lease).replace("@x.example", ""))
        .collect()
}

/// A completion that found a title.
fn found(person_id: &str, lease_token: i64, title: &str) -> CompleteEnrichmentRequest {
    CompleteEnrichmentRequest {
        person_id: person_id.to_owned(),
        lease_token,
        person: Some(Person {
            title: title.to_owned(),
            ..Default::default()
        }),
        update_mask: Some(mask(&["title"])),
        ..Default::default()
    }
}

fn mask(paths: &[&str]) -> prost_types::FieldMask {
    prost_types::FieldMask {
        paths: paths.iter().map(|path| (*path).to_owned()).collect(),
    }
}

async fn complete(
    app: &App,
    request: CompleteEnrichmentRequest,
) -> Result<Response<CompleteEnrichmentResponse>, Status> {
    people(app).await.complete_enrichment(request).await
}

async fn fail(
    app: &App,
    person_id: &str,
    lease_token: i64,
    permanent: bool,
) -> Result<Response<FailEnrichmentResponse>, Status> {
    let request = FailEnrichmentRequest {
        person_id: person_id.to_owned(),
        lease_token,
        error: "the source was down".to_owned(),
        permanent,
    };
    people(app).await.fail_enrichment(request).await
}

/// The entry of a person.
async fn entry(app: &App, person_id: &str) -> EnrichmentEntry {
    let request = ListEnrichmentRequest {
        person_id: person_id.to_owned(),
        ..Default::default()
    };
    let answer = people(app).await.list_enrichment(request).await.unwrap();
    let mut entries = answer.into_inner().entries;
    assert_eq!(entries.len(), 1);
    entries.remove(0)
}

async fn stats(app: &App) -> GetEnrichmentStatsResponse {
    let request = GetEnrichmentStatsRequest {};
    let answer = people(app).await.get_enrichment_stats(request).await;
    answer.unwrap().into_inner()
}

/// Makes every lease overrun, and every wait for a next attempt over: times are moved, nobody waits.
async fn let_time_pass(sql: &Sql) {
    sql.run(
        "UPDATE ple.enrichment_queue
         SET available_at = now() - interval '1 second',
             lease_expires_at = CASE WHEN state = 'leased' THEN now() - interval '1 second' END",
    )
    .await;
}

/// Every row that the queue and intelligence touch, whole, with its version.
async fn contents(sql: &Sql) -> Vec<String> {
    let rows = sql
        .rows(
            "SELECT format('%s %s %s', t.xmin, t.ctid, t) FROM people.master AS t
             UNION ALL SELECT format('%s %s %s', t.xmin, t.ctid, t) FROM people.history AS t
             UNION ALL SELECT format('%s %s %s', t.xmin, t.ctid, t) FROM people.intelligence AS t
             UNION ALL SELECT format('%s %s %s', t.xmin, t.ctid, t) FROM ple.enrichment_queue AS t
             ORDER BY 1",
            &[],
        )
        .await;
    rows.iter().map(|row| row.get(0)).collect()
}

/// Suppresses an address on a channel, as its owner would.
async fn suppress(sql: &Sql, email: &str, scope: &str) {
    sql.rows(
        "SELECT * FROM vault.f_suppress(ARRAY[$1], ARRAY[$2], '{manual}', '{said so}', 'me')",
        &[&email, &scope],
    )
    .await;
}

async fn lift(sql: &Sql, email: &str) {
    sql.rows(
        "SELECT * FROM vault.f_unsuppress($1, 'all', 'changed their mind', 'me')",
        &[&email],
    )
    .await;
}
