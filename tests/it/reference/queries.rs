//! Every query that the reference prints, unchanged, through psql.

use std::{path::PathBuf, process::Command};

use leadvault::db::APP_ROLE;

use crate::harness::{Sql, fresh_database};

const INGEST: &str = r#"SELECT * FROM intake.f_ingest_json(
  p_rows := ARRAY['{"email":"john@example.com","name":"John Doe"}'::jsonb],
  p_source := 'apollo',
  p_batch_id := 'batch-123'
);"#;

const PROMOTE: &str = "SELECT * FROM vault.f_promote_contacts(
  p_load_ids := ARRAY[123, 456, 789]
);";

const PENDING: &str = "SELECT load_id, batch_id, raw_data->>'email' as email, created_at
FROM intake.raw_loads
WHERE status = 'pending'
ORDER BY created_at DESC
LIMIT 100;";

const RECENT_PROMOTIONS: &str = "SELECT c.contact_id, c.email, c.name, c.created_at
FROM vault.contacts c
WHERE c.created_at > NOW() - INTERVAL '1 day'
ORDER BY c.created_at DESC;";

const HIGH_VALUE: &str = "SELECT email, name, company, score, status
FROM vault.contacts
WHERE score >= 80
  AND status = 'active'
ORDER BY score DESC
LIMIT 50;";

const PERFORMANCE: &str = "SELECT
  c.name,
  c.sent_count,
  c.response_count,
  ROUND(100.0 * c.response_count / NULLIF(c.sent_count, 0), 2) as response_rate
FROM marketing.campaigns c
WHERE c.status = 'active'
ORDER BY response_rate DESC;";

const USE_INDEXES: &str = "-- Use indexes
EXPLAIN ANALYZE SELECT * FROM vault.contacts WHERE email = 'john@example.com';";

const NO_FULL_SCAN: &str = "-- Avoid full table scans
SELECT * FROM vault.contacts WHERE created_at > NOW() - INTERVAL '7 days';";

const DATA: &str = "
    INSERT INTO vault.contacts (email, name, company, source, score, created_at) VALUES
        ('john@example.com', 'John Doe', 'Example', 'apollo', 92.5, now()),
        ('jane@example.com', 'Jane Roe', 'Example', 'apollo', 80, now() - interval '2 days'),
        ('low@example.com', 'Low', NULL, 'apify', 79.99, now() - interval '8 days');
    INSERT INTO marketing.campaigns (name, type, status, sent_count, response_count) VALUES
        ('Spring', 'nurture', 'active', 400, 1),
        ('Autumn', 'nurture', 'active', 8, 2),
        ('Old', 'nurture', 'completed', 10, 10);";

/// psql beside whatever the PATH has, else beside the server's own binaries.
async fn psql(sql: &Sql) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let on_path = std::env::split_paths(&path)
        .map(|folder| folder.join("psql"))
        .find(|psql| psql.is_file());
    match on_path {
        Some(psql) => psql,
        None => {
            let folder: String = sql
                .one("SELECT setting FROM pg_config WHERE name = 'BINDIR'", &[])
                .await;
            PathBuf::from(folder).join("psql")
        }
    }
}

/// Runs a text through psql as the service's role; the rows that it prints, a line each.
async fn run(url: &str, text: &str) -> Vec<String> {
    let psql = psql(&Sql::connect(url).await).await;
    let output = Command::new(psql)
        .env("PGOPTIONS", format!("-c role={APP_ROLE}"))
        .args(["--no-psqlrc", "--set=ON_ERROR_STOP=1", "--tuples-only"])
        .args(["--no-align", "--command", text, url])
        .output()
        .unwrap();
    let (out, err) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(output.status.success(), "{text}\n{out}{err}");
    out.lines().map(str::to_owned).collect()
}

/// The columns of a row that psql printed.
fn columns(row: &str) -> Vec<&str> {
    row.split('|').collect()
}

async fn with_data() -> String {
    let url = fresh_database().await;
    Sql::connect(&url).await.run(DATA).await;
    url
}

#[tokio::test(flavor = "multi_thread")]
async fn ingest_json_and_pending_contacts() {
    let url = fresh_database().await;
    let rows = run(&url, INGEST).await;
    assert_eq!(rows.len(), 2, "{rows:?}");
    let row = columns(&rows[0]);
    assert_eq!(row[1..], ["success", "ingested"]);
    assert_eq!(
        columns(&rows[1]),
        [
            "",
            "success",
            "inserted 1, skipped 0 (0 duplicate, 0 rejected)"
        ]
    );

    let pending = run(&url, PENDING).await;
    assert_eq!(pending.len(), 1);
    assert_eq!(
        columns(&pending[0])[..3],
        [row[0], "batch-123", "john@example.com"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn promote_contacts() {
    let url = fresh_database().await;
    Sql::connect(&url)
        .await
        .run(
            r#"INSERT INTO intake.raw_loads (load_id, batch_id, source, raw_data, status) VALUES
                   (123, 'b', 'apollo', '{"email":"a@x.example"}', 'pending'),
                   (456, 'b', 'apollo', '{"email":"none"}', 'pending'),
                   (789, 'b', 'apollo', '{"email":"A@x.example","title":"CEO"}', 'pending'),
                   (790, 'b', 'apollo', '{"email":"c@x.example"}', 'pending')"#,
        )
        .await;
    assert_eq!(
        run(&url, PROMOTE).await,
        ["1|1|1|promoted 1, updated 1, unchanged 0, failed 1"]
    );
    assert_eq!(
        run(&url, PROMOTE).await,
        ["0|0|0|promoted 0, updated 0, unchanged 0, failed 0"]
    );
    // NULL, which is also the default: whatever else is pending.
    let all = "SELECT * FROM vault.f_promote_contacts(NULL)";
    assert_eq!(
        run(&url, all).await,
        ["1|0|0|promoted 1, updated 0, unchanged 0, failed 0"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn recent_promotions() {
    let rows = run(&with_data().await, RECENT_PROMOTIONS).await;
    assert_eq!(rows.len(), 1, "{rows:?}");
    assert_eq!(columns(&rows[0])[1..3], ["john@example.com", "John Doe"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn high_value_leads() {
    let rows = run(&with_data().await, HIGH_VALUE).await;
    assert_eq!(
        rows,
        [
            "john@example.com|John Doe|Example|92.50|active",
            "jane@example.com|Jane Roe|Example|80.00|active"
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn campaign_performance() {
    let rows = run(&with_data().await, PERFORMANCE).await;
    assert_eq!(rows, ["Autumn|8|2|25.00", "Spring|400|1|0.25"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_email_is_looked_up_in_its_index() {
    let url = with_data().await;
    let sql = Sql::connect(&url).await;
    // Enough of them that a scan would be dearer.
    sql.run(
        "INSERT INTO vault.contacts (email, source)
             SELECT n || '@example.com', 'apollo' FROM generate_series(1, 5000) AS n;
         ANALYZE vault.contacts",
    )
    .await;
    let plan = run(&url, USE_INDEXES).await.join("\n");
    assert!(plan.contains("using idx_contacts_email"), "{plan}");
    assert!(plan.contains("actual time"), "{plan}");
}

#[tokio::test(flavor = "multi_thread")]
async fn contacts_of_the_last_week() {
    let rows = run(&with_data().await, NO_FULL_SCAN).await;
    let emails: Vec<&str> = rows.iter().map(|row| columns(row)[1]).collect();
    assert_eq!(emails, ["john@example.com", "jane@example.com"]);
}
