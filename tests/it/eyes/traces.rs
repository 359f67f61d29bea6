//! OTLP: a collector gets a span of each call, in the caller's trace, where the standard variables say so.

use leadvault::proto::vault::v1::vault_service_client::VaultServiceClient;
use opentelemetry_proto::tonic::{
    collector::trace::v1::{
        ExportTraceServiceRequest, ExportTraceServiceResponse,
        trace_service_server::{TraceService, TraceServiceServer},
    },
    common::v1::{KeyValue, any_value::Value},
};
use tokio::{net::TcpListener, sync::mpsc};
use tonic::{
    Request, Response, Status,
    transport::{Endpoint, Server, server::TcpIncoming},
};

use super::{get_nobody, serve};
use crate::harness::{Service, fresh_database};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const PARENT: &str = "b7ad6b7169203331";

struct Collector(mpsc::UnboundedSender<Request<ExportTraceServiceRequest>>);

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        self.0.send(request).unwrap();
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

/// A collector; its address and what it is sent.
async fn collector() -> (
    String,
    mpsc::UnboundedReceiver<Request<ExportTraceServiceRequest>>,
) {
    let (sent, spans) = mpsc::unbounded_channel();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let collector = TraceServiceServer::new(Collector(sent));
    let server = Server::builder().add_service(collector);
    tokio::spawn(server.serve_with_incoming(TcpIncoming::from(listener)));
    (address, spans)
}

/// Calls a service that was started with variables, in a trace of the caller's, and stops it.
async fn call_with(variables: &[(&str, &str)]) -> String {
    let mut command = serve(&fresh_database().await, &["--log-json"]);
    command.envs(variables.iter().copied());
    let service = Service::start(command).await;
    let channel = Endpoint::from_shared(service.endpoint()).unwrap();
    let mut vault = VaultServiceClient::new(channel.connect().await.unwrap());
    let traceparent = format!("00-{TRACE}-{PARENT}-01");
    let headers = [
        ("traceparent", traceparent.as_str()),
        ("x-request-id", "r-1"),
    ];
    vault.get_contact(get_nobody(&headers)).await.unwrap_err();
    let (status, log) = service.stop().await;
    assert!(status.success(), "{log}");
    log
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn text<'a>(attributes: &'a [KeyValue], key: &str) -> &'a str {
    let attribute = attributes.iter().find(|attribute| attribute.key == key);
    match attribute.unwrap().value.as_ref().unwrap().value.as_ref() {
        Some(Value::StringValue(text)) => text,
        other => panic!("{key}: {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_gets_the_call_as_part_of_the_callers_trace() {
    let (address, mut spans) = collector().await;
    call_with(&[
        ("OTEL_EXPORTER_OTLP_ENDPOINT", &address),
        ("OTEL_EXPORTER_OTLP_HEADERS", "x-key=secret"),
        ("OTEL_SERVICE_NAME", "leads"),
    ])
    .await;
    let request = spans.recv().await.unwrap();
    assert_eq!(request.metadata().get("x-key").unwrap(), "secret");
    let request = request.into_inner();
    let resource = &request.resource_spans[0];
    let about = &resource.resource.as_ref().unwrap().attributes;
    assert_eq!(text(about, "service.name"), "leads");
    let spans = &resource.scope_spans[0].spans;
    assert_eq!(spans.len(), 1, "{spans:#?}");
    let span = &spans[0];
    assert_eq!(hex(&span.trace_id), TRACE);
    assert_eq!(hex(&span.parent_span_id), PARENT);
    assert_eq!(span.name, "leadvault.vault.v1.VaultService/GetContact");
    assert_eq!(text(&span.attributes, "rpc.method"), "GetContact");
    assert_eq!(text(&span.attributes, "leadvault.request_id"), "r-1");
    assert!(span.end_time_unix_nano > span.start_time_unix_nano);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_sent_where_the_sdk_is_disabled_or_speaks_something_else() {
    let (address, mut spans) = collector().await;
    let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", address.as_str());
    call_with(&[endpoint, ("OTEL_SDK_DISABLED", "true")]).await;
    let log = call_with(&[endpoint, ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json")]).await;
    assert!(log.contains("must be grpc"), "{log}");
    assert!(spans.try_recv().is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_is_not_there_keeps_nobody_waiting() {
    let log = call_with(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")]).await;
    assert!(log.contains("NOT_FOUND"), "{log}");
}
