//! `DeleteContact`.

use leadvault::proto::vault::v1::{ContactStatus, DeleteContactRequest};
use tonic::Code;

use super::{make, read, vault, writes};
use crate::harness::{App, assert_field, refused};

fn delete(contact_id: i64, etag: &str) -> DeleteContactRequest {
    DeleteContactRequest {
        contact_id,
        etag: etag.to_owned(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_contact_is_inactive_and_keeps_what_is_known() {
    let app = App::start().await;
    let sql = app.sql().await;
    let id = make(&sql, 1).await[0];
    let before = read(&app, id).await;
    let mut client = vault(&app).await;
    let response = client
        .delete_contact(delete(id, &before.etag))
        .await
        .unwrap();
    let deleted = response.into_inner().contact.unwrap();
    assert_eq!(deleted.status(), ContactStatus::Inactive);
    assert_eq!(
        (&deleted.name, &deleted.company),
        (&before.name, &before.company)
    );
    assert_eq!(read(&app, id).await, deleted);
    let entry: String = sql
        .one(
            "SELECT action || ' ' || details::text FROM intake.audit_log WHERE contact_id = $1",
            &[&id],
        )
        .await;
    assert_eq!(
        entry,
        r#"contact_deleted {"actor": "anonymous", "new_values": {"status": "inactive"}, "old_values": {"status": "active"}}"#
    );

    // Law 8: again, with the etag from before the first time and with that from after.
    let writes_before = writes(&sql).await;
    for etag in [&before.etag, &deleted.etag] {
        let again = client.delete_contact(delete(id, etag)).await.unwrap();
        assert_eq!(again.into_inner().contact.unwrap(), deleted);
    }
    assert_eq!(writes(&sql).await, writes_before);
    app.stop().await;
}

/// Law 6, consent sticks.
#[tokio::test(flavor = "multi_thread")]
async fn law_6_who_unsubscribed_or_bounced_stays_so() {
    let app = App::start().await;
    let sql = app.sql().await;
    let id = make(&sql, 1).await[0];
    for status in ["unsubscribed", "bounced"] {
        sql.run(&format!("UPDATE vault.contacts SET status = '{status}'"))
            .await;
        let before = read(&app, id).await;
        let request = delete(id, &before.etag);
        let mut client = vault(&app).await;
        let response = client.delete_contact(request.clone()).await.unwrap();
        assert_eq!(response.into_inner().contact.unwrap(), before);
        assert_eq!(read(&app, id).await, before);
        // The deletion is on record, once, for whoever lifts the suppression.
        let writes_before = writes(&sql).await;
        client.delete_contact(request).await.unwrap();
        assert_eq!(writes(&sql).await, writes_before);
        let deletions: i64 = sql
            .one(
                "SELECT count(*) FROM intake.audit_log WHERE contact_id = $1 AND action = 'contact_deleted'",
                &[&id],
            )
            .await;
        assert_eq!(deletions, 1);
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delete_against_a_stale_etag_is_refused() {
    let app = App::start().await;
    let sql = app.sql().await;
    let id = make(&sql, 1).await[0];
    let stale = read(&app, id).await.etag;
    sql.run("UPDATE vault.contacts SET name = 'x'").await;
    let mut client = vault(&app).await;
    refused(client.delete_contact(delete(id, &stale)).await)
        .is(Code::Aborted, "ETAG_MISMATCH")
        .says("current_etag", read(&app, id).await.etag);
    assert_eq!(read(&app, id).await.status(), ContactStatus::Active);
    refused(client.delete_contact(delete(id + 1, &stale)).await).is(Code::NotFound, "NOT_FOUND");
    assert_field(client.delete_contact(delete(id, "")).await, "etag");
    app.stop().await;
}

/// Law 7: who decided by what they read a while ago is told, also of a contact that unsubscribed meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn law_7_a_suppressed_contact_is_not_deleted_against_a_stale_etag() {
    let app = App::start().await;
    let sql = app.sql().await;
    let id = make(&sql, 1).await[0];
    let stale = read(&app, id).await.etag;
    sql.run("UPDATE vault.contacts SET status = 'unsubscribed'")
        .await;
    let current = read(&app, id).await.etag;
    let before = writes(&sql).await;
    let mut client = vault(&app).await;
    refused(client.delete_contact(delete(id, &stale)).await)
        .is(Code::Aborted, "ETAG_MISMATCH")
        .says("current_etag", &current);
    assert_eq!(writes(&sql).await, before);
    client.delete_contact(delete(id, &current)).await.unwrap();
    // A retry holds the etag from before the first call, which may be older by now.
    sql.run("UPDATE vault.contacts SET name = 'x'").await;
    let before = writes(&sql).await;
    client.delete_contact(delete(id, &current)).await.unwrap();
    assert_eq!(writes(&sql).await, before);
    app.stop().await;
}
