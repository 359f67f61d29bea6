//! The connections that come in, before anybody knows whose they are.
//!
//! Guarantees:
//! * No more are open than the setting says: one more is closed at once, and a warning says so.
//! * Who says nothing is closed: the handshake of TLS has [`handshake::HANDSHAKE_TIME`], and the first bytes of HTTP/2 have
//!   [`PREFACE_TIME`] after it. Whoever has said them is asked by pings from then on whether it is still there.
//! * Who does not take an answer is closed after the time that it has for that, at the latest after twice that.
//! * An error of the listener, such as too many open files, is a warning and a pause, never the end and never a busy
//!   loop. Warnings come at most once in [`Seldom::PERIOD`], with how many were left out.

mod connection;
mod handshake;
mod peer;
mod seldom;
mod unread;

use std::{convert::Infallible, io, net::SocketAddr, sync::Arc, time::Duration};

use futures_util::stream::{self, Stream};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::JoinSet,
};
use tokio_rustls::server::TlsStream;
use tokio_stream::StreamExt as _;
use tonic::transport::server::{Connected, TcpIncoming};

pub(super) use self::{
    connection::Connection,
    peer::Peer,
    unread::{Unread, Waiting},
};
use self::{connection::Open, handshake::Handshakes, seldom::Seldom};
use super::doors::TlsFiles;
use crate::{config::ServiceSettings, metrics::Metrics};

/// How long a client has for the first bytes of HTTP/2, once it may speak.
const PREFACE_TIME: Duration = Duration::from_secs(10);
/// How long nobody is let in after an error: whatever there is too little of may be given back meanwhile.
const PAUSE: Duration = Duration::from_millis(100);
/// After how much silence the system asks whether the other machine is still there.
const KEEPALIVE: Duration = Duration::from_secs(60);

/// How long a client has.
#[derive(Clone, Copy, Debug)]
struct Times {
    /// To begin.
    preface: Duration,
    /// To take the answer of a call, or twice that.
    of_call: Duration,
    /// To take a message of a stream that has ended, or twice that.
    of_stream: Duration,
}

impl Times {
    fn of(settings: &ServiceSettings) -> Self {
        let default = settings.calls.default_deadline;
        Self {
            preface: PREFACE_TIME,
            of_call: default,
            // The last word waits for who was told that nothing of it is waited for any more.
            of_stream: default.max(settings.limits.stream_idle_timeout),
        }
    }
}

/// Lets connections in.
pub(super) struct Entrance {
    incoming: TcpIncoming,
    places: Arc<Semaphore>,
    limit: u32,
    times: Times,
    metrics: Metrics,
    full: Seldom,
    failing: Seldom,
}

impl Entrance {
    /// An entrance for as many connections as may be.
    pub(super) fn new(listener: TcpListener, settings: &ServiceSettings, metrics: Metrics) -> Self {
        let limit = settings.calls.max_connections;
        Self {
            incoming: TcpIncoming::from(listener)
                .with_nodelay(Some(true))
                .with_keepalive(Some(KEEPALIVE)),
            places: Arc::new(Semaphore::new(
                usize::try_from(limit).unwrap_or(Semaphore::MAX_PERMITS),
            )),
            limit,
            times: Times::of(settings),
            metrics,
            full: Seldom::default(),
            failing: Seldom::default(),
        }
    }

    /// Connections in plain text.
    pub(super) fn plain(
        self,
    ) -> impl Stream<Item = Result<Connection<TcpStream>, Infallible>> + Send {
        self.connections(async |connection| Some(connection))
    }

    /// Connections over TLS, each after its handshake.
    pub(super) fn over_tls(
        self,
        tls: TlsFiles,
    ) -> impl Stream<Item = Result<Connection<TlsStream<TcpStream>>, Infallible>> + Send {
        let handshakes = Handshakes::new(tls, self.metrics.clone());
        self.connections(move |connection| handshakes.clone().shake_hands(connection))
    }

    fn connections<IO, Opening>(
        self,
        open: impl Fn(TcpStream) -> Opening + Send + Sync,
    ) -> impl Stream<Item = Result<Connection<IO>, Infallible>> + Send
    where
        IO: Connected + Send + 'static,
        Peer: From<IO::ConnectInfo>,
        Opening: Future<Output = Option<IO>> + Send + 'static,
    {
        // What is being opened ends with the stream.
        let state = (self, open, JoinSet::new());
        stream::unfold(state, async |(mut entrance, open, mut opening)| {
            let connection = entrance.next(&open, &mut opening).await;
            Some((Ok(connection), (entrance, open, opening)))
        })
    }

    async fn next<IO, Opening>(
        &mut self,
        open: &(impl Fn(TcpStream) -> Opening + Sync),
        opening: &mut JoinSet<Option<Connection<IO>>>,
    ) -> Connection<IO>
    where
        IO: Connected + Send + 'static,
        Peer: From<IO::ConnectInfo>,
        Opening: Future<Output = Option<IO>> + Send + 'static,
    {
        loop {
            tokio::select! {
                Some(opened) = opening.join_next() => {
                    if let Ok(Some(connection)) = opened {
                        return connection;
                    }
                }
                Some(accepted) = self.incoming.next() => {
                    if let Some((accepted, place)) = self.admit(accepted).await {
                        let (connection, times) = (open(accepted), self.times);
                        opening.spawn(async move {
                            Some(Connection::new(connection.await?, place, times))
                        });
                    }
                }
            }
        }
    }

    /// A connection and its place, where there is one for it.
    async fn admit(&mut self, accepted: io::Result<TcpStream>) -> Option<(TcpStream, Open)> {
        let connection = match accepted {
            Ok(connection) => connection,
            Err(error) => {
                if !is_of_one_connection(&error) {
                    self.warn_of(&error);
                    tokio::time::sleep(PAUSE).await;
                }
                return None;
            }
        };
        let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else {
            self.metrics.connection_refused();
            self.warn_full(connection.peer_addr().ok());
            return None;
        };
        Some((connection, Open::new(place, self.metrics.clone())))
    }

    fn warn_of(&mut self, error: &io::Error) {
        if let Some(left_out) = self.failing.says() {
            tracing::warn!(
                %error, left_out,
                "connections cannot be accepted; where too many files are open, the limit of the process (LimitNOFILE, \
                 ulimit -n) must be above setting max-connections"
            );
        }
    }

    fn warn_full(&mut self, peer: Option<SocketAddr>) {
        if let Some(left_out) = self.full.says() {
            tracing::warn!(
                limit = self.limit,
                peer = peer.map(tracing::field::display),
                left_out,
                "as many connections are open as may be (setting max-connections), new ones are closed"
            );
        }
    }
}

/// Whether the listener is well and only the client of one connection went away.
fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::Interrupted
            | io::ErrorKind::TimedOut
    )
}
