//! Law 6 at the gate: who is refused, and why.

use leadvault::proto::{
    marketing::v1::{
        OutreachChannel,
        record_outreach_response::outcome::{Refusal, Result as Verdict},
    },
    people::v1::{
        ArchivePersonRequest, GetPersonRequest, PersonKey,
        people_service_client::PeopleServiceClient, person_key,
    },
    vault::v1::{
        Channel, CheckContactabilityRequest, ContactKey, DeleteContactRequest, GetContactRequest,
        SuppressContactsRequest, SuppressionReason, contact_key, suppress_contacts_request::Entry,
    },
};

use super::{active, email_to, new_id, outreach::over, people, record};
use crate::harness::App;

pub(super) async fn suppress(app: &App, email: &str, scope: Channel, reason: SuppressionReason) {
    let request = SuppressContactsRequest {
        entries: vec![Entry {
            email: email.to_owned(),
            scope: scope.into(),
            reason: reason.into(),
            evidence: "e".into(),
        }],
        ..Default::default()
    };
    app.vault().await.suppress_contacts(request).await.unwrap();
}

const CHANNELS: [(OutreachChannel, Channel); 3] = [
    (OutreachChannel::Email, Channel::Email),
    (OutreachChannel::Linkedin, Channel::Linkedin),
    (OutreachChannel::Phone, Channel::Phone),
];

