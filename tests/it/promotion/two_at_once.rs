//! Law 12: promotion may be run by several callers at once, also while rows come in.

use leadvault::proto::{
    intake::v1::{DuplicatePolicy, IngestRowsRequest},
    vault::v1::PromoteContactsRequest,
};
use serde_json::json;

use super::{counts, promote, promote_all};
use crate::harness::App;

const ROWS: i64 = 20_000;

#[tokio::test(flavor = "multi_thread")]
async fn law_12_two_promoters_and_a_loader_at_once() {
    let app = App::start().await;
    let sql = app.sql().await;
    // Four loads an email, far apart, so that chunks of different callers meet in the same contacts.
    let load = async {
        let mut client = app.intake().await;
        for chunk in 0..ROWS / 1_000 {
            let rows = (0..1_000).map(|n| {
                let number = chunk * 1_000 + n;
                let email = format!("p{}@x.example", number * 7 % (ROWS / 4));
                json!({"email": email, "n": number, "title": format!("T{}", number % 3)})
            });
            let request = IngestRowsRequest {
                batch_id: "b".into(),
                source: "apollo".into(),
                json_rows: rows.map(|row| row.to_string().into()).collect(),
                on_duplicate: DuplicatePolicy::AcceptChanged.into(),
                ..Default::default()
            };
            client.ingest_rows(request).await.unwrap();
        }
    };
    let work = async || {
        let mut total = [0; 4];
        let mut idle = 0;
        while idle < 5 {
            let message = promote(&app, PromoteContactsRequest::default()).await;
            let counts = counts(&message);
            for (sum, count) in total.iter_mut().zip(counts) {
                *sum += count;
            }
            idle = if message.done == 0 { idle + 1 } else { 0 };
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        total
    };
    let ((), first, second) = tokio::join!(load, work(), work());
    let rest = promote_all(&app).await;
    let total: Vec<i64> = (0..4).map(|i| first[i] + second[i] + rest[i]).collect();

    assert_eq!(total.iter().sum::<i64>(), ROWS, "{total:?}");
    assert_eq!((total[0], total[3]), (ROWS / 4, 0), "{total:?}");
    for (question, answer) in [
        (
            "SELECT count(*) FROM intake.raw_loads WHERE status = 'promoted'",
            ROWS,
        ),
        ("SELECT count(*) FROM vault.contacts", ROWS / 4),
        ("SELECT count(DISTINCT email) FROM vault.contacts", ROWS / 4),
        // One audit row a load, of the action that its promotion had.
        (
            "SELECT count(DISTINCT load_id) FROM intake.audit_log WHERE action <> 'contact_ingested'",
            ROWS,
        ),
        (
            "SELECT count(*) FROM intake.audit_log WHERE action = 'contact_updated'",
            total[1],
        ),
        // The newest load of each email is what its contact says, whoever promoted it when.
        (
            "SELECT count(*) FROM vault.contacts AS c
             WHERE (c.custom_fields ->> 'n')::bigint
                   = (SELECT max((l.raw_data ->> 'n')::bigint) FROM intake.raw_loads AS l
                      WHERE l.raw_data ->> 'email' = c.email)",
            ROWS / 4,
        ),
    ] {
        let found: i64 = sql.one(question, &[]).await;
        assert_eq!(found, answer, "{question}");
    }
    app.stop().await;
}

/// Loads that another caller holds are left to it, and nobody waits.
#[tokio::test(flavor = "multi_thread")]
async fn law_12_loads_that_are_being_promoted_elsewhere_are_left_alone() {
    let app = App::start().await;
    let loads = app
        .ingest_emails("b", "apollo", &["a@x.example", "b@x.example"])
        .await;
    let other = app.sql().await;
    other
        .run(&format!(
            "BEGIN; SELECT FROM intake.raw_loads WHERE load_id = {} FOR UPDATE",
            loads[0]
        ))
        .await;
    assert_eq!(promote_all(&app).await, [1, 0, 0, 0]);
    other.run("ROLLBACK").await;
    assert_eq!(promote_all(&app).await, [1, 0, 0, 0]);
    app.stop().await;
}
