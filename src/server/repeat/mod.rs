//! A layer that repeats calls whom the database failed, where that is safe: the caller of a short call need not
//! know that PostgreSQL restarted, failed over, or chose its transaction as a deadlock's victim.
//!
//! | what happened | what is repeated |
//! |---|---|
//! | the transaction was rolled back (deadlock, serialization failure, a server that takes no writes any more) | every call of one message: nothing was done |
//! | the connection was lost | only what [`Methods`] knows to be safe to repeat: the work may be done |
//!
//! Guarantees: at most [`ATTEMPTS`] attempts, none begun after [`BUDGET`]; streams are never repeated; what is not
//! repeated, or fails each time, gets its UNAVAILABLE with `RetryInfo` as if there were no such layer. A call's
//! deadline holds over all of its attempts.

mod message;
mod methods;

use std::{
    mem,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use backon::{BackoffBuilder as _, ExponentialBackoff, ExponentialBuilder};
use futures_util::future::{BoxFuture, Either, FutureExt as _};
use http::{Request, Response};
use tokio::time::Instant;
use tonic::{Status, body::Body};
use tower::{Layer, Service};

use self::message::{Message, Recorder};
use self::methods::Method;
pub(super) use self::methods::Methods;
use crate::rpc::Interruption;

/// How often a call is tried.
const ATTEMPTS: usize = 3;
/// How long after its beginning a call may be tried again.
const BUDGET: Duration = Duration::from_secs(2);
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const FACTOR: f32 = 5.0;

/// Wraps services in [`Repeat`].
#[derive(Clone, Debug)]
pub(super) struct RepeatLayer(Arc<Methods>);

impl RepeatLayer {
    /// A layer that knows these methods.
    pub(super) fn new(methods: Methods) -> Self {
        Self(Arc::new(methods))
    }
}

impl<S> Layer<S> for RepeatLayer {
    type Service = Repeat<S>;

    fn layer(&self, inner: S) -> Repeat<S> {
        Repeat {
            inner,
            methods: Arc::clone(&self.0),
        }
    }
}

/// A service whose calls are repeated where that is safe.
#[derive(Clone, Debug)]
pub(super) struct Repeat<S> {
    inner: S,
    methods: Arc<Methods>,
}

impl<S, B> Service<Request<Body>> for Repeat<S>
where
    S: Service<Request<Body>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Send,
    B: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Either<S::Future, BoxFuture<'static, Result<S::Response, S::Error>>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let Some(method) = self.methods.get(request.uri().path()) else {
            return Either::Left(self.inner.call(request));
        };
        // The one that is ready is the one to call.
        let spare = self.inner.clone();
        let service = mem::replace(&mut self.inner, spare);
        Either::Right(call(service, request, method).boxed())
    }
}

/// Calls until it is answered, or for as long as it is safe and not too late.
async fn call<S, B>(
    mut service: S,
    request: Request<Body>,
    method: Method,
) -> Result<Response<B>, S::Error>
where
    S: Service<Request<Body>, Response = Response<B>>,
{
    let (head, body) = request.into_parts();
    let message = Message::default();
    let body = Body::new(Recorder::new(body, message.clone()));
    let begun = Instant::now();
    let mut pauses = pauses();
    let mut response = service
        .call(Request::from_parts(head.clone(), body))
        .await?;
    while let Some(interruption) = interruption(&response)
        && let Some(sent) = message.whole()
        && method.may_repeat(interruption, &sent)
        && let Some(pause) = pauses.next()
        && begun.elapsed() + pause <= BUDGET
    {
        tracing::info!(call = head.uri.path(), ?interruption, "trying again");
        tokio::time::sleep(pause).await;
        std::future::poll_fn(|context| service.poll_ready(context)).await?;
        let request = Request::from_parts(head.clone(), Body::new(message::Replay::of(sent)));
        response = service.call(request).await?;
    }
    Ok(response)
}

/// What the database did to a call that failed.
fn interruption<B>(response: &Response<B>) -> Option<Interruption> {
    Interruption::of(response.extensions().get::<Status>()?)
}

fn pauses() -> ExponentialBackoff {
    ExponentialBuilder::default()
        .with_min_delay(FIRST_PAUSE)
        .with_factor(FACTOR)
        .with_max_times(ATTEMPTS - 1)
        .with_jitter()
        .build()
}
