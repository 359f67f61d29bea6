//! Exports keep their connections for long: half of the pool is left for calls.

use leadvault::proto::vault::v1::{
    ContactFilter, ExportContactsRequest, ExportContactsResponse, GetContactRequest,
    ListContactsRequest,
};
use tonic::{Code, Status, Streaming};

use super::{
    by_id,
    exporting::{export, make_large},
    vault,
};
use crate::harness::{App, refusal, until};

async fn try_export(app: &App) -> Result<Streaming<ExportContactsResponse>, Status> {
    let request = ExportContactsRequest::default();
    let response = vault(app).await.export_contacts(request).await?;
    Ok(response.into_inner())
}

/// An export that runs, and whose client takes nothing more.
async fn slow(app: &App) -> Streaming<ExportContactsResponse> {
    let mut stream = export(app, ContactFilter::default()).await;
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
    let (first, mut second) = (slow(&app).await, slow(&app).await);
    let third = refusal(try_export(&app).await)
        .is(Code::ResourceExhausted, "TOO_MANY")
        .says("what", "exports")
        .says("limit", 2)
        .says("pool_size", 4)
        .says("setting", "pool-size");
    assert!(third.retry, "{third:?}");
    assert!(third.message.contains("2 exports run"), "{third:?}");
    calls_are_answered(&app, ids[0]).await;

    drop(first);
    let mut third = until("a place is free", async || try_export(&app).await.ok()).await;
    third.message().await.unwrap().unwrap();
    refusal(try_export(&app).await).is(Code::ResourceExhausted, "TOO_MANY");
    // One that is read to its end gives its place back, too.
    while second.message().await.unwrap().is_some() {}
    slow(&app).await;
    calls_are_answered(&app, ids[0]).await;
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pool_of_one_has_room_for_one_export() {
    let app = App::start_with(&["--pool-size=1"]).await;
    let sql = app.sql().await;
    make_large(&sql, 2_000).await;
    let _first = slow(&app).await;
    refusal(try_export(&app).await)
        .is(Code::ResourceExhausted, "TOO_MANY")
        .says("limit", 1);
    app.stop().await;
}
