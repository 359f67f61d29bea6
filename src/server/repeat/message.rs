//! The message of a call, kept while it is read, so that it can be sent again. Its bytes are shared, not copied.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tonic::Status;

/// A longer message is not kept: many of them at a time would be too much memory.
const MOST_BYTES: usize = 1024 * 1024;
/// Before each message: whether it is compressed, and its length.
const PREFIX_BYTES: usize = 5;

/// What was read so far.
#[derive(Clone, Debug, Default)]
pub(super) struct Message(Arc<Mutex<Kept>>);

#[derive(Debug, Default)]
struct Kept {
    frames: Vec<Bytes>,
    bytes: usize,
}

impl Message {
    fn keep(&self, frame: &Bytes) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.bytes += frame.len();
        if kept.bytes > MOST_BYTES {
            kept.frames.clear();
        } else {
            kept.frames.push(frame.clone());
        }
    }

    /// The whole message with its prefix; nothing where it was not read to its end, or is too long.
    pub(super) fn whole(&self) -> Option<Bytes> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.bytes > MOST_BYTES {
            return None;
        }
        let whole = match kept.frames.as_slice() {
            [only] => only.clone(),
            frames => frames.concat().into(),
        };
        let length = u32::from_be_bytes(*whole.get(1..PREFIX_BYTES)?.first_chunk()?);
        (whole.len() == PREFIX_BYTES + usize::try_from(length).ok()?).then_some(whole)
    }
}

/// What of a message comes behind its prefix.
pub(super) fn content(whole: &Bytes) -> &[u8] {
    whole.get(PREFIX_BYTES..).unwrap_or_default()
}

/// Passes a body on and keeps its message.
#[derive(Debug)]
pub(super) struct Recorder {
    inner: tonic::body::Body,
    message: Message,
}

impl Recorder {
    pub(super) fn new(inner: tonic::body::Body, message: Message) -> Self {
        Self { inner, message }
    }
}

impl Body for Recorder {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let frame = Pin::new(&mut self.inner).poll_frame(context);
        if let Poll::Ready(Some(Ok(frame))) = &frame
            && let Some(data) = frame.data_ref()
        {
            self.message.keep(data);
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// A kept message as a body.
#[derive(Debug)]
pub(super) struct Replay(Option<Bytes>);

impl Replay {
    pub(super) fn of(whole: Bytes) -> Self {
        Self(Some(whole))
    }
}

impl Body for Replay {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        Poll::Ready(self.0.take().map(|data| Ok(Frame::data(data))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_none()
    }
}
