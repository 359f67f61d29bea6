//! The answer of a call that counts until it is sent.
//!
//! Whoever has one byte of room is given a frame as a whole, which waits in memory until it is read, and the body is
//! gone by then. So frames are handed out in parts of [`PART_BYTES`]: what is unread and no longer counted is one part.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::Response;
use http_body::{Body as _, Frame, SizeHint};
use tonic::{Status, body::Body};

/// The largest part: what HTTP/2 puts into a frame of its own anyway (RFC 9113, 6.5.2).
const PART_BYTES: usize = 16_384;

/// An answer that counts until it is sent.
pub(super) fn held<P>(response: Response<Body>, places: Option<P>) -> Response<Body>
where
    P: Send + Unpin + 'static,
{
    match places {
        Some(places) if !response.body().is_end_stream() => response.map(|inner| {
            Body::new(HeldBody {
                inner,
                rest: Bytes::new(),
                _places: places,
            })
        }),
        _ => response,
    }
}

/// A body and the places that it takes.
struct HeldBody<P> {
    inner: Body,
    /// What is left of a frame.
    rest: Bytes,
    _places: P,
}

impl<P> HeldBody<P> {
    fn part(&mut self) -> Frame<Bytes> {
        let most = self.rest.len().min(PART_BYTES);
        Frame::data(self.rest.split_to(most))
    }
}

impl<P: Unpin> http_body::Body for HeldBody<P> {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if !self.rest.is_empty() {
            return Poll::Ready(Some(Ok(self.part())));
        }
        let Some(frame) = ready!(Pin::new(&mut self.inner).poll_frame(context)?) else {
            return Poll::Ready(None);
        };
        Poll::Ready(Some(Ok(match frame.into_data() {
            Ok(data) => {
                self.rest = data;
                self.part()
            }
            Err(trailers) => trailers,
        })))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}
