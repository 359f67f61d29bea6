//! Exports keep their connections for long: half of the pool is left for calls, and half of that half for others.

use std::net::IpAddr;

use leadvault::proto::vault::v1::{
    ExportContactsRequest, ExportContactsResponse, GetContactRequest, ListContactsRequest,
    vault_service_client::VaultServiceClient,
};
use tonic::{Code, Status, Streaming, transport::Endpoint};

use super::{by_id, exporting::make_large, vault};
use crate::harness::{App, refusal, until};

/// Begins an export, as the client at an address of this machine.
async fn try_export(app: &App, from: u8) -> Result<Streaming<ExportContactsResponse>, Status> {
    let endpoint = Endpoint::from_shared(app.endpoint()).unwrap();
    let from = IpAddr::from([127, 0, 0, from]);
    let channel = endpoint.local_address(Some(from)).connect().await.unwrap();
    let mut client = VaultServiceClient::new(channel);
    let request = ExportContactsRequest::default();
    Ok(client.export_contacts(request).await?.into_inner())
}

/// An export that runs, and whose client takes nothing more.
async fn slow(app: &App, from: u8) -> Streaming<ExportContactsResponse> {
    let mut stream = try_export(app, from).await.unwrap();
    stream.message().await.unwrap().unwrap();
    stream
}

async fn calls_are_answered(app: &App, contact_id: i64) {
    let mut client = vault(app).await;
    let get = GetContactRequest {
        key: by_id(contact_id),
    };
    client.get_contact(get).await.unwrap();
    let list = ListContactsRequest {
        page_size: 1,
        ..Default::default()
    };
    let listed = client.list_contacts(list).await.unwrap().into_inner();
    assert_eq!(listed.contacts.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn exports_take_half_of_the_pool_and_no_more() {
    let app = App::start_with(&["--pool-size=4"]).await;
    let sql = app.sql().await;
    let ids = make_large(&sql, 2_000).await;
    let (first, mut second) = (slow(&app, 1).await, slow(&app, 2).await);
    let third = refusal(try_export(&app, 3).await)
        .is(Code::ResourceExhausted, "TOO_MANY")
        .says("what", "exports")
        .says("limit", 2)
        .says("pool_size", 4)
        .says("setting", "pool-size");
    assert!(third.retry, "{third:?}");
    assert!(third.message.contains("2 exports run"), "{third:?}");
    calls_are_answered(&app, ids[0]).await;

    drop(first);
    let mut third = until("a place is free", async || try_export(&app, 3).await.ok()).await;
    third.message().await.unwrap().unwrap();
    refusal(try_export(&app, 4).await).is(Code::ResourceExhausted, "TOO_MANY");
    // One that is read to its end gives its place back, too.
    while second.message().await.unwrap().is_some() {}
    slow(&app, 2).await;
    calls_are_answered(&app, ids[0]).await;
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_client_leaves_exports_for_others() {
    let app = App::start_with(&["--pool-size=8"]).await;
    make_large(&app.sql().await, 2_000).await;
    let mut first = slow(&app, 1).await;
    let _second = slow(&app, 1).await;
    let third = refusal(try_export(&app, 1).await)
        .is(Code::ResourceExhausted, "TOO_MANY")
        .says("what", "exports")
        .says("limit", 2)
        .says("pool_size", 8);
    assert!(third.retry, "{third:?}");
    assert!(
        third.message.contains("2 exports of yours run"),
        "{third:?}"
    );
    let _other = slow(&app, 2).await;
    while first.message().await.unwrap().is_some() {}
    let _third = slow(&app, 1).await;
    app.stop().await;
}

/// What waits to be read is as large as what runs.
#[tokio::test(flavor = "multi_thread")]
async fn an_export_that_is_done_has_its_place_until_it_is_read() {
    let app = App::start_with(&["--pool-size=2"]).await;
    let sql = app.sql().await;
    // More than a client takes in that reads one message, and no more than waits for it in the server.
    make_large(&sql, 250).await;
    let mut first = slow(&app, 1).await;
    let transactions = "SELECT count(*) FROM pg_stat_activity
                        WHERE datname = current_database() AND xact_start IS NOT NULL
                          AND pid <> pg_backend_pid()";
    until("it is done", async || {
        (sql.one::<i64>(transactions, &[]).await == 0).then_some(())
    })
    .await;
    refusal(try_export(&app, 2).await).is(Code::ResourceExhausted, "TOO_MANY");
    while first.message().await.unwrap().is_some() {}
    try_export(&app, 2).await.unwrap();
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pool_of_one_has_room_for_one_export() {
    let app = App::start_with(&["--pool-size=1"]).await;
    let sql = app.sql().await;
    make_large(&sql, 2_000).await;
    let _first = slow(&app, 1).await;
    refusal(try_export(&app, 2).await)
        .is(Code::ResourceExhausted, "TOO_MANY")
        .says("limit", 1);
    app.stop().await;
}
