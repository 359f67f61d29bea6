//! How fast does the gate record messages of one campaign, with one caller and with a hundred?
//!
//! In one run, in turn, over one private PostgreSQL with its durability on and a real `leadvault serve`: 1, 8 and
//! 100 callers call `RecordOutreach` with one message a call, all into the same campaign, each call with an id
//! and a person of its own. Each caller waits for its answer and calls again; all share one HTTP/2 connection, as
//! the callers in one process do. The yardstick is the rate of one caller: a campaign's counter is one row, and a
//! hundred callers must reach at least 0.8 of that rate together, and not queue at the row.
//!
//! At last a hundred callers retry: each id is sent four times, twice by each of two callers at the same time, and
//! counts once.
//!
//! After each round, and after the retries, the counter is held against the rows.
//!
//! `cargo bench --bench outreach`; rounds and seconds can be given: `cargo bench --bench outreach -- 3 5`.

#![allow(
    clippy::expect_used,
    missing_docs,
    unreachable_pub,
    dead_code,
    reason = "a bench that cannot go on has failed; the benches share more than each uses"
)]

mod support;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use leadvault::proto::marketing::v1::{
    CampaignType, CreateCampaignRequest, MessageType, OutreachChannel, RecordOutreachRequest,
    StartCampaignRequest, marketing_service_client::MarketingServiceClient,
    record_outreach_request::Item, record_outreach_response::outcome::Result as Verdict,
};
use support::{Cluster, connect, serve};
use tonic::transport::{Channel, Endpoint};
use uuid::Uuid;

const CALLERS: [usize; 3] = [1, 8, 100];

/// How many callers retry at last, two to an id, and how many ids each of them sends.
const RETRIERS: usize = 100;
const IDS_EACH: usize = 200;

const PEOPLE: &str = "
    WITH contacts AS (
        INSERT INTO vault.contacts (email, source)
        SELECT 'lead' || n || '@company.example', 'bench' FROM generate_series(1, 20000) AS n
    )
    INSERT INTO people.master (email)
    SELECT 'lead' || n || '@company.example' FROM generate_series(1, 20000) AS n";

/// What some callers did.
#[derive(Clone, Debug)]
struct Figures {
    rows_a_second: f64,
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

    let mut cluster = Cluster::start("bench-outreach").await;
    let url = cluster.fresh_database().await;
    let admin = connect(&url).await;
    admin.batch_execute(PEOPLE).await.expect("people");
    admin
        .batch_execute("VACUUM ANALYZE")
        .await
        .expect("statistics");
    let people = admin
        .query("SELECT id::text FROM people.master", &[])
        .await
        .expect("their ids");
    let people: Arc<Vec<String>> = Arc::new(people.iter().map(|row| row.get(0)).collect());
    let (mut server, address) = serve(&url);
    let channel = Endpoint::from_shared(address)
        .expect("an address")
        .tcp_nodelay(true)
        .connect()
        .await
        .expect("a connection");
    let campaign_id = campaign(channel.clone()).await;

    let mut figures: [Vec<Figures>; CALLERS.len()] = Default::default();
    for _ in 0..rounds {
        for (callers, figures) in CALLERS.iter().zip(&mut figures) {
            figures.push(round(&channel, *callers, &people, &campaign_id, seconds).await);
            check_counter(&admin).await;
        }
    }
    let before = check_counter(&admin).await;
    let retries = retry(&channel, &people, &campaign_id).await;
    let counted = check_counter(&admin).await - before;
    assert_eq!(counted, retries.ids as i64, "an id counts once");
    report(&figures);
    println!(
        "\n{} calls for {} ids by {RETRIERS} callers: {:.0} calls a second; the counter grew by {counted}",
        retries.calls, retries.ids, retries.calls_a_second
    );
    server.kill().expect("the server can be stopped");
    server.wait().expect("the server ends");
    cluster.remove().await;
}

/// The campaign's counter, which must be the number of its rows.
async fn check_counter(admin: &tokio_postgres::Client) -> i64 {
    let row = admin
        .query_one(
            "SELECT c.sent_count::bigint, (SELECT count(*) FROM marketing.outreach_history)
             FROM marketing.campaigns AS c",
            &[],
        )
        .await
        .expect("the counter and the rows");
    let (counter, rows): (i64, i64) = (row.get(0), row.get(1));
    assert_eq!(counter, rows, "the counter is not the rows");
    counter
}

/// A campaign that sends.
async fn campaign(channel: Channel) -> String {
    let mut client = MarketingServiceClient::new(channel);
    let request = CreateCampaignRequest {
        name: "Bench".to_owned(),
        r#type: CampaignType::ColdOutreach.into(),
        ..Default::default()
    };
    let made = client.create_campaign(request).await.expect("a campaign");
    let campaign_id = made.into_inner().campaign.expect("it").campaign_id;
    let request = StartCampaignRequest {
        campaign_id: campaign_id.clone(),
    };
    client.start_campaign(request).await.expect("it starts");
    campaign_id
}

