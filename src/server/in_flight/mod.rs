//! How many calls and streams there may be at the same time: over all, and of one client.
//!
//! Guarantees:
//! * One too many is refused at once with `RESOURCE_EXHAUSTED`, the limit and its setting, and waits nowhere.
//! * A call counts until its answer is sent or its client is gone, however it ends.
//! * Calls do not take the place of streams, nor streams that of calls; health and reflection count for
//!   neither.
//!
//! A client is its authenticated name; without one, its address.

mod counts;

use std::{
    net::IpAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{Extensions, Request, Response};
use http_body::{Body as _, Frame, SizeHint};
use pin_project_lite::pin_project;
use tonic::{
    Status,
    body::Body,
    transport::server::{TcpConnectInfo, TlsConnectInfo},
};
use tower::{Layer, Service};

use self::counts::{Counts, Permit};
use super::methods::{Kind, Methods};
use crate::{config::CallSettings, domain::Actor};

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
}

impl InFlightLayer {
    pub(super) fn new(methods: Arc<Methods>, settings: &CallSettings) -> Self {
        Self {
            methods,
            calls: Counts::new("calls", settings.max_calls, settings.max_calls_per_client),
            streams: Counts::new(
                "streams",
                settings.max_streams,
                settings.max_streams_per_client,
            ),
        }
    }

    fn enter<B>(&self, request: &Request<B>) -> Result<Option<Permit>, Status> {
        let counts = match self.methods.kind(request.uri().path()) {
            Kind::Watching => return Ok(None),
            Kind::Unary => &self.calls,
            Kind::Stream => &self.streams,
        };
        let client = Client::of(request.extensions());
        Ok(Some(Counts::enter(counts, client)?))
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
        match self.layer.enter(&request) {
            Ok(permit) => Counted::Admitted {
                inner: self.inner.call(request),
                permit,
            },
            Err(refusal) => Counted::Refused {
                refusal: Some(refusal),
            },
        }
    }
}

pin_project! {
    /// A call that is counted, or was refused.
    #[project = CountedProjection]
    pub(super) enum Counted<F> {
        Admitted {
            #[pin]
            inner: F,
            permit: Option<Permit>,
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
            CountedProjection::Admitted { inner, permit } => {
                let answered = ready!(inner.poll(context));
                let permit = permit.take();
                Poll::Ready(answered.map(|response| held(response, permit)))
            }
            CountedProjection::Refused { refusal } => {
                let refusal = refusal.take().unwrap_or_else(|| Status::unknown(""));
                Poll::Ready(Ok(refusal.into_http()))
            }
        }
    }
}

/// An answer that counts until it is sent.
fn held(response: Response<Body>, permit: Option<Permit>) -> Response<Body> {
    match permit {
        Some(permit) if !response.body().is_end_stream() => response.map(|inner| {
            Body::new(HeldBody {
                inner,
                _permit: permit,
            })
        }),
        _ => response,
    }
}

/// A body and the place that it takes.
struct HeldBody {
    inner: Body,
    _permit: Permit,
}

impl http_body::Body for HeldBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        Pin::new(&mut self.inner).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
