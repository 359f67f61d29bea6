//! Feedback reports: what a campaign had come to by the end of a day.

use leadvault::proto::marketing::v1::{
    CreateFeedbackReportRequest, FeedbackMetrics, FeedbackReport, FeedbackReportOrder as Order,
    ListFeedbackReportsRequest,
};
use tonic::Code;

use super::{
    active, new_id, people,
    reports::{bounce, conversion, message, performance},
};
use crate::harness::{App, Sql, refused};

fn request(campaign_id: &str, report_date: &str) -> CreateFeedbackReportRequest {
    CreateFeedbackReportRequest {
        campaign_id: campaign_id.to_owned(),
        report_date: report_date.to_owned(),
        insights: String::new(),
    }
}

async fn report(app: &App, request: CreateFeedbackReportRequest) -> FeedbackReport {
    let response = app.marketing().await.create_feedback_report(request).await;
    response.unwrap().into_inner().report.unwrap()
}

async fn list(app: &App, request: ListFeedbackReportsRequest) -> Vec<FeedbackReport> {
    let mut client = app.marketing().await;
    let mut request = request;
    let mut all = Vec::new();
    loop {
        let page = client.list_feedback_reports(request.clone()).await;
        let page = page.unwrap().into_inner();
        all.extend(page.reports);
        if page.next_page_token.is_empty() {
            return all;
        }
        request.page_token = page.next_page_token;
    }
}

/// Counts, the value, and the three rates.
fn numbers(metrics: Option<&FeedbackMetrics>) -> ([i64; 5], [&str; 4]) {
    let metrics = metrics.unwrap();
    let decimals = [
        &metrics.conversion_value,
        &metrics.open_rate,
        &metrics.response_rate,
        &metrics.bounce_rate,
    ];
    (
        [
            metrics.sent_count,
            metrics.opened_count,
            metrics.response_count,
            metrics.bounced_count,
            metrics.conversion_count,
        ],
        decimals.map(|decimal| decimal.as_ref().map_or("none", |it| it.value.as_str())),
    )
}

/// The second of March, as it went until its last microsecond.
async fn second_of_march(sql: &Sql, campaign: &str, ids: &[String]) -> String {
    let (noon, late) = ("2026-03-02T12:00:00Z", "2026-03-02T23:59:59.999999Z");
    message(
        sql,
        &ids[0],
        campaign,
        ["2026-03-01T08:00:00Z", noon, noon],
        "replied",
    )
    .await;
    message(sql, &ids[1], campaign, [noon, late, ""], "opened").await;
    let bounced = message(sql, &ids[2], campaign, [noon, "", ""], "bounced").await;
    bounce(sql, &bounced, late).await;
    let silent = message(sql, &ids[2], campaign, [late, "", ""], "sent").await;
    conversion(sql, &ids[0], campaign, late, "99.90").await;
    conversion(sql, &ids[1], campaign, noon, "").await;
    silent
}

