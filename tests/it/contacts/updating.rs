//! `UpdateContact`: what it changes, pins and leaves in the audit trail.

use leadvault::proto::{
    intake::v1::{AuditEntry, ListAuditLogRequest},
    vault::v1::{Contact, UpdateContactRequest},
};
use serde_json::{Value, json};
use tonic::Code;

use super::{change, make, read, vault, writes};
use crate::harness::{App, refused};

async fn update(app: &App, request: UpdateContactRequest) -> Contact {
    let response = vault(app).await.update_contact(request).await.unwrap();
    response.into_inner().contact.unwrap()
}

async fn audit(app: &App, contact_id: i64) -> Vec<AuditEntry> {
    let request = ListAuditLogRequest {
        contact_id,
        ..Default::default()
    };
    let response = app.intake().await.list_audit_log(request).await.unwrap();
    response.into_inner().entries
}

fn details(entry: &AuditEntry) -> Value {
    serde_json::from_str(&entry.details_json).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_fields_in_the_mask_are_changed_and_pinned() {
    let app = App::start().await;
    let id = make(&app.sql().await, 1).await[0];
    let before = read(&app, id).await;
    let request = change(
        &Contact {
            name: " Jane Doe ".into(),
            phone: "+1 555".into(),
            title: "not in the mask".into(),
            tags: vec!["vip".into(), " vip".into(), "b".into()],
            custom_fields_json: r#"{"n":1.0,"deep":{"a":[null,""]}}"#.into(),
            ..before.clone()
        },
        &["name", "phone", "tags", "custom_fields_json"],
    );
    let after = update(&app, request).await;
    assert_eq!(after.name, "Jane Doe");
    assert_eq!(after.phone, "+1 555");
    assert_eq!(after.title, "CTO");
    assert_eq!(after.tags, ["vip", "b"]);
    assert_eq!(
        after.custom_fields_json,
        r#"{"n": 1.0, "deep": {"a": [null, ""]}}"#
    );
    assert_eq!(
        after.pinned_fields,
        ["name", "phone", "tags", "custom_fields_json"]
    );
    assert_ne!(after.etag, before.etag);
    assert!(after.update_time.unwrap().seconds > before.update_time.unwrap().seconds);
    assert_eq!(after, read(&app, id).await);

    // Law 9.
    let entries = audit(&app, id).await;
    assert_eq!(entries.len(), 1);
    assert_eq!(entries[0].action, "contact_updated");
    let details = details(&entries[0]);
    assert_eq!(details["actor"], "anonymous");
    assert_eq!(details["old_values"]["name"], "Name 1");
    assert_eq!(details["new_values"]["name"], "Jane Doe");
    assert_eq!(details["old_values"]["pinned_fields"], json!([]));
    assert!(details["new_values"].get("title").is_none());
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_value_clears_its_field() {
    let app = App::start().await;
    let sql = app.sql().await;
    let id = make(&sql, 1).await[0];
    sql.run(r#"UPDATE vault.contacts SET tags = '["a"]', custom_fields = '{"a": 1}', phone = '1'"#)
        .await;
    let fields = [
        "name",
        "phone",
        "company",
        "title",
        "tags",
        "custom_fields_json",
    ];
    let empty = Contact {
        contact_id: id,
        etag: read(&app, id).await.etag,
        ..Default::default()
    };
    let after = update(&app, change(&empty, &fields)).await;
    assert_eq!(
        (after.name + &after.phone + &after.company + &after.title).as_str(),
        ""
    );
    assert!(after.tags.is_empty());
    assert_eq!(after.custom_fields_json, "{}");
    assert_eq!(after.pinned_fields, fields);
    let nulls: i64 = sql
        .one(
            "SELECT count(*) FROM vault.contacts WHERE num_nulls(name, phone, company, title) = 4",
            &[],
        )
        .await;
    assert_eq!(nulls, 1);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn law_8_an_update_that_changes_nothing_writes_nothing() {
    let app = App::start().await;
    let sql = app.sql().await;
    let id = make(&sql, 1).await[0];
    // The value stays: the pin is what changes.
    let pinned = update(&app, change(&read(&app, id).await, &["title"])).await;
    assert_eq!(pinned.pinned_fields, ["title"]);
    let entries = audit(&app, id).await;
    assert_eq!(
        details(&entries[0])["new_values"],
        json!({"pinned_fields": ["title"]})
    );

    let before = writes(&sql).await;
    assert_eq!(
        update(&app, change(&pinned, &["title", "title"])).await,
        pinned
    );
    let mut unpin = change(&pinned, &[]);
    unpin.unpin = vec!["name".into()];
    assert_eq!(update(&app, unpin).await, pinned);
    assert_eq!(writes(&sql).await, before);
    app.stop().await;
}

/// Law 7, no lost update.
#[tokio::test(flavor = "multi_thread")]
async fn law_7_of_two_updates_with_the_same_etag_one_wins() {
    let app = App::start().await;
    let id = make(&app.sql().await, 1).await[0];
    let before = read(&app, id).await;
    let with = |name: &str| {
        let contact = Contact {
            name: name.into(),
            ..before.clone()
        };
        change(&contact, &["name"])
    };
    let won = update(&app, with("first")).await;
    let mut client = vault(&app).await;
    refused(client.update_contact(with("second")).await)
        .is(Code::Aborted, "ETAG_MISMATCH")
        .says("resource", "contact")
        .says("key", id)
        .says("current_etag", &won.etag);
    assert_eq!(read(&app, id).await, won);
    // What the refusal tells is what the next try needs.
    let mut again = with("second");
    again.contact.as_mut().unwrap().etag = won.etag;
    assert_eq!(update(&app, again).await.name, "second");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn law_7_holds_for_many_at_once() {
    const CALLERS: usize = 8;
    const ROUNDS: usize = 10;
    let app = App::start().await;
    let id = make(&app.sql().await, 1).await[0];
    for round in 0..ROUNDS {
        let before = read(&app, id).await;
        let mut calls = tokio::task::JoinSet::new();
        for caller in 0..CALLERS {
            let mut client = vault(&app).await;
            let contact = Contact {
                name: format!("{round} {caller}"),
                ..before.clone()
            };
            calls.spawn(async move { client.update_contact(change(&contact, &["name"])).await });
        }
        let results = calls.join_all().await;
        let (won, lost): (Vec<_>, Vec<_>) = results.into_iter().partition(Result::is_ok);
        assert_eq!(won.len(), 1);
        let now = read(&app, id).await;
        assert_eq!(
            won.into_iter()
                .flatten()
                .next()
                .unwrap()
                .into_inner()
                .contact
                .unwrap(),
            now
        );
        for lost in lost {
            refused(lost)
                .is(Code::Aborted, "ETAG_MISMATCH")
                .says("current_etag", &now.etag);
        }
    }
    assert_eq!(audit(&app, id).await.len(), ROUNDS);
    app.stop().await;
}

/// A value that changed and changed back, and whatever else is in a contact.
#[tokio::test(flavor = "multi_thread")]
async fn an_etag_is_the_contents_and_not_the_sessions() {
    let app = App::start().await;
    let sql = app.sql().await;
    let id = make(&sql, 1).await[0];
    let etag = read(&app, id).await.etag;
    let seen = |zone: &'static str| {
        let sql = &sql;
        async move {
            sql.run(&format!("SET TimeZone = '{zone}'")).await;
            let query = "SELECT vault.f_etag(c) FROM vault.contacts AS c";
            sql.one::<String>(query, &[]).await
        }
    };
    assert_eq!(seen("Asia/Tokyo").await, etag);
    assert_eq!(seen("America/Caracas").await, etag);
    for change in [
        "name = name || 'x'",
        "phone = ''",
        "tags = '[1]'",
        "custom_fields = '{\"a\": 1}'",
        "score = 1",
        "status = 'bounced'",
        "updated_at = updated_at + interval '1 microsecond'",
        "pinned_fields = '{name}'",
    ] {
        let before = read(&app, id).await.etag;
        sql.run(&format!("UPDATE vault.contacts SET {change}"))
            .await;
        assert_ne!(read(&app, id).await.etag, before, "{change}");
    }
    // That somebody opened a message is no edit.
    let before = read(&app, id).await.etag;
    sql.run("UPDATE vault.contacts SET last_activity_at = now()")
        .await;
    assert_eq!(read(&app, id).await.etag, before);
    app.stop().await;
}

async fn promote(app: &App, nth: usize) {
    let row = format!(
        r#"{{"email":"c00001@x.example","title":"Title {nth}","name":"Name of load {nth}","nth":{nth}}}"#
    );
    let sql = app.sql().await;
    // As if the duplicate window were over.
    sql.run("DELETE FROM intake.email_claims").await;
    app.ingest(&format!("b{nth}"), "apify", &[row]).await;
    sql.run("SELECT vault.f_promote_contacts(NULL)").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pinned_title_survives_ten_promotions_until_it_is_unpinned() {
    let app = App::start().await;
    let id = make(&app.sql().await, 1).await[0];
    let edited = Contact {
        title: "Chief of Everything".into(),
        ..read(&app, id).await
    };
    update(&app, change(&edited, &["title"])).await;
    for nth in 0..10 {
        promote(&app, nth).await;
        let contact = read(&app, id).await;
        assert_eq!(contact.title, "Chief of Everything");
        assert_eq!(
            contact.name,
            format!("Name of load {nth}"),
            "it was promoted"
        );
        assert_eq!(contact.pinned_fields, ["title"]);
    }
    let mut unpin = change(&read(&app, id).await, &[]);
    unpin.unpin = vec!["title".into()];
    let unpinned = update(&app, unpin).await;
    assert_eq!(unpinned.title, "Chief of Everything", "it keeps its value");
    assert!(unpinned.pinned_fields.is_empty());
    promote(&app, 10).await;
    assert_eq!(read(&app, id).await.title, "Title 10");

    // Law 9: the trail explains every value that the title ever had.
    let mut title = json!("CTO");
    for entry in audit(&app, id).await {
        let details = details(&entry);
        if let Some(new) = details["new_values"].get("title") {
            assert_eq!(details["old_values"]["title"], title, "{details}");
            title = new.clone();
        }
    }
    assert_eq!(title, "Title 10");
    app.stop().await;
}
