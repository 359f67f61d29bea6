//! What a service meets that runs for long: a database that must be reached safely, restarts, fails over or stands
//! behind a pooler; and its own orderly end.

mod barrier;
mod failover;
mod health;
mod pgbouncer;
mod repeated;
mod repeating;
mod silent_host;
mod stopping;
mod synchronous;
mod tls;

use tonic::transport::Channel;
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

use crate::harness::{Running, leadvault, until};

/// What the server says of itself.
async fn health(channel: &Channel) -> ServingStatus {
    let response = HealthClient::new(channel.clone())
        .check(HealthCheckRequest::default())
        .await;
    response.unwrap().into_inner().status()
}

/// Waits until the server says this of itself.
async fn until_health(channel: &Channel, status: ServingStatus) {
    until(&format!("health to be {status:?}"), async || {
        (health(channel).await == status).then_some(())
    })
    .await;
}

/// Begins to load a file as a batch.
fn load(file: &str, endpoint: &str, batch: &str, lanes: u8) -> Running {
    let lanes = lanes.to_string();
    Running::spawn(leadvault(&[
        "load",
        file,
        "--endpoint",
        endpoint,
        "--source",
        "crash",
        "--batch-id",
        batch,
        "--lanes",
        &lanes,
        "--output",
        "json",
    ]))
}
