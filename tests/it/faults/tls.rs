//! The connection to PostgreSQL is as safe as its URL says, or there is none: a real server with TLS and
//! scram-sha-256, and the ways in which it may not be what the URL asks for.

use leadvault::db::{DatabaseUrl, Pool, PoolOptions, migrate};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

use crate::harness::{App, Postgres, Sql, Workspace};

/// The parameters of the reference's URL.
const REFERENCE: &str = "sslmode=require&channel_binding=require";

/// A server that takes passwords over TLS, its CA, and a CA that it does not know.
struct Server {
    workspace: Workspace,
    postgres: Postgres,
    ca: String,
    other_ca: String,
}

impl Server {
    fn start() -> Self {
        let workspace = Workspace::new();
        let postgres = Postgres::create(&workspace, "tls");
        let (ca, other_ca) = (authority("ours"), authority("another"));
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(vec!["localhost".to_owned()])
            .unwrap()
            .signed_by(&key, &ca)
            .unwrap();
        postgres.file("server.crt", &certificate.pem());
        postgres.file("server.key", &key.serialize_pem());
        postgres.set("ssl = on\npassword_encryption = 'scram-sha-256'");
        postgres.set_hba(
            "local all all trust
             hostnossl all postgres 127.0.0.1/32 trust
             hostssl all scram 127.0.0.1/32 scram-sha-256
             hostssl all legacy 127.0.0.1/32 md5
             hostssl all trusted 127.0.0.1/32 trust
             hostnossl all plain 127.0.0.1/32 scram-sha-256",
        );
        postgres.start();
        Self {
            ca: workspace.file("ca.pem", ca.pem()),
            other_ca: workspace.file("other_ca.pem", other_ca.pem()),
            workspace,
            postgres,
        }
    }

    /// A database for the service, and logins of every kind.
    async fn prepare(&self) {
        let admin = Sql::connect(&self.postgres.url("postgres")).await;
        admin.run("CREATE DATABASE leads").await;
        let owner = DatabaseUrl::parse(&self.postgres.url("leads")).unwrap();
        migrate::up(&owner).await.unwrap();
        admin
            .run(
                "CREATE ROLE scram LOGIN PASSWORD 'p w';
                 CREATE ROLE plain LOGIN PASSWORD 'p w';
                 CREATE ROLE trusted LOGIN;
                 SET password_encryption = 'md5';
                 CREATE ROLE legacy LOGIN PASSWORD 'p w';
                 GRANT leadvault_app TO scram, plain, trusted, legacy",
            )
            .await;
    }

    fn url(&self, login: &str, host: &str, params: &str) -> String {
        let port = self.postgres.port;
        format!("postgresql://{login}:p%20w@{host}:{port}/leads?{params}")
    }

    /// With our CA: what the service says to a URL with which it must not connect.
    async fn refusal(&self, login: &str, host: &str, params: &str) -> String {
        refusal(&self.url(login, host, &format!("{params}&sslrootcert={}", self.ca))).await
    }
}

fn authority(name: &str) -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params
        .distinguished_name
        .push(rcgen::DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

async fn refusal(url: &str) -> String {
    let url = DatabaseUrl::parse(url).unwrap();
    let error = Pool::connect(PoolOptions::new(url)).await.err();
    let said = error.expect("it connected").to_string();
    assert!(!said.contains("p w"), "it shows the password: {said}");
    said
}

#[track_caller]
fn assert_says(said: &str, words: &[&str]) {
    for word in words {
        assert!(said.contains(word), "{word:?} is not in: {said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_url_of_the_reference_connects_with_tls_and_channel_binding() {
    let server = Server::start();
    server.prepare().await;
    let params = format!("{REFERENCE}&sslrootcert={}", server.ca);
    let app = App::start_on(server.url("scram", "localhost", &params), &[]).await;
    let loads = app.ingest_emails("b", "apollo", &["a@x.example"]).await;
    assert_eq!(loads.len(), 1);
    let looker = Sql::connect(&server.postgres.url("leads")).await;
    let unsafe_connections: i64 = looker
        .one(
            "SELECT count(*) FROM pg_stat_activity LEFT JOIN pg_stat_ssl USING (pid)
             WHERE usename = 'scram' AND ssl IS NOT TRUE",
            &[],
        )
        .await;
    let connections: i64 = looker
        .one(
            "SELECT count(*) FROM pg_stat_activity WHERE usename = 'scram'",
            &[],
        )
        .await;
    assert!(connections > 0);
    assert_eq!(unsafe_connections, 0);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_not_the_server_that_the_url_names_is_refused() {
    let server = Server::start();
    server.prepare().await;
    for mode in ["require", "verify-ca", "verify-full"] {
        let params = format!("sslmode={mode}&sslrootcert={}", server.other_ca);
        let said = refusal(&server.url("scram", "localhost", &params)).await;
        assert_says(&said, &["certificate", "No trusted CA", "sslrootcert"]);
    }
    // Nor does the machine trust a CA that a test made.
    let said = refusal(&server.url("scram", "localhost", REFERENCE)).await;
    assert_says(&said, &["sslrootcert"]);

    let said = server.refusal("scram", "127.0.0.1", REFERENCE).await;
    assert_says(&said, &["127.0.0.1", "another host name", "verify-ca"]);
    // Which leaves out the name and nothing else.
    let params = format!("sslmode=verify-ca&sslrootcert={}", server.ca);
    let url = DatabaseUrl::parse(&server.url("scram", "127.0.0.1", &params)).unwrap();
    Pool::connect(PoolOptions::new(url)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn channel_binding_is_not_given_up() {
    let server = Server::start();
    server.prepare().await;
    let hint = [
        "channel binding",
        "channel_binding=require",
        "scram-sha-256",
    ];
    for login in ["legacy", "trusted"] {
        let said = server.refusal(login, "localhost", REFERENCE).await;
        assert_says(&said, &hint);
        // It is the binding that is missing, and nothing else.
        let params = format!("sslmode=require&sslrootcert={}", server.ca);
        let url = DatabaseUrl::parse(&server.url(login, "localhost", &params)).unwrap();
        Pool::connect(PoolOptions::new(url)).await.unwrap();
    }
    let params = "sslmode=disable&channel_binding=require";
    assert_says(&server.refusal("plain", "localhost", params).await, &hint);
}

#[tokio::test(flavor = "multi_thread")]
async fn plain_text_where_tls_is_required_is_refused_by_either_side() {
    let server = Server::start();
    server.prepare().await;
    let said = server
        .refusal("scram", "localhost", "sslmode=disable")
        .await;
    assert_says(&said, &["no encryption", "sslmode=require"]);

    let without = Postgres::create(&server.workspace, "plain");
    without.start();
    let port = without.port;
    let url = format!("postgresql://postgres@localhost:{port}/postgres?{REFERENCE}");
    let said = refusal(&format!("{url}&sslrootcert={}", server.ca)).await;
    assert_says(
        &said,
        &["does not support TLS", "ssl = on", "sslmode=disable"],
    );
}
