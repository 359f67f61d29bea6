//! Health and reflection, so that a probe and grpcurl need nothing but the address.

use std::collections::BTreeSet;

use prost::Message as _;
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

use crate::harness::App;

const INTAKE: &str = "leadvault.intake.v1.IntakeService";

async fn status(app: &App, service: &str) -> Result<ServingStatus, tonic::Code> {
    let request = HealthCheckRequest {
        service: service.to_owned(),
    };
    let response = HealthClient::new(app.channel().await).check(request).await;
    response
        .map(|response| response.into_inner().status())
        .map_err(|status| status.code())
}

#[tokio::test(flavor = "multi_thread")]
async fn health_is_serving_for_the_server_and_its_service() {
    let app = App::start().await;
    for service in ["", INTAKE] {
        assert_eq!(
            status(&app, service).await,
            Ok(ServingStatus::Serving),
            "{service:?}"
        );
    }
    assert_eq!(
        status(&app, "no.such.Service").await,
        Err(tonic::Code::NotFound)
    );
    app.stop().await;
}

/// The names of the files that a reflection answer brings, and the messages in them.
fn files_and_messages(files: &[Vec<u8>]) -> (BTreeSet<String>, BTreeSet<String>) {
    let (mut names, mut messages) = (BTreeSet::new(), BTreeSet::new());
    for file in files {
        let file = prost_types::FileDescriptorProto::decode(file.as_slice()).unwrap();
        names.insert(file.name().to_owned());
        messages.extend(file.message_type.iter().map(|m| m.name().to_owned()));
    }
    (names, messages)
}

/// One test for both versions of the protocol, whose messages are alike but not the same types.
macro_rules! reflection_test {
    ($name:ident, $version:ident) => {
        #[tokio::test(flavor = "multi_thread")]
        async fn $name() {
            use tonic_reflection::pb::$version::{
                ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
                server_reflection_request::MessageRequest,
                server_reflection_response::MessageResponse,
            };
            let app = App::start().await;
            let mut client = ServerReflectionClient::new(app.channel().await);
            let requests = [
                MessageRequest::ListServices(String::new()),
                MessageRequest::FileContainingSymbol(INTAKE.to_owned()),
                MessageRequest::FileByFilename("leadvault/type/v1/error.proto".to_owned()),
                MessageRequest::FileByFilename("google/protobuf/struct.proto".to_owned()),
                MessageRequest::FileContainingSymbol("no.such.Symbol".to_owned()),
            ]
            .map(|request| ServerReflectionRequest {
                host: String::new(),
                message_request: Some(request),
            });
            let mut answers = client
                .server_reflection_info(tokio_stream::iter(requests))
                .await
                .unwrap()
                .into_inner();
            let mut next = async || answers.message().await.unwrap().unwrap().message_response;

            let Some(MessageResponse::ListServicesResponse(list)) = next().await else {
                panic!("expected the list of services");
            };
            let services: Vec<String> = list.service.into_iter().map(|s| s.name).collect();
            for service in [INTAKE, "grpc.health.v1.Health"] {
                assert!(
                    services.iter().any(|s| s == service),
                    "{service}: {services:?}"
                );
            }

            for (file, message) in [
                (
                    "leadvault/intake/v1/intake.proto",
                    Some("IngestRowsRequest"),
                ),
                ("leadvault/type/v1/error.proto", None),
                ("google/protobuf/struct.proto", Some("Struct")),
            ] {
                let Some(MessageResponse::FileDescriptorResponse(found)) = next().await else {
                    panic!("expected the file {file}");
                };
                let (names, messages) = files_and_messages(&found.file_descriptor_proto);
                assert!(names.contains(file), "{file}: {names:?}");
                if let Some(message) = message {
                    assert!(messages.contains(message), "{message}: {messages:?}");
                }
            }
            // The stream of answers ends with a refusal of what is not there.
            assert_eq!(
                answers.message().await.unwrap_err().code(),
                tonic::Code::NotFound
            );
            app.stop().await;
        }
    };
}

reflection_test!(
    reflection_v1_lists_the_services_and_resolves_their_files,
    v1
);
reflection_test!(
    reflection_v1alpha_lists_the_services_and_resolves_their_files,
    v1alpha
);
