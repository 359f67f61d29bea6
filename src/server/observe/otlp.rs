//! Traces: W3C trace context in, and spans out by OTLP where the standard variables ask for it.
//!
//! Reads, beside what the SDK reads itself (`OTEL_RESOURCE_ATTRIBUTES`, `OTEL_EXPORTER_OTLP_HEADERS`,
//! `OTEL_TRACES_SAMPLER`, `OTEL_BSP_*`, ...):
//! - `OTEL_EXPORTER_OTLP_ENDPOINT` or `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT`: nothing is sent without one
//! - `OTEL_SDK_DISABLED`, `OTEL_TRACES_EXPORTER=none`: nothing is sent
//! - `OTEL_EXPORTER_OTLP_PROTOCOL` and `OTEL_EXPORTER_OTLP_TRACES_PROTOCOL`: `grpc`, the only one here
//! - `OTEL_SERVICE_NAME`: `leadvault` if not set
//!
//! A span is written when its call has ended, from what the log says of it; it holds nothing else. Whatever is
//! wrong with the collector is logged, and no call waits for it.

use std::{
    env,
    time::{Duration, SystemTime},
};

use http::HeaderMap;
use opentelemetry::{
    Context, KeyValue, TraceId,
    propagation::{Extractor, TextMapPropagator as _},
    trace::{Span as _, SpanKind, Status, TraceContextExt as _, Tracer as _, TracerProvider as _},
};
use opentelemetry_otlp::{ExporterBuildError, SpanExporter};
use opentelemetry_sdk::{
    Resource,
    propagation::TraceContextPropagator,
    trace::{SdkTracer, SdkTracerProvider},
};
use tonic::Code;

/// How long the last spans may take on the way out.
const LAST_SPANS: Duration = Duration::from_secs(5);
const NAME: &str = "leadvault";

/// Where spans go; clones share it.
#[derive(Clone, Debug)]
pub struct Traces {
    provider: SdkTracerProvider,
    tracer: SdkTracer,
}

/// A call that has ended.
pub(super) struct Ended<'a> {
    pub(super) method: &'a str,
    pub(super) client: &'a str,
    pub(super) request_id: &'a str,
    pub(super) parent: Option<&'a Context>,
    pub(super) begun_at: SystemTime,
    pub(super) took: Duration,
    pub(super) code: Code,
    pub(super) rows: Option<u64>,
}

impl Traces {
    /// Traces as the variables ask for them, if they do. What they ask for and cannot have is logged: a service
    /// without traces is better than none.
    #[must_use]
    pub fn from_env() -> Option<Self> {
        if !is_wanted() {
            return None;
        }
        if let Some(protocol) = other_protocol() {
            tracing::warn!(
                protocol,
                "no traces are sent: OTEL_EXPORTER_OTLP_PROTOCOL must be grpc"
            );
            return None;
        }
        match Self::begin() {
            Ok(traces) => Some(traces),
            Err(error) => {
                tracing::warn!(%error, "no traces are sent: the OTEL_ variables cannot be used");
                None
            }
        }
    }

    fn begin() -> Result<Self, ExporterBuildError> {
        let exporter = SpanExporter::builder().with_tonic().build()?;
        let resource = Resource::builder()
            .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")));
        let resource = if is_named() {
            resource
        } else {
            resource.with_service_name(NAME)
        };
        let provider = SdkTracerProvider::builder()
            .with_batch_exporter(exporter)
            .with_resource(resource.build())
            .build();
        Ok(Self {
            tracer: provider.tracer(NAME),
            provider,
        })
    }

    /// Tells of a call, and says of which trace it is part.
    pub(super) fn record(&self, call: Ended<'_>) -> TraceId {
        let (service, method) = call.method.split_once('/').unwrap_or(("", call.method));
        let mut attributes = vec![
            KeyValue::new("rpc.system", "grpc"),
            KeyValue::new("rpc.service", service.to_owned()),
            KeyValue::new("rpc.method", method.to_owned()),
            KeyValue::new("rpc.grpc.status_code", i64::from(call.code as i32)),
            KeyValue::new("leadvault.request_id", call.request_id.to_owned()),
            KeyValue::new("leadvault.client", call.client.to_owned()),
        ];
        let rows = call.rows.and_then(|rows| i64::try_from(rows).ok());
        attributes.extend(rows.map(|rows| KeyValue::new("leadvault.rows", rows)));
        let builder = self
            .tracer
            .span_builder(call.method.to_owned())
            .with_kind(SpanKind::Server)
            .with_start_time(call.begun_at)
            .with_attributes(attributes);
        let nobody = Context::new();
        let parent = call.parent.unwrap_or(&nobody);
        let mut span = self.tracer.build_with_context(builder, parent);
        if is_fault(call.code) {
            span.set_status(Status::error(crate::metrics::code_name(call.code)));
        }
        let trace_id = span.span_context().trace_id();
        span.end_with_timestamp(call.begun_at + call.took);
        trace_id
    }

    /// Sends what is left, and ends.
    pub(crate) async fn stop(self) {
        let provider = self.provider;
        let stop = move || provider.shutdown_with_timeout(LAST_SPANS);
        // It blocks, while the runtime has to carry the spans.
        if let Ok(Err(error)) = tokio::task::spawn_blocking(stop).await {
            tracing::warn!(%error, "the last traces may not have arrived");
        }
    }
}

/// The trace that a caller's `traceparent` names, if it names one.
pub(super) fn parent(headers: &HeaderMap) -> Option<Context> {
    headers.get("traceparent")?;
    let context =
        TraceContextPropagator::new().extract_with_context(&Context::new(), &Headers(headers));
    context.span().span_context().is_valid().then_some(context)
}

/// The id of a trace.
pub(super) fn trace_id(parent: &Context) -> TraceId {
    parent.span().span_context().trace_id()
}

struct Headers<'a>(&'a HeaderMap);

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.to_str().ok()
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(http::HeaderName::as_str).collect()
    }
}

/// What a server counts as its own failure, by OpenTelemetry's conventions.
fn is_fault(code: Code) -> bool {
    matches!(
        code,
        Code::Unknown
            | Code::DeadlineExceeded
            | Code::Unimplemented
            | Code::Internal
            | Code::Unavailable
            | Code::DataLoss
    )
}

fn is_wanted() -> bool {
    let endpoint = variable("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
        .or_else(|| variable("OTEL_EXPORTER_OTLP_ENDPOINT"));
    let disabled = variable("OTEL_SDK_DISABLED").is_some_and(|it| it.eq_ignore_ascii_case("true"));
    let none = variable("OTEL_TRACES_EXPORTER").is_some_and(|it| it == "none");
    endpoint.is_some() && !disabled && !none
}

fn other_protocol() -> Option<String> {
    variable("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL")
        .or_else(|| variable("OTEL_EXPORTER_OTLP_PROTOCOL"))
        .filter(|protocol| protocol != "grpc")
}

fn is_named() -> bool {
    let attributes = variable("OTEL_RESOURCE_ATTRIBUTES");
    variable("OTEL_SERVICE_NAME").is_some()
        || attributes.is_some_and(|attributes| attributes.contains("service.name="))
}

/// A variable; an empty one is none.
fn variable(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.is_empty())
}
