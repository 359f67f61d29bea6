//! What the layers know of the methods that are called: which are streams, and which are for those who watch
//! the service and not for its clients.

use std::collections::HashSet;

use prost::Message as _;
use prost_types::FileDescriptorSet;

use crate::proto;

const HEALTH: &str = "/grpc.health.";
const REFLECTION: &str = "/grpc.reflection.";
/// The only one of them with one message each way.
const HEALTH_CHECK: &str = "/grpc.health.v1.Health/Check";

/// What kind of call a path is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A look at the health: answered whatever the load is.
    Probe,
    /// A stream of health or reflection: none of the service's clients.
    Watch,
    /// One message each way.
    Unary,
    /// With a stream, either way.
    Stream,
}

/// The methods of our services.
#[derive(Debug)]
pub(super) struct Methods {
    streams: HashSet<String>,
}

impl Methods {
    /// Reads the descriptors.
    ///
    /// # Errors
    /// They are broken, which a build would have shown.
    pub(super) fn load() -> Result<Self, prost::DecodeError> {
        let files = FileDescriptorSet::decode(proto::DESCRIPTORS)?.file;
        let mut streams = HashSet::new();
        for file in &files {
            for service in &file.service {
                let of_stream = |method: &&prost_types::MethodDescriptorProto| {
                    method.client_streaming() || method.server_streaming()
                };
                streams.extend(service.method.iter().filter(of_stream).map(|method| {
                    format!("/{}.{}/{}", file.package(), service.name(), method.name())
                }));
            }
        }
        Ok(Self { streams })
    }

    /// What kind of call a path is; a path of no method is refused soon, and unary.
    pub(super) fn kind(&self, path: &str) -> Kind {
        if path == HEALTH_CHECK {
            Kind::Probe
        } else if path.starts_with(HEALTH) || path.starts_with(REFLECTION) {
            Kind::Watch
        } else if self.streams.contains(path) {
            Kind::Stream
        } else {
            Kind::Unary
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Kind, Methods};

    #[test]
    fn streams_either_way_are_known() {
        let methods = Methods::load().unwrap();
        for (path, kind) in [
            (
                "/leadvault.intake.v1.IntakeService/BulkIngest",
                Kind::Stream,
            ),
            (
                "/leadvault.vault.v1.VaultService/ExportContacts",
                Kind::Stream,
            ),
            ("/leadvault.vault.v1.VaultService/GetContact", Kind::Unary),
            ("/grpc.health.v1.Health/Check", Kind::Probe),
            ("/grpc.health.v1.Health/Watch", Kind::Watch),
            (
                "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
                Kind::Watch,
            ),
        ] {
            assert_eq!(methods.kind(path), kind, "{path}");
        }
    }
}
