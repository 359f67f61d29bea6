//! The history of people, and people as they were.

use std::collections::{BTreeMap, BTreeSet};

use leadvault::proto::{
    people::v1::{GetPersonRequest, ListPersonHistoryRequest, Person},
    r#type::v1::HistoryOrder,
};
use prost_types::Timestamp;
use serde_json::{Map, Value, json};
use tonic::Code;

use super::{by_email, by_id, change, history_of, make, people, person, update};
use crate::harness::{App, Sql, refused};

const WRITERS: usize = 5;
const UPDATES: usize = 200;
const PEOPLE: usize = 12;

/// What a person has that history keeps.
fn content(person: &Person) -> Person {
    Person {
        etag: String::new(),
        enrich_time: None,
        ..person.clone()
    }
}

async fn as_of(app: &App, person_id: &str, at: Timestamp) -> Result<Person, tonic::Status> {
    let request = GetPersonRequest {
        key: by_id(person_id),
        as_of: Some(at),
    };
    let response = people(app).await.get_person(request).await?;
    Ok(response.into_inner().person.unwrap())
}

/// Numbers that look random and are the same in every run (Knuth's MMIX generator).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005);
        self.0 = self.0.wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % bound
    }
}

/// One writer: changes people at random until it did its number, and keeps what it got back.
async fn write(app: &App, seed: u64) -> Vec<Person> {
    let mut random = Random(seed);
    let mut client = people(app).await;
    let mut journal = Vec::new();
    while journal.len() < UPDATES {
        let email = format!("p{:05}@x.example", 1 + random.below(PEOPLE));
        let get = GetPersonRequest {
            key: by_email(&email),
            as_of: None,
        };
        let read = client.get_person(get).await.unwrap().into_inner();
        let mut person = read.person.unwrap();
        let before = person.update_time;
        let fields = ["title", "phone", "location"];
        let field = fields[random.below(fields.len())];
        let value = match random.below(6) {
            0 => String::new(),
            n => format!("{field} {n}"),
        };
        match field {
            "title" => person.title = value,
            "phone" => person.phone = value,
            _ => person.location = value,
        }
        let mut request = change(&person, &[field]);
        if random.below(10) == 0 {
            request.update_mask = None;
            request.unpin = vec![field.to_owned()];
        }
        // Somebody else was faster: read again.
        let Ok(response) = client.update_person(request).await else {
            continue;
        };
        // What changed nothing is not in the history either.
        let written = response.into_inner().person.unwrap();
        if written.update_time != before {
            journal.push(written);
        }
    }
    journal
}

#[tokio::test(flavor = "multi_thread")]
async fn random_updates_by_several_writers_can_be_replayed_and_looked_up() {
    let app = App::start().await;
    let sql = app.sql().await;
    make(&sql, PEOPLE as i64).await;
    let writers = (0..WRITERS as u64).map(|seed| write(&app, seed));
    let mut journal: BTreeMap<(String, i64, i32), Person> = BTreeMap::new();
    for person in futures_util::future::join_all(writers).await.concat() {
        let time = person.update_time.unwrap();
        journal.insert(
            (person.person_id.clone(), time.seconds, time.nanos),
            content(&person),
        );
    }
    // as_of agrees with the journal, at the very moment of each change.
    for ((person_id, seconds, nanos), expected) in &journal {
        let at = Timestamp {
            seconds: *seconds,
            nanos: *nanos,
        };
        let found = as_of(&app, person_id, at).await.unwrap();
        assert_eq!(content(&found), *expected);
        assert_eq!(found.etag, "");
    }
    replay(&app, &sql, &journal).await;
    app.stop().await;
}

