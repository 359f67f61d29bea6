//! Law 4, one winner. Of any number of concurrent arrivals of one email inside the duplicate window, exactly
//! one is accepted (under the policy MARK).

use leadvault::proto::intake::v1::{IngestRowsRequest, bulk_ingest_request::Open};
use tokio::sync::Barrier;

use super::Random;
use crate::harness::{App, evidence, open, rows::people};

const STREAMS: usize = 8;
const EMAILS: usize = 5_000;
const FRAME: usize = 500;

/// Sends each stream's rows at once, with two frames on their way; how many were accepted and duplicate.
async fn send_at_once(app: &App, opens: Vec<Open>, rows: &[Vec<String>]) -> (i64, i64) {
    let start = Barrier::new(opens.len());
    let streams = opens.into_iter().zip(rows).map(|(open, rows)| {
        let start = &start;
        async move {
            let (mut lane, _) = app.lane(open).await.unwrap();
            start.wait().await;
            let mut unacked = 0;
            for frame in rows.chunks(FRAME) {
                lane.send_rows(None, frame).await;
                unacked += 1;
                if unacked == 2 {
                    crate::harness::ack(lane.receive().await.unwrap());
                    unacked -= 1;
                }
            }
            crate::harness::ack(lane.receive().await.unwrap());
            let summary = lane.finish(rows.len() as i64).await.unwrap();
            summary.tally.unwrap()
        }
    });
    let tallies = futures_util::future::join_all(streams).await;
    assert!(tallies.iter().all(|tally| tally.received == EMAILS as i64));
    (
        tallies.iter().map(|tally| tally.accepted).sum(),
        tallies.iter().map(|tally| tally.duplicate).sum(),
    )
}

async fn assert_one_winner_each(app: &App) {
    let sql = app.sql().await;
    let emails: i64 = sql
        .one(
            "SELECT count(*) FROM (
                 SELECT FROM intake.raw_loads
                 GROUP BY raw_data ->> 'email'
                 HAVING count(*) FILTER (WHERE status = 'pending') = 1
                    AND count(*) FILTER (WHERE status = 'duplicate') = 7) AS emails",
            &[],
        )
        .await;
    assert_eq!(emails, EMAILS as i64);
    let claims: i64 = sql
        .one(
            "SELECT count(*) FROM intake.email_claims JOIN intake.raw_loads USING (load_id)
             WHERE status = 'pending' AND raw_data ->> 'email' = email",
            &[],
        )
        .await;
    assert_eq!(claims, EMAILS as i64);
    let deadlocks: i64 = sql
        .one(
            "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()",
            &[],
        )
        .await;
    assert_eq!(deadlocks, 0);
    evidence::assert_conserved(app).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn law_4_eight_streams_send_the_same_emails_at_once() {
    let app = App::start().await;
    let opens = (0..STREAMS)
        .map(|number| open(&format!("b{number}"), "apollo"))
        .collect();
    let rows = vec![people(0..EMAILS); STREAMS];
    let (accepted, duplicate) = send_at_once(&app, opens, &rows).await;
    assert_eq!((accepted, duplicate), (EMAILS as i64, 7 * EMAILS as i64));
    assert_one_winner_each(&app).await;
}

/// The order of the emails differs from lane to lane, which is what deadlocks are made of.
#[tokio::test(flavor = "multi_thread")]
async fn law_4_eight_lanes_of_one_batch_in_shuffled_orders() {
    let app = App::start().await;
    let lane_count = i32::try_from(STREAMS).unwrap();
    let opens = (0..lane_count)
        .map(|lane| Open {
            lane,
            lane_count,
            ..open("b", "apollo")
        })
        .collect();
    let mut random = Random(4);
    let rows: Vec<_> = (0..STREAMS)
        .map(|_| {
            let mut rows = people(0..EMAILS);
            random.shuffle(&mut rows);
            rows
        })
        .collect();
    let (accepted, duplicate) = send_at_once(&app, opens, &rows).await;
    assert_eq!((accepted, duplicate), (EMAILS as i64, 7 * EMAILS as i64));
    assert_one_winner_each(&app).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn law_4_concurrent_calls_have_one_winner_too() {
    let app = App::start().await;
    let call = |number: usize| {
        let mut rows = people(0..200);
        Random(number as u64).shuffle(&mut rows);
        let request = IngestRowsRequest {
            // Half of them meet on one lane, half have their own.
            batch_id: format!("b{}", number % 8),
            source: "manual".into(),
            json_rows: rows.into_iter().map(Into::into).collect(),
            ..Default::default()
        };
        evidence::ingest(&app, request)
    };
    let answers = futures_util::future::try_join_all((0..12).map(call))
        .await
        .unwrap();
    let accepted: i64 = answers
        .iter()
        .map(|answer| answer.tally.unwrap().accepted)
        .sum();
    let duplicate: i64 = answers
        .iter()
        .map(|answer| answer.tally.unwrap().duplicate)
        .sum();
    assert_eq!((accepted, duplicate), (200, 11 * 200));
    evidence::assert_conserved(&app).await;
}
