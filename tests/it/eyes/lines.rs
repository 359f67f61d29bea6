//! The lines of calls, as a real process writes them, and the request id that goes with each.

use leadvault::{
    proto::{
        intake::v1::{GetBatchRequest, intake_service_client::IntakeServiceClient},
        vault::v1::vault_service_client::VaultServiceClient,
    },
    server::doors::Token,
};
use serde_json::Value;
use tonic::{Code, Request, transport::Endpoint};
use tonic_health::pb::health_client::HealthClient;
use uuid::Uuid;

use super::{get_nobody, serve};
use crate::harness::{App, Lane, Service, Sql, Workspace, fresh_database, open, rows::people};

const CALL: &str = "leadvault::call";

/// Stops a service, and reads what it logged.
async fn lines_of(service: Service) -> Vec<Value> {
    let (status, log) = service.stop().await;
    assert!(status.success(), "{log}");
    let lines = log.lines().map(|line| serde_json::from_str(line).unwrap());
    lines.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_call_has_one_line_with_all_that_is_known_of_it() {
    let url = fresh_database().await;
    let service = Service::start(serve(&url, &["--log-json"])).await;
    let channel = Endpoint::from_shared(service.endpoint()).unwrap();
    let channel = channel.connect().await.unwrap();
    let mut health = HealthClient::new(channel.clone());
    health
        .check(tonic_health::pb::HealthCheckRequest::default())
        .await
        .unwrap();
    let mut vault = VaultServiceClient::new(channel);
    let headers = [
        ("x-request-id", "order/66-b"),
        (
            "traceparent",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        ),
    ];
    vault.get_contact(get_nobody(&headers)).await.unwrap_err();
    let intake = service.intake().await;
    let (mut lane, _) = Lane::open(intake, open("b", "apollo")).await.unwrap();
    lane.rows(0, &people(0..3)).await.unwrap();
    lane.rows(3, &people(3..5)).await.unwrap();
    lane.finish(5).await.unwrap();

    let mut calls = lines_of(service).await;
    calls.retain(|line| line["target"] == CALL);
    assert_eq!(calls.len(), 2, "{calls:#?}");
    let get = &calls[0];
    assert_eq!(get["level"], "INFO");
    let fields = &get["fields"];
    assert_eq!(
        fields["method"],
        "leadvault.vault.v1.VaultService/GetContact"
    );
    assert_eq!(fields["client"], "-");
    assert_eq!(fields["code"], "NOT_FOUND");
    assert_eq!(fields["request_id"], "order/66-b");
    assert_eq!(fields["trace_id"], "0af7651916cd43dd8448eb211c80319c");
    assert!(fields["ms"].as_f64().unwrap() > 0.0);
    assert!(fields.get("rows").is_none());
    let bulk = &calls[1]["fields"];
    assert_eq!(
        bulk["method"],
        "leadvault.intake.v1.IntakeService/BulkIngest"
    );
    assert_eq!((&bulk["code"], &bulk["rows"]), (&"OK".into(), &5.into()));
    let made = Uuid::parse_str(bulk["request_id"].as_str().unwrap()).unwrap();
    assert_eq!(made.get_version_num(), 7);
}

/// Above all of those who may not.
#[tokio::test(flavor = "multi_thread")]
async fn the_line_of_a_call_names_its_client_also_where_it_is_denied() {
    let workspace = Workspace::new();
    let token = Token::generate().unwrap();
    let clients = workspace.file("clients", format!("crm-sync loader {}", token.hash()));
    let flags = ["--log-json", "--clients", &clients];
    let service = Service::start(serve(&fresh_database().await, &flags)).await;
    let channel = Endpoint::from_shared(service.endpoint()).unwrap();
    let channel = channel.connect().await.unwrap();
    let bearer = format!("Bearer {}", token.reveal());
    let mut batch = Request::new(GetBatchRequest {
        batch_id: "b".to_owned(),
    });
    let shown = bearer.parse().unwrap();
    batch.metadata_mut().insert("authorization", shown);
    let unknown = IntakeServiceClient::new(channel.clone())
        .get_batch(batch)
        .await;
    assert_eq!(unknown.unwrap_err().code(), Code::NotFound);
    let mut vault = VaultServiceClient::new(channel);
    let denied = vault.get_contact(get_nobody(&[("authorization", &bearer)]));
    assert_eq!(denied.await.unwrap_err().code(), Code::PermissionDenied);
    let stranger = vault.get_contact(get_nobody(&[("authorization", "Bearer lv_x")]));
    assert_eq!(stranger.await.unwrap_err().code(), Code::Unauthenticated);

    let mut calls = lines_of(service).await;
    calls.retain(|line| line["target"] == CALL);
    let said = calls.iter().map(|line| {
        let field = |name: &str| line["fields"][name].as_str().unwrap().to_owned();
        (field("code"), field("client"))
    });
    let said: Vec<_> = said.collect();
    let expected = [
        ("NOT_FOUND", "crm-sync"),
        ("PERMISSION_DENIED", "crm-sync"),
        ("UNAUTHENTICATED", "-"),
    ];
    assert_eq!(
        said,
        expected.map(|(code, client)| (code.to_owned(), client.to_owned()))
    );
}

/// What is logged on the way to a fault carries its request id, and calls that went well can be left out.
#[tokio::test(flavor = "multi_thread")]
async fn a_fault_stands_out_and_so_does_what_led_to_it() {
    let url = fresh_database().await;
    let flags = ["--log", "info,leadvault::call=warn", "--log-json"];
    let service = Service::start(serve(&url, &flags)).await;
    let channel = Endpoint::from_shared(service.endpoint()).unwrap();
    let mut vault = VaultServiceClient::new(channel.connect().await.unwrap());
    vault.get_contact(get_nobody(&[])).await.unwrap_err();
    let sql = Sql::connect(&url).await;
    sql.run("ALTER TABLE vault.contacts RENAME TO elsewhere")
        .await;
    let fault = vault
        .get_contact(get_nobody(&[("x-request-id", "r-7")]))
        .await;
    assert_eq!(fault.unwrap_err().code(), Code::Internal);

    let lines = lines_of(service).await;
    let of_calls = lines.iter().filter(|line| line["target"] == CALL);
    let of_calls: Vec<_> = of_calls.collect();
    assert_eq!(of_calls.len(), 1, "{lines:#?}");
    assert_eq!(of_calls[0]["level"], "ERROR");
    assert_eq!(of_calls[0]["fields"]["code"], "INTERNAL");
    assert_eq!(of_calls[0]["fields"]["request_id"], "r-7");
    let causes = lines
        .iter()
        .filter(|line| line["span"]["request_id"] == "r-7");
    let cause = causes.map(|line| &line["fields"]["cause"]).next().unwrap();
    assert!(
        cause.as_str().unwrap().contains("does not exist"),
        "{cause}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_request_id_comes_back_with_answers_and_refusals() {
    let app = App::start().await;
    let mut vault = app.vault().await;
    let id = |metadata: &tonic::metadata::MetadataMap| {
        let id = metadata.get("x-request-id").unwrap();
        id.to_str().unwrap().to_owned()
    };
    let refused = vault
        .get_contact(get_nobody(&[("x-request-id", "a-1")]))
        .await;
    let refused = refused.unwrap_err();
    assert_eq!(refused.code(), Code::NotFound);
    assert_eq!(id(refused.metadata()), "a-1");

    let too_long = "x".repeat(129);
    for insane in [too_long.as_str(), "two words"] {
        let refused = vault
            .get_contact(get_nobody(&[("x-request-id", insane)]))
            .await;
        Uuid::parse_str(&id(refused.unwrap_err().metadata())).unwrap();
    }
    let answered = vault.list_contacts(leadvault::proto::vault::v1::ListContactsRequest::default());
    Uuid::parse_str(&id(answered.await.unwrap().metadata())).unwrap();
    app.stop().await;
}
