//! `GetPerson` and `BatchGetPeople`: by every key, in every spelling.

use leadvault::proto::people::v1::{BatchGetPeopleRequest, GetPersonRequest, PersonKey};
use tonic::Code;

use super::{by_email, by_id, by_url, make, people};
use crate::harness::{App, assert_field, refused};

const URL: &str = "https://www.linkedin.com/in/jane";

async fn with_urls(app: &App) {
    let sql = app.sql().await;
    make(&sql, 4).await;
    sql.run(&format!(
        "UPDATE people.master SET linkedin_url = '{URL}' WHERE email = 'p00001@x.example';
         UPDATE people.master SET linkedin_url = '{URL}-2' WHERE email >= 'p00003'"
    ))
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_is_found_by_each_key_in_any_spelling() {
    let app = App::start().await;
    with_urls(&app).await;
    let mut client = people(&app).await;
    let mut get = async |key: Option<PersonKey>| {
        let request = GetPersonRequest { key, as_of: None };
        client.get_person(request).await
    };
    let found = get(by_email(" P00001@X.example ")).await.unwrap();
    let person = found.into_inner().person.unwrap();
    for key in [
        by_id(&person.person_id),
        by_id(&person.person_id.to_uppercase()),
        by_url(URL),
        by_url("http://DE.linkedin.com/in/Jane/?trk=x"),
        by_url("linkedin.com/in/jane"),
    ] {
        let found = get(key).await.unwrap().into_inner().person.unwrap();
        assert_eq!(found, person);
    }
    let several = refused(get(by_url("linkedin.com/in/jane-2")).await)
        .is(Code::FailedPrecondition, "AMBIGUOUS_KEY")
        .says("resource", "person");
    assert_eq!(several.metadata["ids"].split(',').count(), 2);
    for key in [
        by_email("nobody@x.example"),
        by_id("7d444840-9dc0-11d1-b245-5ffdce74fad2"),
        by_url("linkedin.com/in/nobody"),
    ] {
        refused(get(key).await).is(Code::NotFound, "NOT_FOUND");
    }
    for key in [
        None,
        Some(PersonKey::default()),
        by_id("7"),
        by_email("nobody"),
        by_url("https://www.linkedin.com/company/acme"),
    ] {
        assert_field(get(key).await, "key");
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_are_found_in_the_order_of_their_keys_each_once() {
    let app = App::start().await;
    with_urls(&app).await;
    let mut client = people(&app).await;
    let keys = [
        by_email("p00002@x.example"),
        by_email("nobody@x.example"),
        by_url("linkedin.com/in/jane-2"),
        by_url(URL),
        by_email("P00001@x.example"),
    ];
    let keys: Vec<PersonKey> = keys.into_iter().flatten().collect();
    let request = BatchGetPeopleRequest { keys: keys.clone() };
    let response = client.batch_get_people(request).await.unwrap().into_inner();
    let emails: Vec<_> = response
        .people
        .iter()
        .map(|person| &person.email[..6])
        .collect();
    assert_eq!(emails, ["p00002", "p00003", "p00004", "p00001"]);
    assert_eq!(response.not_found, [keys[1].clone()]);

    let none = BatchGetPeopleRequest::default();
    assert_field(client.batch_get_people(none).await, "keys");
    let many = BatchGetPeopleRequest {
        keys: vec![keys[0].clone(); 1_001],
    };
    refused(client.batch_get_people(many).await).limits("max-ingest-rows", 1_000, 1_001);
    app.stop().await;
}
