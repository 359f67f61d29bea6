//! `ArchivePerson`.

use leadvault::proto::people::v1::{ArchivePersonRequest, Person, PersonStatus};
use serde_json::json;
use tonic::{Code, Response, Status};

use super::{bring, history_of, make, people, person, writes};
use crate::harness::{App, assert_field, refused};

async fn archive(app: &App, person_id: &str, etag: &str) -> Result<Person, Status> {
    let request = ArchivePersonRequest {
        person_id: person_id.to_owned(),
        etag: etag.to_owned(),
    };
    let response = people(app).await.archive_person(request).await?;
    Ok(response.into_inner().person.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_archived_person_stays_and_is_not_brought_back() {
    let app = App::start().await;
    let sql = app.sql().await;
    make(&sql, 1).await;
    let email = "p00001@x.example";
    let before = person(&app, email).await;
    let archived = archive(&app, &before.person_id, &before.etag)
        .await
        .unwrap();
    assert_eq!(archived.status(), PersonStatus::Inactive);
    assert_eq!(history_of(&app, email).await[1].changed_fields, ["status"]);

    // Repeating it changes nothing, also with the old etag.
    let written = writes(&sql).await;
    assert_eq!(
        archive(&app, &before.person_id, &before.etag)
            .await
            .unwrap(),
        archived
    );
    assert_eq!(writes(&sql).await, written);
    bring(&app, "s", json!({"email": email, "title": "CEO"})).await;
    assert_eq!(person(&app, email).await.status(), PersonStatus::Inactive);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bounced_person_stays_bounced_and_a_stale_etag_is_refused() {
    let app = App::start().await;
    let sql = app.sql().await;
    make(&sql, 2).await;
    sql.run("UPDATE people.master SET status = 'bounced' WHERE email = 'p00001@x.example'")
        .await;
    let bounced = person(&app, "p00001@x.example").await;
    let kept = archive(&app, &bounced.person_id, "old").await.unwrap();
    assert_eq!(kept, bounced);

    let other = person(&app, "p00002@x.example").await;
    refused(
        archive(&app, &other.person_id, "old")
            .await
            .map(Response::new),
    )
    .is(Code::Aborted, "ETAG_MISMATCH")
    .says("current_etag", &other.etag);
    let answer = archive(&app, "7d444840-9dc0-11d1-b245-5ffdce74fad2", "x").await;
    refused(answer.map(Response::new)).is(Code::NotFound, "NOT_FOUND");
    let answer = archive(&app, &other.person_id, "").await;
    assert_field(answer.map(Response::new), "etag");
    let answer = archive(&app, "x", "x").await;
    assert_field(answer.map(Response::new), "person_id");
    app.stop().await;
}