/// From its end, a history undoes every change: each state is the one before, and the first is empty.
async fn replay(app: &App, sql: &Sql, journal: &BTreeMap<(String, i64, i32), Person>) {
    let mut changed = BTreeSet::new();
    for n in 1..=PEOPLE {
        let email = format!("p{n:05}@x.example");
        let image: String = sql
            .one(
                "SELECT people.f_image(p)::text FROM people.master AS p WHERE email = $1",
                &[&email],
            )
            .await;
        let mut state: Map<String, Value> = serde_json::from_str(&image).unwrap();
        let person_id = person(app, &email).await.person_id;
        let mut entries = history_of(app, &email).await;
        changed.extend(entries[1..].iter().map(|entry| {
            let time = entry.change_time.unwrap();
            (person_id.clone(), time.seconds, time.nanos)
        }));
        while let Some(entry) = entries.pop() {
            let time = entry.change_time.unwrap();
            if let Some(then) = journal.get(&(person_id.clone(), time.seconds, time.nanos)) {
                assert_eq!(state["title"].as_str().unwrap_or_default(), then.title);
                assert_eq!(state["phone"].as_str().unwrap_or_default(), then.phone);
            }
            let old: Map<String, Value> = serde_json::from_str(&entry.old_values_json).unwrap();
            let new: Map<String, Value> = serde_json::from_str(&entry.new_values_json).unwrap();
            assert_eq!(entry.changed_fields.len(), new.len());
            for field in &entry.changed_fields {
                assert_eq!(state.get(field), new.get(field), "{field} of {email}");
                assert_ne!(old.get(field), new.get(field));
                state.insert(
                    field.clone(),
                    old.get(field).cloned().unwrap_or(Value::Null),
                );
            }
        }
        assert!(state.values().all(Value::is_null), "{state:?}");
    }
    assert!(changed.iter().eq(journal.keys()), "each change is in both");
    assert_eq!(changed.len(), WRITERS * UPDATES);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_is_not_found_before_it_was_made_and_as_it_is_later() {
    let app = App::start().await;
    let sql = app.sql().await;
    sql.run("INSERT INTO people.master (email, title) VALUES ('a@x.example', 'CTO')")
        .await;
    let made = person(&app, "a@x.example").await;
    let first = history_of(&app, "a@x.example").await[0]
        .change_time
        .unwrap();
    let before = Timestamp {
        seconds: first.seconds - 1,
        nanos: first.nanos,
    };
    let answer = as_of(&app, &made.person_id, before).await;
    refused(answer.map(tonic::Response::new)).is(Code::NotFound, "NOT_FOUND");
    let later = Timestamp {
        seconds: first.seconds + 60,
        nanos: 0,
    };
    let found = as_of(&app, &made.person_id, later).await.unwrap();
    assert_eq!(
        (found.title, found.create_time),
        ("CTO".into(), made.create_time)
    );
    app.stop().await;
}

/// Law 9: no statement of anybody's passes the triggers, and one statement writes all of its history.
#[tokio::test(flavor = "multi_thread")]
async fn law_9_every_statement_writes_history_and_times_alone_are_no_change() {
    let app = App::start().await;
    let sql = app.sql_as_app().await;
    sql.run(
        "INSERT INTO people.master (email) SELECT n || '@x.example' FROM generate_series(1, 3000) AS n",
    )
    .await;
    let count = "SELECT count(*) FROM people.history";
    assert_eq!(sql.one::<i64>(count, &[]).await, 3_000);
    sql.run("UPDATE people.master SET title = 'CTO' WHERE email < '2'")
        .await;
    let changed: i64 = sql
        .one(
            "SELECT count(*) FROM people.master WHERE title = 'CTO'",
            &[],
        )
        .await;
    assert_eq!(sql.one::<i64>(count, &[]).await, 3_000 + changed);
    sql.run("UPDATE people.master SET title = title, updated_at = now(), enriched_at = now()")
        .await;
    assert_eq!(sql.one::<i64>(count, &[]).await, 3_000 + changed);
    let words = sql.refused("DELETE FROM people.history").await;
    assert!(words.starts_with("permission denied"), "{words}");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_history_is_listed_by_any_key_in_pages_in_both_orders_and_between_times() {
    let app = App::start().await;
    let sql = app.sql().await;
    make(&sql, 1).await;
    let email = "p00001@x.example";
    for n in 0..5 {
        let edited = Person {
            title: format!("T{n}"),
            ..person(&app, email).await
        };
        update(&app, change(&edited, &["title"])).await;
    }
    let all = history_of(&app, email).await;
    assert_eq!(all.len(), 6);
    assert_eq!(all[2].changed_fields, ["title"]);
    let old: Value = serde_json::from_str(&all[2].old_values_json).unwrap();
    assert_eq!(old, json!({"title": "T0"}));

    let mut client = people(&app).await;
    let id = person(&app, email).await.person_id;
    for (order, key) in [
        (HistoryOrder::OldestFirst, by_email("P00001@X.example")),
        (HistoryOrder::NewestFirst, by_id(&id)),
    ] {
        let mut request = ListPersonHistoryRequest {
            page_size: 2,
            key,
            order_by: order.into(),
            ..Default::default()
        };
        let mut listed = Vec::new();
        loop {
            let page = client.list_person_history(request.clone()).await.unwrap();
            let page = page.into_inner();
            listed.extend(page.entries);
            request.page_token = page.next_page_token;
            if request.page_token.is_empty() {
                break;
            }
        }
        if order == HistoryOrder::NewestFirst {
            listed.reverse();
        }
        assert_eq!(listed, all);
    }
    let request = ListPersonHistoryRequest {
        key: by_id(&id),
        changed_from: all[2].change_time,
        changed_before: all[4].change_time,
        ..Default::default()
    };
    let some = client
        .list_person_history(request)
        .await
        .unwrap()
        .into_inner();
    assert_eq!(some.entries, all[2..4]);
    let request = ListPersonHistoryRequest {
        key: by_email("nobody@x.example"),
        ..Default::default()
    };
    refused(client.list_person_history(request).await).is(Code::NotFound, "NOT_FOUND");
    app.stop().await;
}
