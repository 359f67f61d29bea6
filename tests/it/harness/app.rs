//! A server over a database of its own, and the ways in.

use std::{net::SocketAddr, time::Duration};

use clap::Parser;
use leadvault::{
    config::{DoorSettings, ServiceSettings},
    db::{APP_ROLE, Pool, PoolOptions},
    proto::company::v1::company_service_client::CompanyServiceClient,
    proto::intake::v1::{
        bulk_ingest_request::Open, bulk_ingest_response::Opened,
        intake_service_client::IntakeServiceClient,
    },
    proto::marketing::v1::marketing_service_client::MarketingServiceClient,
    proto::vault::v1::vault_service_client::VaultServiceClient,
    server::{Server, doors::Doors},
};
use tokio_postgres::{Client, NoTls, Row, types::ToSql};
use tonic::{
    Status,
    transport::{Channel, Endpoint},
};

use super::{
    Lane, cluster,
    process::{http_exchange, http_get},
};

/// Unless a test asks for less: on a busy machine calls wait longer than half a second for a connection, and longer
/// for what a test holds up.
const PATIENCE: [&str; 3] = [
    "--pool-timeout=30",
    "--default-deadline=120",
    "--statement-timeout=240",
];

/// A running service.
pub(crate) struct App {
    /// Of its database.
    pub(crate) url: String,
    address: SocketAddr,
    scheme: &'static str,
    server: Server,
}

/// On a busy machine a connection that is still to be made takes as long as one that is busy.
fn with_patience(options: PoolOptions, pool_timeout: Duration) -> PoolOptions {
    PoolOptions {
        connection_timeout: options.connection_timeout.max(pool_timeout),
        ..options
    }
}

#[derive(Parser)]
struct Settings {
    #[command(flatten)]
    service: ServiceSettings,
    #[command(flatten)]
    doors: DoorSettings,
}

impl App {
    /// The service with its default settings but its patience, over a fresh database.
    pub(crate) async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// The same with flags, such as `--max-row-bytes`.
    pub(crate) async fn start_with(flags: &[&str]) -> Self {
        Self::start_on(cluster::fresh_database().await, flags).await
    }

    /// The service over a given database.
    pub(crate) async fn start_on(url: String, flags: &[&str]) -> Self {
        let ports = ["--listen", "127.0.0.1:0", "--ops-listen", "127.0.0.1:0"];
        let name = |flag: &str| flag.split('=').next().map(str::to_owned);
        let asked: Vec<_> = flags.iter().map(|flag| name(flag)).collect();
        let patience = PATIENCE.iter().filter(|flag| !asked.contains(&name(flag)));
        let command_line = ["leadvault"].iter().chain(&ports).chain(patience);
        let command_line = command_line.chain(flags);
        let Settings {
            service: settings,
            doors,
        } = Settings::parse_from(command_line);
        let doors = Doors::open(&doors, settings.listen).unwrap();
        let pool = Pool::connect(PoolOptions {
            max_size: settings.pool_size,
            busy_timeout: settings.pool_timeout,
            statement_timeout: settings.statement_timeout,
            ..with_patience(
                PoolOptions::new(cluster::the_way_to(&url).await),
                settings.pool_timeout,
            )
        })
        .await
        .unwrap();
        let scheme = doors.scheme();
        let server = Server::start(settings, doors, pool).await.unwrap();
        Self {
            url,
            address: server.address(),
            scheme,
            server,
        }
    }

    /// Where it listens.
    pub(crate) fn endpoint(&self) -> String {
        format!("{}://{}", self.scheme, self.address)
    }

    /// Asks the port for operators for a page; its status, and what it says.
    pub(crate) async fn page(&self, path: &str) -> (u16, String) {
        http_get(self.ops_address(), path).await
    }

    /// The same with the head of the answer.
    pub(crate) async fn page_with_head(&self, path: &str) -> (String, String) {
        http_exchange(self.ops_address(), path).await
    }

    /// Where the port for operators is.
    pub(crate) fn ops_address(&self) -> SocketAddr {
        self.server.ops_address().unwrap()
    }

    /// A connection of its own to the service.
    pub(crate) async fn channel(&self) -> Channel {
        Endpoint::from_shared(self.endpoint())
            .unwrap()
            .connect()
            .await
            .unwrap()
    }

