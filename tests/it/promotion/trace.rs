//! Laws 8 and 9: no-ops write nothing, and everything else leaves a trace.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{audit, bring, contact, ingest, promote_all, promote_loads, status};
use crate::harness::App;

#[tokio::test(flavor = "multi_thread")]
async fn law_8_a_promotion_that_changes_nothing_touches_nothing_but_the_load() {
    let app = App::start().await;
    let sql = app.sql().await;
    let row = json!({"email": "a@x.example", "name": "Ada", "tags": ["x", "y"], "city": "London"});
    bring(&app, "apollo", row).await;
    let before = contact(&sql, "a@x.example").await;
    let version = "SELECT xmin::text || ctid::text FROM vault.contacts";
    let version_before: String = sql.one(version, &[]).await;
    let entries = audit(&sql).await.len();

    let same = json!({"email": "a@x.example", "first_name": "", "name": " Ada", "tags": ["y"]});
    let load = ingest(&app, "crm", &[same]).await[0];
    assert_eq!(promote_loads(&app, &[load]).await, [0, 0, 1, 0]);

    assert_eq!(contact(&sql, "a@x.example").await, before);
    assert_eq!(sql.one::<String>(version, &[]).await, version_before);
    assert_eq!(status(&sql, load).await, "promoted");
    let audit = audit(&sql).await;
    assert_eq!(audit.len(), entries + 1);
    assert_eq!(
        audit[entries],
        (
            "contact_unchanged".to_owned(),
            load,
            json!({"actor": "anonymous"})
        )
    );
    // And promoting it once more does not even touch the load.
    assert_eq!(promote_loads(&app, &[load]).await, [0, 0, 0, 0]);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn law_9_each_changed_field_has_old_and_new_value_load_and_actor() {
    let app = App::start().await;
    let sql = app.sql().await;
    bring(
        &app,
        "apollo",
        json!({"email": "a@x.example", "name": "Ada", "k": 1, "same": true}),
    )
    .await;
    let row = json!({"email": "a@x.example", "name": "Ada", "title": "CEO", "k": 2});
    let load = ingest(&app, "crm", &[row]).await[0];
    promote_loads(&app, &[load]).await;
    let audit = audit(&sql).await;
    assert_eq!(audit.len(), 2);
    assert_eq!(audit[0].0, "contact_promoted");
    assert_eq!(
        audit[0].2,
        json!({
            "actor": "anonymous", "old_values": {},
            "new_values": {"email": "a@x.example", "source": "apollo", "status": "active",
                           "name": "Ada", "custom_fields": {"k": 1, "same": true}},
        })
    );
    assert_eq!(
        audit[1],
        (
            "contact_updated".to_owned(),
            load,
            json!({
                "actor": "anonymous",
                "old_values": {"title": null, "custom_fields": {"k": 1}},
                "new_values": {"title": "CEO", "custom_fields": {"k": 2}},
            })
        )
    );
    app.stop().await;
}

/// The audit log alone gives every value of every contact.
#[tokio::test(flavor = "multi_thread")]
async fn law_9_the_audit_log_replayed_gives_the_contacts() {
    let app = App::start().await;
    let sql = app.sql().await;
    for round in 0..4 {
        let rows: Vec<Value> = (0..60)
            .map(|n| {
                json!({
                    "email": format!("p{}@x.example", n % 20),
                    "name": if n % 3 == 0 { format!("Name {}", n * round % 7) } else { String::new() },
                    "title": format!("Title {}", n % (round + 1)),
                    "phone": n.to_string(),
                    "tags": [format!("t{}", n % 5)],
                    "custom": {"round": round, "n": n},
                })
            })
            .collect();
        ingest(&app, &format!("source{round}"), &rows).await;
        let counts = promote_all(&app).await;
        assert_eq!(counts.iter().sum::<i64>(), 60);
    }
    let mut replayed: BTreeMap<i64, serde_json::Map<String, Value>> = BTreeMap::new();
    let rows = sql
        .rows(
            "SELECT contact_id, details::text FROM intake.audit_log
             WHERE contact_id IS NOT NULL ORDER BY log_id",
            &[],
        )
        .await;
    for row in rows {
        let details: Value = serde_json::from_str(row.get(1)).unwrap();
        let contact = replayed.entry(row.get(0)).or_default();
        if let Some(old) = details["old_values"].as_object() {
            for (field, value) in old {
                let stored = contact.get(field).unwrap_or(&Value::Null);
                // Of custom fields, those that changed.
                match (field.as_str(), value.as_object()) {
                    ("custom_fields", Some(keys)) => {
                        for (key, value) in keys {
                            assert_eq!(&stored[key], value, "{key}");
                        }
                    }
                    _ => assert_eq!(stored, value, "{field}"),
                }
            }
            for (field, value) in details["new_values"].as_object().unwrap() {
                match (field.as_str(), contact.get_mut(field)) {
                    ("custom_fields", Some(Value::Object(custom))) => {
                        custom.extend(value.as_object().unwrap().clone());
                    }
                    _ => {
                        contact.insert(field.clone(), value.clone());
                    }
                }
            }
        }
    }
    let contacts = sql
        .rows(
            "SELECT contact_id, jsonb_strip_nulls(jsonb_build_object(
                 'email', email, 'name', name, 'phone', phone, 'company', company, 'title', title, 'source', source,
                 'status', status, 'tags', tags, 'custom_fields', custom_fields))::text
             FROM vault.contacts ORDER BY contact_id",
            &[],
        )
        .await;
    assert_eq!(contacts.len(), 20);
    for row in contacts {
        let found: Value = serde_json::from_str(row.get(1)).unwrap();
        assert_eq!(
            Value::Object(replayed[&row.get::<_, i64>(0)].clone()),
            found
        );
    }
    app.stop().await;
}
