//! `ExportContacts`: everything, from one snapshot, and an end that is an end.

use std::time::Duration;

use leadvault::proto::vault::v1::{
    Contact, ContactFilter, ExportContactsRequest, ExportContactsResponse,
};
use tonic::{Code, Status, Streaming};

use super::{make, vault};
use crate::harness::{App, Sql, refusal, until};

pub(super) async fn export(app: &App, filter: ContactFilter) -> Streaming<ExportContactsResponse> {
    let request = ExportContactsRequest {
        filter: Some(filter),
    };
    let response = vault(app).await.export_contacts(request).await.unwrap();
    response.into_inner()
}

async fn rest(mut stream: Streaming<ExportContactsResponse>) -> Result<Vec<Contact>, Status> {
    let mut contacts = Vec::new();
    while let Some(message) = stream.message().await? {
        assert!((1..=500).contains(&message.contacts.len()));
        contacts.extend(message.contacts);
    }
    Ok(contacts)
}

/// Waits until no export holds a snapshot any more.
async fn let_go(sql: &Sql) {
    let open = "SELECT count(*) FROM pg_stat_activity
                WHERE datname = current_database() AND backend_type = 'client backend'
                  AND pid <> pg_backend_pid() AND xact_start IS NOT NULL";
    until("no export has its snapshot", async || {
        (sql.one::<i64>(open, &[]).await == 0).then_some(())
    })
    .await;
}

/// Makes contacts too large for the buffers between the server and a client that does not read.
pub(super) async fn make_large(sql: &Sql, count: i64) -> Vec<i64> {
    let ids = make(sql, count).await;
    sql.run(
        "UPDATE vault.contacts SET custom_fields = jsonb_build_object('a', repeat('x', 20000))",
    )
    .await;
    ids
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_that_a_filter_matches_is_exported_by_id() {
    let app = App::start().await;
    let sql = app.sql().await;
    let ids = make(&sql, 2_000).await;
    sql.run("UPDATE vault.contacts SET source = 'apify', score = 50 WHERE contact_id % 3 = 0")
        .await;
    let all = rest(export(&app, ContactFilter::default()).await)
        .await
        .unwrap();
    assert!(all.iter().map(|contact| contact.contact_id).eq(ids));
    assert!(all.iter().all(|contact| contact.etag.len() == 16));
    let filter = ContactFilter {
        source: "apify".into(),
        score_from: "50".into(),
        ..Default::default()
    };
    let some = rest(export(&app, filter).await).await.unwrap();
    assert_eq!(some.len(), 666);
    assert!(some.iter().all(|contact| contact.score == "50.00"));
    let filter = ContactFilter {
        company: "none".into(),
        ..Default::default()
    };
    assert_eq!(rest(export(&app, filter).await).await.unwrap(), []);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_is_one_snapshot_whatever_is_written_meanwhile() {
    let app = App::start().await;
    let sql = app.sql().await;
    let ids = make_large(&sql, 2_000).await;
    let mut stream = export(&app, ContactFilter::default()).await;
    let first = stream.message().await.unwrap().unwrap().contacts;
    sql.run(
        "UPDATE vault.contacts SET name = 'later', updated_at = now();
         DELETE FROM vault.contacts WHERE contact_id % 2 = 0;
         INSERT INTO vault.contacts (email, source) VALUES ('later@x.example', 'apollo')",
    )
    .await;
    let mut all = first;
    all.extend(rest(stream).await.unwrap());
    assert!(all.iter().map(|contact| contact.contact_id).eq(ids));
    assert!(all.iter().all(|contact| contact.name != "later"));
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_goes_away_ends_its_export() {
    let app = App::start_with(&["--pool-size=1"]).await;
    let sql = app.sql().await;
    make_large(&sql, 2_000).await;
    for _ in 0..3 {
        let mut stream = export(&app, ContactFilter::default()).await;
        stream.message().await.unwrap().unwrap();
        drop(stream);
        let_go(&sql).await;
    }
    // The pool's only connection is one that works.
    let all = rest(export(&app, ContactFilter::default()).await)
        .await
        .unwrap();
    assert_eq!(all.len(), 2_000);
    app.stop().await;
}

/// A stream that just ended would look complete.
#[tokio::test(flavor = "multi_thread")]
async fn an_export_that_is_cut_says_so() {
    let app = App::start().await;
    let sql = app.sql().await;
    make_large(&sql, 2_000).await;
    let mut stream = export(&app, ContactFilter::default()).await;
    stream.message().await.unwrap().unwrap();
    sql.run(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
         WHERE datname = current_database() AND backend_type = 'client backend'
                  AND pid <> pg_backend_pid()",
    )
    .await;
    let refusal = refusal(rest(stream).await).is(Code::Unavailable, "DATABASE_UNAVAILABLE");
    assert!(refusal.retry);

    let mut stream = export(&app, ContactFilter::default()).await;
    stream.message().await.unwrap().unwrap();
    let stopping = tokio::spawn(app.stop());
    tokio::time::sleep(Duration::from_secs(2)).await;
    self::refusal(rest(stream).await).is(Code::Unavailable, "SHUTTING_DOWN");
    stopping.await.unwrap();
}
