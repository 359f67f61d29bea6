//! The depths of queues, as the view says and as the metrics show.

use crate::harness::{App, until};

const ENRICHMENT: &str = "
    INSERT INTO people.master (email, name) VALUES ('a@x.example', 'A'), ('b@x.example', 'B');
    INSERT INTO ple.enrichment_queue (person_id, max_failures, available_at, enqueued_at, enqueued_by)
    SELECT id, 5, now(), now(), 'test' FROM people.master";

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_is_counted_with_its_age() {
    let app = App::start().await;
    app.ingest_emails("b", "apollo", &["a@x.example", "b@x.example"])
        .await;
    let sql = app.sql().await;
    sql.run("ALTER TABLE intake.raw_loads DISABLE TRIGGER USER")
        .await;
    sql.run("UPDATE intake.raw_loads SET created_at = now() - interval '1 hour'")
        .await;
    sql.run(ENRICHMENT).await;
    sql.run(
        "INSERT INTO people.slot (email, source, raw_data) VALUES ('c@x.example', 'apollo', '{}')",
    )
    .await;

    let text = until("the queues to be counted", async || {
        let (_, text) = app.page("/metrics").await;
        text.contains("leadvault_queue_depth{").then_some(text)
    })
    .await;
    for line in [
        "leadvault_queue_depth{queue=\"loads\",state=\"pending\"} 2",
        "leadvault_queue_depth{queue=\"company_slots\",state=\"pending\"} 0",
        "leadvault_queue_depth{queue=\"person_slots\",state=\"pending\"} 1",
        "leadvault_queue_depth{queue=\"enrichment\",state=\"queued\"} 2",
        "leadvault_queue_depth{queue=\"enrichment\",state=\"dead\"} 0",
    ] {
        assert!(text.contains(&format!("\n{line}\n")), "{line} in\n{text}");
    }
    let oldest = text
        .lines()
        .find_map(|line| line.strip_prefix("leadvault_queue_oldest_seconds{queue=\"loads\"} "));
    let oldest: f64 = oldest.unwrap().parse().unwrap();
    assert!((3_600.0..3_700.0).contains(&oldest), "{oldest}");
    app.stop().await;
}

/// It runs beside the service's work, every ten seconds.
#[tokio::test(flavor = "multi_thread")]
async fn it_goes_by_indexes_and_needs_no_more_than_the_services_role() {
    let app = App::start().await;
    let sql = app.sql_as_app().await;
    sql.run("BEGIN; SET LOCAL enable_seqscan = off").await;
    let plan = sql
        .rows("EXPLAIN SELECT * FROM bit.queue_depths", &[])
        .await;
    let plan: Vec<String> = plan.iter().map(|row| row.get(0)).collect();
    let plan = plan.join("\n");
    assert!(!plan.contains("Seq Scan"), "{plan}");
    for index in [
        "idx_raw_loads_pending",
        "idx_company_slot_pending",
        "idx_people_slot_pending",
        "idx_enrichment_queue_state",
    ] {
        assert!(plan.contains(index), "{index} in\n{plan}");
    }
    app.stop().await;
}
