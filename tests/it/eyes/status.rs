//! The status page as it is sent: what it shows, what it escapes, and that it is there without its database.

use leadvault::proto::marketing::v1::{CampaignType, CreateCampaignRequest};
use proptest::prelude::*;

use super::cluster_of_its_own;
use crate::harness::{App, row, until};

/// A batch with one row of each fate.
pub(super) async fn one_of_each(app: &App, batch_id: &str, source: &str, email: &str) {
    let rows = [row(email), row(&email.to_uppercase()), "{}".to_owned()];
    app.ingest(batch_id, source, &rows).await;
}

pub(super) async fn campaign(app: &App, name: &str) {
    let request = CreateCampaignRequest {
        name: name.to_owned(),
        r#type: CampaignType::ColdOutreach.into(),
        ..Default::default()
    };
    app.marketing()
        .await
        .create_campaign(request)
        .await
        .unwrap();
}

async fn page(app: &App) -> String {
    let (status, page) = app.page("/status").await;
    assert_eq!(status, 200, "{page}");
    page
}

/// A page that nothing is missing on: on a busy machine a part may take too long to be shown.
async fn whole_page(app: &App) -> String {
    const MISSING: [&str; 3] = ["Not seen yet", "They could not be counted", ">no database<"];
    until("a whole page", async || {
        let page = page(app).await;
        let is_whole = !MISSING.iter().any(|words| page.contains(words));
        is_whole.then_some(page)
    })
    .await
}

/// The texts of a page, tags apart.
fn texts(page: &str) -> String {
    let mut text = String::new();
    for piece in page.split('<') {
        let (_, after) = piece.split_once('>').unwrap_or(("", ""));
        text.push_str(after);
        text.push('|');
    }
    text
}

