//! The outermost layer: one line in the log, one count in the metrics, and, where OTLP is on, one span for each
//! call, when it ends; for a stream, when the stream ends.
//!
//! Guarantees:
//! * Every call counts once, whatever ends it: an answer, a refusal, a client that goes away (`CANCELLED`), or a panic,
//!   which is answered as `INTERNAL`.
//! * Every answer carries the `x-request-id` of its call: the caller's own, or one that is made here. What is
//!   logged meanwhile carries it, too.
//! * Nothing of a message is looked at but the number of its rows: no personal data can get into a line.

mod body;
mod call;
mod otlp;
mod request_id;
#[cfg(test)]
mod tests;

use std::{
    sync::{Arc, OnceLock},
    task::{Context, Poll},
};

use futures_util::future::BoxFuture;
use http::{Request, Response};
use tonic::{Status, body::Body};
use tower::{Layer, Service};
use tracing::Instrument as _;

pub use self::otlp::Traces;
use self::{body::ObservedBody, call::Call};
use crate::{
    domain::Actor,
    metrics::Metrics,
    rpc::{now_unless_it_panics, unless_it_panics},
};

/// Who calls, as whoever authenticates them finds out: a layer further in takes this from the request's extensions
/// and says it, since what it adds to the request itself is not seen out here.
#[derive(Clone, Debug, Default)]
pub struct Caller(Arc<OnceLock<Actor>>);

impl Caller {
    /// Says who calls; the first who says it is right.
    pub fn is(&self, actor: Actor) {
        let _ = self.0.set(actor);
    }

    fn name(&self) -> &str {
        self.0.get().map_or("-", Actor::as_str)
    }
}

/// Observes all calls; see the module.
#[derive(Clone, Debug)]
pub struct ObserveLayer(Arc<Eyes>);

/// Where it is written what was seen.
#[derive(Debug)]
struct Eyes {
    metrics: Metrics,
    traces: Option<Traces>,
}

impl ObserveLayer {
    /// Counts in these metrics, and tells of spans where there is somebody to tell.
    #[must_use]
    pub fn new(metrics: Metrics, traces: Option<Traces>) -> Self {
        Self(Arc::new(Eyes { metrics, traces }))
    }
}

impl<S> Layer<S> for ObserveLayer {
    type Service = Observe<S>;

    fn layer(&self, inner: S) -> Observe<S> {
        Observe {
            inner,
            eyes: Arc::clone(&self.0),
        }
    }
}

/// A service whose calls are observed.
#[derive(Clone, Debug)]
pub struct Observe<S> {
    inner: S,
    eyes: Arc<Eyes>,
}

impl<S> Service<Request<Body>> for Observe<S>
where
    S: Service<Request<Body>, Response = Response<Body>>,
    S::Future: Send + 'static,
{
    type Response = Response<ObservedBody>;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<Self::Response, S::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let call = Call::begin(&self.eyes, &mut request);
        let span = call.span();
        let answer = span.in_scope(|| now_unless_it_panics(|| self.inner.call(request)));
        let observed = async move {
            // Dropped with this future if the client goes away.
            let mut call = call;
            let answered = match answer {
                Ok(answer) => unless_it_panics(answer).await,
                Err(panicked) => Err(panicked),
            };
            let mut response = match answered {
                Ok(response) => response?,
                Err(panicked) => Status::from(panicked).into_http(),
            };
            call.answered(&mut response);
            Ok(response.map(|body| ObservedBody::new(body, call)))
        };
        Box::pin(observed.instrument(span))
    }
}
