//! A network between the service and its database that can be broken on purpose.

use std::{net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpListener, TcpStream, UnixStream},
    sync::watch,
};

/// How the network is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Network {
    /// As it should be.
    Well,
    /// It takes everything and brings nothing, either way, and says nothing.
    Stalled,
    /// It brings a byte now and then.
    Trickling,
    /// Connections break, and new ones too.
    Cut,
    /// It takes everything of the connections that are there, brings nothing of it, and looks well. New ones are as they
    /// should be.
    Forgetful,
}

const TRICKLE: Duration = Duration::from_millis(50);

/// The way to a database of the run's cluster, by TCP.
pub(crate) struct Proxy {
    /// Of the database, by this way.
    pub(crate) url: String,
    network: watch::Sender<Network>,
}

impl Proxy {
    /// Stands before a database.
    pub(crate) async fn before(url: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (network, seen) = watch::channel(Network::Well);
        let proxied = proxied(url, listener.local_addr().unwrap());
        tokio::spawn(accept(listener, socket_of(url), seen));
        Self {
            url: proxied,
            network,
        }
    }

    /// From now on the network is like that.
    pub(crate) fn turn(&self, network: Network) {
        self.network.send_replace(network);
    }
}

fn database_of(url: &str) -> &str {
    let (_, rest) = url.split_once("@/").unwrap();
    rest.split_once('?').unwrap().0
}

fn proxied(url: &str, address: SocketAddr) -> String {
    format!("postgresql://postgres@{address}/{}", database_of(url))
}

/// The socket that a URL of the embedded PostgreSQL means.
fn socket_of(url: &str) -> String {
    let (_, query) = url.split_once('?').unwrap();
    let of = |name: &str| {
        let mut params = query.split('&').filter_map(|param| param.split_once('='));
        params.find(|(key, _)| *key == name).map(|(_, value)| value)
    };
    let folder = of("host").unwrap().replace("%2F", "/").replace("%2f", "/");
    format!("{folder}/.s.PGSQL.{}", of("port").unwrap_or("5432"))
}

async fn accept(listener: TcpListener, socket: String, network: watch::Receiver<Network>) {
    while let Ok((service, _)) = listener.accept().await {
        tokio::spawn(link(service, socket.clone(), network.clone()));
    }
}

async fn link(service: TcpStream, socket: String, mut network: watch::Receiver<Network>) {
    let born = *network.borrow();
    if born == Network::Cut {
        return;
    }
    let Ok(database) = UnixStream::connect(socket).await else {
        return;
    };
    let (from_service, to_service) = service.into_split();
    let (from_database, to_database) = database.into_split();
    let ways = [0, 1].map(|_| Way {
        network: network.clone(),
        is_forgotten: born != Network::Forgetful,
    });
    let [there, back] = ways;
    tokio::select! {
        () = forward(from_service, to_database, there) => {}
        () = forward(from_database, to_service, back) => {}
        _ = network.wait_for(|network| *network == Network::Cut) => {}
    }
}

/// One way of a link.
struct Way {
    network: watch::Receiver<Network>,
    /// By a network that forgets.
    is_forgotten: bool,
}

async fn forward(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin, mut way: Way) {
    let mut bytes = vec![0; 16 * 1024];
    while let Ok(count @ 1..) = from.read(&mut bytes).await {
        let mut left = &bytes[..count];
        while !left.is_empty() {
            let moves = way.network.wait_for(|network| *network != Network::Stalled);
            let Ok(now) = moves.await.map(|network| *network) else {
                return;
            };
            if now == Network::Forgetful && way.is_forgotten {
                break;
            }
            let part = if now == Network::Trickling {
                1
            } else {
                left.len()
            };
            if to.write_all(&left[..part]).await.is_err() {
                return;
            }
            left = &left[part..];
            if now == Network::Trickling {
                tokio::time::sleep(TRICKLE).await;
            }
        }
    }
}
