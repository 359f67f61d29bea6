//! `PutIntelligence`, `GetIntelligence`: the newest, for as long as it is fresh.

use leadvault::proto::people::v1::{
    GetIntelligenceRequest, GetIntelligenceResponse, Intelligence, PersonKey,
    PutIntelligenceRequest, PutIntelligenceResponse, person_key::Key,
};
use prost_types::Timestamp;
use tonic::{Code, Response, Status};

use super::{contents, people, person};
use crate::harness::{App, Sql, refused};

pub(super) fn known(person_id: &str) -> Intelligence {
    Intelligence {
        person_id: person_id.to_owned(),
        profile_json: r#"{"headline":"CTO"}"#.to_owned(),
        ..Default::default()
    }
}

pub(super) async fn put(
    app: &App,
    intelligence: Intelligence,
) -> Result<Response<PutIntelligenceResponse>, Status> {
    let request = PutIntelligenceRequest {
        intelligence: Some(intelligence),
    };
    people(app).await.put_intelligence(request).await
}

pub(super) async fn get(app: &App, key: Key) -> Result<Response<GetIntelligenceResponse>, Status> {
    let request = GetIntelligenceRequest {
        key: Some(PersonKey { key: Some(key) }),
    };
    people(app).await.get_intelligence(request).await
}

