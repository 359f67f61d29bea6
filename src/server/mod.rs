//! Assembles the services, and takes them down again.
//!
//! Health says SERVING only while calls are answered: from the moment that the database is migrated and
//! connected until the shutdown begins, and not while the database is away. On shutdown streams end after the chunk that they are writing, calls
//! finish, and what is not done by then is cut after a grace period: a client that holds its connection
//! open cannot keep the process alive.

mod connections;
mod deadline;
pub mod doors;
mod health;
mod in_flight;
mod methods;
pub mod observe;
mod ops;
mod repeat;

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::{server::NamedService, transport::server::Router};
use tonic_health::{ServingStatus, server::HealthReporter};
use tower::layer::util::{Identity, Stack};

use self::{
    connections::Entrance,
    deadline::DeadlineLayer,
    doors::{Doors, GuardLayer},
    in_flight::{InFlightLayer, most_of_a_connection},
    methods::Methods,
    observe::{ObserveLayer, Traces},
    ops::{Ops, OpsServer, PoolCollector, Queues},
    repeat::RepeatLayer,
};
use crate::{
    company::Company,
    config::{CallSettings, OpsListen, ServiceSettings},
    db::Pool,
    intake::Intake,
    marketing::Marketing,
    metrics::Metrics,
    people::{People, Sweep},
    proto::{
        self, company::v1::company_service_server::CompanyServiceServer,
        intake::v1::intake_service_server::IntakeServiceServer,
        marketing::v1::marketing_service_server::MarketingServiceServer,
        people::v1::people_service_server::PeopleServiceServer,
        vault::v1::vault_service_server::VaultServiceServer,
    },
    vault::Vault,
};

/// How long calls and streams have to end once the shutdown began.
const GRACE: Duration = Duration::from_secs(30);
/// What a client may send of one stream before the server has read it: a frame's worth keeps the reader
/// busy, and is what a slow database can pile up.
const STREAM_WINDOW_BYTES: u32 = 4 * 1024 * 1024;
/// The same over all streams of a connection.
const CONNECTION_WINDOW_BYTES: u32 = 16 * 1024 * 1024;
/// How often a silent connection is asked whether its client is still there, and how long it may take to
/// answer: a vanished client must not hold its lane's stream for ever.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(30);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(20);

/// What a call goes through on its way to a service, the last one first: it is seen, let in, counted and given its
/// time, and it is repeated where the database fails it.
type Layers = Stack<RepeatLayer, Stack<DeadlineLayer, Stack<InFlightLayer, Admitted>>>;
/// Where it is known whose call it is.
type Admitted = Stack<GuardLayer, Stack<ObserveLayer, Identity>>;

