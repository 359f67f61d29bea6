//! The funnel, what came of sources, and whose the conversions are: the views of `bit`.

use leadvault::proto::{
    marketing::v1::{GetFunnelRequest, ListSourceQualityRequest, SourceQuality},
    vault::v1::PromoteContactsRequest,
};

use super::{
    active,
    reports::{bounce, conversion, message},
};
use crate::harness::{App, Sql, row};

const SENT: [&str; 3] = ["2026-03-02T09:00:00Z", "", ""];
const REPLIED: [&str; 3] = ["2026-03-02T09:00:00Z", "", "2026-03-02T10:00:00Z"];
const AT: &str = "2026-03-02T09:00:00Z";

async fn promote(app: &App) {
    let request = PromoteContactsRequest::default();
    let mut stream = app.vault().await.promote_contacts(request).await.unwrap();
    while stream.get_mut().message().await.unwrap().is_some() {}
}

/// The ids of all people, made of the contacts, in the order of their emails.
async fn all_people(sql: &Sql) -> Vec<String> {
    let rows = sql
        .rows(
            "WITH made AS (
                 INSERT INTO people.master (email) SELECT email FROM vault.contacts RETURNING id, email
             )
             SELECT id::text FROM made ORDER BY email",
            &[],
        )
        .await;
    rows.iter().map(|row| row.get(0)).collect()
}

/// Every page of the list.
async fn sources(app: &App, page_size: i32) -> Vec<SourceQuality> {
    let mut client = app.marketing().await;
    let mut all = Vec::new();
    let mut page_token = String::new();
    loop {
        let request = ListSourceQualityRequest {
            page_size,
            page_token,
        };
        let page = client.list_source_quality(request).await.unwrap();
        let page = page.into_inner();
        all.extend(page.sources);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return all;
        }
    }
}

fn counts(source: &SourceQuality) -> (&str, [i64; 8]) {
    let counts = [
        source.received_count,
        source.accepted_count,
        source.duplicate_count,
        source.rejected_count,
        source.promoted_count,
        source.bounced_count,
        source.replied_count,
        source.converted_count,
    ];
    (&source.source, counts)
}

