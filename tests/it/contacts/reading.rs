//! `GetContact` and `BatchGetContacts`.

use leadvault::proto::vault::v1::{
    BatchGetContactsRequest, ContactKey, ContactStatus, GetContactRequest,
};
use tonic::Code;

use super::{by_email, by_id, make, read, vault};
use crate::harness::{App, assert_field, refused};

#[tokio::test(flavor = "multi_thread")]
async fn a_contact_is_read_by_id_and_by_email_in_any_spelling() {
    let app = App::start().await;
    let sql = app.sql().await;
    sql.run(
        r#"INSERT INTO vault.contacts (email, name, phone, company, title, source, tags, custom_fields, score,
                                       status, pinned_fields, created_at, updated_at, last_activity_at)
           VALUES ('jane@xn--bcher-kva.example', 'Jane', '+1', 'Bücher', 'CEO', 'apollo', '["a", "b"]',
                   '{"n": 1.000000000000000000001}', 87.5, 'bounced', '{name,custom_fields}',
                   to_timestamp(1), to_timestamp(2), to_timestamp(3))"#,
    )
    .await;
    let contact = read(&app, 1).await;
    assert_eq!(contact.email, "jane@xn--bcher-kva.example");
    assert_eq!(contact.name, "Jane");
    assert_eq!(contact.company, "Bücher");
    assert_eq!(contact.tags, ["a", "b"]);
    assert_eq!(
        contact.custom_fields_json,
        r#"{"n": 1.000000000000000000001}"#
    );
    assert_eq!(contact.score, "87.50");
    assert_eq!(contact.status(), ContactStatus::Bounced);
    assert_eq!(contact.pinned_fields, ["name", "custom_fields_json"]);
    assert_eq!(contact.load_id, 0);
    assert_eq!(contact.create_time.unwrap().seconds, 1);
    assert_eq!(contact.update_time.unwrap().seconds, 2);
    assert_eq!(contact.last_activity_time.unwrap().seconds, 3);
    assert_eq!(contact.etag.len(), 16);
    for spelling in ["jane@bücher.example", "  JANE@BÜCHER.example\n"] {
        let request = GetContactRequest {
            key: by_email(spelling),
        };
        let response = vault(&app).await.get_contact(request).await.unwrap();
        assert_eq!(response.into_inner().contact.unwrap(), contact);
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_names_no_contact_is_refused() {
    let app = App::start().await;
    let mut client = vault(&app).await;
    for key in [
        by_id(1),
        by_id(0),
        by_id(-1),
        by_id(i64::MAX),
        by_email("no@x.example"),
    ] {
        let refusal = refused(client.get_contact(GetContactRequest { key }).await)
            .is(Code::NotFound, "NOT_FOUND")
            .says("resource", "contact");
        assert_ne!(refusal.metadata["key"], "");
    }
    let long = format!("{}@x.example", "a".repeat(10_000));
    for key in [
        None,
        Some(ContactKey { key: None }),
        by_email(""),
        by_email("jane"),
        by_email("a\0b@x.example"),
        by_email(&long),
    ] {
        assert_field(client.get_contact(GetContactRequest { key }).await, "key");
    }
    app.stop().await;
}

/// Its statement stays prepared on its connection.
#[tokio::test(flavor = "multi_thread")]
async fn a_point_read_goes_on_after_the_functions_changed() {
    let app = App::start_with(&["--pool-size=1"]).await;
    let ids = make(&app.sql().await, 2).await;
    for _ in 0..5 {
        read(&app, ids[0]).await;
    }
    // Other functions under the same names, as after an upgrade: the connection goes on.
    app.sql()
        .await
        .run("ALTER FUNCTION vault.f_etag(vault.contacts) COST 10")
        .await;
    read(&app, ids[1]).await;
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_are_read_in_the_order_of_their_keys() {
    let app = App::start().await;
    let ids = make(&app.sql().await, 3).await;
    let mut client = vault(&app).await;
    let keys = [
        by_email("C00003@x.example"),
        by_id(999),
        by_id(ids[0]),
        by_email("no@x.example"),
        by_id(ids[0]),
    ];
    let request = BatchGetContactsRequest {
        keys: keys.iter().flatten().cloned().collect(),
    };
    let response = client
        .batch_get_contacts(request)
        .await
        .unwrap()
        .into_inner();
    let found: Vec<i64> = response.contacts.iter().map(|c| c.contact_id).collect();
    assert_eq!(
        found,
        [ids[2], ids[0]],
        "a contact that is named twice is there once"
    );
    let not_found: Vec<_> = response.not_found.into_iter().map(Some).collect();
    assert_eq!(not_found, [by_id(999), by_email("no@x.example")]);

    let request = |count| BatchGetContactsRequest {
        keys: (0..count).filter_map(by_id).collect(),
    };
    let all = client.batch_get_contacts(request(1_000)).await.unwrap();
    assert_eq!(all.into_inner().contacts.len(), 3);
    refused(client.batch_get_contacts(request(1_001)).await).exceeds(1_000, 1_001);
    assert_field(client.batch_get_contacts(request(0)).await, "keys");
    app.stop().await;
}

/// Law 3's spirit: one slip does not cost the caller the others.
#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_names_nothing_takes_no_other_down() {
    let app = App::start().await;
    let ids = make(&app.sql().await, 2).await;
    let wrong = [
        by_email("jane"),
        by_email("a\0@x.example"),
        Some(ContactKey { key: None }),
    ];
    let keys = [by_id(ids[0])].into_iter().chain(wrong.clone());
    let keys: Vec<_> = keys.chain([by_id(ids[1])]).flatten().collect();
    let request = BatchGetContactsRequest { keys };
    let mut client = vault(&app).await;
    let answer = client.batch_get_contacts(request).await.unwrap();
    let answer = answer.into_inner();
    let found: Vec<i64> = answer.contacts.iter().map(|c| c.contact_id).collect();
    assert_eq!(found, ids);
    let not_found: Vec<_> = answer.not_found.into_iter().map(Some).collect();
    assert_eq!(not_found, wrong);
    app.stop().await;
}

/// The most items of a batch are a promise of the API: what limits rows does not limit them.
#[tokio::test(flavor = "multi_thread")]
async fn the_limit_of_rows_is_none_of_keys() {
    let app = App::start_with(&["--max-ingest-rows=1"]).await;
    let ids = make(&app.sql().await, 2).await;
    let request = BatchGetContactsRequest {
        keys: ids.iter().filter_map(|id| by_id(*id)).collect(),
    };
    let answer = vault(&app).await.batch_get_contacts(request).await;
    assert_eq!(answer.unwrap().into_inner().contacts.len(), 2);
    app.stop().await;
}

/// Law 12: a thousand contacts may be far more than a message can hold.
#[tokio::test(flavor = "multi_thread")]
async fn law_12_an_answer_of_many_has_a_limit_that_its_error_names() {
    let app = App::start_with(&["--max-frame-bytes=20000"]).await;
    let sql = app.sql().await;
    let ids = make(&sql, 3).await;
    sql.run(
        r#"UPDATE vault.contacts SET custom_fields = jsonb_build_object('a', repeat('x', 9000))"#,
    )
    .await;
    let request = |ids: &[i64]| BatchGetContactsRequest {
        keys: ids.iter().filter_map(|id| by_id(*id)).collect(),
    };
    let mut client = vault(&app).await;
    client.batch_get_contacts(request(&ids[..2])).await.unwrap();
    let refusal = refused(client.batch_get_contacts(request(&ids)).await);
    assert_eq!(refusal.reason, "LIMIT_EXCEEDED");
    assert_eq!(refusal.metadata["setting"], "max-frame-bytes");
    app.stop().await;
}
