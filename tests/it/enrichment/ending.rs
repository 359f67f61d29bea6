//! `CompleteEnrichment`: one transaction, one token.

use leadvault::proto::people::v1::{
    CompleteEnrichmentRequest, EnrichmentState, GetIntelligenceRequest, Intelligence, Person,
    PersonKey, person_key::Key,
};
use tonic::Code;

use super::{
    complete, contents, enqueue, entry, fail, found, lease, lease_one, let_time_pass, mask, people,
    person,
};
use crate::harness::{App, Sql, refused};

async fn leased(app: &App, sql: &Sql) -> (String, i64) {
    let a = person(sql, "a@x.example").await;
    enqueue(app, [(&a, 1)]).await;
    lease_one(app).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_completion_writes_the_person_as_an_enrichment_and_its_intelligence() {
    let app = App::start().await;
    let sql = app.sql().await;
    let (a, token) = leased(&app, &sql).await;
    sql.run(
        "UPDATE people.master SET title = 'CTO', location = 'Oslo', pinned_fields = '{title}';
         DELETE FROM people.history",
    )
    .await;
    let request = CompleteEnrichmentRequest {
        person_id: a.clone(),
        lease_token: token,
        person: Some(Person {
            title: "Chief Technology Officer".to_owned(),
            seniority: "c_level".to_owned(),
            linkedin_url: "no.linkedin.com/in/Ada?trk=x".to_owned(),
            ..Default::default()
        }),
        // An empty value changes nothing: the location stays.
        update_mask: Some(mask(&["title", "seniority", "linkedin_url", "location"])),
        intelligence: Some(Intelligence {
            profile_json: r#"{"headline": "CTO", "n": 1.0}"#.to_owned(),
            skills: vec!["rust".to_owned()],
            ..Default::default()
        }),
        ..Default::default()
    };
    let answer = complete(&app, request.clone()).await.unwrap().into_inner();
    let (person, done) = (answer.person.unwrap(), answer.entry.unwrap());
    assert_eq!(done.state(), EnrichmentState::Completed);
    assert_eq!(
        (done.attempts, done.failures, done.last_error.as_str()),
        (1, 0, "")
    );
    assert_eq!(person.title, "CTO", "pinned");
    assert_eq!(
        (person.seniority.as_str(), person.location.as_str()),
        ("c_level", "Oslo")
    );
    assert_eq!(person.linkedin_url, "https://www.linkedin.com/in/ada");
    assert_eq!(person.pinned_fields, ["title"]);
    assert!(person.enrich_time.is_some());
    let history = sql
        .rows(
            "SELECT changed_fields::text, changed_by FROM people.history",
            &[],
        )
        .await;
    assert_eq!(history.len(), 1);
    assert_eq!(
        (history[0].get::<_, &str>(0), history[0].get::<_, &str>(1)),
        (r#"["seniority", "linkedin_url"]"#, "anonymous")
    );
    let key = PersonKey {
        key: Some(Key::PersonId(a.clone())),
    };
    let known = people(&app)
        .await
        .get_intelligence(GetIntelligenceRequest { key: Some(key) })
        .await;
    let known = known.unwrap().into_inner().intelligence.unwrap();
    assert_eq!(known.profile_json, r#"{"n": 1.0, "headline": "CTO"}"#);

    // Repeated with its token it changes nothing and is answered alike.
    let before = contents(&sql).await;
    let again = complete(&app, request).await.unwrap().into_inner();
    assert_eq!(
        (again.person.unwrap(), again.entry.unwrap()),
        (person, done)
    );
    assert_eq!(contents(&sql).await, before);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_enrichment_that_found_what_was_known_sets_the_time_and_writes_no_history() {
    let app = App::start().await;
    let sql = app.sql().await;
    let (a, token) = leased(&app, &sql).await;
    sql.run("UPDATE people.master SET title = 'CTO'; DELETE FROM people.history")
        .await;
    let updated: String = sql
        .one("SELECT updated_at::text FROM people.master", &[])
        .await;
    complete(&app, found(&a, token, "CTO")).await.unwrap();
    let unchanged: bool = sql
        .one(
            "SELECT updated_at::text = $1 AND enriched_at IS NOT NULL
                    AND NOT EXISTS (SELECT FROM people.history) FROM people.master",
            &[&updated],
        )
        .await;
    assert!(unchanged);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_token_is_refused_and_changes_nothing() {
    let app = App::start().await;
    let sql = app.sql().await;
    let (a, old) = leased(&app, &sql).await;
    let_time_pass(&sql).await;
    let (_, new) = lease_one(&app).await;
    assert!(new > old);
    let before = contents(&sql).await;
    for token in [old, new + 1] {
        refused(complete(&app, found(&a, token, "CTO")).await)
            .is(Code::Aborted, "LEASE_LOST")
            .says("person_id", &a)
            .says("state", "leased");
        refused(fail(&app, &a, token, true).await).is(Code::Aborted, "LEASE_LOST");
    }
    assert_eq!(contents(&sql).await, before);
    complete(&app, found(&a, new, "CTO")).await.unwrap();
    let before = contents(&sql).await;
    refused(complete(&app, found(&a, old, "CEO")).await)
        .is(Code::Aborted, "LEASE_LOST")
        .says("state", "completed");
    refused(fail(&app, &a, new, false).await).is(Code::Aborted, "LEASE_LOST");
    assert_eq!(contents(&sql).await, before);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_completion_counts_while_nobody_else_has_the_person() {
    let app = App::start().await;
    let sql = app.sql().await;
    let (a, token) = leased(&app, &sql).await;
    let_time_pass(&sql).await;
    let answer = complete(&app, found(&a, token, "CTO")).await.unwrap();
    assert_eq!(answer.into_inner().person.unwrap().title, "CTO");
    assert!(lease(&app, 1).await.is_empty());
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_found_is_an_end_too() {
    let app = App::start().await;
    let sql = app.sql().await;
    let (a, token) = leased(&app, &sql).await;
    let request = CompleteEnrichmentRequest {
        person_id: a.clone(),
        lease_token: token,
        not_found_reason: "no profile".to_owned(),
        ..Default::default()
    };
    let answer = complete(&app, request).await.unwrap().into_inner();
    assert_eq!(answer.entry.unwrap().last_error, "no profile");
    assert_eq!(answer.person.unwrap().enrich_time, None);
    assert_eq!(entry(&app, &a).await.state(), EnrichmentState::Completed);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_company_that_is_not_there_is_refused_and_the_lease_goes_on() {
    let app = App::start().await;
    let sql = app.sql().await;
    let (a, token) = leased(&app, &sql).await;
    let company: String = sql
        .one(
            "INSERT INTO company.master (domain) VALUES ('x.example') RETURNING id::text",
            &[],
        )
        .await;
    let request = |company_id: &str| CompleteEnrichmentRequest {
        person_id: a.clone(),
        lease_token: token,
        person: Some(Person {
            company_id: company_id.to_owned(),
            ..Default::default()
        }),
        update_mask: Some(mask(&["company_id"])),
        ..Default::default()
    };
    let before = contents(&sql).await;
    let nowhere = "00000000-0000-0000-0000-000000000001";
    refused(complete(&app, request(nowhere)).await).blames("person.company_id");
    assert_eq!(contents(&sql).await, before);
    let answer = complete(&app, request(&company)).await.unwrap();
    assert_eq!(answer.into_inner().person.unwrap().company_id, company);
    app.stop().await;
}
