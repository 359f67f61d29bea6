//! How many calls and streams there may be at the same time: over all, and of one client.
//!
//! Guarantees:
//! * One too many is refused at once with `RESOURCE_EXHAUSTED`, the limit and its setting, and waits nowhere.
//! * A call counts until its answer is sent or its client is gone, however it ends.
//! * A stream counts until the job that makes its answer has ended: it works for as long, though its client is gone,
//!   and no longer, though its client does not read. What is left unread is bounded, too: there are at the most
//!   [`ANSWERS_A_STREAM`] times as many answers open as there may be streams, over all and of a client.
//! * Nobody leaves an answer unread for ever. That of a call is to be taken within the default deadline, and each message
//!   of a stream that has ended within the idle timeout of streams, where that is longer. Who reads on, slower than that,
//!   is told of the call's deadline; who does not read at all loses the connection, after twice that time at the latest.
//! * Calls do not take the place of streams, nor streams that of calls. Health and reflection count for neither: those
//!   who watch them count among themselves, with the limits of streams, and looks at the health have [`PROBES`].
//!
//! A client is its authenticated name; without one, its address.

mod body;
mod held;

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use http::{Extensions, Request, Response};
use pin_project_lite::pin_project;
use tokio::task::futures::TaskLocalFuture;
use tonic::{Status, body::Body};
use tower::{Layer, Service};

use self::{
    body::{Due, held},
    held::{Held, Job},
};
use super::{
    connections::Peer,
    methods::{Kind, Methods},
};
use crate::{
    config::CallSettings,
    domain::Actor,
    rpc::{Client, Counts, Error, Full, Handover, Permit},
};

/// How many answers of streams may be open for each stream that there may be: those of streams that have ended, and
/// wait to be read, are among them.
const ANSWERS_A_STREAM: u32 = 2;
/// How many looks at the health there may be at the same time: each is over at once, unless somebody means harm.
const PROBES: u32 = 1_024;
const PROBES_PER_CLIENT: u32 = 64;
/// How many refusals of a client may be on their way on a connection.
const REFUSALS: u32 = 256;

/// What HTTP/2 lets one connection have: all that one client may, and the refusals of what it may not, so that it hears
/// of them at once. One call more than HTTP/2 allows waits at the client, in silence.
pub(super) fn most_of_a_connection(settings: &CallSettings) -> u32 {
    let streams = settings.max_streams_per_client;
    let (answers, watches) = (streams.saturating_mul(ANSWERS_A_STREAM), streams);
    [
        settings.max_calls_per_client,
        answers,
        watches,
        PROBES_PER_CLIENT,
        REFUSALS,
    ]
    .into_iter()
    .fold(0, u32::saturating_add)
}

/// Whom a request comes from.
fn client(extensions: &Extensions) -> Client {
    match extensions.get::<Actor>() {
        Some(name) => Client::Named(name.clone()),
        None => Client::Address(extensions.get::<Peer>().and_then(|peer| peer.address)),
    }
}

/// Counts calls and streams, and refuses one too many.
#[derive(Clone, Debug)]
pub(super) struct InFlightLayer {
    methods: Arc<Methods>,
    answer_time: Duration,
    calls: Arc<Counts>,
    streams: Arc<Counts>,
    answers: Arc<Counts>,
    watches: Arc<Counts>,
    probes: Arc<Counts>,
}

/// What a call counts as.
enum Places {
    /// One place, until its answer is sent.
    Call(Arc<Held>),
    /// The same, for as long as it likes.
    Watch(Arc<Held>),
    /// A place for its job, and one for its answer.
    Stream { job: Job, answer: Arc<Held> },
}

