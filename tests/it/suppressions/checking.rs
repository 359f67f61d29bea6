//! `CheckContactability`.

use leadvault::proto::vault::v1::{
    Channel, CheckContactabilityRequest, ContactStatus, SuppressionReason as Reason,
    check_contactability_response::Answer,
};

use super::{arrive, entry, lift, scoped, suppress, vault};
use crate::harness::{App, assert_field, refused};

async fn check(app: &App, channel: Channel, emails: &[&str]) -> Vec<Answer> {
    let request = CheckContactabilityRequest {
        emails: emails.iter().map(|email| (*email).to_owned()).collect(),
        channel: channel.into(),
    };
    let answer = vault(app).await.check_contactability(request).await;
    answer.unwrap().into_inner().answers
}

/// An answer as `yes`, the reason of its entry, or its detail.
fn say(answer: &Answer) -> String {
    match &answer.suppression {
        _ if answer.contactable => "yes".to_owned(),
        Some(entry) => format!("{:?}", entry.reason()),
        None => answer.detail.clone(),
    }
}

async fn says(app: &App, channel: Channel, emails: &[&str]) -> Vec<String> {
    check(app, channel, emails).await.iter().map(say).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_strongest_entry_of_the_channel_answers() {
    let app = App::start().await;
    arrive(&app, "b", &["u@x.example", "free@x.example"]).await;
    suppress(
        &app,
        vec![
            scoped("u@x.example", Channel::Email, Reason::Bounced),
            scoped("u@x.example", Channel::Email, Reason::Manual),
            scoped("u@x.example", Channel::Phone, Reason::Complaint),
            entry("n@x.example", Reason::Bounced),
            entry("n@x.example", Reason::Legal),
            entry("l@x.example", Reason::Legal),
        ],
    )
    .await;
    lift(&app, "l@x.example", Channel::All, "e").await.unwrap();
    let emails = [
        "U@x.example ",
        "free@x.example",
        "n@x.example",
        "l@x.example",
        "none",
        "u@x.example",
    ];
    for (channel, first) in [
        (Channel::Email, "Manual"),
        (Channel::Phone, "Complaint"),
        (Channel::Linkedin, "yes"),
        (Channel::All, "Complaint"),
    ] {
        let expected = [
            first,
            "yes",
            "Legal",
            "yes",
            "an address is local-part@domain",
            first,
        ];
        assert_eq!(says(&app, channel, &emails).await, expected, "{channel:?}");
    }
    let answers = check(&app, Channel::Email, &emails).await;
    let found = answers[0].suppression.as_ref().unwrap();
    assert_eq!(
        (found.scope(), found.evidence.as_str()),
        (Channel::Email, "said so")
    );
    let seen: Vec<_> = answers
        .iter()
        .map(|a| (a.email.as_str(), a.status()))
        .collect();
    assert_eq!(
        seen,
        [
            ("u@x.example", ContactStatus::Unsubscribed),
            ("free@x.example", ContactStatus::Active),
            ("n@x.example", ContactStatus::Unspecified),
            ("l@x.example", ContactStatus::Unspecified),
            ("none", ContactStatus::Unspecified),
            ("u@x.example", ContactStatus::Unsubscribed),
        ]
    );
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_status_forbids_email_also_without_an_entry() {
    let app = App::start().await;
    let emails = ["i@x.example", "u@x.example", "b@x.example"];
    arrive(&app, "b", &emails).await;
    for (email, status) in emails.iter().zip(["inactive", "unsubscribed", "bounced"]) {
        let set = format!("UPDATE vault.contacts SET status = '{status}' WHERE email = '{email}'");
        app.sql().await.run(&set).await;
    }
    let inactive = "the contact is inactive";
    for channel in [Channel::Email, Channel::All] {
        assert_eq!(
            says(&app, channel, &emails).await,
            [
                inactive,
                "the contact is unsubscribed",
                "mail to the contact bounces"
            ]
        );
    }
    assert_eq!(
        says(&app, Channel::Phone, &emails).await,
        [inactive, "yes", "yes"]
    );
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_checked_is_refused_by_name() {
    let app = App::start().await;
    let mut client = vault(&app).await;
    let mut call = async |count: usize, channel: i32| {
        let emails = vec!["a@x.example".to_owned(); count];
        let request = CheckContactabilityRequest { emails, channel };
        client.check_contactability(request).await
    };
    let email = i32::from(Channel::Email);
    assert_field(call(0, email).await, "emails");
    assert_field(call(1, 0).await, "channel");
    assert_field(call(1, 9).await, "channel");
    refused(call(1_001, email).await).exceeds(1_000, 1_001);
    assert_eq!(
        call(1_000, email).await.unwrap().into_inner().answers.len(),
        1_000
    );
    app.stop().await;
}
