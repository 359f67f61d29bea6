//! Which calls are safe to repeat, as the protos say it: `idempotency_level = NO_SIDE_EFFECTS` on the method, or a
//! `request_id` in the request.

use std::collections::HashMap;

use bytes::{Buf as _, Bytes};
use prost::{
    DecodeError, Message as _,
    encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field},
};
use prost_types::{
    DescriptorProto, FileDescriptorProto, FileDescriptorSet, MethodDescriptorProto,
    method_options::IdempotencyLevel,
};

use super::message::content;
use crate::{proto, rpc::Interruption};

/// The methods that take one message and answer with one, by path.
#[derive(Debug)]
pub(in crate::server) struct Methods(HashMap<String, Method>);

/// What is known of a method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Method {
    /// Other calls that are idempotent tell a repetition from a first call in their answer, which a caller who
    /// called once would not understand.
    only_reads: bool,
    /// The number of its request's field `request_id`; a call that has one is done once, and gets its answer.
    request_id: Option<u32>,
}

impl Methods {
    /// Those of our services.
    ///
    /// # Errors
    /// The descriptors are broken.
    pub(in crate::server) fn load() -> Result<Self, DecodeError> {
        let files = FileDescriptorSet::decode(proto::DESCRIPTORS)?.file;
        let request_ids = request_ids(&files);
        let mut methods = HashMap::new();
        for file in &files {
            for service in &file.service {
                for method in service.method.iter().filter(|method| is_unary(method)) {
                    let (package, service) = (file.package(), service.name());
                    let path = format!("/{package}.{service}/{}", method.name());
                    let known = Method {
                        only_reads: only_reads(method),
                        request_id: request_ids.get(method.input_type()).copied(),
                    };
                    methods.insert(path, known);
                }
            }
        }
        Ok(Self(methods))
    }

    /// The method with this path, if it is one of one message each way.
    pub(super) fn get(&self, path: &str) -> Option<Method> {
        self.0.get(path).copied()
    }
}

impl Method {
    /// Whether a call with this message may be made again after it was interrupted.
    pub(super) fn may_repeat(self, interruption: Interruption, message: &Bytes) -> bool {
        let is_safe = || {
            self.only_reads
                || self
                    .request_id
                    .is_some_and(|number| has_text(content(message), number))
        };
        match interruption {
            Interruption::RolledBack => true,
            Interruption::Unknown => is_safe(),
        }
    }
}

fn is_unary(method: &MethodDescriptorProto) -> bool {
    !method.client_streaming() && !method.server_streaming()
}

fn only_reads(method: &MethodDescriptorProto) -> bool {
    method
        .options
        .as_ref()
        .is_some_and(|options| options.idempotency_level() == IdempotencyLevel::NoSideEffects)
}

/// The numbers of the fields `request_id`, by the full names of their messages.
fn request_ids(files: &[FileDescriptorProto]) -> HashMap<String, u32> {
    let mut numbers = HashMap::new();
    for file in files {
        for message in &file.message_type {
            if let Some(number) = request_id(message) {
                numbers.insert(format!(".{}.{}", file.package(), message.name()), number);
            }
        }
    }
    numbers
}

fn request_id(message: &DescriptorProto) -> Option<u32> {
    let field = message
        .field
        .iter()
        .find(|field| field.name() == "request_id")?;
    u32::try_from(field.number()).ok()
}

/// Whether a message has a text that is not empty in this field. Of a malformed one it has not.
fn has_text(mut message: &[u8], number: u32) -> bool {
    while message.has_remaining() {
        let Ok((tag, wire_type)) = decode_key(&mut message) else {
            return false;
        };
        if tag == number && wire_type == WireType::LengthDelimited {
            return decode_varint(&mut message).is_ok_and(|length| length > 0);
        }
        if skip_field(wire_type, tag, &mut message, DecodeContext::default()).is_err() {
            return false;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::intake::v1::IngestRowsRequest;

    fn method(path: &str) -> Method {
        Methods::load().unwrap().get(path).unwrap()
    }

    fn framed(message: &impl prost::Message) -> Bytes {
        let content = message.encode_to_vec();
        let mut whole = vec![0];
        whole.extend(u32::try_from(content.len()).unwrap().to_be_bytes());
        whole.extend(content);
        whole.into()
    }

    #[test]
    fn reads_are_safe_and_streams_are_not_known() {
        let methods = Methods::load().unwrap();
        for (path, method) in &methods.0 {
            let name = path.rsplit('/').next().unwrap();
            let reads = ["Get", "BatchGet", "List", "Check", "Trace"];
            let is_read = reads.iter().any(|verb| name.starts_with(verb));
            assert_eq!(method.only_reads, is_read, "{path}");
        }
        for stream in [
            "/leadvault.intake.v1.IntakeService/BulkIngest",
            "/leadvault.vault.v1.VaultService/PromoteContacts",
        ] {
            assert_eq!(methods.get(stream), None);
        }
    }

    #[test]
    fn a_write_is_safe_with_a_request_id_or_when_it_was_rolled_back() {
        let ingest = method("/leadvault.intake.v1.IntakeService/IngestRows");
        let mut request = IngestRowsRequest {
            batch_id: "b".into(),
            ..Default::default()
        };
        let without = framed(&request);
        assert!(!ingest.may_repeat(Interruption::Unknown, &without));
        assert!(ingest.may_repeat(Interruption::RolledBack, &without));
        request.request_id = "f81d4fae-7dec-11d0-a765-00a0c91e6bf6".into();
        assert!(ingest.may_repeat(Interruption::Unknown, &framed(&request)));
    }

    #[test]
    fn a_malformed_message_has_no_request_id() {
        for bytes in [&b"\xff"[..], b"\x0a\xff", b"\x32", b""] {
            assert!(!has_text(bytes, 6), "{bytes:?}");
        }
        assert!(has_text(b"\x32\x01x", 6));
    }
}
