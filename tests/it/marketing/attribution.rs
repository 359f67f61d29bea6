//! Whose the conversions are, by every model.

use leadvault::proto::marketing::v1::{
    AttributionModel as Model, AttributionShare, GetAttributionReportRequest,
    GetAttributionReportResponse,
};
use prost_types::Duration;

use super::journeys::{campaigns, convert, hour, id, message, people, sale, sql_hour, words};
use crate::harness::{App, Sql};

pub(super) fn by(model: Model) -> GetAttributionReportRequest {
    GetAttributionReportRequest {
        model: model.into(),
        ..Default::default()
    }
}

/// A report, whose parts must sum to its whole.
pub(super) async fn report(
    app: &App,
    request: GetAttributionReportRequest,
) -> GetAttributionReportResponse {
    let mut client = app.marketing().await;
    let answer = client.get_attribution_report(request).await.unwrap();
    let report = answer.into_inner();
    let unattributed = report.unattributed.clone().unwrap();
    let campaigns = report.campaigns.iter().map(|campaign| &campaign.share);
    assert_eq!(
        sum(campaigns.chain([&unattributed.share])),
        sum([&report.total]),
        "{report:?}"
    );
    let parts = [
        &unattributed.no_touch,
        &unattributed.without_campaign,
        &unattributed.other_campaigns,
    ];
    assert_eq!(sum(parts), sum([&unattributed.share]), "{report:?}");
    report
}

/// Credit in parts of 10^12, and cents.
fn sum<'a>(shares: impl IntoIterator<Item = &'a Option<AttributionShare>>) -> (i128, i128) {
    let units = |number: &str, decimals| {
        let (whole, fraction) = number.split_once('.').unwrap();
        assert_eq!(fraction.len(), decimals, "{number}");
        format!("{whole}{fraction}").parse::<i128>().unwrap()
    };
    shares.into_iter().flatten().fold((0, 0), |sum, share| {
        let (credit, value) = (
            share.credit.as_ref().unwrap(),
            share.value.as_ref().unwrap(),
        );
        (
            sum.0 + units(&credit.value, 12),
            sum.1 + units(&value.value, 2),
        )
    })
}

pub(super) fn share(share: &Option<AttributionShare>) -> String {
    let share = share.as_ref().unwrap();
    let (credit, value) = (
        share.credit.as_ref().unwrap(),
        share.value.as_ref().unwrap(),
    );
    format!(
        "{} {} {}",
        share.conversion_count, credit.value, value.value
    )
}

/// A line a share: who, conversions, credit, value. What is unattributed comes last, with its parts that are
/// not nothing.
fn lines(report: &GetAttributionReportResponse) -> Vec<String> {
    let campaigns = report.campaigns.iter();
    let mut lines: Vec<String> = campaigns
        .map(|campaign| format!("{} {}", campaign.name, share(&campaign.share)))
        .collect();
    let unattributed = report.unattributed.as_ref().unwrap();
    lines.push(format!("unattributed {}", share(&unattributed.share)));
    for (name, part) in [
        ("no touch", &unattributed.no_touch),
        ("without campaign", &unattributed.without_campaign),
        ("others", &unattributed.other_campaigns),
    ] {
        if part.as_ref().unwrap().conversion_count > 0 {
            lines.push(format!("{name} {}", share(part)));
        }
    }
    lines
}