/// Why the server ended.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The address cannot be listened on.
    #[error(
        "cannot listen on {address}: {source}; is another leadvault running there? ({setting})"
    )]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Which setting names it.
        setting: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// The descriptors are broken, which a build would have shown.
    #[error("reflection: {0}")]
    Reflection(#[from] tonic_reflection::server::Error),
    /// The descriptors are broken, which a build would have shown.
    #[error("the methods of the services: {0}")]
    Methods(#[from] prost::DecodeError),
    /// The connections failed as a whole.
    #[error("serving failed: {0}")]
    Transport(#[from] tonic::transport::Error),
    /// A task panicked.
    #[error("serving failed: {0}")]
    Task(#[from] tokio::task::JoinError),
}

/// A server that answers calls.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    health: HealthReporter,
    health_watch: JoinHandle<()>,
    shutdown: CancellationToken,
    tasks: TaskTracker,
    traces: Option<Traces>,
    ops: Option<OpsServer>,
    transport: JoinHandle<Result<(), tonic::transport::Error>>,
}

impl Server {
    /// Serves on the address of the settings, behind the doors, over a pool on a migrated database.
    ///
    /// # Errors
    /// [`Error::Listen`].
    pub async fn start(settings: ServiceSettings, doors: Doors, pool: Pool) -> Result<Self, Error> {
        let (listener, address) = listen(settings.listen, "--listen").await?;
        let ops_listener = match settings.ops.ops_listen {
            OpsListen::Off => None,
            OpsListen::At(address) => Some(listen_for_operators(address).await?),
        };
        let shutdown = CancellationToken::new();
        let tasks = TaskTracker::new();
        let (health, health_service) = tonic_health::server::health_reporter();
        set_health(&health, ServingStatus::NotServing).await;
        let queues = Queues::default();
        let metrics = metrics(&pool, &queues);
        let traces = Traces::from_env();
        let sweep = Sweep::new(pool.clone(), &settings.enrichment, metrics.clone());
        let observe = ObserveLayer::new(metrics.clone(), traces.clone());
        let health_watch = health::watch(health.clone(), pool.clone());
        let entrance = Entrance::new(listener, &settings, metrics.clone());
        let tls = doors.tls_files();
        let router = router(
            settings,
            &doors,
            pool.clone(),
            metrics.clone(),
            observe,
            &shutdown,
            &tasks,
        )?
        .add_service(health_service);
        tasks.spawn(sweep.run(shutdown.clone()));
        let stop = shutdown.clone().cancelled_owned();
        let transport = match tls {
            Some(tls) => {
                tokio::spawn(router.serve_with_incoming_shutdown(entrance.over_tls(tls), stop))
            }
            None => tokio::spawn(router.serve_with_incoming_shutdown(entrance.plain(), stop)),
        };
        set_health(&health, ServingStatus::Serving).await;
        let ops = Ops::new(metrics, queues, pool, shutdown.clone());
        let ops = ops_listener.map(|(listener, address)| OpsServer::start(listener, address, ops));
        Ok(Self {
            address,
            health,
            health_watch: tokio::spawn(health_watch),
            shutdown,
            tasks,
            traces,
            ops,
            transport,
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where the port for operators is, if there is one.
    pub fn ops_address(&self) -> Option<SocketAddr> {
        self.ops.as_ref().map(OpsServer::address)
    }

    /// Ends streams after their current chunk, lets calls finish, and returns when all is done, or after 30
    /// seconds at the latest.
    ///
    /// # Errors
    /// What the connections failed with.
    pub async fn stop(mut self) -> Result<(), Error> {
        self.health_watch.abort();
        let _ = (&mut self.health_watch).await;
        set_health(&self.health, ServingStatus::NotServing).await;
        self.shutdown.cancel();
        self.tasks.close();
        let mut transport = self.transport;
        let drained = async {
            self.tasks.wait().await;
            // Whoever watches the health has seen its end, and would hold the connection.
            clear_health(&mut self.health).await;
            (&mut transport).await
        };
        let ended = match tokio::time::timeout(GRACE, drained).await {
            Ok(result) => result.map_err(Error::from).and_then(|served| Ok(served?)),
            Err(_) => {
                tracing::warn!(
                    seconds = GRACE.as_secs(),
                    "connections outlived the shutdown, they are cut"
                );
                transport.abort();
                Ok(())
            }
        };
        if let Some(traces) = self.traces {
            traces.stop().await;
        }
        if let Some(ops) = self.ops {
            ops.stop().await;
        }
        ended
    }

    /// Waits until the connections fail as a whole; never returns otherwise.
    ///
    /// # Errors
    /// What they failed with.
    pub async fn failed(&mut self) -> Result<(), Error> {
        Ok((&mut self.transport).await??)
    }
}

/// The port for operators asks nobody who they are.
async fn listen_for_operators(address: SocketAddr) -> Result<(TcpListener, SocketAddr), Error> {
    if !address.ip().is_loopback() {
        tracing::warn!(
            %address,
            "the port for operators has no authentication, and other machines reach it: they see counts, and the names \
             of batches, sources and campaigns"
        );
    }
    listen(address, "--ops-listen; `off` has none").await
}

async fn listen(
    address: SocketAddr,
    setting: &'static str,
) -> Result<(TcpListener, SocketAddr), Error> {
    let failed = |source| Error::Listen {
        address,
        setting,
        source,
    };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    Ok((listener, address))
}

fn metrics(pool: &Pool, queues: &Queues) -> Metrics {
    let descriptors = [
        proto::DESCRIPTORS,
        tonic_health::pb::FILE_DESCRIPTOR_SET,
        tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET,
        tonic_reflection::pb::v1alpha::FILE_DESCRIPTOR_SET,
    ];
    let pool = PoolCollector(pool.clone());
    Metrics::new(&descriptors, vec![Box::new(pool), Box::new(queues.clone())])
}

fn router(
    settings: ServiceSettings,
    doors: &Doors,
    pool: Pool,
    metrics: Metrics,
    observe: ObserveLayer,
    shutdown: &CancellationToken,
    tasks: &TaskTracker,
) -> Result<Router<Layers>, Error> {
    let mut transport = transport(doors, observe, &settings.calls)?;
    let max_message_bytes = settings.limits.max_message_bytes();
    let vault = Vault::new(
        pool.clone(),
        settings.limits.clone(),
        metrics.clone(),
        shutdown.clone(),
        tasks.clone(),
    );
    let vault = VaultServiceServer::new(vault).max_decoding_message_size(max_message_bytes);
    let company = Company::new(
        pool.clone(),
        settings.limits.clone(),
        metrics.clone(),
        shutdown.clone(),
        tasks.clone(),
    );
    let company = CompanyServiceServer::new(company).max_decoding_message_size(max_message_bytes);
    let people = People::new(
        pool.clone(),
        settings.limits.clone(),
        metrics.clone(),
        settings.enrichment.clone(),
        shutdown.clone(),
        tasks.clone(),
    );
    let people = PeopleServiceServer::new(people).max_decoding_message_size(max_message_bytes);
    let marketing = Marketing::new(
        pool.clone(),
        settings.limits.clone(),
        metrics.clone(),
        settings.soft_bounce_limit,
        shutdown.clone(),
        tasks.clone(),
    );
    let marketing =
        MarketingServiceServer::new(marketing).max_decoding_message_size(max_message_bytes);
    let intake = Intake::new(
        pool,
        settings.limits,
        metrics,
        shutdown.clone(),
        tasks.clone(),
    );
    let intake = IntakeServiceServer::new(intake).max_decoding_message_size(max_message_bytes);
    let reflections = if doors.has_reflection() {
        Some((reflection().build_v1()?, reflection().build_v1alpha()?))
    } else {
        None
    };
    let (v1, v1alpha) = reflections.unzip();
    Ok(transport
        .add_optional_service(v1)
        .add_optional_service(v1alpha)
        .add_service(intake)
        .add_service(vault)
        .add_service(company)
        .add_service(people)
        .add_service(marketing))
}

/// What is between the network and the services.
fn transport(
    doors: &Doors,
    observe: ObserveLayer,
    calls: &CallSettings,
) -> Result<tonic::transport::Server<Layers>, Error> {
    let (in_flight, deadline) = limited(calls)?;
    Ok(tonic::transport::Server::builder()
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
        .max_concurrent_streams(Some(most_of_a_connection(calls)))
        // First, so that what the layers after it refuse is seen, too.
        .layer(observe)
        .layer(doors.layer())
        .layer(in_flight)
        .layer(deadline)
        .layer(RepeatLayer::new(repeat::Methods::load()?)))
}

fn limited(settings: &CallSettings) -> Result<(InFlightLayer, DeadlineLayer), Error> {
    let methods = Arc::new(Methods::load()?);
    Ok((
        InFlightLayer::new(Arc::clone(&methods), settings),
        DeadlineLayer::new(methods, settings.default_deadline),
    ))
}

fn reflection() -> tonic_reflection::server::Builder<'static> {
    tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(proto::DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
}

/// The server as a whole, which tonic-health begins as SERVING, and its services.
const HEALTH_OF: [&str; 6] = [
    "",
    <IntakeServiceServer<Intake> as NamedService>::NAME,
    <VaultServiceServer<Vault> as NamedService>::NAME,
    <CompanyServiceServer<Company> as NamedService>::NAME,
    <PeopleServiceServer<People> as NamedService>::NAME,
    <MarketingServiceServer<Marketing> as NamedService>::NAME,
];

async fn set_health(health: &HealthReporter, status: ServingStatus) {
    for service in HEALTH_OF {
        health.set_service_status(service, status).await;
    }
}

/// Ends the streams of those who watch.
async fn clear_health(health: &mut HealthReporter) {
    for service in HEALTH_OF {
        health.clear_service_status(service).await;
    }
}
