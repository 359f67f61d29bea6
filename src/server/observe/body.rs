//! The body of an answer, watched to its end.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tonic::{Status, body::Body};

use super::call::{Call, code_in};
use crate::rpc::counted;

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
        let (polled, rows) = counted(|| span.in_scope(|| Pin::new(inner).poll_frame(context)));
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
