//! Promotion: who wins a merge, what is written, and what is not.

use leadvault::proto::{
    people::v1::{Person, PromotePeopleRequest},
    r#type::v1::SlotStatus,
};
use serde_json::json;
use tonic::Code;

use super::{
    bring, change, history_of, letters, people, person, promote, promote_all, rows, slots, stage,
    update, writes,
};
use crate::harness::{App, assert_field, refused};

#[tokio::test(flavor = "multi_thread")]
async fn a_slot_makes_a_person_with_the_keys_that_are_read() {
    let app = App::start().await;
    let row = json!({
        "email": "Jane@X.example", "name": " Jane Doe ", "title": "CTO", "phone": 4915,
        "linkedin_url": "http://de.linkedin.com/in/Jane-Doe/?trk=x", "location": "Berlin",
        "seniority": "c_suite", "department": "engineering", "status": "bounced", "score": 5,
        "person_id": "x", "unknown": {"a": 1},
    });
    assert_eq!(bring(&app, "apollo", row).await, [1, 0, 0, 0]);
    let person = person(&app, "jane@x.example").await;
    let expected = Person {
        email: "jane@x.example".into(),
        name: "Jane Doe".into(),
        first_name: "Jane".into(),
        last_name: "Doe".into(),
        title: "CTO".into(),
        phone: "4915".into(),
        linkedin_url: "https://www.linkedin.com/in/jane-doe".into(),
        location: "Berlin".into(),
        seniority: "c_suite".into(),
        department: "engineering".into(),
        status: 1,
        person_id: person.person_id.clone(),
        create_time: person.create_time,
        update_time: person.update_time,
        etag: person.etag.clone(),
        ..Default::default()
    };
    assert_eq!(person, expected);
    let slot = slots(&app).await[0].slot.clone().unwrap();
    assert_eq!(slot.status(), SlotStatus::Validated);
    assert!(slot.promote_time.is_some());
    assert_eq!(slot.staged_by, "anonymous");
    let entries = history_of(&app, "jane@x.example").await;
    assert_eq!(entries.len(), 1);
    assert_eq!(entries[0].old_values_json, "{}");
    assert_eq!(entries[0].changed_by, "anonymous");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_later_slot_wins_and_says_nothing_by_silence() {
    let app = App::start().await;
    let email = "a@x.example";
    bring(
        &app,
        "apollo",
        json!({"email": email, "title": "CTO", "phone": "1"}),
    )
    .await;
    let row = json!({"email": email, "title": "CEO", "phone": "", "location": null});
    assert_eq!(bring(&app, "crm", row).await, [0, 1, 0, 0]);
    let person = person(&app, email).await;
    assert_eq!((person.title.as_str(), person.phone.as_str()), ("CEO", "1"));
    // In one call, each sees what the one before it did.
    stage(
        &app,
        rows(&[
            json!({"email": email, "title": "A"}),
            json!({"email": email, "title": "B"}),
            json!({"email": email, "title": "B", "department": "x"}),
        ]),
    )
    .await;
    assert_eq!(promote_all(&app).await, [0, 3, 0, 0]);
    let titles: Vec<_> = history_of(&app, email).await;
    assert_eq!(titles.len(), 5);
    app.stop().await;
}

/// The order is that of staging, whatever is promoted first.
#[tokio::test(flavor = "multi_thread")]
async fn an_older_slot_only_fills_what_is_empty() {
    let app = App::start().await;
    let email = "a@x.example";
    let older = json!({"email": email, "title": "old", "phone": "1"});
    let first = stage(&app, rows(&[older])).await;
    let second = stage(&app, rows(&[json!({"email": email, "title": "new"})])).await;
    for staged in [&second, &first] {
        let request = PromotePeopleRequest {
            slot_ids: vec![staged.outcomes[0].slot_id.clone()],
            ..Default::default()
        };
        promote(&app, request).await;
    }
    let person = person(&app, email).await;
    assert_eq!((person.title.as_str(), person.phone.as_str()), ("new", "1"));
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn law_8_a_promotion_that_changes_nothing_touches_nobody() {
    let app = App::start().await;
    let sql = app.sql().await;
    let row = json!({"email": "a@acme.io", "title": "CTO", "website": "acme.io"});
    bring(&app, "apollo", row.clone()).await;
    let before = writes(&sql).await;
    // The same again makes no slot; from elsewhere it makes one, which finds nothing to change.
    assert_eq!(
        letters(&stage(&app, rows(std::slice::from_ref(&row))).await),
        "u"
    );
    assert_eq!(promote_all(&app).await, [0; 4]);
    assert_eq!(bring(&app, "crm", row).await, [0, 0, 1, 0]);
    assert_eq!(promote_all(&app).await, [0; 4]);
    assert_eq!(writes(&sql).await, before);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pinned_field_survives_promotions_until_it_is_unpinned() {
    let app = App::start().await;
    let email = "a@x.example";
    bring(&app, "s", json!({"email": email, "title": "CTO"})).await;
    let edited = Person {
        title: "Chief".into(),
        ..person(&app, email).await
    };
    update(&app, change(&edited, &["title"])).await;
    for n in 0..3 {
        let row = json!({"email": email, "title": format!("T{n}"), "phone": n.to_string()});
        bring(&app, "s", row).await;
        let person = person(&app, email).await;
        assert_eq!(
            (person.title, person.phone),
            ("Chief".into(), n.to_string())
        );
    }
    let mut unpin = change(&person(&app, email).await, &[]);
    unpin.unpin = vec!["title".into()];
    assert_eq!(update(&app, unpin).await.title, "Chief");
    bring(&app, "s", json!({"email": email, "title": "T9"})).await;
    assert_eq!(person(&app, email).await.title, "T9");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scope_is_slots_a_batch_or_all_and_a_preview_changes_nothing() {
    let app = App::start().await;
    let sql = app.sql().await;
    let first = stage(&app, rows(&[json!({"email": "a@x.example"})])).await;
    let mut other = rows(&[
        json!({"email": "b@x.example"}),
        json!({"email": "c@x.example"}),
    ]);
    other.batch_id = "other".into();
    stage(&app, other).await;

    let preview = PromotePeopleRequest {
        validate_only: true,
        ..Default::default()
    };
    let preview = promote(&app, preview).await;
    assert_eq!((preview.promoted, preview.left), (3, 0));
    assert_eq!(writes(&sql).await, (String::new(), 0));

    let request = PromotePeopleRequest {
        batch_id: "other".into(),
        ..Default::default()
    };
    assert_eq!(promote(&app, request).await.promoted, 2);
    let request = PromotePeopleRequest {
        slot_ids: vec![first.outcomes[0].slot_id.clone(); 2],
        ..Default::default()
    };
    assert_eq!(promote(&app, request.clone()).await.promoted, 1);
    assert_eq!(promote(&app, request).await.done, 0);

    let mut client = people(&app).await;
    let both = PromotePeopleRequest {
        slot_ids: vec![first.outcomes[0].slot_id.clone()],
        batch_id: "b".into(),
        validate_only: false,
    };
    assert_field(client.promote_people(both).await, "slot_ids");
    let none = PromotePeopleRequest {
        slot_ids: vec!["x".into()],
        ..Default::default()
    };
    assert_field(client.promote_people(none).await, "slot_ids");
    let unknown = PromotePeopleRequest {
        batch_id: "nobody's".into(),
        ..Default::default()
    };
    let mut stream = client.promote_people(unknown).await.unwrap().into_inner();
    let answer = stream.message().await.map(tonic::Response::new);
    refused(answer).is(Code::NotFound, "NOT_FOUND");
    app.stop().await;
}
