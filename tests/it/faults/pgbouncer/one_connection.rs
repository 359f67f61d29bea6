//! A pooler with one connection to PostgreSQL: whoever keeps it holds up everybody else, and no longer than it must.

use std::time::{Duration, Instant};

use leadvault::proto::vault::v1::{
    ContactKey, ExportContactsRequest, GetContactRequest, ListContactsRequest, contact_key::Key,
    vault_service_client::VaultServiceClient,
};
use tonic::{Code, Request, transport::Channel};

use super::{Bouncer, RECONNECT};
use crate::harness::{Running, Service, Sql, Workspace, leadvault, refusal, until};

/// How long a point read waits for a word of its connection, and as much again.
const LONGEST_READ: Duration = Duration::from_secs(14);

/// A service behind it that PostgreSQL tells when its callers are gone, and a look past it.
async fn serve(bouncer: &Bouncer) -> (Service, VaultServiceClient<Channel>, Sql) {
    let sql = Sql::connect(&bouncer.postgres.url("leads")).await;
    sql.run(&format!(
        "ALTER ROLE svc SET client_connection_check_interval = '1s'; {RECONNECT};
         INSERT INTO vault.contacts (email, source) VALUES ('a@x.example', 'apollo')"
    ))
    .await;
    let service = Service::start(bouncer.serve("leads")).await;
    let client = VaultServiceClient::connect(service.endpoint()).await;
    (service, client.unwrap(), sql)
}

fn in_a_second<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(Duration::from_secs(1));
    request
}

fn get() -> GetContactRequest {
    let key = Some(Key::Email("a@x.example".into()));
    GetContactRequest {
        key: Some(ContactKey { key }),
    }
}

async fn until_answered(client: &mut VaultServiceClient<Channel>) {
    until("calls to be answered", async || {
        let listed = client.list_contacts(ListContactsRequest::default()).await;
        let got = client.get_contact(get()).await;
        (listed.is_ok() && got.is_ok()).then_some(())
    })
    .await;
}

async fn until_nothing_waits(sql: &Sql) {
    until("nothing to wait for the lock", async || {
        let waiting = "SELECT count(*) FROM pg_stat_activity
                       WHERE wait_event_type = 'Lock' AND query LIKE '%vault.contacts%'";
        (sql.one::<i64>(waiting, &[]).await == 0).then_some(())
    })
    .await;
}

/// A deadline closes the connection to the pooler, and PostgreSQL finds out: the only server connection is free again.
/// A point read shares its connection, which is closed when it has been silent for too long.
#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_waits_for_ends_behind_the_pooler() {
    let workspace = Workspace::new();
    let Some(bouncer) = Bouncer::start(&workspace, 1).await else {
        return;
    };
    let (service, mut client, sql) = serve(&bouncer).await;
    let holder = Sql::connect(&bouncer.postgres.url("leads")).await;
    holder.run("BEGIN; LOCK TABLE vault.contacts").await;
    let request = in_a_second(ListContactsRequest::default());
    assert!(client.list_contacts(request).await.is_err());
    until_nothing_waits(&sql).await;
    assert!(client.get_contact(in_a_second(get())).await.is_err());
    until_nothing_waits(&sql).await;
    holder.run("COMMIT").await;
    until_answered(&mut client).await;
    assert_eq!(service.stop().await.0.code(), Some(0));
}

/// An export that nobody reads keeps the only connection for as long as it is open: calls are told to come back.
#[tokio::test(flavor = "multi_thread")]
async fn calls_are_told_to_come_back_while_an_export_keeps_the_connection() {
    let workspace = Workspace::new();
    let Some(bouncer) = Bouncer::start(&workspace, 1).await else {
        return;
    };
    let (service, mut client, sql) = serve(&bouncer).await;
    sql.run(
        "INSERT INTO vault.contacts (email, source, custom_fields)
         SELECT n || '@x.example', 'apollo', jsonb_build_object('a', repeat('x', 20000))
         FROM generate_series(1, 2000) AS n",
    )
    .await;
    client.get_contact(get()).await.unwrap();
    let export = client.export_contacts(ExportContactsRequest::default());
    let mut export = export.await.unwrap().into_inner();
    export.message().await.unwrap().unwrap();

    let begun = Instant::now();
    let refused =
        refusal(client.get_contact(get()).await).is(Code::Unavailable, "DATABASE_UNAVAILABLE");
    assert!(refused.retry, "{refused:?}");
    assert!(begun.elapsed() < LONGEST_READ, "{:?}", begun.elapsed());
    drop(export);
    until_answered(&mut client).await;
    assert_eq!(service.stop().await.0.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_is_told_to_raise_its_pool() {
    let workspace = Workspace::new();
    let Some(bouncer) = Bouncer::start(&workspace, 1).await else {
        return;
    };
    let mut doctor = leadvault(&["doctor"]);
    bouncer.settings(&mut doctor, "leads");
    let said = Running::spawn(doctor).finish().await.ok();
    let (_, log) = Service::start(bouncer.serve("leads")).await.stop().await;
    for told in [said, log] {
        for words in ["one connection to PostgreSQL", "default_pool_size"] {
            assert!(told.contains(words), "{words}: {told}");
        }
    }
}