/// * Journey A: c1 at hour 0, c2 at 168 (7 days), c1 at 336; a sale of 100.00 at 504.
/// * Journey B: c2 at hour 0, a call without a campaign at 24; a sale of 0.05 at 48.
/// * Journey C: an email that bounced unseen at hour 0, another that was sent after the sale of 20.00 at 48.
pub(super) async fn three_journeys(app: &App) -> Sql {
    let sql = app.sql().await;
    let who = &people(app, 3).await;
    campaigns(app, 1..4).await;
    message(&sql, 1, &who[0], Some(1), "email", 0, "").await;
    message(&sql, 2, &who[0], Some(2), "linkedin", 168, "").await;
    message(&sql, 3, &who[0], Some(1), "email", 336, "").await;
    message(&sql, 4, &who[1], Some(2), "email", 0, "").await;
    message(&sql, 5, &who[1], None, "phone", 24, "").await;
    message(&sql, 6, &who[2], Some(1), "email", 0, "status = 'bounced'").await;
    message(&sql, 7, &who[2], Some(1), "email", 49, "").await;
    let sales = vec![
        sale(1, &who[0], 504, "100"),
        sale(2, &who[1], 48, "0.05"),
        sale(3, &who[2], 48, "20"),
    ];
    assert_eq!(words(&convert(app, sales).await), ["recorded"; 3]);
    sql
}

/// By hand, C always being without a touch:
///
/// First touch: A is c1's, B is c2's. Last touch: A is c1's, B is nobody's.
///
/// Linear: A is a third each. In parts of 10^12 that is 333,333,333,333 each, and the one that is left over goes
/// to the earliest: c1 has 0.666666666667, c2 0.333333333333. 100.00 are 3,333 cents and a bit each; the cent that
/// is left over goes to the largest bit, the earliest's: c1 has 33.34 + 33.33, c2 33.33. B is half each: 5 cents
/// are 2 each, and the one left over goes to the earlier, c2.
///
/// Position based: A is 40 % and 40 % to c1, 20 % to c2. B as before.
///
/// Time decay: A's touches are 3, 2 and 1 half-lives old, 1/8 : 1/4 : 1/2 is 1/7, 2/7, 4/7. In parts
/// 142,857,142,857 and 285,714,285,714 and 571,428,571,428, with bits of 1/7, 2/7, 4/7: the last gets the one
/// that is left over. Of 10,000 cents they have 1,428.57, 2,857.14 and 5,714.29: the first gets the one that is
/// left over, so that c1 has 14.29 + 57.14. B's touches are a day apart: with w = 2^(-1/7) = 0.905723664263907
/// c2 has w / (1 + w) = 0.475264951183 (rounded up, since the other's bit is smaller) and of 5 cents 2.38; nobody
/// has 2.62, and with that the fifth cent.
#[tokio::test(flavor = "multi_thread")]
async fn three_journeys_by_hand() {
    let app = App::start().await;
    three_journeys(&app).await;
    let no_touch = "no touch 1 1.000000000000 20.00";
    for (model, expected) in [
        (
            Model::FirstTouch,
            vec![
                "c1 1 1.000000000000 100.00",
                "c2 1 1.000000000000 0.05",
                "unattributed 1 1.000000000000 20.00",
                no_touch,
            ],
        ),
        (
            Model::LastTouch,
            vec![
                "c1 1 1.000000000000 100.00",
                "unattributed 2 2.000000000000 20.05",
                no_touch,
                "without campaign 1 1.000000000000 0.05",
            ],
        ),
        (
            Model::Linear,
            vec![
                "c1 1 0.666666666667 66.67",
                "c2 2 0.833333333333 33.36",
                "unattributed 2 1.500000000000 20.02",
                no_touch,
                "without campaign 1 0.500000000000 0.02",
            ],
        ),
        (
            Model::PositionBased,
            vec![
                "c1 1 0.800000000000 80.00",
                "c2 2 0.700000000000 20.03",
                "unattributed 2 1.500000000000 20.02",
                no_touch,
                "without campaign 1 0.500000000000 0.02",
            ],
        ),
        (
            Model::TimeDecay,
            vec![
                "c1 1 0.714285714286 71.43",
                "c2 2 0.760979236897 28.59",
                "unattributed 2 1.524735048817 20.03",
                no_touch,
                "without campaign 1 0.524735048817 0.03",
            ],
        ),
    ] {
        let report = report(&app, by(model)).await;
        assert_eq!(lines(&report), expected, "{model:?}");
        assert_eq!(share(&report.total), "3 3.000000000000 120.05");
    }
    app.stop().await;
}

