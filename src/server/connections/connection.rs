//! A connection that was let in: it counts while it is open, and its client has to begin to speak HTTP/2 in time.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::OwnedSemaphorePermit,
    time::{Sleep, sleep},
};
use tonic::transport::server::Connected;

use crate::metrics::Metrics;

/// The bytes that every client of HTTP/2 begins with (RFC 9113, 3.4). What comes after them is under the watch of
/// pings, and what is not them ends the connection.
const PREFACE_BYTES: usize = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".len();

/// A place among the connections that are open.
pub(super) struct Open {
    _place: OwnedSemaphorePermit,
    metrics: Metrics,
}

impl Open {
    pub(super) fn new(place: OwnedSemaphorePermit, metrics: Metrics) -> Self {
        metrics.connection_opened();
        Self {
            _place: place,
            metrics,
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.metrics.connection_closed();
    }
}

/// A connection, which fails where its client does not begin to speak in time.
pub(in crate::server) struct Connection<IO> {
    inner: IO,
    preface: Option<Preface>,
    _open: Open,
}

/// What a client has still to say, and by when.
struct Preface {
    bytes: usize,
    timer: Pin<Box<Sleep>>,
}

impl<IO> Connection<IO> {
    /// The time begins now.
    pub(super) fn new(inner: IO, open: Open, preface_time: Duration) -> Self {
        Self {
            inner,
            preface: Some(Preface {
                bytes: PREFACE_BYTES,
                timer: Box::pin(sleep(preface_time)),
            }),
            _open: open,
        }
    }
}

impl<IO: Connected> Connected for Connection<IO> {
    type ConnectInfo = IO::ConnectInfo;

    fn connect_info(&self) -> Self::ConnectInfo {
        self.inner.connect_info()
    }
}

impl<IO: AsyncRead + Unpin> AsyncRead for Connection<IO> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Self { inner, preface, .. } = &mut *self;
        let Some(awaited) = preface else {
            return Pin::new(inner).poll_read(context, buffer);
        };
        let before = buffer.filled().len();
        let Poll::Ready(read) = Pin::new(inner).poll_read(context, buffer) else {
            ready!(awaited.timer.as_mut().poll(context));
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        };
        awaited.bytes = awaited.bytes.saturating_sub(buffer.filled().len() - before);
        if awaited.bytes == 0 {
            *preface = None;
        }
        Poll::Ready(read)
    }
}

impl<IO: AsyncWrite + Unpin> AsyncWrite for Connection<IO> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }
}
