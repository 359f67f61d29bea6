//! `StagePeopleFromVault`: contacts that are new or changed, each once.

use leadvault::proto::people::v1::{StagePeopleFromVaultRequest, StagePeopleFromVaultResponse};
use serde_json::{Value, json};

use super::{people, person, promote_all, slots};
use crate::harness::{App, Sql, assert_field};

/// Stages contacts, all or some, and returns the last message.
pub(super) async fn from_vault(app: &App, contact_ids: &[i64]) -> StagePeopleFromVaultResponse {
    let request = StagePeopleFromVaultRequest {
        contact_ids: contact_ids.to_vec(),
    };
    let mut client = people(app).await;
    let stream = client.stage_people_from_vault(request).await.unwrap();
    let mut stream = stream.into_inner();
    let mut last: Option<StagePeopleFromVaultResponse> = None;
    while let Some(message) = stream.message().await.unwrap() {
        let before = last.as_ref().map_or(0, |last| last.done);
        assert!(message.done >= before);
        last = Some(message);
    }
    let last = last.unwrap();
    assert!(last.finished);
    assert_eq!(last.done, last.staged + last.unchanged);
    last
}

/// Makes contacts `c1@acme.io`, ...
async fn make_contacts(sql: &Sql, count: i64) {
    sql.rows(
        "INSERT INTO vault.contacts (email, name, title, source, custom_fields)
         SELECT 'c' || n || '@acme.io', 'Jane ' || n, 'CTO', 'apollo', '{\"location\": \"Berlin\", \"n\": 1.10}'
         FROM generate_series(1, $1::bigint) AS n",
        &[&count],
    )
    .await;
}

async fn touch(sql: &Sql, set: &str, count: i64) {
    sql.run(&format!(
        "UPDATE vault.contacts SET {set}, updated_at = clock_timestamp()
         WHERE contact_id IN (SELECT contact_id FROM vault.contacts ORDER BY contact_id LIMIT {count})"
    ))
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn again_stages_nothing_and_ten_changed_contacts_stage_ten() {
    let app = App::start().await;
    let sql = app.sql().await;
    make_contacts(&sql, 2_500).await;
    let first = from_vault(&app, &[]).await;
    assert_eq!((first.staged, first.unchanged, first.left), (2_500, 0, 0));
    assert_eq!(promote_all(&app).await, [2_500, 0, 0, 0]);
    let one = person(&app, "c1@acme.io").await;
    assert_eq!(
        [one.name, one.first_name, one.title, one.location],
        ["Jane 1", "Jane", "CTO", "Berlin"]
    );
    assert_eq!(from_vault(&app, &[]).await.done, 0);

    touch(&sql, "title = 'CEO'", 10).await;
    // Nothing that a person has: the score and the status are the contact's own.
    sql.run(
        "UPDATE vault.contacts SET score = 5, updated_at = clock_timestamp() WHERE email = 'c2000@acme.io'",
    )
    .await;
    let again = from_vault(&app, &[]).await;
    assert_eq!((again.staged, again.unchanged), (10, 1));
    assert_eq!(promote_all(&app).await, [0, 10, 0, 0]);
    assert_eq!(person(&app, "c1@acme.io").await.title, "CEO");
    assert_eq!(from_vault(&app, &[]).await.done, 0);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slot_is_the_contacts_fields_over_its_custom_ones() {
    let app = App::start().await;
    let sql = app.sql().await;
    sql.run(
        r#"INSERT INTO vault.contacts (email, name, company, source, custom_fields) VALUES
           ('a@acme.io', 'Jane', 'Acme', 'crm', '{"n": 1.10, "email": "other", "phone": "5"}'),
           ('b@acme.io', NULL, NULL, 'crm', '{}')"#,
    )
    .await;
    from_vault(&app, &[]).await;
    let slots = slots(&app).await;
    let slot = slots[0].slot.as_ref().unwrap();
    let row: Value = serde_json::from_str(&slot.raw_data_json).unwrap();
    assert_eq!(
        row,
        json!({"n": 1.10, "email": "a@acme.io", "phone": "5", "name": "Jane", "company": "Acme"})
    );
    assert!(slot.raw_data_json.contains("1.10"), "numbers stay exact");
    assert_eq!((slot.source.as_str(), slot.batch_id.as_str()), ("crm", ""));
    assert!(slot.contact_id > 0);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn some_contacts_and_deleted_ones() {
    let app = App::start().await;
    let sql = app.sql().await;
    make_contacts(&sql, 5).await;
    sql.run("UPDATE vault.contacts SET status = 'inactive' WHERE email = 'c1@acme.io'")
        .await;
    let ids = sql
        .rows(
            "SELECT contact_id FROM vault.contacts ORDER BY contact_id",
            &[],
        )
        .await;
    let ids: Vec<i64> = ids.iter().map(|row| row.get(0)).collect();
    let some = [ids[1], ids[0], ids[1], i64::MAX];
    assert_eq!(from_vault(&app, &some).await.staged, 1);
    assert_eq!(from_vault(&app, &[]).await.staged, 3);
    // One that comes back is new.
    touch(&sql, "status = 'active'", 1).await;
    assert_eq!(from_vault(&app, &[]).await.staged, 1);
    let request = StagePeopleFromVaultRequest {
        contact_ids: vec![1; 10_001],
    };
    let mut client = people(&app).await;
    assert_field(client.stage_people_from_vault(request).await, "contact_ids");
    app.stop().await;
}

/// Law 12: several callers at once, while contacts change.
#[tokio::test(flavor = "multi_thread")]
async fn law_12_several_callers_stage_each_change_once() {
    let app = App::start().await;
    let sql = app.sql().await;
    make_contacts(&sql, 4_000).await;
    let calls = async || {
        let (a, b, c) = tokio::join!(
            from_vault(&app, &[]),
            from_vault(&app, &[]),
            from_vault(&app, &[])
        );
        a.staged + b.staged + c.staged
    };
    assert_eq!(calls().await, 4_000);
    touch(&sql, "title = 'CEO'", 1_500).await;
    let writer = async {
        touch(&sql, "title = 'CFO'", 700).await;
    };
    let (staged, ()) = tokio::join!(calls(), writer);
    let rest = from_vault(&app, &[]).await.staged;
    assert!(
        (1_500..=2_200).contains(&(staged + rest)),
        "{staged} {rest}"
    );
    // Whatever the callers saw, the newest slot of each is what its contact says.
    let behind: i64 = sql
        .one(
            "SELECT count(*) FROM vault.contacts AS c
             JOIN people.slot_heads AS h ON h.email = c.email AND h.source = c.source
             JOIN people.slot AS s ON s.id = h.slot_id
             WHERE s.raw_data ->> 'title' <> c.title",
            &[],
        )
        .await;
    assert_eq!(behind, 0);
    let total: i64 = sql.one("SELECT count(*) FROM people.slot", &[]).await;
    assert_eq!(total, 4_000 + staged + rest);
    app.stop().await;
}
