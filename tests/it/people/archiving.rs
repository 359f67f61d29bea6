//! `ArchivePerson`.

use leadvault::proto::{
    intake::v1::{AuditEntry, ListAuditLogRequest},
    people::v1::{ArchivePersonRequest, Person, PersonStatus},
    vault::v1::{Channel, SuppressionReason as Reason, UnsuppressContactRequest},
};
use serde_json::{Value, json};
use tonic::{Code, Response, Status};

use super::{bring, consent::suppress, history_of, make, people, person, writes};
use crate::harness::{App, assert_field, refused};

async fn archive(app: &App, person_id: &str, etag: &str) -> Result<Person, Status> {
    let request = ArchivePersonRequest {
        person_id: person_id.to_owned(),
        etag: etag.to_owned(),
    };
    let response = people(app).await.archive_person(request).await?;
    Ok(response.into_inner().person.unwrap())
}

/// The rows of the audit trail that say so.
async fn archivings(app: &App) -> Vec<AuditEntry> {
    let request = ListAuditLogRequest {
        action: "person_archived".to_owned(),
        ..Default::default()
    };
    let answer = app.intake().await.list_audit_log(request).await.unwrap();
    answer.into_inner().entries
}

async fn lift(app: &App, email: &str, scope: Channel) {
    let request = UnsuppressContactRequest {
        email: email.to_owned(),
        scope: scope.into(),
        evidence: "signed up again".to_owned(),
        ..Default::default()
    };
    app.vault().await.unsuppress_contact(request).await.unwrap();
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
    let details: Value = serde_json::from_str(&archivings(&app).await[0].details_json).unwrap();
    assert_eq!(
        details,
        json!({
            "actor": "anonymous", "person_id": before.person_id,
            "old_values": {"status": "active"}, "new_values": {"status": "inactive"},
        })
    );

    // Repeating it changes nothing, also with the old etag.
    let written = writes(&sql).await;
    assert_eq!(
        archive(&app, &before.person_id, &before.etag)
            .await
            .unwrap(),
        archived
    );
    assert_eq!(writes(&sql).await, written);
    assert_eq!(archivings(&app).await.len(), 1);
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
    refused(
        archive(&app, &bounced.person_id, "old")
            .await
            .map(Response::new),
    )
    .is(Code::Aborted, "ETAG_MISMATCH");
    assert!(archivings(&app).await.is_empty());
    // Recorded once, and the person is not touched.
    for etag in [bounced.etag.as_str(), "old"] {
        let kept = archive(&app, &bounced.person_id, etag).await.unwrap();
        assert_eq!(kept, bounced);
    }
    let [archiving] = archivings(&app).await.try_into().unwrap();
    let details: Value = serde_json::from_str(&archiving.details_json).unwrap();
    let expected =
        json!({"actor": "anonymous", "person_id": bounced.person_id, "status": "bounced"});
    assert_eq!(details, expected);

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

/// Whatever the ledger took, before or since: who was archived does not come back as active.
#[tokio::test(flavor = "multi_thread")]
async fn law_6_a_lift_makes_who_was_archived_inactive() {
    let app = App::start().await;
    make(&app.sql().await, 3).await;
    let [gone, bounced, before] = ["p00001@x.example", "p00002@x.example", "p00003@x.example"];
    archive_now(&app, before).await;
    for (email, reason) in [
        (gone, Reason::Unsubscribed),
        (bounced, Reason::Bounced),
        (before, Reason::Bounced),
    ] {
        suppress(&app, &[(email, Channel::All, reason)]).await;
    }
    assert_eq!(archive_now(&app, gone).await, PersonStatus::Inactive);
    assert_eq!(archive_now(&app, bounced).await, PersonStatus::Bounced);
    for email in [gone, bounced, before] {
        lift(&app, email, Channel::All).await;
        assert_eq!(
            person(&app, email).await.status(),
            PersonStatus::Inactive,
            "{email}"
        );
    }
    // And not by a second suppression that is lifted.
    suppress(&app, &[(gone, Channel::Email, Reason::Bounced)]).await;
    lift(&app, gone, Channel::Email).await;
    assert_eq!(person(&app, gone).await.status(), PersonStatus::Inactive);
    app.stop().await;
}

/// Who was archived while suppressed, and arrived so.
#[tokio::test(flavor = "multi_thread")]
async fn law_6_a_lift_makes_who_arrived_suppressed_and_was_archived_inactive() {
    let app = App::start().await;
    let [kept, archived] = ["kept@x.example", "archived@x.example"];
    for email in [kept, archived] {
        suppress(&app, &[(email, Channel::All, Reason::Legal)]).await;
        bring(&app, "s", json!({"email": email})).await;
    }
    archive_now(&app, archived).await;
    for (email, status) in [
        (kept, PersonStatus::Active),
        (archived, PersonStatus::Inactive),
    ] {
        lift(&app, email, Channel::All).await;
        assert_eq!(person(&app, email).await.status(), status, "{email}");
    }
    app.stop().await;
}

/// Somebody at psql makes a person active after all: from then on the ledger gives back what it takes.
#[tokio::test(flavor = "multi_thread")]
async fn who_was_made_active_since_is_archived_no_more() {
    let app = App::start().await;
    let sql = app.sql().await;
    make(&sql, 1).await;
    let email = "p00001@x.example";
    archive_now(&app, email).await;
    sql.run("UPDATE people.master SET status = 'active', updated_at = clock_timestamp()")
        .await;
    suppress(&app, &[(email, Channel::All, Reason::Manual)]).await;
    lift(&app, email, Channel::All).await;
    assert_eq!(person(&app, email).await.status(), PersonStatus::Active);
    // Archived again, it goes on record again.
    assert_eq!(archive_now(&app, email).await, PersonStatus::Inactive);
    assert_eq!(archivings(&app).await.len(), 2);
    app.stop().await;
}

/// Archives a person as it is now, and says its status.
async fn archive_now(app: &App, email: &str) -> PersonStatus {
    let now = person(app, email).await;
    let archived = archive(app, &now.person_id, &now.etag).await.unwrap();
    archived.status()
}
