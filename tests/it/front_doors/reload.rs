//! The files of the doors while the service runs.

use leadvault::proto::intake::v1::ListBatchesRequest;
use nix::sys::signal::{Signal, kill};
use tonic::Code;

use super::{Authority, client, ingest, tls_flags};
use crate::harness::{
    Service, Workspace, fresh_database, leadvault_logging_to, until, until_logged,
};

async fn code(service: &Service, token: &str) -> Code {
    let channel = tonic::transport::Endpoint::from_shared(service.endpoint()).unwrap();
    let outcome = ingest(channel.connect().await.unwrap(), Some(token)).await;
    outcome.err().map_or(Code::Ok, |status| status.code())
}

async fn until_code(service: &Service, token: &str, wanted: Code) {
    until("the clients file to be read", async || {
        (code(service, token).await == wanted).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_clients_file_is_read_again_on_sighup_and_a_bad_one_changes_nothing() {
    let workspace = Workspace::new();
    let url = fresh_database().await;
    let (old_line, old) = client("crm", "loader");
    let (new_line, new) = client("etl", "loader");
    let clients = workspace.file("clients", &old_line);
    let log = workspace.path("log");
    let serve = ["serve", "--listen", "127.0.0.1:0", "--database-url", &url];
    let service = Service::start(leadvault_logging_to(
        &log,
        &[&serve[..], &["--clients", &clients]].concat(),
    ))
    .await;
    assert_eq!(code(&service, &old).await, Code::Ok);
    assert_eq!(code(&service, &new).await, Code::Unauthenticated);

    // Added.
    workspace.file("clients", format!("{old_line}{new_line}"));
    assert_eq!(
        code(&service, &new).await,
        Code::Unauthenticated,
        "no signal yet"
    );
    kill(service.pid(), Signal::SIGHUP).unwrap();
    until_code(&service, &new, Code::Ok).await;
    let said = until_logged(&log, "read again").await;
    assert!(
        said.contains("clients=2 added=1 removed=0 changed=0"),
        "{said}"
    );

    // Broken: the new client stays, though the file that names it is gone.
    workspace.file("clients", format!("{old_line}etl boss\n"));
    kill(service.pid(), Signal::SIGHUP).unwrap();
    let said = until_logged(&log, "ERROR").await;
    assert!(
        said.contains("line 2") && said.contains("operator"),
        "{said}"
    );
    for token in [&old, &new] {
        assert_eq!(code(&service, token).await, Code::Ok);
    }

    // Removed.
    workspace.file("clients", new_line);
    kill(service.pid(), Signal::SIGHUP).unwrap();
    until_code(&service, &old, Code::Unauthenticated).await;
    assert_eq!(code(&service, &new).await, Code::Ok);
    assert!(service.stop().await.0.success());
}

/// A service manager reloads whatever it runs: without a file of the doors there is nothing to read again, and nothing ends.
#[tokio::test(flavor = "multi_thread")]
async fn without_files_of_the_doors_a_sighup_changes_nothing() {
    let workspace = Workspace::new();
    let url = fresh_database().await;
    let log = workspace.path("log");
    let serve = ["serve", "--listen", "127.0.0.1:0", "--database-url", &url];
    let service = Service::start(leadvault_logging_to(&log, &serve)).await;
    kill(service.pid(), Signal::SIGHUP).unwrap();
    until_logged(&log, "no file to read again").await;
    let mut intake = service.intake().await;
    let request = ListBatchesRequest::default();
    intake.list_batches(request).await.unwrap();
    assert!(service.stop().await.0.success());
}

/// A renewed certificate is shown to whoever comes from then on, and nobody who is there is sent away.
#[tokio::test(flavor = "multi_thread")]
async fn certificates_are_read_again_on_sighup_and_bad_ones_change_nothing() {
    let workspace = Workspace::new();
    let url = fresh_database().await;
    let (before, after) = (Authority::new(), Authority::new());
    let log = workspace.path("log");
    let serve = ["serve", "--listen", "127.0.0.1:0", "--database-url", &url];
    let mut command = leadvault_logging_to(&log, &serve);
    command.args(tls_flags(&workspace, &before));
    let service = Service::start(command).await;
    let endpoint = service.endpoint();
    let early = before.connect(&endpoint, None).await.unwrap();
    ingest(early.clone(), None).await.unwrap();

    // Renewed, by another authority: the new files have the old names.
    tls_flags(&workspace, &after);
    assert!(after.connect(&endpoint, None).await.is_err());
    kill(service.pid(), Signal::SIGHUP).unwrap();
    until("the new certificate", async || {
        after.connect(&endpoint, None).await.ok()
    })
    .await;
    assert!(before.connect(&endpoint, None).await.is_err());
    ingest(early, None).await.unwrap();

    // In the middle of a renewal: the key is not that of the certificate yet.
    workspace.file("server.key", before.server().key);
    kill(service.pid(), Signal::SIGHUP).unwrap();
    let said = until_logged(&log, "ERROR").await;
    assert!(
        said.contains("--tls-key") && said.contains("is not the key of the certificate"),
        "{said}"
    );
    let expired = after.expired_server();
    workspace.file("server.pem", expired.certificate);
    workspace.file("server.key", expired.key);
    kill(service.pid(), Signal::SIGHUP).unwrap();
    until_logged(&log, "expired on 1999-01-01").await;
    let late = after.connect(&endpoint, None).await.unwrap();
    ingest(late, None).await.unwrap();
    assert!(service.stop().await.0.success());
}
