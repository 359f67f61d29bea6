//! `StageCompaniesFromVault`: what is new or changed, and nothing else.

use leadvault::proto::{
    company::v1::{
        ListCompanySlotsRequest, StageCompaniesFromVaultRequest, StageCompaniesFromVaultResponse,
    },
    vault::v1::PromoteContactsRequest,
};
use serde_json::json;

use super::{get, promote_all, slots};
use crate::harness::{App, refusal};

pub(super) async fn stage(app: &App, contact_ids: Vec<i64>) -> StageCompaniesFromVaultResponse {
    let request = StageCompaniesFromVaultRequest { contact_ids };
    let mut client = app.company().await;
    let mut stream = client
        .stage_companies_from_vault(request)
        .await
        .unwrap()
        .into_inner();
    let mut last = StageCompaniesFromVaultResponse::default();
    while let Some(message) = stream.message().await.unwrap() {
        assert_eq!(
            message.done,
            message.staged + message.unchanged + message.skipped
        );
        last = message;
    }
    assert!(last.finished);
    last
}

async fn counts(app: &App) -> (i64, i64, i64) {
    let done = stage(app, vec![]).await;
    (done.staged, done.unchanged, done.skipped)
}

async fn contacts(app: &App, rows: &[serde_json::Value]) {
    let rows: Vec<String> = rows.iter().map(ToString::to_string).collect();
    app.ingest("b", "apollo", &rows).await;
    let mut stream = app
        .vault()
        .await
        .promote_contacts(PromoteContactsRequest::default())
        .await
        .unwrap()
        .into_inner();
    while stream.message().await.unwrap().is_some() {}
}

#[tokio::test(flavor = "multi_thread")]
async fn contacts_make_the_slots_of_their_companies_once() {
    let app = App::start().await;
    contacts(&app, &[
        json!({"email": "a@acme.com", "company": "Acme", "industry": "Tools", "company_location": "Oslo"}),
        json!({"email": "b@acme.com", "company": "Acme", "industry": "Tools", "company_location": "Oslo"}),
        json!({"email": "c@gmail.com", "company": "Foo", "website": "https://www.foo.com/x", "employee_count": "51-200"}),
        json!({"email": "d@gmail.com"}),
    ])
    .await;
    assert_eq!(counts(&app).await, (2, 1, 1));
    assert_eq!(counts(&app).await, (0, 0, 0));
    assert_eq!(promote_all(&app).await, [2, 0, 0, 0]);
    let foo = get(&app, "foo.com").await;
    assert_eq!((foo.name.as_str(), foo.employee_count), ("Foo", Some(51)));
    let slot = slots(
        &app,
        ListCompanySlotsRequest {
            domain: "foo.com".into(),
            ..Default::default()
        },
    )
    .await;
    let slot = slot[0].slot.as_ref().unwrap();
    assert_eq!(
        (slot.source.as_str(), slot.batch_id.as_str()),
        ("apollo", "")
    );
    assert!(slot.contact_id > 0);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn changing_ten_contacts_stages_ten_and_a_change_of_nothing_of_a_companys_none() {
    let app = App::start().await;
    let sql = app.sql().await;
    sql.run(
        "INSERT INTO vault.contacts (email, company, source)
         SELECT 'a@c' || n || '.com', 'C' || n, 'apollo' FROM generate_series(1, 2500) AS n",
    )
    .await;
    assert_eq!(counts(&app).await, (2_500, 0, 0));
    sql.run(
        "UPDATE vault.contacts SET company = company || '!', updated_at = clock_timestamp()
         WHERE contact_id % 250 = 0;
         UPDATE vault.contacts SET title = 'CTO', updated_at = clock_timestamp() WHERE contact_id % 250 = 1;
         UPDATE vault.contacts SET company = 'gone', status = 'inactive', updated_at = clock_timestamp()
         WHERE contact_id % 250 = 2",
    )
    .await;
    let one: i64 = sql
        .one(
            "SELECT min(contact_id) FROM vault.contacts WHERE contact_id % 250 = 0",
            &[],
        )
        .await;
    let named = stage(&app, vec![one]).await;
    assert_eq!((named.staged, named.unchanged), (1, 0));
    assert_eq!(counts(&app).await, (9, 10, 0));
    assert_eq!(counts(&app).await, (0, 0, 0));
    let request = StageCompaniesFromVaultRequest {
        contact_ids: vec![1; 10_001],
    };
    refusal(
        app.company()
            .await
            .stage_companies_from_vault(request)
            .await,
    )
    .blames("contact_ids");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_callers_at_once_stage_each_contact_once() {
    let app = App::start().await;
    app.sql()
        .await
        .run(
            "INSERT INTO vault.contacts (email, company, source)
             SELECT 'a' || n || '@c' || n % 500 || '.com', 'C' || n % 500, 'apollo' FROM generate_series(1, 3000) AS n",
        )
        .await;
    let calls = (0..5).map(|_| counts(&app));
    let done = futures_util::future::join_all(calls).await;
    let staged: i64 = done.iter().map(|(staged, _, _)| staged).sum();
    let unchanged: i64 = done.iter().map(|(_, unchanged, _)| unchanged).sum();
    assert_eq!((staged, unchanged), (500, 2_500));
    app.stop().await;
}

/// What is deleted says nothing of its company any more, also where its status is another.
#[tokio::test(flavor = "multi_thread")]
async fn deleted_contacts_are_not_staged_and_a_slot_that_was_is_its_companys() {
    let app = App::start().await;
    let sql = app.sql().await;
    sql.run(
        "INSERT INTO vault.contacts (email, company, source, status)
         SELECT status || '@' || status || '.com', 'C', 'apollo', status
         FROM unnest(ARRAY['unsubscribed', 'bounced', 'active']) AS status",
    )
    .await;
    assert_eq!(
        stage(&app, vec![]).await.staged,
        3,
        "consent to mail says nothing of a company"
    );
    sql.run("UPDATE vault.contacts SET company = 'D', updated_at = clock_timestamp()")
        .await;
    for status in ["unsubscribed", "bounced", "active"] {
        app.delete_contact(&format!("{status}@{status}.com")).await;
    }
    let done = stage(&app, vec![]).await;
    assert_eq!((done.done, done.left), (0, 0));
    // Contacts that are still there may have said the same, and have no slot of their own.
    assert_eq!(promote_all(&app).await, [3, 0, 0, 0]);
    app.stop().await;
}

/// The time of a contact does not move when a deletion goes on record beside another status.
#[tokio::test(flavor = "multi_thread")]
async fn a_contact_that_is_deleted_while_it_is_staged_is_not() {
    let app = App::start().await;
    let holder = app.sql().await;
    let sql = app.sql().await;
    sql.run(
        "INSERT INTO vault.contacts (email, company, source, status)
         VALUES ('a@acme.com', 'Acme', 'apollo', 'bounced')",
    )
    .await;
    // Whoever stages the contact has read it, and waits here.
    holder
        .run(
            "BEGIN;
             INSERT INTO company.staged_contacts (contact_id, contact_updated_at)
             SELECT contact_id, '-infinity' FROM vault.contacts",
        )
        .await;
    let delete = async {
        sql.until_somebody_waits().await;
        app.delete_contact("a@acme.com").await;
        holder.run("ROLLBACK").await;
    };
    let (done, ()) = tokio::join!(stage(&app, vec![]), delete);
    assert_eq!(done.done, 0);
    app.stop().await;
}