#[tokio::test(flavor = "multi_thread")]
async fn it_shows_tallies_of_everything_and_nobodys_data() {
    let app = App::start().await;
    one_of_each(&app, "crm-2026", "apollo", "ada@x.example").await;
    campaign(&app, "Spring").await;
    let sql = app.sql().await;
    sql.run(
        "INSERT INTO people.master (email, name) VALUES ('b@x.example', 'Bea');
         INSERT INTO ple.enrichment_queue (person_id, max_failures, available_at, enqueued_at, enqueued_by)
         SELECT id, 5, now(), now(), 'test' FROM people.master",
    )
    .await;
    let version: String = sql
        .one(
            "SELECT split_part(current_setting('server_version'), ' ', 1)",
            &[],
        )
        .await;

    let page = whole_page(&app).await;
    let text = texts(&page);
    for shown in [
        format!("|leadvault |{}|", env!("CARGO_PKG_VERSION")),
        "|serving|".to_owned(),
        format!("|PostgreSQL {version}|"),
        "|crm-2026|".to_owned(),
        "|apollo|".to_owned(),
        "|open|".to_owned(),
        "|Spring|".to_owned(),
        "|draft|".to_owned(),
    ] {
        assert!(text.contains(&shown), "{shown} in\n{text}");
    }
    let stage = |name: &str, count: i64| {
        let cells = format!(
            "<bdi>{name}</bdi></th><td role=\"cell\" class=\"number\" data-column=\"Count\">{count}</td>"
        );
        assert!(page.contains(&cells), "{name} {count} in\n{page}");
    };
    stage("rows received", 3);
    stage("rows duplicate", 1);
    stage("rows rejected", 1);
    stage("people", 1);
    let queued =
        "queued</span></td><td role=\"cell\" class=\"number\" data-column=\"Depth\">1</td>";
    assert!(page.contains(queued), "{page}");
    // The server is as old as the first sample: three rows in at most a few seconds.
    let rows = text.split("|Rows in|").nth(1).unwrap();
    let rate = rows
        .split('|')
        .find_map(|text| text.trim().parse::<f64>().ok());
    assert!((0.1..=3.0).contains(&rate.unwrap()), "{rate:?}");
    for personal in ["x.example", "ada", "Bea"] {
        assert!(!page.contains(personal), "{personal}");
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_callers_call_things_is_shown_and_does_nothing() {
    let app = App::start().await;
    let evil = "<script>alert(1)</script>\"'&";
    one_of_each(&app, evil, "<img src=x onerror=alert(2)>", "a@x.example").await;
    campaign(&app, "</table></style><svg onload=alert(3)>").await;
    let page = whole_page(&app).await;
    assert!(page.contains("<bdi>&lt;script&gt;alert(1)&lt;/script&gt;&quot;&#39;&amp;</bdi>"));
    assert!(page.contains("<bdi>&lt;img src=x onerror=alert(2)&gt;</bdi>"));
    assert!(page.contains("<bdi>&lt;/table&gt;&lt;/style&gt;&lt;svg onload=alert(3)&gt;</bdi>"));
    for markup in ["<script", "<img", "<svg onload"] {
        assert!(!page.contains(markup), "{markup} in\n{page}");
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_loads_nothing_and_is_kept_nowhere() {
    let app = App::start().await;
    let (head, page) = app.page_with_head("/status").await;
    for header in [
        "content-type: text/html; charset=utf-8",
        "cache-control: no-store",
        "content-security-policy: default-src 'none'; style-src 'unsafe-inline'",
        "x-content-type-options: nosniff",
    ] {
        assert!(head.contains(header), "{header} in\n{head}");
    }
    for loading in [
        "src=", "url(", "@import", "<link", "<script", "http://", "https://",
    ] {
        assert!(!page.contains(loading), "{loading} in\n{page}");
    }
    assert!(!page.contains("http-equiv"));
    let (_, refreshing) = app.page_with_head("/status?refresh").await;
    assert!(refreshing.contains(r#"<meta http-equiv="refresh" content="10">"#));
    let (_, root) = app.page_with_head("/").await;
    assert!(root.starts_with("<!doctype html>"));
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_its_database_it_shows_what_was_seen_and_says_so() {
    let (cluster, url) = cluster_of_its_own().await;
    let app = App::start_on(url, &[]).await;
    one_of_each(&app, "crm-2026", "apollo", "a@x.example").await;
    assert!(whole_page(&app).await.contains("crm-2026"));

    cluster.stop().await.unwrap();
    let page = until("a page that says so", async || {
        Some(page(&app).await).filter(|page| page.contains(">no database<"))
    })
    .await;
    assert!(page.contains("did not answer"), "{page}");
    assert!(page.contains("crm-2026"), "{page}");
    app.stop().await;
}

/// A statement that would take for ever costs its part of the page, and no more.
#[tokio::test(flavor = "multi_thread")]
async fn a_part_that_takes_too_long_is_left_out() {
    let app = App::start().await;
    one_of_each(&app, "crm-2026", "apollo", "a@x.example").await;
    let sql = app.sql().await;
    sql.run(
        "CREATE OR REPLACE VIEW bit.lead_funnel AS
         SELECT 'rows received'::text AS stage, count(*) AS count FROM (SELECT pg_sleep(30)) AS slow",
    )
    .await;
    // On a busy machine other parts may take too long, too.
    until("the rest of the page", async || {
        let begun = std::time::Instant::now();
        let page = page(&app).await;
        assert!(begun.elapsed() < std::time::Duration::from_secs(20));
        assert!(
            page.contains("Not seen yet: reading it took longer than a second"),
            "{page}"
        );
        page.contains("crm-2026").then_some(())
    })
    .await;
    app.stop().await;
}

/// Whatever a batch and its source are called, the page keeps its shape.
#[test]
fn no_name_changes_the_shape_of_the_page() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let names = proptest::collection::vec("[\\PC&&[^\\u{0}]]{1,40}", 8);
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(4));
    let ran = runner.run(&names, |names| {
        runtime.block_on(async {
            let app = App::start().await;
            for (nth, name) in names.iter().enumerate() {
                campaign(&app, &format!("{nth}{name}")).await;
            }
            let page = whole_page(&app).await;
            let (_, body) = page.split_once("</style>").unwrap();
            assert_eq!(body.matches('<').count(), body.matches('>').count());
            let campaigns = page.split("id=\"campaigns\"").nth(1).unwrap();
            let table = campaigns.split("</table>").next().unwrap();
            assert_eq!(table.matches("<tr ").count(), names.len() + 1);
            assert_eq!(table.matches("<td ").count(), names.len() * 7);
            app.stop().await;
        });
        Ok(())
    });
    ran.unwrap();
}