async fn round(
    channel: &Channel,
    callers: usize,
    people: &Arc<Vec<String>>,
    campaign_id: &str,
    seconds: Duration,
) -> Figures {
    let started = Instant::now();
    let until = started + seconds;
    let calling: Vec<_> = (0..callers)
        .map(|caller| {
            let people = Arc::clone(people);
            let campaign_id = campaign_id.to_owned();
            tokio::spawn(call(channel.clone(), caller, people, campaign_id, until))
        })
        .collect();
    let mut micros = Vec::new();
    for caller in calling {
        micros.extend(caller.await.expect("a caller"));
    }
    let elapsed = started.elapsed();
    micros.sort_unstable();
    let at = |percent: usize| Duration::from_micros(micros[(micros.len() - 1) * percent / 100]);
    Figures {
        rows_a_second: micros.len() as f64 / elapsed.as_secs_f64(),
        p50: at(50),
        p99: at(99),
    }
}

/// One caller: records until it is time, each time to another person.
async fn call(
    channel: Channel,
    caller: usize,
    people: Arc<Vec<String>>,
    campaign_id: String,
    until: Instant,
) -> Vec<u64> {
    let mut client = MarketingServiceClient::new(channel);
    let mut micros = Vec::new();
    for person in people.iter().cycle().skip(caller * 197) {
        if Instant::now() >= until {
            break;
        }
        let started = Instant::now();
        send(&mut client, Uuid::new_v4(), person, campaign_id.clone()).await;
        micros.push(started.elapsed().as_micros() as u64);
    }
    micros
}

/// Records one message, which must be; whether it was before.
async fn send(
    client: &mut MarketingServiceClient<Channel>,
    id: Uuid,
    person: &str,
    campaign_id: String,
) -> bool {
    let item = Item {
        outreach_id: id.to_string(),
        person_id: person.to_owned(),
        campaign_id,
        channel: OutreachChannel::Email.into(),
        message_type: MessageType::Initial.into(),
    };
    let request = RecordOutreachRequest {
        items: vec![item],
        ..Default::default()
    };
    let response = client.record_outreach(request).await.expect("an answer");
    let outcome = response.into_inner().outcomes.remove(0);
    assert_eq!(outcome.result(), Verdict::Recorded);
    outcome.replayed
}

/// What callers who retry did.
struct Retries {
    calls: usize,
    ids: usize,
    calls_a_second: f64,
}

/// Pairs of callers send the same messages at the same time, and each of them twice in a row.
async fn retry(channel: &Channel, people: &Arc<Vec<String>>, campaign_id: &str) -> Retries {
    let started = Instant::now();
    let calling: Vec<_> = (0..RETRIERS)
        .map(|caller| {
            let mut client = MarketingServiceClient::new(channel.clone());
            let (people, campaign_id) = (Arc::clone(people), campaign_id.to_owned());
            tokio::spawn(async move {
                let mut new = 0;
                for nth in 0..IDS_EACH {
                    let number = caller / 2 * IDS_EACH + nth;
                    let id = Uuid::from_u128(number as u128);
                    let person = &people[number % people.len()];
                    for _ in 0..2 {
                        let replayed = send(&mut client, id, person, campaign_id.clone()).await;
                        new += usize::from(!replayed);
                    }
                }
                new
            })
        })
        .collect();
    let mut new = 0;
    for caller in calling {
        new += caller.await.expect("a caller");
    }
    let (calls, ids) = (RETRIERS * IDS_EACH * 2, RETRIERS / 2 * IDS_EACH);
    assert_eq!(new, ids, "an id is new once");
    Retries {
        calls,
        ids,
        calls_a_second: calls as f64 / started.elapsed().as_secs_f64(),
    }
}

fn report(figures: &[Vec<Figures>; CALLERS.len()]) {
    let median = |figures: &[Figures]| {
        let mut figures = figures.to_vec();
        figures.sort_by(|a, b| a.rows_a_second.total_cmp(&b.rows_a_second));
        figures[figures.len() / 2].clone()
    };
    let yardstick = median(&figures[0]).rows_a_second;
    println!(
        "\n| callers | rows a second (median) | of one caller | p50 | p99 | rounds |\n|---|---|---|---|---|---|"
    );
    for (callers, figures) in CALLERS.iter().zip(figures) {
        let Figures {
            rows_a_second,
            p50,
            p99,
        } = median(figures);
        let rounds: Vec<String> = figures
            .iter()
            .map(|round| format!("{:.0}", round.rows_a_second))
            .collect();
        println!(
            "| {callers} | {rows_a_second:.0} | {:.2} | {p50:.1?} | {p99:.1?} | {} |",
            rows_a_second / yardstick,
            rounds.join(", ")
        );
    }
}
