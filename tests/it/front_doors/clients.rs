//! Clients that come by a token.

use leadvault::proto::{
    company::v1::{
        CompanyKey, ListCompanyHistoryRequest, PromoteCompaniesRequest, StageCompaniesRequest,
        company_key::Key, company_service_client::CompanyServiceClient,
    },
    intake::v1::{IngestRowsRequest, intake_service_client::IntakeServiceClient},
};
use tonic::{Code, Request};

use super::{actors, client, ingest, with_token};
use crate::harness::{App, Workspace, refused};

#[tokio::test(flavor = "multi_thread")]
async fn the_name_of_a_client_is_the_actor_in_audit_and_history() {
    let workspace = Workspace::new();
    let (crm, crm_token) = client("crm-sync", "loader");
    let (ops, ops_token) = client("anna@ops", "operator");
    let app = App::start_with(&["--clients", &workspace.file("clients", crm + &ops)]).await;
    let channel = app.channel().await;
    ingest(channel.clone(), Some(&crm_token)).await.unwrap();
    ingest(channel.clone(), Some(&ops_token)).await.unwrap();
    let seen = actors(channel.clone(), &ops_token).await;
    assert_eq!(seen.first().unwrap(), "crm-sync");
    assert_eq!(seen.last().unwrap(), "anna@ops");

    let mut company = CompanyServiceClient::new(channel);
    let request = StageCompaniesRequest {
        source: "apollo".to_owned(),
        json_rows: vec![r#"{"name":"X","domain":"x.example"}"#.into()],
        ..StageCompaniesRequest::default()
    };
    company
        .stage_companies(with_token(&crm_token, request))
        .await
        .unwrap();
    let request = with_token(&ops_token, PromoteCompaniesRequest::default());
    let mut progress = company
        .promote_companies(request)
        .await
        .unwrap()
        .into_inner();
    while progress.message().await.unwrap().is_some() {}
    let request = ListCompanyHistoryRequest {
        key: Some(CompanyKey {
            key: Some(Key::Domain("x.example".to_owned())),
        }),
        ..ListCompanyHistoryRequest::default()
    };
    let history = company
        .list_company_history(with_token(&ops_token, request))
        .await;
    let entries = history.unwrap().into_inner().entries;
    assert_eq!(entries[0].changed_by, "anna@ops");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_clients_token_is_refused_and_not_repeated() {
    let workspace = Workspace::new();
    let (line, token) = client("crm-sync", "loader");
    let app = App::start_with(&["--clients", &workspace.file("clients", line)]).await;
    let long = format!("Bearer {}", "x".repeat(4_000));
    for authorization in [
        "Bearer lv_secret",
        "Bearer ",
        "",
        "Basic lv_secret",
        &token,
        &long,
        &format!("Bearer {}", token.to_uppercase()),
    ] {
        let mut request = Request::new(IngestRowsRequest::default());
        let value = authorization.parse().unwrap();
        request.metadata_mut().insert("authorization", value);
        let refusal = refused(app.intake().await.ingest_rows(request).await);
        assert!(!refusal.message.contains("secret"), "{refusal:?}");
        refusal.is(Code::Unauthenticated, "INVALID_TOKEN");
    }
    // The scheme is written as one likes.
    let mut request = Request::new(IngestRowsRequest::default());
    let value = format!("bearer {token}").parse().unwrap();
    request.metadata_mut().insert("authorization", value);
    let mut intake = IntakeServiceClient::new(app.channel().await);
    refused(intake.ingest_rows(request).await).is(Code::InvalidArgument, "INVALID_FIELD");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_clients_everybody_on_this_machine_may_call() {
    let app = App::start().await;
    for token in [None, Some("lv_whatever")] {
        ingest(app.channel().await, token).await.unwrap();
    }
    assert_eq!(actors(app.channel().await, "lv_x").await[0], "anonymous");
    app.stop().await;
}
