//! The answer of a call that counts until it is sent.
//!
//! Whoever has one byte of room is given a frame as a whole, which waits in memory until it is read, and the body is
//! gone by then. So frames are handed out in parts of [`PART_BYTES`], and the last part of a frame of more than
//! [`LITTLE_BYTES`] has the place until it is sent: what is unread and not counted is little.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{HeaderMap, Response};
use http_body::{Body as _, Frame, SizeHint};
use tonic::{Status, body::Body};

use super::held::Held;
use crate::rpc::{Error, Place};

/// The largest part: what HTTP/2 puts into a frame of its own anyway (RFC 9113, 6.5.2).
const PART_BYTES: usize = 16_384;
/// What is not worth counting: a call that has not said anything takes as much.
const LITTLE_BYTES: usize = 1_024;

/// By when all of an answer has to be taken, for who takes it slowly.
pub(super) struct Due {
    at: Instant,
    given: Duration,
}

impl Due {
    /// So long from now on.
    pub(super) fn after(given: Duration) -> Self {
        Self {
            at: Instant::now() + given,
            given,
        }
    }

    fn words(&self) -> Status {
        Error::DeadlineExceeded {
            given: self.given,
            by_caller: false,
        }
        .into()
    }
}

/// An answer that counts until it is sent; `place` is that of its job, where no job has it.
pub(super) fn held(
    response: Response<Body>,
    held: Arc<Held>,
    due: Option<Due>,
    place: Option<Place>,
) -> Response<Body> {
    if response.body().is_end_stream() {
        return response;
    }
    response.map(|inner| {
        Body::new(HeldBody {
            inner,
            rest: Bytes::new(),
            is_much: false,
            is_over: false,
            held,
            due,
            _place: place,
        })
    })
}

/// A body and the places that it takes.
struct HeldBody {
    inner: Body,
    /// What is left of a frame.
    rest: Bytes,
    /// Whether that frame is more than a little.
    is_much: bool,
    is_over: bool,
    held: Arc<Held>,
    due: Option<Due>,
    _place: Option<Place>,
}

/// The last part of a frame.
struct LastPart {
    bytes: Bytes,
    _held: Arc<Held>,
}

impl AsRef<[u8]> for LastPart {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl HeldBody {
    fn begin(&mut self, frame: Bytes) -> Frame<Bytes> {
        self.is_much = frame.len() > LITTLE_BYTES;
        self.rest = frame;
        self.part()
    }

    fn part(&mut self) -> Frame<Bytes> {
        let most = self.rest.len().min(PART_BYTES);
        let part = self.rest.split_to(most);
        if !self.is_much || !self.rest.is_empty() {
            return Frame::data(part);
        }
        Frame::data(Bytes::from_owner(LastPart {
            bytes: part,
            _held: Arc::clone(&self.held),
        }))
    }

    /// The next part of what is left, or the last word where its time is over.
    fn next_part(&mut self) -> Result<Frame<Bytes>, Status> {
        match &self.due {
            Some(due) if due.at <= Instant::now() => {
                let mut trailers = HeaderMap::new();
                due.words().add_header(&mut trailers)?;
                self.rest = Bytes::new();
                self.is_over = true;
                Ok(Frame::trailers(trailers))
            }
            Some(_) => {
                // Slow is not silent: who reads on is told of the deadline, and keeps the connection.
                self.held.taken();
                Ok(self.part())
            }
            None => Ok(self.part()),
        }
    }
}

impl http_body::Body for HeldBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if self.is_over {
            return Poll::Ready(None);
        }
        if !self.rest.is_empty() {
            return Poll::Ready(Some(self.next_part()));
        }
        let Some(frame) = ready!(Pin::new(&mut self.inner).poll_frame(context)?) else {
            return Poll::Ready(None);
        };
        self.held.taken();
        Poll::Ready(Some(Ok(match frame.into_data() {
            Ok(data) => self.begin(data),
            Err(trailers) => trailers,
        })))
    }

    fn is_end_stream(&self) -> bool {
        self.is_over || self.rest.is_empty() && self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}
