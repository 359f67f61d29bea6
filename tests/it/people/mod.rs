//! People: staged, promoted, linked, read, changed, and what their history tells.

mod archiving;
mod bad_rows;
mod consent;
mod deleted;
mod from_vault;
mod history;
mod linking;
mod listing;
mod merging;
mod names;
mod reading;
mod staging;
mod two_at_once;
mod updating;
mod updating_badly;

use leadvault::proto::{
    people::v1::{
        GetPersonRequest, ListPersonHistoryRequest, ListPersonSlotsRequest, Person, PersonKey,
        PersonSlot, PromotePeopleRequest, PromotePeopleResponse, StagePeopleRequest,
        StagePeopleResponse, UpdatePersonRequest, people_service_client::PeopleServiceClient,
        person_key::Key,
    },
    r#type::v1::{HistoryEntry, stage_outcome::Result as Outcome},
};
use prost_types::FieldMask;
use serde_json::Value;
use tonic::transport::Channel;

use crate::harness::{App, Sql};

async fn people(app: &App) -> PeopleServiceClient<Channel> {
    PeopleServiceClient::new(app.channel().await)
}

/// A request that appends rows to batch `b` from `apollo`.
fn rows(rows: &[Value]) -> StagePeopleRequest {
    StagePeopleRequest {
        batch_id: "b".into(),
        source: "apollo".into(),
        json_rows: rows.iter().map(|row| row.to_string().into()).collect(),
        ..Default::default()
    }
}

/// Stages, which must be taken.
async fn stage(app: &App, request: StagePeopleRequest) -> StagePeopleResponse {
    let response = people(app).await.stage_people(request).await.unwrap();
    let response = response.into_inner();
    let tally = response.tally.unwrap();
    assert_eq!(tally.received, response.outcomes.len() as i64);
    assert_eq!(
        tally.received,
        tally.staged + tally.unchanged + tally.rejected
    );
    response
}

/// Outcomes, a letter each: `s`taged, `u`nchanged, `r`ejected; a capital where it was replayed.
fn letters(response: &StagePeopleResponse) -> String {
    let letter = |outcome: &leadvault::proto::r#type::v1::StageOutcome| {
        let letter = match outcome.result() {
            Outcome::Staged => 's',
            Outcome::Unchanged => 'u',
            Outcome::Rejected => 'r',
            Outcome::Unspecified => '?',
        };
        if outcome.replayed {
            letter.to_ascii_uppercase()
        } else {
            letter
        }
    };
    response.outcomes.iter().map(letter).collect()
}

/// Promotes, and returns the last message.
async fn promote(app: &App, request: PromotePeopleRequest) -> PromotePeopleResponse {
    let mut client = people(app).await;
    let mut stream = client.promote_people(request).await.unwrap().into_inner();
    let mut last = None;
    while let Some(message) = stream.message().await.unwrap() {
        last = Some(message);
    }
    let last = last.unwrap();
    assert!(last.finished);
    last
}

/// Promotes all that is pending; promoted, updated, unchanged, rejected.
async fn promote_all(app: &App) -> [i64; 4] {
    counts(&promote(app, PromotePeopleRequest::default()).await)
}

fn counts(message: &PromotePeopleResponse) -> [i64; 4] {
    let counts = [
        message.promoted,
        message.updated,
        message.unchanged,
        message.rejected,
    ];
    assert_eq!(message.done, counts.iter().sum::<i64>());
    counts
}

/// Stages one row from a source, and promotes it.
async fn bring(app: &App, source: &str, row: Value) -> [i64; 4] {
    let request = StagePeopleRequest {
        batch_id: format!("bring-{source}"),
        source: source.into(),
        ..rows(&[row])
    };
    assert_eq!(letters(&stage(app, request).await), "s");
    promote_all(app).await
}

fn by_id(person_id: &str) -> Option<PersonKey> {
    Some(PersonKey {
        key: Some(Key::PersonId(person_id.to_owned())),
    })
}

fn by_email(email: &str) -> Option<PersonKey> {
    Some(PersonKey {
        key: Some(Key::Email(email.to_owned())),
    })
}

fn by_url(url: &str) -> Option<PersonKey> {
    Some(PersonKey {
        key: Some(Key::LinkedinUrl(url.to_owned())),
    })
}

/// The person of an email.
async fn person(app: &App, email: &str) -> Person {
    let request = GetPersonRequest {
        key: by_email(email),
        as_of: None,
    };
    let response = people(app).await.get_person(request).await.unwrap();
    response.into_inner().person.unwrap()
}

/// Every slot, oldest first.
async fn slots(app: &App) -> Vec<PersonSlot> {
    let request = ListPersonSlotsRequest {
        page_size: 1_000,
        ..Default::default()
    };
    let response = people(app).await.list_person_slots(request).await.unwrap();
    response.into_inner().slots
}

/// The whole history of a person, oldest first.
async fn history_of(app: &App, email: &str) -> Vec<HistoryEntry> {
    let request = ListPersonHistoryRequest {
        page_size: 1_000,
        key: by_email(email),
        ..Default::default()
    };
    let mut client = people(app).await;
    let response = client.list_person_history(request).await.unwrap();
    response.into_inner().entries
}

/// A request that changes these fields of a person to what it has in them.
fn change(person: &Person, fields: &[&str]) -> UpdatePersonRequest {
    UpdatePersonRequest {
        person: Some(person.clone()),
        update_mask: Some(FieldMask {
            paths: fields.iter().map(|field| (*field).to_owned()).collect(),
        }),
        ..Default::default()
    }
}

async fn update(app: &App, request: UpdatePersonRequest) -> Person {
    let response = people(app).await.update_person(request).await.unwrap();
    response.into_inner().person.unwrap()
}

/// Makes people past the service, a second apart: `p00001@x.example`, ...
async fn make(sql: &Sql, count: i64) {
    sql.rows(
        "INSERT INTO people.master (email, name, title, created_at, updated_at)
         SELECT 'p' || lpad(n::text, 5, '0') || '@x.example', 'Name ' || n, 'CTO',
                to_timestamp(1767225600 + n), to_timestamp(1767225600 + n)
         FROM generate_series(1, $1::bigint) AS n",
        &[&count],
    )
    .await;
}

/// Makes a company past the service; its id.
async fn make_company(sql: &Sql, domain: &str) -> String {
    sql.one(
        "INSERT INTO company.master (domain, name) VALUES ($1, $1) RETURNING id::text",
        &[&domain],
    )
    .await
}

/// What must not move when nothing is written: the versions of the rows, and the length of their history.
async fn writes(sql: &Sql) -> (String, i64) {
    let versions = sql
        .one(
            "SELECT coalesce(string_agg(xmin::text || updated_at::text, ',' ORDER BY id), '')
             FROM people.master",
            &[],
        )
        .await;
    let entries = sql.one("SELECT count(*) FROM people.history", &[]).await;
    (versions, entries)
}
