//! Deadlines: the caller's `grpc-timeout`, or the default where it gave none.
//!
//! Guarantees:
//! * A call that takes longer is answered `DEADLINE_EXCEEDED` with how long was given, and what it was doing is
//!   given up: its statement ends in PostgreSQL too, see [`Call`]. A bulk chunk that is being written is never
//!   cut.
//! * One that arrives with no time left is answered without a look.
//! * A stream ends at its caller's deadline with the same words, whether or not its client reads; it has no default.
//!   Its answer begins within the default, so that a client which opens it must also say what it wants.
//! * The message of a call arrives within the default, too, however long its caller waits for the answer.
//! * A look at the health has the default, and at least [`SHORTEST_OF_PROBES`]; those who watch have none.
//!
//! tonic itself reads `grpc-timeout`, outside of every layer, and answers `CANCELLED`. It asks what is inside
//! first, so whoever is a little earlier wins: [`margin`], which also gives the answer time to arrive.

mod arrival;
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

use self::{arrival::ArrivingBody, body::DeadlineBody, timeout::grpc_timeout};
use super::methods::{Kind, Methods};
use crate::{db::Call, rpc::Error};

/// The most that an answer is ahead of its deadline.
const LARGEST_MARGIN: Duration = Duration::from_millis(100);
/// The least time that a look at the health is given: calls may be meant to be short, and probes come from elsewhere.
const SHORTEST_OF_PROBES: Duration = Duration::from_secs(10);

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

/// When a call must have been done with what.
#[derive(Clone, Copy, Debug, Default)]
struct Deadlines {
    /// The head of its answer, which is all of it where there is no stream.
    head: Option<Deadline>,
    /// The last of a streamed answer.
    end: Option<Deadline>,
    /// Its message.
    arrival: Option<Deadline>,
}

impl Deadlines {
    fn of(kind: Kind, given: Option<Duration>, default: Duration) -> Self {
        let given = given.map(|given| Deadline::of(given, true));
        let default = Deadline::of(default, false);
        let shorter = given.filter(|given| given.at <= default.at);
        match kind {
            Kind::Watch => Self::default(),
            Kind::Probe => Self {
                head: Some(Deadline::of(default.given.max(SHORTEST_OF_PROBES), false)),
                ..Self::default()
            },
            Kind::Unary => Self {
                head: Some(given.unwrap_or(default)),
                end: None,
                arrival: given
                    .is_some_and(|given| given.at > default.at)
                    .then_some(default),
            },
            Kind::Stream => Self {
                head: Some(shorter.unwrap_or(default)),
                end: given,
                arrival: None,
            },
        }
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

    fn deadlines<B>(&self, request: &Request<B>) -> Result<Deadlines, Error> {
        let kind = self.methods.kind(request.uri().path());
        let given = match kind {
            Kind::Probe | Kind::Watch => None,
            Kind::Unary | Kind::Stream => grpc_timeout(request.headers())?,
        };
        Ok(Deadlines::of(kind, given, self.default))
    }
}

impl<S> Layer<S> for DeadlineLayer {
    type Service = InTime<S>;

    fn layer(&self, inner: S) -> InTime<S> {
        InTime {
            layer: self.clone(),
            inner,
        }
    }
}

/// Services whose calls have deadlines.
#[derive(Clone, Debug)]
pub(super) struct InTime<S> {
    layer: DeadlineLayer,
    inner: S,
}

impl<S> Service<Request<Body>> for InTime<S>
where
    S: Service<Request<Body>, Response = Response<Body>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Bounded<S::Future>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let call = Arc::new(Call::default());
        let deadlines = match self.layer.deadlines(&request) {
            Ok(deadlines) => deadlines,
            Err(refusal) => return Bounded::refused(call, refusal.into()),
        };
        if let Some(head) = deadlines.head
            && head.at <= Instant::now()
        {
            return Bounded::refused(call, head.exceeded());
        }
        let request = match deadlines.arrival {
            Some(arrival) => request.map(|body| Body::new(ArrivingBody::new(body, arrival))),
            None => request,
        };
        Bounded {
            inner: Some(Arc::clone(&call).scope(self.inner.call(request))),
            timer: deadlines.head.map(|head| sleep_until(head.at)),
            deadlines,
            refusal: None,
            call,
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
        deadlines: Deadlines,
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
            deadlines: Deadlines::default(),
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
            let end = this.deadlines.end;
            return Poll::Ready(answered.map(|response| bound(response, end)));
        }
        let Some(timer) = this.timer.as_mut().as_pin_mut() else {
            return Poll::Pending;
        };
        ready!(timer.poll(context));
        this.call.expire();
        this.inner.set(None);
        let exceeded = this.deadlines.head.map(Deadline::exceeded);
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