/// What happens on the third of March and later, to messages of both days.
async fn what_came_later(sql: &Sql, campaign: &str, ids: &[String], silent: &str) {
    let midnight = "2026-03-03T00:00:00Z";
    sql.rows(
        "UPDATE marketing.outreach_history
         SET opened_at = $2::text::timestamptz, replied_at = $2::text::timestamptz, status = 'replied'
         WHERE id = $1::text::uuid",
        &[&silent, &midnight],
    )
    .await;
    bounce(sql, silent, midnight).await;
    // The provider's clock is off: it was opened a moment before it was sent, on the day before.
    let before = "2026-03-02T23:58:00Z";
    let skewed = message(
        sql,
        &ids[0],
        campaign,
        [midnight, before, before],
        "replied",
    )
    .await;
    bounce(sql, &skewed, before).await;
    message(sql, &ids[1], campaign, [midnight, "", ""], "bounced").await;
    conversion(sql, &ids[2], campaign, midnight, "1000").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_day_that_is_over_stays_as_it_was() {
    let app = App::start().await;
    let sql = app.sql().await;
    let campaign = active(&app, "Spring").await.campaign_id;
    let ids = people(&sql, &["a@x.example", "b@x.example", "c@x.example"]).await;
    let silent = second_of_march(&sql, &campaign, &ids).await;

    let day = request(&campaign, "2026-03-02");
    let first = report(&app, day.clone()).await;
    // Sent four, one the day before; opened two, replied one, bounced one; converted two, one without a value.
    let by_hand = ([4, 2, 1, 1, 2], ["99.90", "50.00", "25.00", "25.00"]);
    assert_eq!(numbers(first.metrics.as_ref()), by_hand);
    assert_eq!(first.report_date, "2026-03-02");

    what_came_later(&sql, &campaign, &ids, &silent).await;
    assert_eq!(report(&app, day.clone()).await, first);
    // The days around it: one message by the first, nothing heard of it; all by the third.
    let before = report(&app, request(&campaign, "2026-03-01")).await;
    assert_eq!(
        numbers(before.metrics.as_ref()),
        ([1, 0, 0, 0, 0], ["0", "0.00", "0.00", "0.00"])
    );
    let earlier = report(&app, request(&campaign, "2026-02-28")).await;
    assert_eq!(
        numbers(earlier.metrics.as_ref()),
        ([0; 5], ["0", "none", "none", "none"])
    );
    let after = report(&app, request(&campaign, "2026-03-03")).await;
    assert_eq!(
        numbers(after.metrics.as_ref()),
        ([6, 4, 3, 4, 3], ["1099.90", "66.67", "50.00", "66.67"])
    );

    // What arrives late and is of that day belongs to it.
    conversion(&sql, &ids[2], &campaign, "2026-03-02T01:00:00Z", "0.10").await;
    let again = report(&app, day).await;
    assert_eq!(numbers(again.metrics.as_ref()).0, [4, 2, 1, 1, 3]);
    assert_eq!(numbers(again.metrics.as_ref()).1[0], "100.00");
    assert_eq!(
        (again.report_id, again.create_time),
        (first.report_id, first.create_time)
    );
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_report_of_today_is_the_performance() {
    let app = App::start().await;
    let sql = app.sql().await;
    let campaign = active(&app, "Spring").await.campaign_id;
    let ids = people(&sql, &["a@x.example", "b@x.example", "c@x.example"]).await;
    let silent = second_of_march(&sql, &campaign, &ids).await;
    what_came_later(&sql, &campaign, &ids, &silent).await;
    let today: String = sql
        .one("SELECT (now() AT TIME ZONE 'UTC')::date::text", &[])
        .await;
    let metrics = report(&app, request(&campaign, &today)).await.metrics;
    let now = performance(&app, &campaign).await;
    let same = FeedbackMetrics {
        sent_count: now.sent_count,
        opened_count: now.opened_count,
        response_count: now.response_count,
        bounced_count: now.bounced_count,
        conversion_count: now.conversion_count,
        conversion_value: now.conversion_value,
        open_rate: now.open_rate,
        response_rate: now.response_rate,
        bounce_rate: now.bounce_rate,
    };
    assert_eq!(metrics, Some(same));
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn insights_stay_until_others_are_given() {
    let app = App::start().await;
    let sql = app.sql().await;
    let campaign = active(&app, "Spring").await.campaign_id;
    let with = |insights: &str| CreateFeedbackReportRequest {
        insights: insights.to_owned(),
        ..request(&campaign, "2026-03-02")
    };
    let row = || async {
        sql.one::<String>(
            "SELECT concat_ws(' ', ctid, insights) FROM marketing.feedback_reports",
            &[],
        )
        .await
    };
    assert_eq!(report(&app, with("")).await.insights, "");
    assert_eq!(
        report(&app, with("Mondays work.")).await.insights,
        "Mondays work."
    );
    let written = row().await;
    for again in ["", "Mondays work."] {
        assert_eq!(report(&app, with(again)).await.insights, "Mondays work.");
        // What changes nothing writes nothing.
        assert_eq!(row().await, written);
    }
    assert_eq!(
        report(&app, with("Tuesdays too.")).await.insights,
        "Tuesdays too."
    );
    assert_ne!(row().await, written);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn callers_at_once_make_one_report() {
    let app = App::start().await;
    let campaign = active(&app, "Spring").await.campaign_id;
    let mut calls = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let mut client = app.marketing().await;
        let request = request(&campaign, "2026-03-02");
        calls.spawn(async move { client.create_feedback_report(request).await });
    }
    let reports: Vec<FeedbackReport> = calls
        .join_all()
        .await
        .into_iter()
        .map(|response| response.unwrap().into_inner().report.unwrap())
        .collect();
    assert!(reports.iter().all(|report| *report == reports[0]));
    let all = list(&app, ListFeedbackReportsRequest::default()).await;
    assert_eq!(all, reports[..1]);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn reports_are_listed_by_day() {
    let app = App::start().await;
    let [spring, autumn] = ["Spring", "Autumn"];
    let spring = active(&app, spring).await.campaign_id;
    let autumn = active(&app, autumn).await.campaign_id;
    for day in ["2026-03-03", "2026-03-01", "2026-03-02"] {
        for campaign in [&spring, &autumn] {
            report(&app, request(campaign, day)).await;
        }
    }
    let everything = list(&app, ListFeedbackReportsRequest::default()).await;
    assert_eq!(everything.len(), 6);
    assert!(everything.is_sorted_by_key(|report| report.report_date.clone()));
    for (order_by, reversed) in [
        (Order::Unspecified, false),
        (Order::DateAsc, false),
        (Order::DateDesc, true),
    ] {
        let request = ListFeedbackReportsRequest {
            page_size: 1,
            order_by: order_by.into(),
            ..Default::default()
        };
        let mut paged = list(&app, request).await;
        if reversed {
            paged.reverse();
        }
        assert_eq!(paged, everything, "{order_by:?}");
    }
    let filtered = |campaign_id: &str, date_from: &str, date_to: &str| ListFeedbackReportsRequest {
        campaign_id: campaign_id.to_owned(),
        date_from: date_from.to_owned(),
        date_to: date_to.to_owned(),
        ..Default::default()
    };
    let days = async |request| -> Vec<String> {
        let reports = list(&app, request).await.into_iter();
        reports.map(|report| report.report_date).collect()
    };
    assert_eq!(
        days(filtered(&autumn, "", "2026-03-02")).await,
        ["2026-03-01", "2026-03-02"]
    );
    assert_eq!(days(filtered("", "2026-03-03", "")).await.len(), 2);
    let one_day = filtered(&spring, "2026-03-02", "2026-03-02");
    assert_eq!(days(one_day).await, ["2026-03-02"]);
    assert_eq!(days(filtered(&new_id(), "", "")).await.len(), 0);

    // Of another make, written past the service: its list still works.
    let sql = app.sql().await;
    sql.run(r#"UPDATE marketing.feedback_reports SET metrics = '{"sent_count": "many"}' WHERE report_date = '2026-03-02'"#)
        .await;
    let all = list(&app, ListFeedbackReportsRequest::default()).await;
    let shown = all
        .iter()
        .filter(|it| it.metrics == Some(FeedbackMetrics::default()));
    assert_eq!((all.len(), shown.count()), (6, 2));
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn reports_that_cannot_be() {
    let app = App::start().await;
    let sql = app.sql().await;
    let campaign = active(&app, "Spring").await.campaign_id;
    let mut client = app.marketing().await;
    let future: String = sql
        .one("SELECT ((now() AT TIME ZONE 'UTC')::date + 2)::text", &[])
        .await;
    for day in [
        "",
        "today",
        "2026-02-30",
        "2026-3-2",
        "+2026-03-02",
        "02.03.2026",
        "2026-03-02T00:00:00Z",
        " 2026-03-02",
        "0000-01-01",
        "-0001-01-01",
        "12026-01-01",
        "9999-12-31",
        &future,
    ] {
        let refusal = refused(client.create_feedback_report(request(&campaign, day)).await);
        assert!(refusal.message.starts_with("report_date"), "{refusal:?}");
        refusal.blames("report_date");
    }
    for id in ["", "spring"] {
        let call = client.create_feedback_report(request(id, "2026-03-02"));
        refused(call.await).blames("campaign_id");
    }
    let call = client.create_feedback_report(request(&new_id(), "2026-03-02"));
    refused(call.await).is(Code::NotFound, "NOT_FOUND");
    for insights in ["a\0b".to_owned(), "x".repeat(64 * 1024 + 1)] {
        let wrong = CreateFeedbackReportRequest {
            insights,
            ..request(&campaign, "2026-03-02")
        };
        refused(client.create_feedback_report(wrong).await).blames("insights");
    }
    assert_eq!(list(&app, ListFeedbackReportsRequest::default()).await, []);
    let longest = CreateFeedbackReportRequest {
        insights: "x".repeat(64 * 1024),
        ..request(&campaign, "2026-03-02")
    };
    assert_eq!(
        report(&app, longest.clone()).await.insights,
        longest.insights
    );

    type Change = fn(&mut ListFeedbackReportsRequest);
    let wrong: [(Change, &str); 6] = [
        (|request| request.page_size = -1, "page_size"),
        (
            |request| request.campaign_id = "spring".into(),
            "campaign_id",
        ),
        (
            |request| request.date_from = "yesterday".into(),
            "date_from",
        ),
        (|request| request.date_to = "2026-13-01".into(), "date_to"),
        (|request| request.order_by = 9, "order_by"),
        (
            |request| {
                request.date_from = "2026-03-02".into();
                request.date_to = "2026-03-01".into();
            },
            "date_to",
        ),
    ];
    for (change, field) in wrong {
        let mut request = ListFeedbackReportsRequest::default();
        change(&mut request);
        refused(client.list_feedback_reports(request).await).blames(field);
    }
    let request = ListFeedbackReportsRequest {
        page_token: "nonsense".into(),
        ..Default::default()
    };
    refused(client.list_feedback_reports(request).await)
        .is(Code::InvalidArgument, "INVALID_PAGE_TOKEN");
    app.stop().await;
}