/// With a half-life of 14 days A's touches are half a half-life apart: 1/2 : 1/sqrt(2) : 1. With s = sqrt(2) =
/// 1.4142135623730950 the middle one has (1/s) / (3/2 + 1/s) = 2 / (3 s + 2) = 0.320377241017 of it.
#[tokio::test(flavor = "multi_thread")]
async fn the_half_life_is_a_parameter() {
    let app = App::start().await;
    three_journeys(&app).await;
    let request = GetAttributionReportRequest {
        half_life: Some(Duration {
            seconds: 14 * 86_400,
            nanos: 0,
        }),
        converted_from: Some(hour(504)),
        ..by(Model::TimeDecay)
    };
    let lines = lines(&report(&app, request).await);
    assert_eq!(
        lines[..2],
        ["c1 1 0.679622758983 67.96", "c2 1 0.320377241017 32.04"]
    );
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_filter_says_which_are_shown_and_changes_no_share() {
    let app = App::start().await;
    three_journeys(&app).await;
    let request = GetAttributionReportRequest {
        // c3 has no share, and c2 is asked for twice.
        campaign_ids: vec![id(3), id(2), id(2)],
        ..by(Model::Linear)
    };
    let shown = report(&app, request).await;
    assert_eq!(
        lines(&shown),
        [
            "c2 2 0.833333333333 33.36",
            "c3 0 0.000000000000 0.00",
            "unattributed 3 2.166666666667 86.69",
            "no touch 1 1.000000000000 20.00",
            "without campaign 1 0.500000000000 0.02",
            "others 1 0.666666666667 66.67",
        ]
    );
    // A period takes conversions by their time, and touches from any time before.
    let request = GetAttributionReportRequest {
        converted_from: Some(hour(48)),
        converted_before: Some(hour(504)),
        ..by(Model::FirstTouch)
    };
    let period = report(&app, request.clone()).await;
    assert_eq!(share(&period.total), "2 2.000000000000 20.05");
    assert_eq!(lines(&period)[0], "c2 1 1.000000000000 0.05");
    let nothing = GetAttributionReportRequest {
        converted_before: request.converted_from,
        ..request
    };
    assert_eq!(
        lines(&report(&app, nothing).await),
        ["unattributed 0 0.000000000000 0.00"]
    );
    app.stop().await;
}

/// B's first message is opened an hour before its sale, and A's last at a provider's clock before it was sent: no
/// message is opened before it is sent.
#[tokio::test(flavor = "multi_thread")]
async fn opens_are_touches_where_they_are_asked_for() {
    let app = App::start().await;
    let sql = three_journeys(&app).await;
    sql.run(&format!(
        "UPDATE marketing.outreach_history SET status = 'opened', opened_at = {} WHERE id = '{}';
         UPDATE marketing.outreach_history SET status = 'opened', opened_at = sent_at - interval '1 minute'
         WHERE id = '{}'",
        sql_hour(47),
        id(4),
        id(3),
    ))
    .await;
    let without = lines(&report(&app, by(Model::LastTouch)).await);
    assert_eq!(without[0], "c1 1 1.000000000000 100.00");
    assert_eq!(without[1], "unattributed 2 2.000000000000 20.05");
    let request = GetAttributionReportRequest {
        include_opens: true,
        ..by(Model::LastTouch)
    };
    let with = lines(&report(&app, request.clone()).await);
    assert_eq!(with[1], "c2 1 1.000000000000 0.05");
    // A has four touches now, c1's last two at one time; B three, c2's first and last.
    let linear = GetAttributionReportRequest {
        model: Model::Linear.into(),
        ..request
    };
    let linear = lines(&report(&app, linear).await);
    assert_eq!(linear[0], "c1 1 0.750000000000 75.00");
    assert_eq!(linear[1], "c2 2 0.916666666667 25.03");
    app.stop().await;
}
