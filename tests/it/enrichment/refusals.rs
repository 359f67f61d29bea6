//! What is refused, and that it changes nothing.

use leadvault::proto::people::v1::{
    CompleteEnrichmentRequest, FailEnrichmentRequest, GetIntelligenceRequest, Intelligence,
    LeaseEnrichmentRequest, ListEnrichmentRequest, Person, PersonKey, PutIntelligenceRequest,
    ReviveEnrichmentRequest, person_key::Key,
};
use tonic::Code;

use super::{
    complete, contents, enqueue, entries, fail, found,
    intelligence::{ago, get, known, put},
    lease, lease_one, mask, people, person, persons,
};
use crate::harness::{App, assert_field, refused};

/// Makes a good message a bad one.
type Spoil<Message> = Box<dyn Fn(&mut Message)>;

const NOBODY: &str = "00000000-0000-0000-0000-000000000001";

#[tokio::test(flavor = "multi_thread")]
async fn intelligence_that_is_malformed_or_too_large() {
    let app = App::start().await;
    let sql = app.sql().await;
    let a = person(&sql, "a@x.example").await;
    let before = contents(&sql).await;
    let future = ago(&sql, -3_600.0).await;
    let bad: [(&str, Spoil<Intelligence>); 16] = [
        ("person_id", Box::new(|i| i.person_id = "7".to_owned())),
        ("profile_json", Box::new(|i| i.profile_json.clear())),
        (
            "profile_json",
            Box::new(|i| i.profile_json = "[1]".to_owned()),
        ),
        (
            "profile_json",
            Box::new(|i| i.profile_json = "{".to_owned()),
        ),
        (
            "profile_json",
            Box::new(|i| i.profile_json = r#"{"a":"\u0000"}"#.to_owned()),
        ),
        (
            "profile_json",
            Box::new(|i| i.profile_json = r#"{"a":1e999999}"#.to_owned()),
        ),
        (
            "experience_json",
            Box::new(|i| i.experience_json = "\"text\"".to_owned()),
        ),
        // What would slip into an object that is put around it.
        (
            "experience_json",
            Box::new(|i| i.experience_json = r#"[],"b":[]"#.to_owned()),
        ),
        (
            "education_json",
            Box::new(|i| i.education_json = r#"["\ud800"]"#.to_owned()),
        ),
        (
            "education_json",
            Box::new(|i| i.education_json = "[".repeat(65) + &"]".repeat(65)),
        ),
        ("skills", Box::new(|i| i.skills = vec![" ".to_owned()])),
        ("skills", Box::new(|i| i.skills = vec!["a\0".to_owned()])),
        ("skills", Box::new(|i| i.skills = vec!["x".repeat(1_001)])),
        (
            "skills",
            Box::new(|i| i.skills = (0..1_001).map(|n| n.to_string()).collect()),
        ),
        ("fetch_time", Box::new(move |i| i.fetch_time = Some(future))),
        (
            "",
            Box::new(|i| i.experience_json = format!(r#"["{}"]"#, "x".repeat(1024 * 1024))),
        ),
    ];
    for (field, spoil) in bad {
        let mut intelligence = known(&a);
        spoil(&mut intelligence);
        let field = format!("intelligence.{field}");
        assert_field(put(&app, intelligence).await, field.trim_end_matches('.'));
    }
    let none = PutIntelligenceRequest { intelligence: None };
    assert_field(
        people(&app).await.put_intelligence(none).await,
        "intelligence",
    );
    refused(put(&app, known(NOBODY)).await)
        .is(Code::NotFound, "NOT_FOUND")
        .says("resource", "person");
    assert_eq!(contents(&sql).await, before);

    for key in [
        Key::PersonId("x".to_owned()),
        Key::Email("x".to_owned()),
        Key::LinkedinUrl("https://x.example/in/a".to_owned()),
    ] {
        assert_field(get(&app, key).await, "key");
    }
    for key in [None, Some(PersonKey { key: None })] {
        let request = GetIntelligenceRequest { key };
        assert_field(people(&app).await.get_intelligence(request).await, "key");
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn enqueueing_and_reviving() {
    let app = App::start().await;
    let sql = app.sql().await;
    let a = person(&sql, "a@x.example").await;
    let mut client = people(&app).await;
    for (request, field) in [
        (entries::<&str>([]), "entries"),
        (entries([("x", 1)]), "entries.person_id"),
        (entries([(&a, -1)]), "entries.priority"),
        (entries([(&a, 1_001)]), "entries.priority"),
    ] {
        assert_field(client.enqueue_enrichment(request).await, field);
    }
    let mut request = entries([(&a, 1)]);
    request.request_id = "x".to_owned();
    assert_field(client.enqueue_enrichment(request).await, "request_id");
    let many = entries((0..1_001).map(|_| (&a, 1)));
    refused(client.enqueue_enrichment(many).await).limits("max-ingest-rows", 1_000, 1_001);
    for (count, field) in [(0, "person_ids"), (1, "person_ids")] {
        let request = ReviveEnrichmentRequest {
            person_ids: vec!["x".to_owned(); count],
        };
        assert_field(client.revive_enrichment(request).await, field);
    }
    let request = ReviveEnrichmentRequest {
        person_ids: vec![a; 1_001],
    };
    refused(client.revive_enrichment(request).await).limits("max-ingest-rows", 1_000, 1_001);
    let listed: i64 = sql
        .one("SELECT count(*) FROM ple.enrichment_queue", &[])
        .await;
    assert_eq!(listed, 0);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn leasing_and_listing() {
    let app = App::start_with(&["--enrichment-max-lease", "60"]).await;
    let sql = app.sql().await;
    let ids = persons(&sql, 3).await;
    enqueue(&app, ids.iter().map(|id| (id, 1))).await;
    let mut client = people(&app).await;
    for (worker, max_count, lease_ms, field) in [
        ("x".repeat(1_001), 1, 1, "worker"),
        ("a\0".to_owned(), 1, 1, "worker"),
        (String::new(), -1, 1, "max_count"),
        (String::new(), 1, -1, "lease_ms"),
    ] {
        let request = LeaseEnrichmentRequest {
            worker,
            max_count,
            lease_ms,
        };
        assert_field(client.lease_enrichment(request).await, field);
    }
    let request = LeaseEnrichmentRequest {
        lease_ms: 60_001,
        ..Default::default()
    };
    refused(client.lease_enrichment(request).await).limits("enrichment-max-lease", 60_000, 60_001);
    let bad_state = ListEnrichmentRequest {
        state: 99,
        ..Default::default()
    };
    assert_field(client.list_enrichment(bad_state).await, "state");
    let bad_id = ListEnrichmentRequest {
        person_id: "x".to_owned(),
        ..Default::default()
    };
    assert_field(client.list_enrichment(bad_id).await, "person_id");
    // The count is coerced, as that of a page.
    assert_eq!(lease(&app, 5_000).await.len(), 3);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn completing_and_failing() {
    let app = App::start().await;
    let sql = app.sql().await;
    let a = person(&sql, "a@x.example").await;
    enqueue(&app, [(&a, 1)]).await;
    let (_, token) = lease_one(&app).await;
    let before = contents(&sql).await;
    let good = found(&a, token, "CTO");
    let bad: [(&str, Spoil<CompleteEnrichmentRequest>); 13] = [
        ("person_id", Box::new(|r| r.person_id.clear())),
        ("lease_token", Box::new(|r| r.lease_token = 0)),
        ("not_found_reason", Box::new(|r| r.update_mask = None)),
        (
            "not_found_reason",
            Box::new(|r| r.not_found_reason = "gone".to_owned()),
        ),
        (
            "not_found_reason",
            Box::new(|r| r.not_found_reason = "x".repeat(1_001)),
        ),
        (
            "update_mask",
            Box::new(|r| r.update_mask = Some(mask(&["email"]))),
        ),
        (
            "update_mask",
            Box::new(|r| r.update_mask = Some(mask(&["nonsense"]))),
        ),
        (
            "person.person_id",
            Box::new(|r| change(r).person_id = NOBODY.to_owned()),
        ),
        (
            "person.title",
            Box::new(|r| change(r).title = "x".repeat(1_001)),
        ),
        (
            "person.linkedin_url",
            Box::new(|r| {
                change(r).linkedin_url = "https://x.example".to_owned();
                r.update_mask = Some(mask(&["linkedin_url"]));
            }),
        ),
        (
            "person.company_id",
            Box::new(|r| {
                change(r).company_id = "x".to_owned();
                r.update_mask = Some(mask(&["company_id"]));
            }),
        ),
        (
            "intelligence.person_id",
            Box::new(|r| r.intelligence = Some(known(NOBODY))),
        ),
        (
            "intelligence.profile_json",
            Box::new(|r| r.intelligence = Some(Intelligence::default())),
        ),
    ];
    for (field, spoil) in bad {
        let mut request = good.clone();
        spoil(&mut request);
        assert_field(complete(&app, request).await, field);
    }
    refused(complete(&app, found(NOBODY, 1, "CTO")).await)
        .is(Code::NotFound, "NOT_FOUND")
        .says("key", NOBODY);
    let mut client = people(&app).await;
    for (lease_token, error, field) in [
        (0, "down".to_owned(), "lease_token"),
        (token, String::new(), "error"),
        (token, "x".repeat(1_001), "error"),
    ] {
        let request = FailEnrichmentRequest {
            person_id: a.clone(),
            lease_token,
            error,
            permanent: false,
        };
        assert_field(client.fail_enrichment(request).await, field);
    }
    refused(fail(&app, NOBODY, 1, false).await).is(Code::NotFound, "NOT_FOUND");
    assert_eq!(contents(&sql).await, before);
    // The lease goes on.
    complete(&app, good).await.unwrap();
    app.stop().await;
}

fn change(request: &mut CompleteEnrichmentRequest) -> &mut Person {
    request.person.as_mut().unwrap()
}