/// Two sources send eight and three rows; five people come of it, to whom messages go.
async fn story(app: &App) -> Vec<String> {
    let sql = app.sql().await;
    let good = ["a", "b", "c", "a", "d"].map(|name| row(&format!("{name}@x.example")));
    app.ingest("b1", "apollo", &good).await;
    app.ingest("b2", "apollo", &["{}", "nonsense", &good[1]])
        .await;
    let late = ["e", "a"].map(|name| row(&format!("{name}@x.example")));
    app.ingest("b3", "apify", &late).await;
    app.ingest("b3", "apify", &["{}"]).await;
    promote(app).await;
    all_people(&sql).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_is_as_good_as_what_came_of_its_rows() {
    let app = App::start().await;
    let sql = app.sql().await;
    let ids = story(&app).await;
    assert_eq!(ids.len(), 5);
    let campaign = active(&app, "Spring").await.campaign_id;
    // a bounced twice and converted twice, b replied, c bounced before the reply, d was only sent to; e replied.
    for _ in 0..2 {
        message(&sql, &ids[0], &campaign, SENT, "bounced").await;
        conversion(&sql, &ids[0], &campaign, AT, "5").await;
    }
    message(&sql, &ids[1], &campaign, REPLIED, "replied").await;
    let both = message(&sql, &ids[2], "", REPLIED, "replied").await;
    bounce(&sql, &both, AT).await;
    message(&sql, &ids[3], &campaign, SENT, "sent").await;
    message(&sql, &ids[4], &campaign, REPLIED, "replied").await;

    let found = sources(&app, 0).await;
    assert_eq!(
        found.iter().map(counts).collect::<Vec<_>>(),
        [
            ("apify", [3, 1, 1, 1, 1, 0, 1, 0]),
            ("apollo", [8, 4, 2, 2, 4, 2, 2, 1]),
        ]
    );
    assert_eq!(sources(&app, 1).await, found);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_funnel_goes_on_to_conversions() {
    let app = App::start().await;
    let sql = app.sql().await;
    let ids = story(&app).await;
    message(&sql, &ids[0], "", SENT, "bounced").await;
    message(&sql, &ids[1], "", [AT, AT, AT], "replied").await;
    let both = message(&sql, &ids[2], "", REPLIED, "replied").await;
    bounce(&sql, &both, AT).await;
    message(&sql, &ids[3], "", SENT, "sent").await;
    conversion(&sql, &ids[0], "", AT, "5").await;
    conversion(&sql, &ids[0], "", AT, "").await;

    let funnel = app.marketing().await.get_funnel(GetFunnelRequest {}).await;
    let stages = funnel.unwrap().into_inner().stages;
    let stages: Vec<(&str, i64)> = stages
        .iter()
        .map(|stage| (stage.stage.as_str(), stage.count))
        .collect();
    assert_eq!(
        stages,
        [
            ("rows received", 11),
            ("rows accepted", 5),
            ("rows duplicate", 3),
            ("rows rejected", 3),
            ("contacts", 5),
            ("company slots", 0),
            ("company slots validated", 0),
            ("company slots rejected", 0),
            ("companies", 0),
            ("person slots", 0),
            ("person slots validated", 0),
            ("person slots rejected", 0),
            ("people", 5),
            ("people linked to a company", 0),
            ("messages sent", 4),
            ("messages opened", 1),
            ("messages bounced", 2),
            ("messages replied to", 2),
            ("conversions", 2),
            ("people converted", 1),
        ]
    );
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_and_the_last_touch_of_each_conversion() {
    let app = App::start().await;
    let sql = app.sql().await;
    let ids = story(&app).await;
    let campaign = active(&app, "Spring").await.campaign_id;
    let at = |hour: u8| format!("2026-03-02T{hour:02}:00:00Z");
    let (one, two, three, four) = (at(1), at(2), at(3), at(4));
    // What bounced unseen touched nobody; what bounced and was opened did; what is sent later does not count.
    message(&sql, &ids[0], &campaign, [&one, "", ""], "bounced").await;
    let first = message(&sql, &ids[0], &campaign, [&two, &three, ""], "bounced").await;
    let last = message(&sql, &ids[0], "", [&three, "", ""], "sent").await;
    message(&sql, &ids[0], &campaign, [&four, "", ""], "sent").await;
    // Another person's message is no touch of this one.
    message(&sql, &ids[1], &campaign, [&one, "", ""], "sent").await;
    let exact = conversion(&sql, &ids[0], "", &three, "10").await;
    let single = conversion(&sql, &ids[0], "", &two, "").await;
    let none = conversion(&sql, &ids[0], "", &one, "10").await;

    let rows = sql
        .rows(
            "SELECT id::text, first_touch_id::text, first_touch_campaign_id::text, first_touch_channel,
                    last_touch_id::text, last_touch_campaign_id::text, last_touch_channel
             FROM bit.attribution ORDER BY converted_at DESC",
            &[],
        )
        .await;
    let found: Vec<[Option<String>; 7]> = rows
        .iter()
        .map(|row| std::array::from_fn(|nth| row.get(nth)))
        .collect();
    let some = |text: &str| Some(text.to_owned());
    let email = || some("email");
    let (first, last, campaign) = (some(&first), some(&last), some(&campaign));
    assert_eq!(
        found,
        [
            [
                some(&exact),
                first.clone(),
                campaign.clone(),
                email(),
                last,
                None,
                email()
            ],
            [
                some(&single),
                first.clone(),
                campaign.clone(),
                email(),
                first,
                campaign,
                email()
            ],
            [some(&none), None, None, None, None, None, None],
        ]
    );
    app.stop().await;
}