impl InFlightLayer {
    pub(super) fn new(methods: Arc<Methods>, settings: &CallSettings) -> Self {
        let (all, of_client) = (settings.max_streams, settings.max_streams_per_client);
        Self {
            methods,
            answer_time: settings.default_deadline,
            calls: Counts::new(settings.max_calls, settings.max_calls_per_client),
            streams: Counts::new(all, of_client),
            answers: Counts::new(
                all.saturating_mul(ANSWERS_A_STREAM),
                of_client.saturating_mul(ANSWERS_A_STREAM),
            ),
            watches: Counts::new(all, of_client),
            probes: Counts::new(PROBES, PROBES_PER_CLIENT),
        }
    }

    /// Finds the places of a call. What makes the answer of a stream is told whose it is.
    fn enter<B>(&self, request: &mut Request<B>) -> Result<Places, Error> {
        let client = client(request.extensions());
        let peer = request.extensions().get::<Peer>();
        let of_calls = peer.map(|peer| &peer.unread_of_calls).cloned();
        Ok(match self.methods.kind(request.uri().path()) {
            Kind::Probe => {
                Places::Call(Held::new(enter(&self.probes, client, "probes")?, of_calls))
            }
            Kind::Watch => Places::Watch(Held::new(enter(&self.watches, client, "streams")?, None)),
            Kind::Unary => Places::Call(Held::new(enter(&self.calls, client, "calls")?, of_calls)),
            Kind::Stream => {
                let of_streams = peer.map(|peer| &peer.unread_of_streams).cloned();
                let job = enter(&self.streams, client.clone(), "streams")?;
                let answer = enter(&self.answers, client.clone(), "streams")?;
                request.extensions_mut().insert(client);
                let answer = Held::new(answer, of_streams);
                Places::Stream {
                    job: Job::new(job, &answer),
                    answer,
                }
            }
        })
    }
}

fn enter(counts: &Arc<Counts>, client: Client, what: &'static str) -> Result<Permit, Error> {
    Counts::enter(counts, client).map_err(|Full { limit, of_client }| Error::TooMany {
        what,
        limit,
        of_client,
    })
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

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        match self.layer.enter(&mut request) {
            Ok(Places::Call(answer)) => Counted::Call {
                inner: self.inner.call(request),
                answer: Some(answer),
                time: Some(self.layer.answer_time),
            },
            Ok(Places::Watch(answer)) => Counted::Call {
                inner: self.inner.call(request),
                answer: Some(answer),
                time: None,
            },
            Ok(Places::Stream { job, answer }) => {
                let place = Handover::new(job);
                Counted::Stream {
                    inner: place.clone().scope(self.inner.call(request)),
                    place,
                    answer: Some(answer),
                }
            }
            Err(refusal) => Counted::Refused {
                refusal: Some(refusal.into()),
            },
        }
    }
}

pin_project! {
    /// A call that is counted, or was refused.
    #[project = CountedProjection]
    pub(super) enum Counted<F> {
        Call {
            #[pin]
            inner: F,
            answer: Option<Arc<Held>>,
            // Within which its answer is to be taken.
            time: Option<Duration>,
        },
        Stream {
            #[pin]
            inner: TaskLocalFuture<Handover, F>,
            place: Handover,
            answer: Option<Arc<Held>>,
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
            CountedProjection::Call {
                inner,
                answer,
                time,
            } => {
                let response = ready!(inner.poll(context))?;
                Poll::Ready(Ok(match answer.take() {
                    Some(answer) => {
                        answer.wait();
                        held(response, answer, time.map(Due::after), None)
                    }
                    None => response,
                }))
            }
            CountedProjection::Stream {
                inner,
                place,
                answer,
            } => {
                let response = ready!(inner.poll(context))?;
                // Without a job, the answer has its place.
                Poll::Ready(Ok(match answer.take() {
                    Some(answer) => held(response, answer, None, place.take()),
                    None => response,
                }))
            }
            CountedProjection::Refused { refusal } => {
                let refusal = refusal.take().unwrap_or_else(|| Status::unknown(""));
                Poll::Ready(Ok(refusal.into_http()))
            }
        }
    }
}
