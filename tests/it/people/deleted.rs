//! Contacts that were deleted make no people, also those who unsubscribed or bounced: their deletion is on record,
//! and their status does not say so.

use leadvault::proto::{
    people::v1::{PersonStatus, PromotePeopleRequest},
    r#type::v1::{SlotRejectionReason, SlotStatus},
};
use serde_json::json;

use super::{counts, from_vault::from_vault, person, promote, promote_all, rows, slots, stage};
use crate::harness::{App, Sql};

/// Makes contacts of these statuses, `unsubscribed@x.example` of the first one, past the service.
async fn make(sql: &Sql) -> [&'static str; 3] {
    sql.run(
        "INSERT INTO vault.contacts (email, name, source, status)
         SELECT status || '@x.example', 'Jane Roe', 'apollo', status
         FROM unnest(ARRAY['unsubscribed', 'bounced', 'active']) AS status",
    )
    .await;
    [
        "unsubscribed@x.example",
        "bounced@x.example",
        "active@x.example",
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_contact_is_not_staged_whatever_its_status() {
    let app = App::start().await;
    for email in make(&app.sql().await).await {
        app.delete_contact(email).await;
    }
    let done = from_vault(&app, &[]).await;
    assert_eq!((done.done, done.left), (0, 0));
    assert_eq!(slots(&app).await.len(), 0);
    app.stop().await;
}

/// Who was deleted on paper only, so to say, is of the version that was read: the time of a contact does not move
/// when its deletion goes on record.
#[tokio::test(flavor = "multi_thread")]
async fn a_contact_that_is_deleted_while_it_is_staged_is_not() {
    let app = App::start().await;
    let holder = app.sql().await;
    let sql = app.sql().await;
    let [email, ..] = make(&sql).await;
    // Whoever stages the contact has read it, and waits here.
    holder
        .run(&format!(
            "BEGIN;
             INSERT INTO people.staged_contacts (contact_id, contact_updated_at)
             SELECT contact_id, '-infinity' FROM vault.contacts WHERE email = '{email}'"
        ))
        .await;
    let delete = async {
        sql.until_somebody_waits().await;
        app.delete_contact(email).await;
        holder.run("ROLLBACK").await;
    };
    let (done, ()) = tokio::join!(from_vault(&app, &[]), delete);
    assert_eq!(done.staged, 2, "the others");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slot_whose_contact_was_deleted_makes_no_person() {
    let app = App::start().await;
    let sql = app.sql().await;
    let emails = make(&sql).await;
    sql.run("INSERT INTO vault.contacts (email, source, status) VALUES ('kept@x.example', 'apollo', 'bounced')")
        .await;
    assert_eq!(from_vault(&app, &[]).await.staged, 4);
    for email in emails {
        app.delete_contact(email).await;
    }
    let preview = PromotePeopleRequest {
        validate_only: true,
        ..Default::default()
    };
    assert_eq!(counts(&promote(&app, preview).await), [1, 0, 0, 3]);
    assert_eq!(promote_all(&app).await, [1, 0, 0, 3]);
    let kept = person(&app, "kept@x.example").await;
    assert_eq!(kept.status(), PersonStatus::Bounced);
    let people: i64 = sql.one("SELECT count(*) FROM people.master", &[]).await;
    assert_eq!(people, 1);
    for slot in &slots(&app).await[..3] {
        let slot = slot.slot.as_ref().unwrap();
        assert_eq!(slot.status(), SlotStatus::Rejected);
        assert_eq!(slot.rejection_reason(), SlotRejectionReason::ContactDeleted);
        assert!(slot.rejection_detail.contains("deleted"));
    }
    assert_eq!(from_vault(&app, &[]).await.done, 0);

    // What an administrator brings back is staged as it was, and promoted.
    sql.run(
        "UPDATE vault.contacts SET status = 'active', updated_at = clock_timestamp()
         WHERE email = 'active@x.example'",
    )
    .await;
    assert_eq!(from_vault(&app, &[]).await.staged, 1);
    assert_eq!(promote_all(&app).await, [1, 0, 0, 0]);
    assert_eq!(person(&app, "active@x.example").await.name, "Jane Roe");
    app.stop().await;
}

/// A person who is there already learns nothing from a contact that was deleted.
#[tokio::test(flavor = "multi_thread")]
async fn a_slot_whose_contact_was_deleted_changes_no_person() {
    let app = App::start().await;
    let sql = app.sql().await;
    make(&sql).await;
    from_vault(&app, &[]).await;
    assert_eq!(promote_all(&app).await, [3, 0, 0, 0]);
    sql.run("UPDATE vault.contacts SET name = 'Ann Roe', updated_at = clock_timestamp()")
        .await;
    assert_eq!(from_vault(&app, &[]).await.staged, 3);
    app.delete_contact("active@x.example").await;
    assert_eq!(promote_all(&app).await, [0, 2, 0, 1]);
    assert_eq!(person(&app, "active@x.example").await.name, "Jane Roe");
    app.stop().await;
}

/// As in the vault, where what a source sends of a deleted contact is kept, and the contact stays inactive.
#[tokio::test(flavor = "multi_thread")]
async fn a_row_of_its_own_makes_an_inactive_person() {
    let app = App::start().await;
    let emails = make(&app.sql().await).await;
    for email in emails {
        app.delete_contact(email).await;
    }
    let values = emails.map(|email| json!({"email": email}));
    stage(&app, rows(&values)).await;
    assert_eq!(promote_all(&app).await, [3, 0, 0, 0]);
    for email in emails {
        let person = person(&app, email).await;
        assert_eq!(person.status(), PersonStatus::Inactive, "{email}");
    }
    app.stop().await;
}
