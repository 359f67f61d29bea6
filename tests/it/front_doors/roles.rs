//! What each role may call: every RPC of the descriptors, by everybody.

use bytes::{Buf as _, BufMut as _, Bytes};
use http::uri::PathAndQuery;
use leadvault::proto::DESCRIPTORS;
use prost::Message as _;
use tonic::{
    Code, Request, Status,
    client::Grpc,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
    transport::Channel,
};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

use super::{client, with_token};
use crate::harness::{App, Refusal, Workspace, refusal};

/// Messages as bytes, so that no RPC needs code of its own.
#[derive(Clone, Copy, Default)]
struct Raw;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put(item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(buffer.copy_to_bytes(buffer.remaining())))
    }
}

/// Calls an RPC with an empty message, and reads its answers to their end.
async fn call(channel: &Channel, path: &str, token: Option<&str>) -> Result<(), Status> {
    let mut grpc = Grpc::new(channel.clone());
    grpc.ready().await.unwrap();
    let message = tokio_stream::once(Bytes::new());
    let request = match token {
        Some(token) => with_token(token, message),
        None => Request::new(message),
    };
    let path = PathAndQuery::try_from(path).unwrap();
    let mut answers = grpc.streaming(request, path, Raw).await?.into_inner();
    while answers.message().await?.is_some() {}
    Ok(())
}

/// Every RPC: its service and its name.
fn rpcs() -> Vec<(String, String)> {
    let set = prost_types::FileDescriptorSet::decode(DESCRIPTORS).unwrap();
    let mut rpcs = Vec::new();
    for file in &set.file {
        for service in &file.service {
            let name = format!("{}.{}", file.package(), service.name());
            let methods = service.method.iter();
            rpcs.extend(methods.map(|method| (name.clone(), method.name().to_owned())));
        }
    }
    rpcs
}

const ROLES: [&str; 4] = ["reader", "loader", "operator", "admin"];

/// Who may, as the README says it, and apart from the service's own table.
fn may(role: &str, method: &str) -> bool {
    let looks = ["Get", "List", "BatchGet", "Export", "Check", "Trace"];
    match method {
        "UnsuppressContact" | "AbandonBatch" => role == "admin",
        "IngestRows" | "BulkIngest" | "StageCompanies" | "StagePeople" => role != "reader",
        "GetBatch" | "ListBatches" | "GetRawLoad" | "ListRejectedRows" | "TraceRow" => true,
        _ if looks.iter().any(|look| method.starts_with(look)) => role != "loader",
        _ => role == "operator" || role == "admin",
    }
}

/// A refusal by the doors, if it is one.
fn at_the_door(result: Result<(), Status>) -> Option<Refusal> {
    let refused = result.err().filter(|status| {
        matches!(
            status.code(),
            Code::Unauthenticated | Code::PermissionDenied
        )
    });
    refused.map(|status| refusal(Err::<(), _>(status)))
}

#[tokio::test(flavor = "multi_thread")]
async fn every_rpc_is_for_its_roles_and_nobody_else() {
    let workspace = Workspace::new();
    let clients = ROLES.map(|role| client(&format!("a-{role}"), role));
    let file: String = clients.iter().map(|(line, _)| line.as_str()).collect();
    let app = App::start_with(&["--clients", &workspace.file("clients", file)]).await;
    let channel = app.channel().await;
    let rpcs = rpcs();
    assert!(rpcs.len() >= 70, "{}", rpcs.len());
    for (service, method) in rpcs {
        let path = format!("/{service}/{method}");
        for (token, reason) in [
            (None, "NO_CREDENTIALS"),
            (Some("lv_wrong"), "INVALID_TOKEN"),
        ] {
            let refused = at_the_door(call(&channel, &path, token).await);
            refused
                .unwrap_or_else(|| panic!("{path} let {token:?} in"))
                .is(Code::Unauthenticated, reason);
        }
        for (role, (_, token)) in ROLES.iter().zip(&clients) {
            let refused = at_the_door(call(&channel, &path, Some(token)).await);
            assert_eq!(
                refused.is_none(),
                may(role, &method),
                "{role} {path}: {refused:?}"
            );
            if let Some(refused) = refused {
                let others = ROLES.iter().filter(|other| may(other, &method));
                let others: Vec<&str> = others.copied().collect();
                refused
                    .is(Code::PermissionDenied, "PERMISSION_DENIED")
                    .says("client", format!("a-{role}"))
                    .says("role", role)
                    .says("roles", others.join(","))
                    .says("method", path.trim_start_matches('/'));
            }
        }
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn health_is_open_and_what_is_unknown_is_not() {
    let workspace = Workspace::new();
    let (line, token) = client("ops", "admin");
    let app = App::start_with(&["--clients", &workspace.file("clients", line)]).await;
    let channel = app.channel().await;
    let request = HealthCheckRequest::default();
    let health = HealthClient::new(channel.clone()).check(request).await;
    assert_eq!(health.unwrap().into_inner().status, 1);
    for path in [
        "/leadvault.vault.v1.VaultService/Steal",
        "/no.such.Service/Call",
    ] {
        let refused = refusal(call(&channel, path, None).await);
        assert_eq!(refused.code, Code::Unauthenticated, "{path}");
        let refused = refusal(call(&channel, path, Some(&token)).await);
        assert_eq!(refused.code, Code::Unimplemented, "{path}");
    }
    app.stop().await;
}

/// How reflection answers who shows nothing, and a client.
async fn reflection(flags: &[&str], token: &str) -> [Option<Code>; 2] {
    let app = App::start_with(flags).await;
    let channel = app.channel().await;
    let mut codes = Vec::new();
    for version in ["v1", "v1alpha"] {
        let path = format!("/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo");
        let code = async |token| {
            let result = call(&channel, &path, token).await;
            // An empty question is a wrong one, which only who is let in is told.
            result
                .err()
                .map(|status| status.code())
                .filter(|&code| code != Code::InvalidArgument)
        };
        codes.push([code(None).await, code(Some(token)).await]);
    }
    assert_eq!(codes[0], codes[1]);
    app.stop().await;
    codes[0]
}

#[tokio::test(flavor = "multi_thread")]
async fn reflection_follows_its_setting() {
    let workspace = Workspace::new();
    let (line, token) = client("ops", "reader");
    let file = workspace.file("clients", line);
    let clients = ["--clients", &file];
    let (unknown, gone) = (Some(Code::Unauthenticated), Some(Code::Unimplemented));
    for (flags, expected) in [
        (&[][..], [None, None]),
        (&["--reflection", "off"], [gone, gone]),
        (&clients, [unknown, None]),
        (
            &[&clients[..], &["--reflection", "open"]].concat(),
            [None, None],
        ),
        (
            &[&clients[..], &["--reflection", "off"]].concat(),
            [unknown, gone],
        ),
    ] {
        assert_eq!(reflection(flags, &token).await, expected, "{flags:?}");
    }
}
