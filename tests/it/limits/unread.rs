//! The answer of a call that its client does not read, or reads too slowly.

use std::time::Duration;

use futures_util::future::join_all;
use http::uri::PathAndQuery;
use leadvault::proto::vault::v1::{
    ContactKey, GetContactRequest, GetContactResponse, contact_key,
    vault_service_client::VaultServiceClient,
};
use tonic::{Code, Request, Streaming, client::Grpc, transport::Channel};

use super::places::{SMALL, TINY, narrow, store_much, store_some};
use crate::harness::{App, refusal, until};

/// Begins a look at the first contact, and leaves what is answered unread.
async fn get_unread(channel: Channel) -> Streaming<GetContactResponse> {
    let mut grpc = Grpc::new(channel);
    grpc.ready().await.unwrap();
    let codec = tonic_prost::ProstCodec::<GetContactRequest, GetContactResponse>::default();
    let path = PathAndQuery::from_static("/leadvault.vault.v1.VaultService/GetContact");
    // As a stream, its answer is left unread.
    let answer = grpc.server_streaming(Request::new(the_first()), path, codec);
    answer.await.unwrap().into_inner()
}

fn the_first() -> GetContactRequest {
    let key = contact_key::Key::Email("p1@x.example".to_owned());
    GetContactRequest {
        key: Some(ContactKey { key: Some(key) }),
    }
}

/// An answer of one message counts until it is read: it lies in the server's memory for as long.
#[tokio::test(flavor = "multi_thread")]
async fn a_large_answer_that_is_not_read_keeps_the_place_of_its_call() {
    let app = App::start_with(&["--max-calls-per-client=1"]).await;
    store_much(&app).await;
    let mut unread = get_unread(narrow(&app, TINY).await).await;
    let mut vault = app.vault().await;
    refusal(vault.get_contact(the_first()).await)
        .is(Code::ResourceExhausted, "TOO_MANY")
        .says("limit", 1);
    let answer = unread.message().await.unwrap().unwrap();
    assert!(answer.contact.is_some());
    until("the answer is read", async || {
        vault.get_contact(the_first()).await.ok()
    })
    .await;
    app.stop().await;
}

async fn loses_its_place(app: App, window: u32) {
    let mut unread = get_unread(narrow(&app, window).await).await;
    let mut vault = app.vault().await;
    refusal(vault.get_contact(the_first()).await)
        .is(Code::ResourceExhausted, "TOO_MANY")
        .says("limit", 1);
    until("the place is free", async || {
        vault.get_contact(the_first()).await.ok()
    })
    .await;
    unread.message().await.unwrap_err();
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_not_read_does_not_keep_its_place_for_ever() {
    let much = [0, TINY, SMALL].map(|window| (window, true));
    let some = [0, TINY].map(|window| (window, false));
    let cases = much.into_iter().chain(some);
    let cases = cases.map(async |(window, is_much)| {
        let app = App::start_with(&["--max-calls=1", "--default-deadline=4"]).await;
        if is_much {
            store_much(&app).await;
        } else {
            store_some(&app).await;
        }
        loses_its_place(app, window).await;
    });
    join_all(cases).await;
}

/// Who reads on, too slowly, is told; its connection is good for other calls.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_read_late_ends_with_its_deadline() {
    let app = App::start_with(&["--default-deadline=10"]).await;
    store_much(&app).await;
    let channel = narrow(&app, SMALL).await;
    let mut unread = get_unread(channel.clone()).await;
    // Later than the deadline, and before the connection would be closed for it.
    tokio::time::sleep(Duration::from_secs(11)).await;
    refusal(unread.message().await)
        .is(Code::DeadlineExceeded, "DEADLINE_EXCEEDED")
        .says("setting", "default-deadline");
    let mut vault = VaultServiceClient::new(channel);
    vault.get_contact(the_first()).await.unwrap();
    app.stop().await;
}
