//! `UpdateContact` with what it refuses: by name, and with nothing changed.

use leadvault::proto::vault::v1::{Contact, UpdateContactRequest};
use tonic::Code;

use super::{change, make, read, vault, writes};
use crate::harness::{App, assert_field, refused};

#[tokio::test(flavor = "multi_thread")]
async fn unknown_and_immutable_fields_of_a_mask_are_refused_by_name() {
    let app = App::start().await;
    let sql = app.sql().await;
    let id = make(&sql, 1).await[0];
    let contact = read(&app, id).await;
    let before = writes(&sql).await;
    let mut client = vault(&app).await;
    for (field, says) in [
        ("email", "cannot be changed"),
        ("status", "cannot be changed"),
        ("score", "cannot be changed"),
        ("contact_id", "cannot be changed"),
        ("etag", "cannot be changed"),
        ("pinned_fields", "cannot be changed"),
        ("nickname", "is not a field"),
        ("*", "is not a field"),
        ("", "is not a field"),
        ("name.first", "is not a field"),
        ("Name", "is not a field"),
        ("custom_fields", "is not a field"),
        ("na\0me", "is not a field"),
    ] {
        let refusal = refused(
            client
                .update_contact(change(&contact, &["name", field]))
                .await,
        )
        .blames("update_mask");
        assert!(refusal.message.contains(says), "{field}: {refusal:?}");
        let name = field.replace('\0', "\\0");
        assert!(refusal.message.contains(&name), "{field}: {refusal:?}");

        let mut unpin = change(&contact, &[]);
        unpin.unpin = vec![field.to_owned()];
        refused(client.update_contact(unpin).await).blames("unpin");
    }
    let mut both = change(&contact, &["name"]);
    both.unpin = vec!["name".into()];
    assert_field(client.update_contact(both).await, "unpin");
    assert_field(
        client.update_contact(change(&contact, &[])).await,
        "update_mask",
    );
    assert_eq!(writes(&sql).await, before);
    app.stop().await;
}

/// Laws 3 and 13 for what PostgreSQL, or an index of it, would refuse.
#[tokio::test(flavor = "multi_thread")]
async fn values_that_cannot_be_stored_are_refused_by_field() {
    let app = App::start().await;
    let sql = app.sql().await;
    let id = make(&sql, 1).await[0];
    let contact = read(&app, id).await;
    let before = writes(&sql).await;
    let mut client = vault(&app).await;
    for text in ["a\0b".to_owned(), "x".repeat(1_001)] {
        for (field, bad) in [
            (
                "name",
                Contact {
                    name: text.clone(),
                    ..contact.clone()
                },
            ),
            (
                "phone",
                Contact {
                    phone: text.clone(),
                    ..contact.clone()
                },
            ),
            (
                "company",
                Contact {
                    company: text.clone(),
                    ..contact.clone()
                },
            ),
            (
                "title",
                Contact {
                    title: text.clone(),
                    ..contact.clone()
                },
            ),
        ] {
            let name = format!("contact.{field}");
            assert_field(client.update_contact(change(&bad, &[field])).await, &name);
        }
    }
    for tags in [
        vec!["a".to_owned(), " \t".to_owned()],
        vec![String::new()],
        vec!["x".repeat(101)],
        vec!["a\0".to_owned()],
        vec!["a".to_owned(); 1_001],
    ] {
        // The last is the wrong one, unless there are too many.
        let field = match tags.len() {
            1_001 => "contact.tags".to_owned(),
            count => format!("contact.tags[{}]", count - 1),
        };
        let bad = Contact {
            tags,
            ..contact.clone()
        };
        assert_field(client.update_contact(change(&bad, &["tags"])).await, &field);
    }
    for json in [
        "null",
        "[]",
        "\"a\"",
        "{",
        "{} {}",
        r#"{"a":"\u0000"}"#,
        r#"{"a":"\ud800"}"#,
        r#"{"a":1e131071}"#,
        r#"{"a":NaN}"#,
        " ",
        "\0",
        &format!("{{\"a\":{}1{}}}", "[".repeat(100), "]".repeat(100)),
        &format!("{{\"a\":\"{}\"}}", "x".repeat(256 * 1024)),
    ] {
        let bad = Contact {
            custom_fields_json: json.to_owned(),
            ..contact.clone()
        };
        let request = change(&bad, &["custom_fields_json"]);
        assert_field(
            client.update_contact(request).await,
            "contact.custom_fields_json",
        );
    }
    assert_eq!(writes(&sql).await, before);
    app.stop().await;
}

/// A smaller limit of rows holds for people too: what they write reaches the same indexes.
#[tokio::test(flavor = "multi_thread")]
async fn texts_of_indexes_have_the_limit_that_is_set() {
    let app = App::start_with(&["--max-indexed-text-bytes=20"]).await;
    let id = make(&app.sql().await, 1).await[0];
    let contact = Contact {
        name: "x".repeat(21),
        company: "x".repeat(21),
        title: "x".repeat(21),
        ..read(&app, id).await
    };
    let mut client = vault(&app).await;
    for field in ["name", "company"] {
        let refusal = refused(client.update_contact(change(&contact, &[field])).await)
            .blames(&format!("contact.{field}"));
        let message = refusal.message;
        assert!(message.contains("max-indexed-text-bytes"), "{message}");
    }
    client
        .update_contact(change(&contact, &["title"]))
        .await
        .unwrap();
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_at_the_limit_is_stored() {
    let app = App::start().await;
    let id = make(&app.sql().await, 1).await[0];
    // What no page of an index could compress.
    let long: String = (0..250_u32)
        .map(|n| char::from_u32(0x10000 + n * 7919 % 60_000).unwrap())
        .collect();
    let contact = Contact {
        name: long.clone(),
        company: long.clone(),
        title: long.clone(),
        phone: long.clone(),
        tags: (0..1_000).map(|n| format!("{n:0>100}")).collect(),
        ..read(&app, id).await
    };
    assert_eq!(long.len(), 1_000);
    let request = change(&contact, &["name", "company", "title", "phone", "tags"]);
    let after = vault(&app).await.update_contact(request).await.unwrap();
    let after = after.into_inner().contact.unwrap();
    assert_eq!((after.company, after.tags), (long, contact.tags));
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_update_needs_its_contact_and_etag() {
    let app = App::start().await;
    let id = make(&app.sql().await, 1).await[0];
    let contact = read(&app, id).await;
    let mut client = vault(&app).await;
    assert_field(
        client.update_contact(UpdateContactRequest::default()).await,
        "contact",
    );
    let with = |contact_id, etag: &str| {
        let contact = Contact {
            contact_id,
            etag: etag.to_owned(),
            ..contact.clone()
        };
        change(&contact, &["name"])
    };
    assert_field(client.update_contact(with(id, "")).await, "contact.etag");
    assert_field(client.update_contact(with(id, "\0")).await, "contact.etag");
    for etag in ["x", " ", &contact.etag.to_uppercase(), &"a".repeat(100_000)] {
        refused(client.update_contact(with(id, etag)).await)
            .is(Code::Aborted, "ETAG_MISMATCH")
            .says("current_etag", &contact.etag);
    }
    for unknown in [0, -1, id + 1, i64::MAX] {
        refused(client.update_contact(with(unknown, &contact.etag)).await)
            .is(Code::NotFound, "NOT_FOUND")
            .says("key", unknown);
    }
    app.stop().await;
}