/// Every reason and scope of the ledger, entered before the person was known: on each channel the gate and
/// `CheckContactability` say the same.
#[tokio::test(flavor = "multi_thread")]
async fn law_6_whom_the_ledger_forbids_is_refused_with_its_entry() {
    use SuppressionReason as Reason;
    let app = App::start().await;
    let sql = app.sql().await;
    let spring = active(&app, "Spring").await.campaign_id;
    let mut emails = Vec::new();
    for scope in [
        Channel::All,
        Channel::Email,
        Channel::Linkedin,
        Channel::Phone,
    ] {
        for reason in [
            Reason::Unsubscribed,
            Reason::Bounced,
            Reason::Complaint,
            Reason::Manual,
            Reason::Legal,
        ] {
            let email = format!("{}-{}@x.example", scope as i32, reason as i32);
            suppress(&app, &email, scope, reason).await;
            emails.push(email);
        }
    }
    emails.push("free@x.example".to_owned());
    // The contacts of half of them come by the front door, which brings them to the ledger's status.
    let names: Vec<&str> = emails.iter().map(String::as_str).collect();
    app.ingest_emails("b", "apollo", &names).await;
    sql.rows("SELECT * FROM vault.f_promote_contacts()", &[])
        .await;
    sql.run(
        "INSERT INTO people.master (email, status)
         SELECT email, CASE status WHEN 'unsubscribed' THEN 'inactive' ELSE status END FROM vault.contacts",
    )
    .await;
    for email in &emails {
        let id: String = sql
            .one(
                "SELECT id::text FROM people.master WHERE email = $1",
                &[email],
            )
            .await;
        for (channel, as_scope) in CHANNELS {
            let outcome = record(&app, vec![over(channel, email_to(&id, &spring))])
                .await
                .remove(0);
            let request = CheckContactabilityRequest {
                emails: vec![email.clone()],
                channel: as_scope.into(),
            };
            let answer = app
                .vault()
                .await
                .check_contactability(request)
                .await
                .unwrap();
            let answer = answer.into_inner().answers.remove(0);
            let recorded = outcome.result() == Verdict::Recorded;
            assert_eq!(
                recorded, answer.contactable,
                "{email} {channel:?}: {outcome:?}"
            );
            assert_eq!(
                outcome.suppression, answer.suppression,
                "{email} {channel:?}"
            );
            if let Some(entry) = &answer.suppression {
                let expected = match (entry.reason(), entry.scope()) {
                    (Reason::Bounced, _) => Refusal::PersonBounced,
                    (_, Channel::All) => Refusal::PersonSuppressed,
                    _ => Refusal::ChannelSuppressed,
                };
                assert_eq!(outcome.refusal(), expected);
            }
        }
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn law_6_whom_a_status_forbids_is_refused_without_an_entry() {
    let app = App::start().await;
    let sql = app.sql().await;
    for (nth, (contact, person, on_email, on_phone)) in [
        (
            "active",
            "active",
            Refusal::Unspecified,
            Refusal::Unspecified,
        ),
        (
            "bounced",
            "active",
            Refusal::PersonBounced,
            Refusal::Unspecified,
        ),
        (
            "active",
            "bounced",
            Refusal::PersonBounced,
            Refusal::Unspecified,
        ),
        (
            "unsubscribed",
            "active",
            Refusal::PersonSuppressed,
            Refusal::Unspecified,
        ),
        (
            "unsubscribed",
            "inactive",
            Refusal::PersonSuppressed,
            Refusal::Unspecified,
        ),
        (
            "inactive",
            "active",
            Refusal::PersonInactive,
            Refusal::PersonInactive,
        ),
        (
            "active",
            "inactive",
            Refusal::PersonInactive,
            Refusal::PersonInactive,
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let email = format!("p{nth}@x.example");
        let id = people(&sql, &[&email]).await.remove(0);
        sql.run(&format!(
            "UPDATE vault.contacts SET status = '{contact}' WHERE email = '{email}';
             UPDATE people.master SET status = '{person}' WHERE email = '{email}'"
        ))
        .await;
        for (channel, expected) in [
            (OutreachChannel::Email, on_email),
            (OutreachChannel::Phone, on_phone),
        ] {
            let outcome = record(&app, vec![over(channel, email_to(&id, ""))])
                .await
                .remove(0);
            assert_eq!(
                outcome.refusal(),
                expected,
                "{contact} {person} {channel:?}"
            );
            assert_eq!(outcome.suppression, None);
        }
    }
    let outcome = record(&app, vec![email_to(&new_id(), "")]).await.remove(0);
    assert_eq!(outcome.refusal(), Refusal::PersonUnknown);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_who_is_archived_while_suppressed_on_email_is_refused_everywhere() {
    let app = App::start().await;
    let sql = app.sql().await;
    let id = people(&sql, &["a@x.example"]).await.remove(0);
    sql.run("UPDATE people.master SET status = 'inactive'")
        .await;
    suppress(
        &app,
        "a@x.example",
        Channel::Email,
        SuppressionReason::Manual,
    )
    .await;
    let outcome = record(&app, vec![over(OutreachChannel::Phone, email_to(&id, ""))])
        .await
        .remove(0);
    assert_eq!(outcome.refusal(), Refusal::PersonInactive);
    app.stop().await;
}

/// What a hard bounce or the person's word did to the status speaks of email; archiving and deleting of everything.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_archived_or_deleted_after_a_suppression_of_email_is_refused_everywhere() {
    let app = App::start().await;
    let sql = app.sql().await;
    let emails = ["a@x.example", "b@x.example", "c@x.example", "d@x.example"];
    let ids = people(&sql, &emails).await;
    let reasons = [SuppressionReason::Bounced, SuppressionReason::Unsubscribed];
    for (nth, email) in emails.into_iter().enumerate() {
        suppress(&app, email, Channel::Email, reasons[nth % 2]).await;
    }
    let by_phone = async |id: &str| {
        let outcomes = record(&app, vec![over(OutreachChannel::Phone, email_to(id, ""))]).await;
        (outcomes[0].result(), outcomes[0].refusal())
    };
    for id in &ids {
        assert_eq!(by_phone(id).await.0, Verdict::Recorded);
    }
    let mut client = PeopleServiceClient::new(app.channel().await);
    for id in &ids[..2] {
        let key = PersonKey {
            key: Some(person_key::Key::PersonId(id.clone())),
        };
        let request = GetPersonRequest {
            key: Some(key),
            ..Default::default()
        };
        let person = client.get_person(request).await.unwrap();
        let request = ArchivePersonRequest {
            person_id: id.clone(),
            etag: person.into_inner().person.unwrap().etag,
        };
        client.archive_person(request).await.unwrap();
    }
    for email in &emails[2..] {
        let key = ContactKey {
            key: Some(contact_key::Key::Email((*email).to_owned())),
        };
        let request = GetContactRequest { key: Some(key) };
        let contact = app.vault().await.get_contact(request).await.unwrap();
        let contact = contact.into_inner().contact.unwrap();
        let request = DeleteContactRequest {
            contact_id: contact.contact_id,
            etag: contact.etag,
        };
        app.vault().await.delete_contact(request).await.unwrap();
    }
    for id in &ids {
        let refused = (Verdict::Refused, Refusal::PersonInactive);
        assert_eq!(by_phone(id).await, refused);
    }
    app.stop().await;
}
