//! The message of a call, which has to arrive in time.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tokio::time::{Sleep, sleep_until};
use tonic::{Status, body::Body};

use super::Deadline;

/// A body that fails with the words of a missed deadline where it is still not whole by then.
pub(super) struct ArrivingBody {
    inner: Body,
    timer: Pin<Box<Sleep>>,
    deadline: Deadline,
}

impl ArrivingBody {
    pub(super) fn new(inner: Body, deadline: Deadline) -> Self {
        Self {
            inner,
            timer: Box::pin(sleep_until(deadline.at)),
            deadline,
        }
    }
}

impl http_body::Body for ArrivingBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.inner).poll_frame(context) {
            return Poll::Ready(frame);
        }
        ready!(self.timer.as_mut().poll(context));
        Poll::Ready(Some(Err(self.deadline.exceeded())))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
