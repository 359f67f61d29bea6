//! `UnsuppressContact` with a request id.

use leadvault::proto::vault::v1::{Channel, SuppressionReason as Reason, UnsuppressContactRequest};
use tonic::Code;

use super::{arrive, contents, entry, suppress, vault};
use crate::harness::{App, assert_field, refused};

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_with_its_request_id_gets_the_first_answer() {
    let app = App::start().await;
    let sql = app.sql().await;
    arrive(&app, "b", &["a@x.example"]).await;
    let request = UnsuppressContactRequest {
        email: "a@x.example".into(),
        scope: Channel::All.into(),
        evidence: "ticket 7".into(),
        request_id: "0197a5e2-6f0c-7000-8000-000000000003".into(),
    };
    let mut client = vault(&app).await;
    // What was not found is not kept: the retry may find it.
    refused(client.unsuppress_contact(request.clone()).await).is(Code::NotFound, "NOT_FOUND");
    suppress(&app, vec![entry("a@x.example", Reason::Manual)]).await;
    let first = client.unsuppress_contact(request.clone()).await.unwrap();
    // Entered again meanwhile: the retry is of the first call, and lifts nothing more.
    suppress(&app, vec![entry("a@x.example", Reason::Manual)]).await;
    let before = contents(&sql).await;
    let again = client.unsuppress_contact(request.clone()).await.unwrap();
    assert_eq!(again.into_inner(), first.into_inner());
    assert_eq!(contents(&sql).await, before);

    let mut other = request.clone();
    other.evidence = "ticket 8".into();
    refused(client.unsuppress_contact(other).await).is(Code::AlreadyExists, "REQUEST_ID_REUSED");
    let mut wrong = request;
    wrong.request_id = "again".into();
    assert_field(client.unsuppress_contact(wrong).await, "request_id");
    app.stop().await;
}
