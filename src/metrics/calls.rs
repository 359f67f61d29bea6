//! Calls by method and code. The handles of a method are found once and kept: a call that ends adds to two
//! numbers.

use std::{
    collections::HashMap,
    sync::{Arc, OnceLock},
    time::Duration,
};

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};
use prost::Message as _;
use prost_types::{FileDescriptorProto, FileDescriptorSet};
use tonic::Code;

use super::registered;

/// Codes of gRPC; they count from 0.
const CODES: usize = 17;
/// From a point read on a quiet machine to the default statement timeout, in seconds.
const BUCKETS: [f64; 16] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
    60.0,
];
/// The services that probes and tools call, rather than users.
const QUIET: [&str; 2] = ["grpc.health.", "grpc.reflection."];

/// The codes of calls that failed for no reason of the caller's.
const FAULTS: [Code; 4] = [
    Code::Unknown,
    Code::Internal,
    Code::Unavailable,
    Code::DataLoss,
];

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct MethodLabels {
    grpc_service: String,
    grpc_method: String,
    grpc_type: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct CallLabels {
    grpc_service: String,
    grpc_method: String,
    grpc_type: &'static str,
    grpc_code: &'static str,
}

#[derive(Clone, Debug)]
struct Families {
    handled: Family<CallLabels, Counter>,
    seconds: Family<MethodLabels, Histogram>,
    in_flight: Family<MethodLabels, Gauge>,
}

/// Every method, by the path of its requests.
#[derive(Debug)]
pub(super) struct Calls {
    methods: HashMap<String, Arc<Method>>,
    other: Arc<Method>,
}

/// A method and what is counted of it.
#[derive(Debug)]
pub struct Method {
    labels: MethodLabels,
    name: String,
    quiet: bool,
    families: Families,
    handled: [OnceLock<Counter>; CODES],
    seconds: OnceLock<Histogram>,
    in_flight: OnceLock<Gauge>,
}

impl Families {
    fn new(registry: &mut Registry) -> Self {
        Self {
            handled: registered(
                registry,
                "grpc_server_handled",
                "Calls that ended, by method and code; a stream counts once, when it ends",
                Family::default(),
            ),
            seconds: registered(
                registry,
                "grpc_server_handling_seconds",
                "How long calls took, in seconds; streams until their end",
                Family::new_with_constructor(|| Histogram::new(BUCKETS)),
            ),
            in_flight: registered(
                registry,
                "grpc_server_in_flight",
                "Calls and streams that are being answered",
                Family::default(),
            ),
        }
    }
}

impl Calls {
    /// The methods of descriptor sets. One that cannot be read ends the server when it builds its reflection.
    pub(super) fn new(descriptors: &[&[u8]], registry: &mut Registry) -> Self {
        let families = Families::new(registry);
        let sets = descriptors
            .iter()
            .filter_map(|set| FileDescriptorSet::decode(*set).ok());
        let files = sets.flat_map(|set| set.file);
        let methods = files.flat_map(|file| methods_of(&file, &families));
        let methods = methods.map(|method| (format!("/{}", method.name), Arc::new(method)));
        let other = MethodLabels {
            grpc_service: "other".to_owned(),
            grpc_method: "other".to_owned(),
            grpc_type: "unary",
        };
        Self {
            methods: methods.collect(),
            other: Arc::new(Method::new("other".to_owned(), other, &families)),
        }
    }

    pub(super) fn method(&self, path: &str) -> &Arc<Method> {
        self.methods.get(path).unwrap_or(&self.other)
    }

    /// How many calls of users ended so far, and how many of them by a fault.
    pub(super) fn ended(&self) -> (u64, u64) {
        let methods = self.methods.values().chain([&self.other]);
        let users = methods.filter(|method| !method.quiet);
        users.fold((0, 0), |(calls, faults), method| {
            let (more_calls, more_faults) = method.ended();
            (calls + more_calls, faults + more_faults)
        })
    }
}

fn methods_of(file: &FileDescriptorProto, families: &Families) -> Vec<Method> {
    let services = file.service.iter().flat_map(|service| {
        let service_name = format!("{}.{}", file.package(), service.name());
        let methods = service.method.iter();
        methods.map(move |method| (service_name.clone(), method))
    });
    let methods = services.map(|(service, method)| {
        let labels = MethodLabels {
            grpc_service: service,
            grpc_method: method.name().to_owned(),
            grpc_type: match (method.client_streaming(), method.server_streaming()) {
                (false, false) => "unary",
                (true, false) => "client_stream",
                (false, true) => "server_stream",
                (true, true) => "bidi_stream",
            },
        };
        let name = format!("{}/{}", labels.grpc_service, labels.grpc_method);
        Method::new(name, labels, families)
    });
    methods.collect()
}

impl Method {
    fn new(name: String, labels: MethodLabels, families: &Families) -> Self {
        Self {
            quiet: QUIET.iter().any(|prefix| name.starts_with(prefix)),
            labels,
            name,
            families: families.clone(),
            handled: [const { OnceLock::new() }; CODES],
            seconds: OnceLock::new(),
            in_flight: OnceLock::new(),
        }
    }

    /// Its service and its name, as in `leadvault.vault.v1.VaultService/GetContact`; `other` for what the API
    /// does not have.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether probes and tools call it, rather than users.
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        self.quiet
    }

    /// A call begins.
    pub fn begin(&self) {
        self.in_flight().inc();
    }

    /// A call that began has ended.
    pub fn end(&self, code: Code, took: Duration) {
        self.in_flight().dec();
        self.seconds
            .get_or_init(|| self.families.seconds.get_or_create_owned(&self.labels))
            .observe(took.as_secs_f64());
        if let Some(handled) = self.handled.get(code as usize) {
            handled.get_or_init(|| self.counter(code)).inc();
        }
    }

    fn ended(&self) -> (u64, u64) {
        let of = |code: Code| self.handled.get(code as usize)?.get().map(Counter::get);
        let faults = FAULTS.into_iter().filter_map(of).sum();
        let calls = self.handled.iter().filter_map(OnceLock::get);
        (calls.map(Counter::get).sum(), faults)
    }

    fn in_flight(&self) -> &Gauge {
        self.in_flight
            .get_or_init(|| self.families.in_flight.get_or_create_owned(&self.labels))
    }

    fn counter(&self, code: Code) -> Counter {
        let labels = CallLabels {
            grpc_service: self.labels.grpc_service.clone(),
            grpc_method: self.labels.grpc_method.clone(),
            grpc_type: self.labels.grpc_type,
            grpc_code: code_name(code),
        };
        self.families.handled.get_or_create_owned(&labels)
    }
}

/// A code as gRPC's documentation writes it.
#[must_use]
pub fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}
