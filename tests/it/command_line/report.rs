//! `leadvault report`, through the binary.

use serde_json::json;

use crate::harness::{App, row, run};

async fn story(app: &App) {
    app.ingest("b", "=apollo", &[row("a@x.example"), "{}".into()])
        .await;
    app.sql()
        .await
        .run(
            "INSERT INTO marketing.campaigns
                 (campaign_id, name, type, status, target_count, sent_count, response_count, created_at, started_at)
             VALUES ('00000000-0000-0000-0000-000000000001', '=HYPERLINK(\"evil\")', 'cold_outreach', 'active', 5000,
                     1000, 9, '2026-01-01', '2026-01-02 03:04:05.000006+00'),
                    ('00000000-0000-0000-0000-000000000002', E'Red\\x1b[31m ' || repeat('x', 100), 'nurture',
                     'draft', NULL, 0, 0, '2026-01-03', NULL),
                    ('00000000-0000-0000-0000-000000000003', 'Best', 'follow_up', 'completed', NULL, 4, 3,
                     '2026-01-02', '2026-01-02')",
        )
        .await;
}

async fn report(app: &App, args: &[&str]) -> String {
    let endpoint = app.endpoint();
    let mut all = vec!["report"];
    all.extend(args);
    all.extend(["--endpoint", &endpoint]);
    run(&all).await.ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_that_a_person_reads() {
    let app = App::start().await;
    let none = report(&app, &["campaigns"]).await;
    assert_eq!(none, "there are no campaigns\n");
    story(&app).await;
    let funnel = report(&app, &["funnel"]).await;
    assert!(
        funnel.contains("│ rows received              ┆     2 │"),
        "{funnel}"
    );
    let campaigns = report(&app, &["campaigns"]).await;
    let lines: Vec<&str> = campaigns.lines().collect();
    // The best first; what sent nothing last, without a rate, cut short and without its escape.
    let cells = |line: usize| -> Vec<&str> {
        let line = lines[line].trim_matches('│');
        line.split('┆').map(str::trim).collect()
    };
    assert_eq!(
        cells(3),
        [
            "Best",
            "follow_up",
            "completed",
            "4",
            "0.00 %",
            "3",
            "75.00 %",
            "0.00 %",
            "0",
            "0"
        ]
    );
    assert_eq!(
        cells(4)[..7],
        [
            "=HYPERLINK(\"evil\")",
            "cold_outreach",
            "active",
            "1,000",
            "0.00 %",
            "9",
            "0.90 %"
        ]
    );
    assert!(cells(5)[0].starts_with("Red\u{fffd}[31m xxx") && cells(5)[0].ends_with("xx…"));
    assert_eq!(cells(5)[4..7], ["-", "0", "-"]);
    let created = report(
        &app,
        &["campaigns", "--order", "newest", "--status", "active"],
    )
    .await;
    assert_eq!(created.lines().count(), 5, "{created}");
    let sources = report(&app, &["sources"]).await;
    assert!(sources.contains("=apollo"), "{sources}");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn json_and_csv_have_it_all() {
    let app = App::start().await;
    story(&app).await;
    let campaigns = report(
        &app,
        &["campaigns", "--order", "created", "--output", "json"],
    )
    .await;
    let campaigns: serde_json::Value = serde_json::from_str(&campaigns).unwrap();
    assert_eq!(
        campaigns["campaigns"][0],
        json!({
            "campaign_id": "00000000-0000-0000-0000-000000000001", "name": "=HYPERLINK(\"evil\")",
            "type": "cold_outreach", "status": "active", "target_count": 5000, "sent_count": 1000,
            "opened_count": 0, "open_rate": 0.0, "response_count": 9, "response_rate": 0.9,
            "bounced_count": 0, "bounce_rate": 0.0, "conversion_count": 0, "conversion_value": 0,
            "created_at": "2026-01-01T00:00:00.000000Z", "started_at": "2026-01-02T03:04:05.000006Z",
            "ended_at": null,
        })
    );
    assert_eq!(campaigns["campaigns"][2]["response_rate"], json!(null));
    let funnel = report(&app, &["funnel", "--output", "json"]).await;
    let funnel: serde_json::Value = serde_json::from_str(&funnel).unwrap();
    assert_eq!(
        funnel["stages"][0],
        json!({"stage": "rows received", "count": 2})
    );

    let csv = report(&app, &["campaigns", "--output", "csv"]).await;
    let mut reader = csv::Reader::from_reader(csv.as_bytes());
    assert_eq!(reader.headers().unwrap().len(), 17);
    let rows: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
    let names: Vec<&str> = rows.iter().map(|row| &row[1]).collect();
    assert_eq!(names[..2], ["Best", "'=HYPERLINK(\"evil\")"]);
    assert_eq!((&rows[1][9], &rows[2][9]), ("0.90", ""));
    let sources = report(&app, &["sources", "--output", "csv"]).await;
    assert_eq!(
        sources,
        "source,received,accepted,duplicate,rejected,promoted,bounced,replied,converted\n'=apollo,2,1,0,1,0,0,0,0\n"
    );
    let raw = report(&app, &["sources", "--output", "csv", "--raw"]).await;
    assert!(raw.contains("\n=apollo,"), "{raw}");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_is_away_is_said_so() {
    let port = crate::harness::free_port();
    let endpoint = format!("http://127.0.0.1:{port}");
    let failed = run(&["report", "funnel", "--endpoint", &endpoint])
        .await
        .failed(1);
    assert!(failed.contains("there is no report"), "{failed}");
    assert!(run(&["report"]).await.failed(2).contains("funnel"));
    assert!(run(&["report", "leads"]).await.failed(2).contains("leads"));
    let twice = run(&["report", "sources", "--status", "active"]).await;
    assert!(twice.failed(2).contains("--status"));
}
