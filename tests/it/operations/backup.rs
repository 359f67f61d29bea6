//! Backup and restore with `pg_dump`, as the database's owner, who is no superuser: all that was in is in, under the
//! same locks, and the service goes on where the backup was made.

use std::{path::PathBuf, process::Command};

use leadvault::{
    db::{DatabaseUrl, migrate},
    proto::{
        intake::v1::bulk_ingest_response::{Ack, Opened},
        marketing::v1::{
            CampaignType, CreateCampaignRequest, MessageType, OutreachChannel,
            RecordOutreachRequest, StartCampaignRequest, record_outreach_request::Item,
        },
        vault::v1::{
            BatchGetContactsRequest, Channel, CheckContactabilityRequest, ContactKey,
            SuppressContactsRequest, SuppressionReason, contact_key::Key,
            suppress_contacts_request::Entry,
        },
    },
};

use super::contents::contents;
use crate::{
    harness::{
        App, Lane, Sql, Workspace, empty_database, evidence, fresh_database, open, program_at, row,
        run, url_as,
    },
    migrations::fingerprint,
};

const ROWS: i64 = 203;

/// Rows of which one is a duplicate and two are bad.
fn rows() -> Vec<String> {
    let people = (0..200).map(|n| {
        format!(
            r#"{{"email":"p{n}@firm{}.com","name":"P {n}","company":"Firm","n":1.50}}"#,
            n % 7
        )
    });
    people
        .chain([row("P7@firm0.com"), "{}".to_owned(), "no row".to_owned()])
        .collect()
}

/// A program of the cluster's own PostgreSQL.
async fn program(sql: &Sql, name: &str) -> Option<PathBuf> {
    let folder: String = sql
        .one("SELECT setting FROM pg_config WHERE name = 'BINDIR'", &[])
        .await;
    program_at(PathBuf::from(folder).join(name))
}

/// An empty database, and the URL of its owner.
async fn owned_database(owner: Option<&str>) -> (String, String) {
    let url = empty_database().await;
    let sql = Sql::connect(&url).await;
    let database: String = sql.one("SELECT current_database()::text", &[]).await;
    let owner = match owner {
        Some(owner) => owner.to_owned(),
        None => {
            let owner = format!("{database}_owner");
            sql.run(&format!(
                "CREATE ROLE {owner} LOGIN; GRANT leadvault_app TO {owner}"
            ))
            .await;
            owner
        }
    };
    sql.run(&format!("ALTER DATABASE {database} OWNER TO {owner}"))
        .await;
    (url_as(&url, &owner), owner)
}

