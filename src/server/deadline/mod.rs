//! Deadlines: the caller's `grpc-timeout`, or the default where it gave none.
//!
//! Guarantees:
//! * A call that takes longer is answered `DEADLINE_EXCEEDED` with how long was given, and what it was doing is
//!   given up: its statement ends in PostgreSQL too, see [`Call`]. A bulk chunk that is being written is never
//!   cut.
//! * One that arrives with no time left is answered without a look.
//! * A stream ends at its caller's deadline with the same words; it has no default.
//! * Health and reflection have none.
//!
//! tonic itself reads `grpc-timeout`, outside of every layer, and answers `CANCELLED`. It asks what is inside
//! first, so whoever is a little earlier wins: [`margin`], which also gives the answer time to arrive.

mod body;
mod timeout;

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use http::{Request, Response};
use pin_project_lite::pin_project;
use tokio::{
    task::futures::TaskLocalFuture,
    time::{Instant, Sleep, sleep_until},
};
use tonic::{Status, body::Body};
use tower::{Layer, Service};

use self::{body::DeadlineBody, timeout::grpc_timeout};
use super::methods::{Kind, Methods};
use crate::{db::Call, rpc::Error};

/// The most that an answer is ahead of its deadline.
const LARGEST_MARGIN: Duration = Duration::from_millis(100);

/// When a call has to be answered, and how long that was.
#[derive(Clone, Copy, Debug)]
struct Deadline {
    at: Instant,
    given: Duration,
    by_caller: bool,
}

impl Deadline {
    fn of(given: Duration, by_caller: bool) -> Self {
        Self {
            at: Instant::now() + (given - margin(given)),
            given,
            by_caller,
        }
    }

    fn exceeded(self) -> Status {
        Error::DeadlineExceeded {
            given: self.given,
            by_caller: self.by_caller,
        }
        .into()
    }
}

/// By how much an answer is ahead of its deadline, so that it arrives before its caller's clock rings.
fn margin(given: Duration) -> Duration {
    (given / 10).min(LARGEST_MARGIN)
}

/// Gives calls their deadline.
#[derive(Clone, Debug)]
pub(super) struct DeadlineLayer {
    methods: Arc<Methods>,
    default: Duration,
}

impl DeadlineLayer {
    pub(super) fn new(methods: Arc<Methods>, default: Duration) -> Self {
        Self { methods, default }
    }

    fn deadline<B>(&self, request: &Request<B>, kind: Kind) -> Result<Option<Deadline>, Error> {
        if kind == Kind::Watching {
            return Ok(None);
        }
        let given = grpc_timeout(request.headers())?;
        Ok(match (given, kind) {
            (Some(given), _) => Some(Deadline::of(given, true)),
            (None, Kind::Unary) => Some(Deadline::of(self.default, false)),
            (None, _) => None,
        })
    }
}

impl<S> Layer<S> for DeadlineLayer {
    type Service = Deadlines<S>;

    fn layer(&self, inner: S) -> Deadlines<S> {
        Deadlines {
            layer: self.clone(),
            inner,
        }
    }
}

/// Services whose calls have deadlines.
#[derive(Clone, Debug)]
pub(super) struct Deadlines<S> {
    layer: DeadlineLayer,
    inner: S,
}

impl<S, B> Service<Request<B>> for Deadlines<S>
where
    S: Service<Request<B>, Response = Response<Body>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Bounded<S::Future>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let kind = self.layer.methods.kind(request.uri().path());
        let call = Arc::new(Call::default());
        match self.layer.deadline(&request, kind) {
            Err(refusal) => Bounded::refused(call, refusal.into()),
            Ok(Some(deadline)) if deadline.at <= Instant::now() => {
                Bounded::refused(call, deadline.exceeded())
            }
            Ok(deadline) => Bounded {
                inner: Some(Arc::clone(&call).scope(self.inner.call(request))),
                timer: deadline.map(|deadline| sleep_until(deadline.at)),
                deadline,
                is_stream: kind == Kind::Stream,
                refusal: None,
                call,
            },
        }
    }
}

pin_project! {
    /// A call that ends at its deadline.
    pub(super) struct Bounded<F> {
        // Dropped where the deadline comes first.
        #[pin]
        inner: Option<TaskLocalFuture<Arc<Call>, F>>,
        #[pin]
        timer: Option<Sleep>,
        deadline: Option<Deadline>,
        is_stream: bool,
        refusal: Option<Status>,
        call: Arc<Call>,
    }

    impl<F> PinnedDrop for Bounded<F> {
        // What is inside is dropped after this, and finds that its call was given up.
        fn drop(this: Pin<&mut Self>) {
            if this.inner.is_some() {
                this.call.leave();
            }
        }
    }
}

impl<F> Bounded<F> {
    fn refused(call: Arc<Call>, refusal: Status) -> Self {
        Self {
            inner: None,
            timer: None,
            deadline: None,
            is_stream: false,
            refusal: Some(refusal),
            call,
        }
    }
}

impl<F, E> Future for Bounded<F>
where
    F: Future<Output = Result<Response<Body>, E>>,
{
    type Output = Result<Response<Body>, E>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        if let Some(refusal) = this.refusal.take() {
            return Poll::Ready(Ok(refusal.into_http()));
        }
        if let Some(inner) = this.inner.as_mut().as_pin_mut()
            && let Poll::Ready(answered) = inner.poll(context)
        {
            this.inner.set(None);
            let deadline = this.deadline.filter(|_| *this.is_stream);
            return Poll::Ready(answered.map(|response| bound(response, deadline)));
        }
        let Some(timer) = this.timer.as_mut().as_pin_mut() else {
            return Poll::Pending;
        };
        ready!(timer.poll(context));
        this.call.expire();
        this.inner.set(None);
        let exceeded = this.deadline.map(Deadline::exceeded);
        Poll::Ready(Ok(exceeded
            .unwrap_or_else(|| Status::unknown(""))
            .into_http()))
    }
}

/// A stream's answer ends at its deadline, too; any other is whole by now.
fn bound(response: Response<Body>, deadline: Option<Deadline>) -> Response<Body> {
    match deadline {
        Some(deadline) => response.map(|body| Body::new(DeadlineBody::new(body, deadline))),
        None => response,
    }
}
