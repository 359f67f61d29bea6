//! The answer of a stream, which ends at its deadline.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Frame, SizeHint};
use tokio::time::{Sleep, sleep_until};
use tonic::{Status, body::Body};

use super::Deadline;

/// A body that ends with the words of a missed deadline. Whoever makes its messages finds that nobody takes
/// them any more, and stops after what it is writing.
pub(super) struct DeadlineBody {
    /// Nothing once the deadline has passed.
    inner: Option<Body>,
    timer: Pin<Box<Sleep>>,
    deadline: Deadline,
}

impl DeadlineBody {
    pub(super) fn new(body: Body, deadline: Deadline) -> Self {
        Self {
            inner: Some(body),
            timer: Box::pin(sleep_until(deadline.at)),
            deadline,
        }
    }
}

impl http_body::Body for DeadlineBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let Some(inner) = &mut self.inner else {
            return Poll::Ready(None);
        };
        if let Poll::Ready(frame) = Pin::new(inner).poll_frame(context) {
            return Poll::Ready(frame);
        }
        ready!(self.timer.as_mut().poll(context));
        self.inner = None;
        let mut trailers = HeaderMap::new();
        let said = self.deadline.exceeded().add_header(&mut trailers);
        Poll::Ready(Some(said.map(|()| Frame::trailers(trailers))))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}
