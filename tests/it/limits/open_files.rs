//! The files that a process may have open: each connection is one.

use leadvault::proto::intake::v1::{
    ListBatchesRequest, intake_service_client::IntakeServiceClient,
};
use tokio::net::TcpStream;
use tonic::{Status, transport::Channel};

use crate::harness::{Service, Workspace, fresh_database, leadvault_with_files, until_logged};

/// Its own, those of the database, and some for clients.
const FILES: usize = 64;

async fn list(mut client: IntakeServiceClient<Channel>) -> Result<(), Status> {
    let request = ListBatchesRequest::default();
    client.list_batches(request).await.map(drop)
}

/// Who is there is served, the log says what is missing, and who waited is served as soon as others have gone.
#[tokio::test(flavor = "multi_thread")]
async fn where_no_more_files_can_be_opened_the_service_goes_on() {
    let workspace = Workspace::new();
    let url = fresh_database().await;
    let log = workspace.path("log");
    let serve = ["serve", "--listen", "127.0.0.1:0", "--database-url", &url];
    let service = Service::start(leadvault_with_files(FILES, &log, &serve)).await;
    let early = service.intake().await;
    list(early.clone()).await.unwrap();

    let address = service.endpoint();
    let address = address.trim_start_matches("http://");
    let mut silent = Vec::new();
    for _ in 0..FILES {
        silent.push(TcpStream::connect(address).await.unwrap());
    }
    let said = until_logged(&log, "cannot be accepted").await;
    assert!(said.contains("ulimit -n"), "{said}");
    list(early).await.unwrap();

    let late = service.intake().await;
    drop(silent);
    list(late).await.unwrap();
    assert!(service.stop().await.0.success());
}
