//! How much a report reads.

use leadvault::proto::marketing::v1::{AttributionModel as Model, GetAttributionReportRequest};
use prost_types::Timestamp;

use super::{
    attribution::{by, report, share},
    journeys::{campaigns, hour, id, people, sql_hour},
};
use crate::harness::{App, refusal};

/// The report at the limit: 1,000 sales of somebody with 500 messages have 500,000 touches. Of these each sale
/// has 1 cent for each campaign, and 5 of them are left for the first.
#[tokio::test(flavor = "multi_thread")]
async fn law_12_a_report_reads_half_a_million_touches_and_says_how_to_ask_for_more() {
    let app = App::start_with(&["--default-deadline=600", "--statement-timeout=600"]).await;
    let sql = app.sql().await;
    let who = &people(&app, 2).await;
    campaigns(&app, 1..3).await;
    sql.run(&format!(
        "INSERT INTO marketing.outreach_history (person_id, campaign_id, channel, message_type, sent_at)
         SELECT '{seen}', CASE WHEN n <= 250 THEN '{first}' ELSE '{second}' END::uuid, 'email', 'initial', {sent}
         FROM generate_series(1, 500) AS n;
         INSERT INTO marketing.attribution (person_id, conversion_type, converted_at, value)
         SELECT '{seen}', 'sale', {sent} + n * interval '1 hour', 1.01 FROM generate_series(1, 1000) AS n;
         ANALYZE",
        seen = who[0],
        first = id(1),
        second = id(2),
        sent = sql_hour(0),
    ))
    .await;
    let all = by(Model::Linear);
    let full = report(&app, all.clone()).await;
    assert_eq!(share(&full.total), "1000 1000.000000000000 1010.00");
    let shares: Vec<String> = full
        .campaigns
        .iter()
        .map(|campaign| share(&campaign.share))
        .collect();
    assert_eq!(shares.len(), 2);
    assert!(
        shares
            .iter()
            .all(|share| share.starts_with("1000 500.000000000000 "))
    );

    // One more, without a touch.
    sql.run(&format!(
        "INSERT INTO marketing.attribution (person_id, conversion_type, converted_at, value)
         VALUES ('{}', 'sale', {}, 7)",
        who[1],
        sql_hour(1_001),
    ))
    .await;
    let mut client = app.marketing().await;
    let refused =
        refusal(client.get_attribution_report(all.clone()).await).blames("converted_before");
    assert!(refused.message.contains("500000"), "{refused:?}");
    let end = "2026-02-11T17:00:00.000000Z";
    assert!(
        refused.message.contains(&format!("end it at {end}")),
        "{refused:?}"
    );
    let end: Timestamp = end.parse().unwrap();
    assert_eq!(end, hour(1_001));
    let parts = [
        GetAttributionReportRequest {
            converted_before: Some(end),
            ..all.clone()
        },
        GetAttributionReportRequest {
            converted_from: Some(end),
            ..all.clone()
        },
    ];
    let [before, from] = parts.map(|part| report(&app, part));
    assert_eq!(before.await, full);
    assert_eq!(share(&from.await.total), "1 1.000000000000 7.00");

    // No end helps where one moment has too many.
    sql.run(&format!(
        "UPDATE marketing.attribution SET converted_at = {}",
        sql_hour(2)
    ))
    .await;
    let refused = refusal(client.get_attribution_report(all).await).blames("converted_before");
    assert!(refused.message.contains("leave that moment out"));
    app.stop().await;
}

/// Of 20,000 messages a report of 600 sales, 2 pages, reads those of the people who bought.
#[tokio::test(flavor = "multi_thread")]
async fn a_report_reads_no_messages_but_those_of_who_converted() {
    let app = App::start().await;
    let sql = app.sql().await;
    sql.run(&format!(
        "INSERT INTO people.master (email) SELECT 'c' || n || '@crowd.example' FROM generate_series(1, 2000) AS n;
         INSERT INTO marketing.outreach_history (person_id, channel, message_type, sent_at)
         SELECT id, 'email', 'initial', {sent} FROM people.master, generate_series(1, 10);
         INSERT INTO marketing.attribution (person_id, conversion_type, converted_at)
         SELECT id, 'sale', {sent} + interval '1 day' FROM people.master ORDER BY id LIMIT 600;
         ANALYZE;
         SELECT pg_stat_reset()",
        sent = sql_hour(0),
    ))
    .await;
    let all = report(&app, by(Model::Linear)).await;
    assert_eq!(share(&all.total), "600 600.000000000000 0.00");
    app.stop().await;
    sql.until_alone().await;
    let read = "SELECT seq_tup_read + idx_tup_fetch FROM pg_stat_user_tables
                WHERE relid = 'marketing.outreach_history'::regclass";
    let read: i64 = sql.one(read, &[]).await;
    assert!(read <= 6_000, "{read} messages were read for 6,000 touches");
}
