//! The body of an answer, watched to its end.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body as _, Frame, SizeHint};
use tonic::{Status, body::Body};

use super::call::{Call, code_in};
use crate::rpc::{counted, now_unless_it_panics};

/// The body of an answer; its call ends with its trailers, or when it is dropped.
#[derive(Debug)]
pub struct ObservedBody {
    inner: Body,
    call: Option<Call>,
}

impl ObservedBody {
    pub(super) fn new(inner: Body, call: Call) -> Self {
        Self {
            inner,
            call: Some(call),
        }
    }
}

/// The next frame; of a body that panics the words of a fault, and nothing after them.
fn poll_or_fail(
    body: &mut Body,
    context: &mut Context<'_>,
) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
    now_unless_it_panics(|| Pin::new(&mut *body).poll_frame(context)).unwrap_or_else(|panicked| {
        *body = Body::empty();
        let mut trailers = HeaderMap::new();
        let said = Status::from(panicked).add_header(&mut trailers);
        Poll::Ready(Some(said.map(|()| Frame::trailers(trailers))))
    })
}

impl http_body::Body for ObservedBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let Self { inner, call } = &mut *self;
        let Some(observed) = call else {
            return Pin::new(inner).poll_frame(context);
        };
        let span = observed.span();
        let (polled, rows) = counted(|| span.in_scope(|| poll_or_fail(inner, context)));
        observed.rows(rows);
        let code = match &polled {
            Poll::Ready(Some(Ok(frame))) => frame.trailers_ref().and_then(code_in),
            Poll::Ready(Some(Err(status))) => Some(status.code()),
            _ => None,
        };
        if let Some(code) = code {
            observed.ended(code);
            *call = None;
        }
        polled
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }
}
