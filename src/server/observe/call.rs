//! One call, from its headers to its end.

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use http::{HeaderMap, HeaderValue, Request, Response};
use opentelemetry::TraceId;
use tonic::{Code, Status, body::Body};
use tracing::{Level, Span};

use super::{
    Caller, Eyes,
    otlp::{self, Ended},
    request_id::{self, request_id},
};
use crate::{
    domain::Actor,
    metrics::{Method, code_name},
    rpc::Rows,
};

/// The target of the lines of calls, for `--log info,leadvault::call=warn`.
const TARGET: &str = "leadvault::call";

/// A call that has not ended; dropped, it has.
#[derive(Debug)]
pub(super) struct Call {
    eyes: Arc<Eyes>,
    method: Arc<Method>,
    caller: Caller,
    request_id: HeaderValue,
    parent: Option<opentelemetry::Context>,
    begun: Instant,
    begun_at: SystemTime,
    rows: Option<u64>,
    code: Option<Code>,
    span: Span,
}

impl Call {
    /// A call that came in.
    pub(super) fn begin(eyes: &Arc<Eyes>, request: &mut Request<Body>) -> Self {
        let method = Arc::clone(eyes.metrics.method(request.uri().path()));
        let request_id = request_id(request.headers());
        let caller = Caller::default();
        if let Some(actor) = request.extensions().get::<Actor>() {
            caller.is(actor.clone());
        }
        request.extensions_mut().insert(caller.clone());
        let span = if method.is_quiet() {
            Span::none()
        } else {
            tracing::error_span!(
                target: TARGET, parent: None, "call",
                request_id = request_id.to_str().unwrap_or_default(), method = method.name()
            )
        };
        method.begin();
        Self {
            eyes: Arc::clone(eyes),
            method,
            caller,
            request_id,
            parent: otlp::parent(request.headers()),
            begun: Instant::now(),
            begun_at: SystemTime::now(),
            rows: None,
            code: None,
            span,
        }
    }

    /// What is logged on behalf of it belongs in here.
    pub(super) fn span(&self) -> Span {
        self.span.clone()
    }

    /// The head of its answer is made. A refusal has its code there and nothing more.
    pub(super) fn answered(&mut self, response: &mut Response<Body>) {
        let headers = response.headers_mut();
        self.code = code_in(headers);
        headers.insert(request_id::HEADER, self.request_id.clone());
    }

    /// A part of its answer is made, which is about some rows.
    pub(super) fn rows(&mut self, rows: Option<Rows>) {
        if let Some(rows) = rows {
            self.rows = Some(rows.after(self.rows));
        }
    }

    /// Its answer is made, and this is its code.
    pub(super) fn ended(&mut self, code: Code) {
        self.code = Some(code);
    }

    fn log(&self, code: Code, took: Duration, trace_id: Option<TraceId>) {
        macro_rules! line {
            ($level:expr) => {
                tracing::event!(
                    target: TARGET, parent: None, $level,
                    method = self.method.name(),
                    client = self.caller.name(),
                    code = code_name(code),
                    ms = took.as_micros() as f64 / 1_000.0,
                    rows = self.rows,
                    request_id = self.request_id.to_str().unwrap_or_default(),
                    trace_id = trace_id.map(tracing::field::display),
                    "call"
                )
            };
        }
        match code {
            Code::Internal | Code::Unknown | Code::DataLoss => line!(Level::ERROR),
            Code::Unavailable => line!(Level::WARN),
            _ if self.method.is_quiet() => line!(Level::DEBUG),
            _ => line!(Level::INFO),
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        // Nobody waits for the rest: the client went away.
        let code = self.code.unwrap_or(Code::Cancelled);
        let took = self.begun.elapsed();
        self.method.end(code, took);
        let traces = self.eyes.traces.as_ref();
        let trace_id = match traces.filter(|_| !self.method.is_quiet()) {
            Some(traces) => Some(traces.record(Ended {
                method: self.method.name(),
                client: self.caller.name(),
                request_id: self.request_id.to_str().unwrap_or_default(),
                parent: self.parent.as_ref(),
                begun_at: self.begun_at,
                took,
                code,
                rows: self.rows,
            })),
            None => self.parent.as_ref().map(otlp::trace_id),
        };
        self.log(code, took, trace_id);
    }
}

/// The code of a call, where it stands among these headers or trailers.
pub(super) fn code_in(headers: &HeaderMap) -> Option<Code> {
    headers
        .get(Status::GRPC_STATUS)
        .map(|code| Code::from_bytes(code.as_bytes()))
}
