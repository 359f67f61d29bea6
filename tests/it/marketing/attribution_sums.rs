//! What is attributed and what is not sums to the total, over many pages and in one snapshot.

use leadvault::proto::marketing::v1::{AttributionModel as Model, GetAttributionReportRequest};
use prost_types::{Duration, Timestamp};
use tonic::Code;

use super::{
    attribution::{by, report, share, three_journeys},
    journeys::{campaigns, convert, hour, id, people, sale, sql_hour},
};
use crate::harness::{App, assert_field, refused, until};

const MODELS: [Model; 5] = [
    Model::FirstTouch,
    Model::LastTouch,
    Model::Linear,
    Model::PositionBased,
    Model::TimeDecay,
];

/// 30 people, 8 campaigns, 600 messages and 1,300 conversions that share few moments, so that pages end between
/// those of one; some messages bounced, some were opened, some belong to no campaign, some sales have no value.
const CROWD: &str = "
    SELECT setseed(0.5);
    INSERT INTO people.master (email) SELECT 'c' || n || '@crowd.example' FROM generate_series(1, 30) AS n;
    INSERT INTO marketing.campaigns (name, type)
    SELECT 'crowd ' || n, 'nurture' FROM generate_series(1, 8) AS n;
    INSERT INTO marketing.outreach_history
        (person_id, campaign_id, channel, message_type, sent_at, opened_at, status)
    SELECT p.ids[1 + floor(random() * 30)::int], c.ids[1 + floor(random() * 10)::int], 'email', 'initial', m.sent_at,
           CASE WHEN random() < 0.3 THEN m.sent_at + interval '1 hour' * (random() * 300) END,
           CASE WHEN random() < 0.3 THEN 'bounced' ELSE 'sent' END
    FROM (SELECT array_agg(id) AS ids FROM people.master) AS p,
         (SELECT array_agg(campaign_id) AS ids FROM marketing.campaigns) AS c,
         LATERAL (SELECT timestamptz '2026-01-01' + interval '1 hour' * floor(random() * 600) AS sent_at
                  FROM generate_series(1, 600)) AS m;
    INSERT INTO marketing.attribution (person_id, conversion_type, converted_at, value)
    SELECT p.ids[1 + floor(random() * 30)::int], 'sale',
           timestamptz '2026-01-01' + interval '1 day' * floor(random() * 25),
           CASE WHEN random() < 0.9 THEN round((random() * 10 ^ (random() * 9))::numeric, 2) END
    FROM (SELECT array_agg(id) AS ids FROM people.master) AS p, generate_series(1, 1300)";

/// What each campaign has by its first or last touches, counted another way: the stored time of each sale is held
/// against every message.
const ENDS: &str = "
    SELECT coalesce(string_agg(format('%s %s %s', w.campaign_id, w.count, w.value), ',' ORDER BY w.campaign_id), '')
    FROM (
        SELECT (SELECT o.campaign_id FROM marketing.outreach_history AS o
                WHERE o.person_id = a.person_id AND o.sent_at <= a.converted_at
                  AND NOT (o.status = 'bounced' AND o.opened_at IS NULL)
                ORDER BY o.sent_at {direction}, o.id {direction} LIMIT 1) AS campaign_id,
               count(*) AS count, sum(coalesce(a.value, 0))::numeric(20, 2) AS value
        FROM marketing.attribution AS a
        GROUP BY 1) AS w
    WHERE w.campaign_id IS NOT NULL";

#[tokio::test(flavor = "multi_thread")]
async fn campaigns_and_unattributed_are_the_total_over_many_pages() {
    let app = App::start().await;
    let sql = app.sql().await;
    sql.run(CROWD).await;
    let ids = sql
        .rows(
            "SELECT campaign_id::text FROM marketing.campaigns ORDER BY name LIMIT 3",
            &[],
        )
        .await;
    let some: Vec<String> = ids.iter().map(|row| row.get(0)).collect();
    for mask in 0..8 {
        let has = |bit: usize| mask & (1 << bit) != 0;
        let (from, before) = if has(2) { (100, 400) } else { (0, 8_760) };
        let total: String = sql
            .one(
                &format!(
                    "SELECT format('%s %s.000000000000 %s', count(*), count(*), sum(value)::numeric(20, 2))
                     FROM marketing.attribution WHERE converted_at >= {} AND converted_at < {}",
                    sql_hour(from),
                    sql_hour(before)
                ),
                &[],
            )
            .await;
        for model in MODELS {
            let request = GetAttributionReportRequest {
                campaign_ids: if has(0) { some.clone() } else { Vec::new() },
                include_opens: has(1),
                converted_from: has(2).then(|| hour(from)),
                converted_before: has(2).then(|| hour(before)),
                ..by(model)
            };
            let report = report(&app, request).await;
            assert_eq!(share(&report.total), total, "{model:?} {mask:03b}");
            assert_eq!(report.campaigns.len(), if has(0) { 3 } else { 8 });
        }
    }
    for (model, direction) in [(Model::FirstTouch, "ASC"), (Model::LastTouch, "DESC")] {
        let mut said: Vec<String> = report(&app, by(model))
            .await
            .campaigns
            .iter()
            .map(|campaign| {
                let own = campaign.share.as_ref().unwrap();
                let value = &own.value.as_ref().unwrap().value;
                format!("{} {} {value}", campaign.campaign_id, own.conversion_count)
            })
            .collect();
        said.sort_unstable();
        let counted: String = sql.one(&ENDS.replace("{direction}", direction), &[]).await;
        assert_eq!(said.join(","), counted, "{model:?}");
    }
    app.stop().await;
}

