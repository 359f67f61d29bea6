//! A connection that was let in: it counts while it is open, and its client has to begin to speak HTTP/2, and to take
//! its answers, in time.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::OwnedSemaphorePermit,
    time::{Instant, Sleep, sleep},
};
use tonic::transport::server::Connected;

use super::{Times, peer::Peer, unread::Unread};
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

/// A connection, which fails where its client does not do what it has to in time.
pub(in crate::server) struct Connection<IO> {
    inner: IO,
    peer: Peer,
    preface: Option<Preface>,
    /// Of the answers of calls, and of streams.
    clocks: [Clock; 2],
    _open: Open,
}

/// What a client has still to say, and by when.
struct Preface {
    bytes: usize,
    timer: Pin<Box<Sleep>>,
}

/// The periods of what is unread.
struct Clock {
    unread: Unread,
    period: Duration,
    timer: Pin<Box<Sleep>>,
}

impl Clock {
    fn new(unread: Unread, period: Duration) -> Self {
        Self {
            unread,
            period,
            timer: Box::pin(sleep(period)),
        }
    }

    /// Whether an answer was left unread for too long. Whoever waits is woken when it may be.
    fn is_over(&mut self, context: &mut Context<'_>, waits: bool) -> bool {
        loop {
            let is_elapsed = if waits {
                self.timer.as_mut().poll(context).is_ready()
            } else {
                self.timer.is_elapsed()
            };
            if !is_elapsed {
                return false;
            }
            if !self.unread.next_period() {
                return true;
            }
            self.timer.as_mut().reset(Instant::now() + self.period);
        }
    }
}

impl<IO> Connection<IO>
where
    IO: Connected,
    Peer: From<IO::ConnectInfo>,
{
    /// The times begin now.
    pub(super) fn new(inner: IO, open: Open, times: Times) -> Self {
        let peer = Peer::from(inner.connect_info());
        Self {
            inner,
            preface: Some(Preface {
                bytes: PREFACE_BYTES,
                timer: Box::pin(sleep(times.preface)),
            }),
            clocks: [
                Clock::new(peer.unread_of_calls.clone(), times.of_call),
                Clock::new(peer.unread_of_streams.clone(), times.of_stream),
            ],
            peer,
            _open: open,
        }
    }
}

impl<IO> Connection<IO> {
    /// What came of reading or writing, unless the client's time is over.
    fn in_time<T>(
        &mut self,
        context: &mut Context<'_>,
        polled: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        let waits = polled.is_pending();
        let mut clocks = self.clocks.iter_mut();
        let is_silent = match &mut self.preface {
            Some(preface) => waits && preface.timer.as_mut().poll(context).is_ready(),
            None => false,
        };
        if is_silent || clocks.any(|clock| clock.is_over(context, waits)) {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        polled
    }

    fn has_read(&mut self, bytes: usize) {
        if let Some(preface) = &mut self.preface {
            preface.bytes = preface.bytes.saturating_sub(bytes);
            if preface.bytes == 0 {
                self.preface = None;
            }
        }
    }
}

impl<IO> Connected for Connection<IO> {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        self.peer.clone()
    }
}

impl<IO: AsyncRead + Unpin> AsyncRead for Connection<IO> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.inner).poll_read(context, buffer);
        self.has_read(buffer.filled().len() - before);
        self.in_time(context, read)
    }
}

impl<IO: AsyncWrite + Unpin> AsyncWrite for Connection<IO> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write(context, bytes);
        self.in_time(context, written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.inner).poll_flush(context);
        self.in_time(context, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write_vectored(context, slices);
        self.in_time(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }
}
