//! The answer of a stream, which ends at its deadline.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Frame, SizeHint};
use tokio::time::{Sleep, sleep_until};
use tokio_util::task::AbortOnDropHandle;
use tonic::{Status, body::Body};

use super::Deadline;

/// A body that ends with the words of a missed deadline. Whoever makes its messages finds that nobody takes
/// them any more, and stops after what it is writing; also where nobody asks for the next message by then, as it is
/// with a client that does not read.
pub(super) struct DeadlineBody {
    inner: Shared,
    timer: Pin<Box<Sleep>>,
    deadline: Deadline,
    is_over: bool,
    _cut: AbortOnDropHandle<()>,
}

/// Nothing once the deadline has passed.
#[derive(Clone)]
struct Shared(Arc<Mutex<Option<Body>>>);

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Option<Body>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn cut(&self) {
        let body = self.lock().take();
        // It may end what waits for it: not under the lock.
        drop(body);
    }
}

impl DeadlineBody {
    pub(super) fn new(body: Body, deadline: Deadline) -> Self {
        let inner = Shared(Arc::new(Mutex::new(Some(body))));
        let unread = inner.clone();
        let cut = tokio::spawn(async move {
            sleep_until(deadline.at).await;
            unread.cut();
        });
        Self {
            inner,
            timer: Box::pin(sleep_until(deadline.at)),
            deadline,
            is_over: false,
            _cut: AbortOnDropHandle::new(cut),
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
        if self.is_over {
            return Poll::Ready(None);
        }
        if let Some(inner) = &mut *self.inner.lock()
            && let Poll::Ready(frame) = Pin::new(inner).poll_frame(context)
        {
            return Poll::Ready(frame);
        }
        ready!(self.timer.as_mut().poll(context));
        self.is_over = true;
        self.inner.cut();
        let mut trailers = HeaderMap::new();
        let said = self.deadline.exceeded().add_header(&mut trailers);
        Poll::Ready(Some(said.map(|()| Frame::trailers(trailers))))
    }

    fn is_end_stream(&self) -> bool {
        self.is_over || self.inner.lock().as_ref().is_some_and(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}
