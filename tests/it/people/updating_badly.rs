//! What `UpdatePerson` refuses.

use leadvault::proto::people::v1::{Person, UpdatePersonRequest};
use tonic::Code;

use super::{change, make, people, person, writes};
use crate::harness::{App, assert_field, refused};

#[tokio::test(flavor = "multi_thread")]
async fn a_malformed_update_names_its_field_and_changes_nothing() {
    let app = App::start().await;
    let sql = app.sql().await;
    make(&sql, 1).await;
    let read = person(&app, "p00001@x.example").await;
    let before = writes(&sql).await;
    let mut client = people(&app).await;
    let with = |set: fn(&mut Person)| {
        let mut person = read.clone();
        set(&mut person);
        person
    };
    let unpin = |names: &[&str], mask: &[&str]| UpdatePersonRequest {
        unpin: names.iter().map(|name| (*name).to_owned()).collect(),
        ..change(&read, mask)
    };
    let mut bad = vec![
        (UpdatePersonRequest::default(), "person"),
        (change(&read, &[]), "update_mask"),
        (unpin(&["nothing"], &[]), "unpin"),
        (unpin(&["status"], &[]), "unpin"),
        (unpin(&["title"], &["title"]), "unpin"),
        (change(&with(|p| p.etag.clear()), &["title"]), "person.etag"),
        (
            change(&with(|p| p.person_id = "7".into()), &["title"]),
            "person.person_id",
        ),
        (
            change(&with(|p| p.title = "x".repeat(1_001)), &["title"]),
            "person.title",
        ),
        (
            change(&with(|p| p.name = "a\0b".into()), &["name"]),
            "person.name",
        ),
        (
            change(&with(|p| p.company_id = "acme".into()), &["company_id"]),
            "person.company_id",
        ),
        (
            change(
                &with(|p| p.company_id = "7d444840-9dc0-11d1-b245-5ffdce74fad2".into()),
                &["company_id"],
            ),
            "person.company_id",
        ),
        (
            change(
                &with(|p| p.linkedin_url = "https://x.com/in/a".into()),
                &["linkedin_url"],
            ),
            "person.linkedin_url",
        ),
    ];
    for field in [
        "person_id",
        "email",
        "create_time",
        "update_time",
        "enrich_time",
        "status",
        "pinned_fields",
        "etag",
        "company_domains",
        "*",
        "title.x",
        "",
    ] {
        bad.push((change(&read, &["title", field]), "update_mask"));
    }
    for (request, field) in bad {
        assert_field(client.update_person(request).await, field);
    }
    let nobody = with(|p| p.person_id = "7d444840-9dc0-11d1-b245-5ffdce74fad2".into());
    refused(client.update_person(change(&nobody, &["title"])).await)
        .is(Code::NotFound, "NOT_FOUND");
    let stale = with(|p| p.etag = "\0 no etag".into());
    refused(client.update_person(change(&stale, &["title"])).await)
        .is(Code::Aborted, "ETAG_MISMATCH");
    assert_eq!(writes(&sql).await, before);
    app.stop().await;
}