    /// A client of the Intake service, on a connection of its own.
    pub(crate) async fn intake(&self) -> IntakeServiceClient<Channel> {
        IntakeServiceClient::new(self.channel().await)
    }

    /// A client of the Vault service, on a connection of its own.
    pub(crate) async fn vault(&self) -> VaultServiceClient<Channel> {
        VaultServiceClient::new(self.channel().await)
    }

    /// A client of the Company service, on a connection of its own.
    pub(crate) async fn company(&self) -> CompanyServiceClient<Channel> {
        CompanyServiceClient::new(self.channel().await)
    }

    /// A client of the Marketing service, on a connection of its own.
    pub(crate) async fn marketing(&self) -> MarketingServiceClient<Channel> {
        MarketingServiceClient::new(self.channel().await)
    }

    /// A bulk stream, on a connection of its own, that opened a lane.
    pub(crate) async fn lane(&self, open: Open) -> Result<(Lane, Opened), Status> {
        Lane::open(self.intake().await, open).await
    }

    /// The database, as its owner.
    pub(crate) async fn sql(&self) -> Sql {
        Sql::connect(&self.url).await
    }

    /// The database, as the role that the service acts as.
    pub(crate) async fn sql_as_app(&self) -> Sql {
        let sql = self.sql().await;
        sql.run(&format!("SET ROLE {APP_ROLE}")).await;
        sql
    }

    /// Stops the service in good order.
    pub(crate) async fn stop(self) {
        self.server.stop().await.unwrap();
    }
}

/// The same database for another login; the cluster asks for no password.
pub(crate) fn url_as(url: &str, login: &str) -> String {
    url.replacen("://postgres@", &format!("://{login}@"), 1)
}

/// A database connection for looking behind the service.
pub(crate) struct Sql(Client);

impl Sql {
    pub(crate) async fn connect(url: &str) -> Self {
        let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
        tokio::spawn(connection);
        Self(client)
    }

    /// Runs statements that must succeed.
    pub(crate) async fn run(&self, statements: &str) {
        self.0.batch_execute(statements).await.unwrap();
    }

    /// Waits until another connection waits for a lock of this database's.
    pub(crate) async fn until_somebody_waits(&self) {
        let waiting = "SELECT count(*) FROM pg_stat_activity
                       WHERE datname = current_database() AND wait_event_type = 'Lock'";
        while self.one::<i64>(waiting, &[]).await == 0 {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    }

    /// Waits until this is the only connection: the service has stopped, and every connection of its has told the
    /// statistics what it did.
    pub(crate) async fn until_alone(&self) {
        let others = "SELECT count(*) FROM pg_stat_activity
                      WHERE datname = current_database() AND backend_type = 'client backend'
                        AND pid <> pg_backend_pid()";
        while self.one::<i64>(others, &[]).await > 0 {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    }

    /// How many blocks of values too large for their table were read or written so far, as far as connections
    /// have told.
    pub(crate) async fn large_blocks(&self, table: &str) -> i64 {
        self.run("SELECT pg_stat_force_next_flush()").await;
        let blocks = "SELECT toast_blks_read + toast_blks_hit FROM pg_statio_user_tables
                      WHERE relid = $1::text::regclass";
        self.one(blocks, &[&table]).await
    }

    /// Runs statements that must fail, and says how.
    pub(crate) async fn refused(&self, statements: &str) -> String {
        let error = self.0.batch_execute(statements).await.unwrap_err();
        error.as_db_error().unwrap().message().to_owned()
    }

    /// Runs one statement that must succeed, and says how many rows it touched.
    pub(crate) async fn touched(&self, statement: &str) -> u64 {
        self.0.execute(statement, &[]).await.unwrap()
    }

    pub(crate) async fn rows(&self, query: &str, params: &[&(dyn ToSql + Sync)]) -> Vec<Row> {
        self.0.query(query, params).await.unwrap()
    }

    /// The single value of a query.
    pub(crate) async fn one<T: for<'a> tokio_postgres::types::FromSql<'a>>(
        &self,
        query: &str,
        params: &[&(dyn ToSql + Sync)],
    ) -> T {
        self.0.query_one(query, params).await.unwrap().get(0)
    }
}
