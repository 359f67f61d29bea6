//! What operators see: the lines of calls, metrics, traces, probes; and what nobody may see there.

mod browser;
mod demo;
mod lines;
mod metrics;
mod panics;
mod probes;
mod queues;
mod status;
mod traces;

use leadvault::proto::vault::v1::{ContactKey, GetContactRequest, contact_key::Key};
use tokio::process::Command;
use tonic::Request;

use crate::harness::{Sql, leadvault, private_cluster};

/// `GetContact` of nobody, with headers.
fn get_nobody(headers: &[(&'static str, &str)]) -> Request<GetContactRequest> {
    let mut request = Request::new(GetContactRequest {
        key: Some(ContactKey {
            key: Some(Key::Email("nobody@x.example".to_owned())),
        }),
    });
    for (name, value) in headers {
        request.metadata_mut().insert(*name, value.parse().unwrap());
    }
    request
}

/// A cluster that may be stopped, and the URL of a database in it.
async fn cluster_of_its_own() -> (leadvault::db::Embedded, String) {
    let cluster = private_cluster().await;
    let maintenance = cluster.url().replacen("/leadvault?", "/postgres?", 1);
    Sql::connect(&maintenance)
        .await
        .run("CREATE DATABASE gone")
        .await;
    let url = cluster.url().replacen("/leadvault?", "/gone?", 1);
    let database = leadvault::db::DatabaseUrl::parse(&url).unwrap();
    leadvault::db::migrate::up(&database).await.unwrap();
    (cluster, url)
}

/// `leadvault serve` on a database.
fn serve(database_url: &str, flags: &[&str]) -> Command {
    let mut command = leadvault(&["serve", "--listen", "127.0.0.1:0", "--database-url"]);
    command.arg(database_url).args(flags);
    command
}