fn succeed(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {output:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn backup_and_restore() {
    let (url, owner) = owned_database(None).await;
    let admin = Sql::connect(&url_as_admin(&url, &owner)).await;
    let (Some(pg_dump), Some(pg_restore)) = (
        program(&admin, "pg_dump").await,
        program(&admin, "pg_restore").await,
    ) else {
        return;
    };
    migrate::up(&DatabaseUrl::parse(&url).unwrap())
        .await
        .unwrap();
    let before = App::start_on(url.clone(), &[]).await;
    let first = fill(&before).await;

    let workspace = Workspace::new();
    let dump = workspace.path("leadvault.dump");
    succeed(
        Command::new(pg_dump)
            .args(["--format=custom", "--file"])
            .arg(&dump)
            .arg(&url),
    );
    let (restored, _) = owned_database(Some(&owner)).await;
    succeed(
        Command::new(pg_restore)
            .args(["--exit-on-error", "--dbname", &restored])
            .arg(&dump),
    );

    let after_url = DatabaseUrl::parse(&restored).unwrap();
    assert!(migrate::status(&after_url).await.unwrap().is_current());
    assert_eq!(migrate::up(&after_url).await.unwrap(), Default::default());
    let after = App::start_on(restored, &[]).await;
    assert_same(&before, &after).await;
    assert_goes_on(&after, &first).await;
    before.stop().await;
    after.stop().await;
}

/// Who reads every table may still not back it up: a dump without the rows that a policy hides would look whole.
#[tokio::test(flavor = "multi_thread")]
async fn pg_dump_refuses_whoever_is_not_the_owner() {
    let url = fresh_database().await;
    let sql = Sql::connect(&url).await;
    let Some(pg_dump) = program(&sql, "pg_dump").await else {
        return;
    };
    let database: String = sql.one("SELECT current_database()::text", &[]).await;
    let reader = format!("{database}_reader");
    sql.run(&format!(
        "CREATE ROLE {reader} LOGIN IN ROLE leadvault_monitor;
         GRANT SELECT ON ALL SEQUENCES IN SCHEMA intake TO {reader}"
    ))
    .await;
    let output = Command::new(pg_dump)
        .args(["--schema=intake", &url_as(&url, &reader)])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        !output.status.success() && said.contains("row-level security"),
        "{said}"
    );
}

fn url_as_admin(url: &str, owner: &str) -> String {
    url.replacen(&format!("://{owner}@"), "://postgres@", 1)
}

/// Something in every room: rows, contacts, golden records, a suppression, a campaign that sent.
async fn fill(app: &App) -> Ack {
    let (mut lane, _) = app.lane(open("b", "apollo")).await.unwrap();
    let first = lane.rows(0, &rows()).await.unwrap();
    assert_eq!(
        (first.accepted, first.duplicate, first.rejected),
        (200, 1, 2)
    );
    drop(lane);
    suppress(app, "p3@firm3.com").await;
    let endpoint = app.endpoint();
    for args in [
        &["promote"][..],
        &["promote", "--into", "companies", "--from-vault"],
        &["promote", "--into", "people", "--from-vault"],
    ] {
        run(&[args, &["--endpoint", &endpoint]].concat()).await.ok();
    }
    let sent = outreach(app).await;
    assert_eq!(sent, 4, "of five people one is suppressed");
    first
}

async fn suppress(app: &App, email: &str) {
    let entry = Entry {
        email: email.to_owned(),
        scope: Channel::All.into(),
        reason: SuppressionReason::Complaint.into(),
        evidence: "a letter".to_owned(),
    };
    let request = SuppressContactsRequest {
        entries: vec![entry],
        ..Default::default()
    };
    app.vault().await.suppress_contacts(request).await.unwrap();
}

/// Messages to five people; how many the campaign counts.
async fn outreach(app: &App) -> i64 {
    const CAMPAIGN: &str = "6b1f6a52-3a52-4a39-9d0c-3f2f6d1f4c11";
    let mut marketing = app.marketing().await;
    let request = CreateCampaignRequest {
        campaign_id: CAMPAIGN.to_owned(),
        name: "Spring".to_owned(),
        r#type: CampaignType::ColdOutreach.into(),
        ..Default::default()
    };
    marketing.create_campaign(request).await.unwrap();
    let request = StartCampaignRequest {
        campaign_id: CAMPAIGN.to_owned(),
    };
    marketing.start_campaign(request).await.unwrap();
    let sql = app.sql().await;
    let people = sql
        .rows(
            "SELECT id::text FROM people.master WHERE email ~ '^p[0-4]@' ORDER BY email",
            &[],
        )
        .await;
    assert_eq!(people.len(), 5);
    let items = people.iter().map(|person| Item {
        outreach_id: uuid::Uuid::new_v4().to_string(),
        person_id: person.get(0),
        campaign_id: CAMPAIGN.to_owned(),
        channel: OutreachChannel::Email.into(),
        message_type: MessageType::Initial.into(),
    });
    let request = RecordOutreachRequest {
        items: items.collect(),
        ..Default::default()
    };
    marketing.record_outreach(request).await.unwrap();
    let sent: i32 = sql
        .one("SELECT sent_count FROM marketing.campaigns", &[])
        .await;
    sent.into()
}

/// The same tables, sequences, functions, privileges and policies, and the same answers.
async fn assert_same(before: &App, after: &App) {
    let (old, new) = (before.sql().await, after.sql().await);
    let (held, holds) = (contents(&old).await, contents(&new).await);
    assert_eq!(held, holds);
    for table in [
        "vault.contacts",
        "people.master",
        "marketing.outreach_history",
    ] {
        assert!(held[table].0 > 0, "{table} was empty");
    }
    assert_eq!(schema(&old).await, schema(&new).await);
    assert_eq!(etags(before).await, etags(after).await);
    evidence::assert_conserved(after).await;

    let app_role = after.sql_as_app().await;
    let refusal = app_role
        .refused(
            "INSERT INTO intake.raw_loads (batch_id, source, raw_data) VALUES ('c', 'x', '{}')",
        )
        .await;
    assert!(refusal.starts_with("permission denied"), "{refusal}");
}

/// What the schemas are made of. The order of grants in a list, and the parentheses of an expression, are no part of
/// it: restored ones are written a little differently.
async fn schema(sql: &Sql) -> Vec<Vec<String>> {
    let words = |line: &String| {
        let words = line.split(|c: char| c.is_whitespace() || "{},()".contains(c));
        let mut words: Vec<_> = words.filter(|word| !word.is_empty()).collect();
        words.sort_unstable();
        words.into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    let mut lines: Vec<_> = fingerprint(sql).await.iter().map(words).collect();
    lines.sort_unstable();
    lines
}

async fn etags(app: &App) -> Vec<(i64, String)> {
    let emails = (0..200).map(|n| format!("p{n}@firm{}.com", n % 7));
    let keys = emails.map(|email| ContactKey {
        key: Some(Key::Email(email)),
    });
    let request = BatchGetContactsRequest {
        keys: keys.collect(),
    };
    let mut vault = app.vault().await;
    let response = vault
        .batch_get_contacts(request)
        .await
        .unwrap()
        .into_inner();
    let contacts = response.contacts.into_iter();
    let etags: Vec<_> = contacts.map(|c| (c.contact_id, c.etag)).collect();
    assert_eq!(etags.len(), 200);
    etags
}

/// The lane goes on where it was: what was acked is replayed, what is new is stored under ids that nothing has.
async fn assert_goes_on(app: &App, first: &Ack) {
    let (mut lane, opened): (Lane, Opened) = app.lane(open("b", "apollo")).await.unwrap();
    assert_eq!((opened.next_offset, opened.finished), (ROWS, false));
    let replayed = lane.rows(0, &rows()).await.unwrap();
    let expected = Ack {
        replayed: ROWS.try_into().unwrap(),
        ..first.clone()
    };
    assert_eq!(replayed, expected);
    let new = [row("new@firm0.com"), row("p9@firm2.com")];
    let ack = lane.rows(ROWS, &new).await.unwrap();
    assert_eq!((ack.accepted, ack.duplicate), (1, 1));
    lane.finish(ROWS + 2).await.unwrap();
    evidence::assert_conserved(app).await;

    let request = CheckContactabilityRequest {
        emails: vec!["P3@firm3.com".to_owned(), "p4@firm4.com".to_owned()],
        channel: Channel::Email.into(),
    };
    let mut vault = app.vault().await;
    let answers = vault.check_contactability(request).await.unwrap();
    let answers = answers.into_inner().answers;
    let contactable: Vec<_> = answers.iter().map(|answer| answer.contactable).collect();
    assert_eq!(contactable, [false, true]);
}
