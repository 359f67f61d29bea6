//! `UpdatePerson`: edits that pin, enrichments that do not, and etags.

use leadvault::proto::people::v1::{Person, UpdatePersonRequest};
use tonic::Code;

use super::{bring, change, history_of, make, make_company, people, person, update, writes};
use crate::harness::{App, refused};

const EMAIL: &str = "p00001@x.example";

#[tokio::test(flavor = "multi_thread")]
async fn the_fields_in_the_mask_are_changed_and_pinned() {
    let app = App::start().await;
    let sql = app.sql().await;
    make(&sql, 1).await;
    let company = make_company(&sql, "acme.io").await;
    let before = person(&app, EMAIL).await;
    let edited = Person {
        name: " Jane Doe ".into(),
        title: "not in the mask".into(),
        company_id: company.to_uppercase(),
        linkedin_url: "linkedin.com/in/Jane".into(),
        ..before.clone()
    };
    let after = update(
        &app,
        change(&edited, &["name", "company_id", "linkedin_url"]),
    )
    .await;
    assert_eq!(
        [
            &after.name,
            &after.title,
            &after.company_id,
            &after.linkedin_url
        ],
        [
            "Jane Doe",
            "CTO",
            &company,
            "https://www.linkedin.com/in/jane"
        ]
    );
    assert_eq!(after.pinned_fields, ["name", "company_id", "linkedin_url"]);
    assert_ne!(after.etag, before.etag);
    assert_eq!(after, person(&app, EMAIL).await);
    // None is filled from another one, and an empty value clears.
    assert_eq!(after.first_name, "");
    let cleared = Person {
        person_id: after.person_id.clone(),
        etag: after.etag.clone(),
        ..Default::default()
    };
    let after = update(&app, change(&cleared, &["name", "company_id", "title"])).await;
    assert_eq!(after.name + &after.company_id + &after.title, "");
    assert_eq!(history_of(&app, EMAIL).await.len(), 3);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn law_8_an_update_that_changes_nothing_writes_nothing() {
    let app = App::start().await;
    let sql = app.sql().await;
    make(&sql, 1).await;
    // The value stays: the pin is what changes.
    let pinned = update(&app, change(&person(&app, EMAIL).await, &["title"])).await;
    assert_eq!(
        history_of(&app, EMAIL).await[1].changed_fields,
        ["pinned_fields"]
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
async fn law_7_of_many_updates_with_the_same_etag_one_wins() {
    const CALLERS: usize = 8;
    const ROUNDS: usize = 5;
    let app = App::start().await;
    make(&app.sql().await, 1).await;
    for round in 0..ROUNDS {
        let before = person(&app, EMAIL).await;
        let mut calls = tokio::task::JoinSet::new();
        for caller in 0..CALLERS {
            let mut client = people(&app).await;
            let edited = Person {
                name: format!("{round} {caller}"),
                ..before.clone()
            };
            calls.spawn(async move { client.update_person(change(&edited, &["name"])).await });
        }
        let (won, lost): (Vec<_>, Vec<_>) =
            calls.join_all().await.into_iter().partition(Result::is_ok);
        assert_eq!(won.len(), 1);
        let now = person(&app, EMAIL).await;
        for lost in lost {
            refused(lost)
                .is(Code::Aborted, "ETAG_MISMATCH")
                .says("resource", "person")
                .says("key", &now.person_id)
                .says("current_etag", &now.etag);
        }
    }
    assert_eq!(history_of(&app, EMAIL).await.len(), 1 + ROUNDS);
    app.stop().await;
}

/// An update against an etag that a promotion overtook.
#[tokio::test(flavor = "multi_thread")]
async fn law_7_a_promotion_makes_an_etag_stale() {
    let app = App::start().await;
    make(&app.sql().await, 1).await;
    let before = person(&app, EMAIL).await;
    bring(&app, "s", serde_json::json!({"email": EMAIL, "phone": "1"})).await;
    let request = change(&before, &["title"]);
    refused(people(&app).await.update_person(request).await).is(Code::Aborted, "ETAG_MISMATCH");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_enrichment_pins_nothing_leaves_pins_and_sets_its_time_always() {
    let app = App::start().await;
    let sql = app.sql().await;
    make(&sql, 1).await;
    let edited = Person {
        title: "Chief".into(),
        ..person(&app, EMAIL).await
    };
    let before = update(&app, change(&edited, &["title"])).await;
    assert!(before.enrich_time.is_none());
    let found = Person {
        title: "CEO".into(),
        phone: "1".into(),
        name: String::new(),
        ..before.clone()
    };
    let enrich = |person: &Person| UpdatePersonRequest {
        enrichment: true,
        ..change(person, &["title", "phone", "name"])
    };
    let after = update(&app, enrich(&found)).await;
    assert_eq!(
        [&after.title, &after.phone, &after.name],
        ["Chief", "1", "Name 1"]
    );
    assert_eq!(after.pinned_fields, ["title"]);
    assert!(after.enrich_time.is_some());
    let entries = history_of(&app, EMAIL).await;
    assert_eq!(entries[2].changed_fields, ["phone"]);

    // The same again: the time moves, and nothing else; the etag holds.
    let again = update(
        &app,
        enrich(&Person {
            etag: after.etag.clone(),
            ..found
        }),
    )
    .await;
    assert!(again.enrich_time.unwrap().nanos != after.enrich_time.unwrap().nanos);
    assert_eq!(
        (again.update_time, &again.etag),
        (after.update_time, &after.etag)
    );
    assert_eq!(history_of(&app, EMAIL).await.len(), 3);
    app.stop().await;
}
