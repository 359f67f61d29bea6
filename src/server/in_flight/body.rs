//! The answer of a call that counts until it is sent.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::Response;
use http_body::{Body as _, Frame, SizeHint};
use tonic::{Status, body::Body};

/// An answer that counts until it is sent.
pub(super) fn held<P>(response: Response<Body>, places: Option<P>) -> Response<Body>
where
    P: Send + Unpin + 'static,
{
    match places {
        Some(places) if !response.body().is_end_stream() => response.map(|inner| {
            Body::new(HeldBody {
                inner,
                _places: places,
            })
        }),
        _ => response,
    }
}

/// A body and the places that it takes.
struct HeldBody<P> {
    inner: Body,
    _places: P,
}

impl<P: Unpin> http_body::Body for HeldBody<P> {
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