/// The time so many seconds ago, as the database has it.
pub(super) async fn ago(sql: &Sql, seconds: f64) -> Timestamp {
    let time: f64 = sql
        .one(
            "SELECT extract(epoch FROM clock_timestamp())::float8 - $1",
            &[&seconds],
        )
        .await;
    #[allow(clippy::cast_possible_truncation, reason = "a time of today")]
    let micros = (time * 1e6) as i64;
    Timestamp {
        seconds: micros.div_euclid(1_000_000),
        nanos: i32::try_from(micros.rem_euclid(1_000_000) * 1_000).unwrap(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_stored_is_served_exactly_by_every_key() {
    let app = App::start().await;
    let sql = app.sql().await;
    let a = person(&sql, "a@x.example").await;
    sql.run("UPDATE people.master SET linkedin_url = 'https://www.linkedin.com/in/ada'")
        .await;
    let fetched = ago(&sql, 3_600.0).await;
    let sent = Intelligence {
        profile_json: r#"{"big": 12345678901234567890.10, "x": 1.0}"#.to_owned(),
        skills: ["rust", "sql", "rust"].map(str::to_owned).to_vec(),
        experience_json: r#"[{"at": "X"}]"#.to_owned(),
        education_json: r#" {"school": "Y"} "#.to_owned(),
        fetch_time: Some(fetched),
        ..known(&a)
    };
    let answer = put(&app, sent).await.unwrap().into_inner();
    assert!(answer.stored);
    let stored = answer.intelligence.unwrap();
    assert_eq!(
        stored.profile_json,
        r#"{"x": 1.0, "big": 12345678901234567890.10}"#
    );
    assert_eq!(stored.skills, ["rust", "sql"]);
    assert_eq!(stored.experience_json, r#"[{"at": "X"}]"#);
    assert_eq!(stored.education_json, r#"{"school": "Y"}"#);
    assert_eq!(stored.fetch_time, Some(fetched));
    let stale = stored.stale_time.unwrap();
    assert_eq!(
        (stale.seconds, stale.nanos),
        (fetched.seconds + 30 * 86_400, fetched.nanos)
    );
    for key in [
        Key::PersonId(a.to_uppercase()),
        Key::Email(" A@X.example".to_owned()),
        Key::LinkedinUrl("linkedin.com/in/Ada/".to_owned()),
    ] {
        let served = get(&app, key).await.unwrap().into_inner().intelligence;
        assert_eq!(served.as_ref(), Some(&stored));
    }
    let b = person(&sql, "b@x.example").await;
    sql.run("UPDATE people.master SET linkedin_url = 'https://www.linkedin.com/in/ada'")
        .await;
    let refusal = refused(get(&app, Key::LinkedinUrl("linkedin.com/in/ada".to_owned())).await)
        .is(Code::FailedPrecondition, "AMBIGUOUS_KEY");
    assert!(refusal.metadata["ids"].contains(&a) && refusal.metadata["ids"].contains(&b));
    refused(get(&app, Key::PersonId(b)).await).is(Code::NotFound, "NOT_FOUND");
    refused(get(&app, Key::Email("c@x.example".to_owned())).await).is(Code::NotFound, "NOT_FOUND");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_newest_wins_and_is_one_row() {
    let app = App::start().await;
    let sql = app.sql().await;
    let a = person(&sql, "a@x.example").await;
    let put_fetched = async |seconds, text: &str| {
        let intelligence = Intelligence {
            profile_json: format!(r#"{{"text": "{text}"}}"#),
            fetch_time: Some(ago(&sql, seconds).await),
            ..known(&a)
        };
        let answer = put(&app, intelligence).await.unwrap().into_inner();
        (answer.stored, answer.intelligence.unwrap().profile_json)
    };
    let text = |text: &str| format!(r#"{{"text": "{text}"}}"#);
    assert_eq!(put_fetched(100.0, "first").await, (true, text("first")));
    assert_eq!(put_fetched(50.0, "second").await, (true, text("second")));
    let before = contents(&sql).await;
    assert_eq!(put_fetched(70.0, "older").await, (false, text("second")));
    assert_eq!(contents(&sql).await, before);
    // Written past the service, as the reference allows: the next store leaves only itself.
    sql.rows(
        "INSERT INTO people.intelligence (person_id, linkedin_data, fetched_at)
         SELECT $1::text::uuid, '{}', now() - n * interval '1 hour' FROM generate_series(1, 3) AS n",
        &[&a],
    )
    .await;
    assert_eq!(put_fetched(0.0, "third").await, (true, text("third")));
    let rows: i64 = sql
        .one("SELECT count(*) FROM people.intelligence", &[])
        .await;
    assert_eq!(rows, 1);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn law_8_the_same_content_writes_nothing() {
    let app = App::start().await;
    let sql = app.sql().await;
    let a = person(&sql, "a@x.example").await;
    let sent = Intelligence {
        skills: vec!["rust".to_owned()],
        fetch_time: Some(ago(&sql, 100.0).await),
        ..known(&a)
    };
    let first = put(&app, sent.clone()).await.unwrap().into_inner();
    let before = contents(&sql).await;
    let again = put(&app, sent.clone()).await.unwrap().into_inner();
    assert_eq!(again, first);
    assert!(again.stored);
    assert_eq!(contents(&sql).await, before);
    // Equal as JSON, but not what was sent.
    let spelled = Intelligence {
        profile_json: r#"{"headline":"CTO","n":1.0}"#.to_owned(),
        ..sent.clone()
    };
    put(&app, spelled.clone()).await.unwrap();
    let before = contents(&sql).await;
    let spelled = Intelligence {
        profile_json: r#"{"n":1,"headline":"CTO"}"#.to_owned(),
        ..spelled
    };
    let answer = put(&app, spelled).await.unwrap().into_inner();
    assert_eq!(
        answer.intelligence.unwrap().profile_json,
        r#"{"n": 1, "headline": "CTO"}"#
    );
    assert_ne!(contents(&sql).await, before);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_stores_leave_the_newest() {
    let app = App::start().await;
    let sql = app.sql().await;
    let a = person(&sql, "a@x.example").await;
    let mut sent = Vec::new();
    for seconds in 1..=40_u32 {
        sent.push(Intelligence {
            profile_json: format!(r#"{{"n": {seconds}}}"#),
            fetch_time: Some(ago(&sql, f64::from(seconds) * 10.0).await),
            ..known(&a)
        });
    }
    let puts = sent.into_iter().map(|intelligence| put(&app, intelligence));
    for answer in futures_util::future::join_all(puts).await {
        answer.unwrap();
    }
    let served = get(&app, Key::PersonId(a)).await.unwrap().into_inner();
    assert_eq!(served.intelligence.unwrap().profile_json, r#"{"n": 1}"#);
    let rows: i64 = sql
        .one("SELECT count(*) FROM people.intelligence", &[])
        .await;
    assert_eq!(rows, 1);
    app.stop().await;
}

/// Something older arrives while what is stored is past its time: it is not stored, and what expired is not shown.
#[tokio::test(flavor = "multi_thread")]
async fn law_14_an_answer_to_something_older_does_not_serve_what_is_stale() {
    let app = App::start().await;
    let sql = app.sql().await;
    let a = person(&sql, "a@x.example").await;
    put(&app, known(&a)).await.unwrap();
    sql.run(
        "UPDATE people.intelligence SET fetched_at = fetched_at - interval '31 days',
             stale_at = stale_at - interval '31 days'",
    )
    .await;
    let older = Intelligence {
        fetch_time: Some(ago(&sql, 32.0 * 86_400.0).await),
        ..known(&a)
    };
    let older = Intelligence {
        profile_json: r#"{"headline":"CFO"}"#.to_owned(),
        ..older
    };
    let answer = put(&app, older).await.unwrap().into_inner();
    assert_eq!((answer.stored, answer.intelligence), (false, None));
    app.stop().await;
}
