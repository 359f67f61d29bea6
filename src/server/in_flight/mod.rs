//! How many calls and streams there may be at the same time: over all, and of one client.
//!
//! Guarantees:
//! * One too many is refused at once with `RESOURCE_EXHAUSTED`, the limit and its setting, and waits nowhere.
//! * A call counts until its answer is sent or its client is gone, however it ends.
//! * A stream counts until the job that makes its answer has ended: it works for as long, though its client is gone,
//!   and no longer, though its client does not read. What a client leaves unread is bounded, too: it has at the most
//!   [`ANSWERS_A_STREAM`] times as many answers open as it may have streams, and nobody else's place is taken by them.
//! * Calls do not take the place of streams, nor streams that of calls. Health and reflection count for neither; those
//!   who watch them count among themselves, with the limits of streams.
//!
//! A client is its authenticated name; without one, its address.

mod body;
mod counts;

use std::{
    net::IpAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use http::{Extensions, Request, Response};
use pin_project_lite::pin_project;
use tokio::task::futures::TaskLocalFuture;
use tonic::{
    Status,
    body::Body,
    transport::server::{TcpConnectInfo, TlsConnectInfo},
};
use tower::{Layer, Service};

use self::{
    body::held,
    counts::{Counts, Permit},
};
use super::methods::{Kind, Methods};
use crate::{
    config::CallSettings,
    domain::Actor,
    rpc::{Error, Handover},
};

/// How many answers of a client's streams may be open for each stream that it may have: those of streams that have
/// ended, and wait to be read, are among them.
const ANSWERS_A_STREAM: u32 = 2;

/// Who is counted.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Client {
    Named(Actor),
    Address(Option<IpAddr>),
}

impl Client {
    fn of(extensions: &Extensions) -> Self {
        if let Some(name) = extensions.get::<Actor>() {
            return Self::Named(name.clone());
        }
        let over_tls = extensions.get::<TlsConnectInfo<TcpConnectInfo>>();
        let connection = extensions
            .get::<TcpConnectInfo>()
            .or_else(|| over_tls.map(TlsConnectInfo::get_ref));
        let address = connection.and_then(TcpConnectInfo::remote_addr);
        Self::Address(address.map(|address| address.ip().to_canonical()))
    }
}

/// Counts calls and streams, and refuses one too many.
#[derive(Clone, Debug)]
pub(super) struct InFlightLayer {
    methods: Arc<Methods>,
    calls: Arc<Counts>,
    streams: Arc<Counts>,
    answers: Arc<Counts>,
    watches: Arc<Counts>,
}

/// What a call counts as.
enum Places {
    /// Nothing.
    None,
    /// One place, until its answer is sent.
    Call(Permit),
    /// A place for its job, and one for its answer.
    Stream { job: Permit, answer: Permit },
}

impl InFlightLayer {
    pub(super) fn new(methods: Arc<Methods>, settings: &CallSettings) -> Self {
        let (all, of_client) = (settings.max_streams, settings.max_streams_per_client);
        let answers_of_client = of_client.saturating_mul(ANSWERS_A_STREAM);
        Self {
            methods,
            calls: Counts::new("calls", settings.max_calls, settings.max_calls_per_client),
            streams: Counts::new("streams", all, of_client),
            answers: Counts::new("streams", u32::MAX, answers_of_client),
            watches: Counts::new("streams", all, of_client),
        }
    }

    fn enter<B>(&self, request: &Request<B>) -> Result<Places, Error> {
        let client = || Client::of(request.extensions());
        Ok(match self.methods.kind(request.uri().path()) {
            Kind::Probe => Places::None,
            Kind::Watch => Places::Call(Counts::enter(&self.watches, client())?),
            Kind::Unary => Places::Call(Counts::enter(&self.calls, client())?),
            Kind::Stream => Places::Stream {
                job: Counts::enter(&self.streams, client())?,
                answer: Counts::enter(&self.answers, client())?,
            },
        })
    }
}

impl<S> Layer<S> for InFlightLayer {
    type Service = InFlight<S>;

    fn layer(&self, inner: S) -> InFlight<S> {
        InFlight {
            layer: self.clone(),
            inner,
        }
    }
}

/// Services whose calls are counted.
#[derive(Clone, Debug)]
pub(super) struct InFlight<S> {
    layer: InFlightLayer,
    inner: S,
}

impl<S, B> Service<Request<B>> for InFlight<S>
where
    S: Service<Request<B>, Response = Response<Body>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Counted<S::Future>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let (inner, permit) = match self.layer.enter(&request) {
            Ok(Places::None) => (self.inner.call(request), None),
            Ok(Places::Call(permit)) => (self.inner.call(request), Some(permit)),
            Ok(Places::Stream { job, answer }) => {
                let place = Handover::new(job);
                return Counted::Stream {
                    inner: place.clone().scope(self.inner.call(request)),
                    place,
                    answer: Some(answer),
                };
            }
            Err(refusal) => {
                return Counted::Refused {
                    refusal: Some(refusal.into()),
                };
            }
        };
        Counted::Call { inner, permit }
    }
}

pin_project! {
    /// A call that is counted, or was refused.
    #[project = CountedProjection]
    pub(super) enum Counted<F> {
        Call {
            #[pin]
            inner: F,
            permit: Option<Permit>,
        },
        Stream {
            #[pin]
            inner: TaskLocalFuture<Handover, F>,
            place: Handover,
            answer: Option<Permit>,
        },
        Refused { refusal: Option<Status> },
    }
}

impl<F, E> Future for Counted<F>
where
    F: Future<Output = Result<Response<Body>, E>>,
{
    type Output = Result<Response<Body>, E>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project() {
            CountedProjection::Call { inner, permit } => {
                let answered = ready!(inner.poll(context));
                let permit = permit.take();
                Poll::Ready(answered.map(|response| held(response, permit)))
            }
            CountedProjection::Stream {
                inner,
                place,
                answer,
            } => {
                let answered = ready!(inner.poll(context));
                // Without a job, the answer has its place.
                let places = answer.take().map(|answer| (answer, place.take()));
                Poll::Ready(answered.map(|response| held(response, places)))
            }
            CountedProjection::Refused { refusal } => {
                let refusal = refusal.take().unwrap_or_else(|| Status::unknown(""));
                Poll::Ready(Ok(refusal.into_http()))
            }
        }
    }
}