/// The answer stays small: of 1,005 campaigns that share one sale the rest are others.
#[tokio::test(flavor = "multi_thread")]
async fn a_report_shows_a_thousand_campaigns() {
    let app = App::start().await;
    let sql = app.sql().await;
    let who = &people(&app, 1).await;
    sql.run(&format!(
        "INSERT INTO marketing.campaigns (name, type) SELECT 'c', 'nurture' FROM generate_series(1, 1005);
         INSERT INTO marketing.outreach_history (person_id, campaign_id, channel, message_type, sent_at)
         SELECT '{}', campaign_id, 'email', 'initial', {} FROM marketing.campaigns",
        who[0],
        sql_hour(1)
    ))
    .await;
    convert(&app, vec![sale(1, &who[0], 2, "1005")]).await;
    let report = report(&app, by(Model::Linear)).await;
    assert_eq!(report.campaigns.len(), 1_000);
    let unattributed = report.unattributed.unwrap();
    let others = unattributed.other_campaigns.unwrap();
    assert_eq!(others.conversion_count, 1);
    assert_eq!(others.value.unwrap().value, "5.00");
    assert_eq!(unattributed.share.unwrap().conversion_count, 1);
    app.stop().await;
}

/// A report that began before a sale was there does not count it, although it comes to read sales only after.
#[tokio::test(flavor = "multi_thread")]
async fn a_report_is_of_one_moment() {
    let app = App::start().await;
    let sql = three_journeys(&app).await;
    let seller = app.sql().await;
    seller
        .run(
            "BEGIN;
             INSERT INTO marketing.attribution (person_id, conversion_type, converted_at, value)
             SELECT person_id, 'sale', '2026-03-01', 7 FROM marketing.outreach_history LIMIT 1;
             LOCK TABLE marketing.campaigns IN ACCESS EXCLUSIVE MODE",
        )
        .await;
    // Which it looks for first.
    let request = GetAttributionReportRequest {
        campaign_ids: vec![id(1)],
        ..by(Model::Linear)
    };
    let meanwhile = async {
        until("the report to wait for the campaigns", async || {
            let waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted
                           AND relation = 'marketing.campaigns'::regclass";
            (sql.one::<i64>(waiting, &[]).await > 0).then_some(())
        })
        .await;
        seller.run("COMMIT").await;
    };
    let (before, ()) = tokio::join!(report(&app, request.clone()), meanwhile);
    assert_eq!(share(&before.total), "3 3.000000000000 120.05");
    let after = report(&app, request).await;
    assert_eq!(share(&after.total), "4 4.000000000000 127.05");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_requests_are_refused() {
    let app = App::start().await;
    campaigns(&app, 1..2).await;
    let mut client = app.marketing().await;
    let linear = || by(Model::Linear);
    let long_ago = Some(Timestamp {
        seconds: i64::MIN,
        nanos: 0,
    });
    let lasting = |seconds, nanos| GetAttributionReportRequest {
        half_life: Some(Duration { seconds, nanos }),
        ..by(Model::TimeDecay)
    };
    for (request, field) in [
        (GetAttributionReportRequest::default(), "model"),
        (
            GetAttributionReportRequest {
                model: 6,
                ..linear()
            },
            "model",
        ),
        (
            GetAttributionReportRequest {
                campaign_ids: vec![id(1), "spring".into()],
                ..linear()
            },
            "campaign_ids[1]",
        ),
        (
            GetAttributionReportRequest {
                converted_from: long_ago,
                ..linear()
            },
            "converted_from",
        ),
        (
            GetAttributionReportRequest {
                converted_before: long_ago,
                ..linear()
            },
            "converted_before",
        ),
        (
            GetAttributionReportRequest {
                converted_from: Some(hour(2)),
                converted_before: Some(hour(1)),
                ..linear()
            },
            "converted_before",
        ),
        (
            GetAttributionReportRequest {
                model: Model::Linear.into(),
                ..lasting(1, 0)
            },
            "half_life",
        ),
        (lasting(0, 0), "half_life"),
        (lasting(-1, 0), "half_life"),
        (lasting(1, -1), "half_life"),
        (lasting(i64::MAX, i32::MAX), "half_life"),
    ] {
        assert_field(client.get_attribution_report(request).await, field);
    }
    let many = GetAttributionReportRequest {
        campaign_ids: vec![id(1); 1_001],
        ..linear()
    };
    refused(client.get_attribution_report(many).await).exceeds(1_000, 1_001);
    let unknown = GetAttributionReportRequest {
        campaign_ids: vec![id(1), id(2)],
        ..linear()
    };
    refused(client.get_attribution_report(unknown).await)
        .is(Code::NotFound, "NOT_FOUND")
        .says("resource", "campaign")
        .says("key", id(2));
    // The longest and the shortest that there is.
    for request in [lasting(i64::MAX, 999_999_999), lasting(0, 1)] {
        report(&app, request).await;
    }
    app.stop().await;
}
