//! The embedded PostgreSQL under a service that is killed, doubled, misplaced or stopped: nothing is lost,
//! nothing is left behind, and what cannot work says so.

use std::{os::unix::fs::MetadataExt as _, path::Path, process::Command as StdCommand};

use leadvault::proto::intake::v1::{GetBatchRequest, IngestRowsRequest};
use nix::{
    sys::signal::{Signal, kill},
    unistd::{Pid, User, geteuid},
};

use crate::harness::{Running, Service, Workspace, free_port, runs, until, until_dead};

/// Stores two rows in a batch.
async fn store(service: &Service) {
    let request = IngestRowsRequest {
        batch_id: "kept".into(),
        source: "test".into(),
        json_rows: vec![
            br#"{"email":"a@x.example"}"#.to_vec().into(),
            b"{}".to_vec().into(),
        ],
        ..Default::default()
    };
    service.intake().await.ingest_rows(request).await.unwrap();
}

/// How many rows the batch has.
async fn received(service: &Service) -> i64 {
    let request = GetBatchRequest {
        batch_id: "kept".into(),
    };
    let response = service.intake().await.get_batch(request).await.unwrap();
    let batch = response.into_inner().batch.unwrap();
    batch.tally.unwrap().received
}

/// The two rows are there, and two more can be stored.
async fn assert_goes_on(service: &Service) {
    assert_eq!(received(service).await, 2);
    store(service).await;
    assert_eq!(received(service).await, 4);
}

/// SIGTERM: the service ends with 0, and its PostgreSQL with it.
async fn assert_stops_clean(service: Service, workspace: &Workspace) {
    let postmaster = workspace.postmaster().unwrap();
    let (status, log) = service.stop().await;
    assert_eq!(status.code(), Some(0), "{log}");
    assert_eq!(workspace.postmaster(), None);
    until_dead(postmaster).await;
}

async fn kill_postgresql(postmaster: Pid) {
    kill(postmaster, Signal::SIGKILL).unwrap();
    until_dead(postmaster).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_service_finds_its_postgresql_running() {
    let workspace = Workspace::new();
    let service = Service::start(workspace.serve(0)).await;
    store(&service).await;
    let postmaster = workspace.postmaster().unwrap();
    service.kill().await;
    assert!(runs(postmaster), "PostgreSQL died with its service");

    let service = Service::start(workspace.serve(0)).await;
    assert_eq!(workspace.postmaster(), Some(postmaster));
    assert_goes_on(&service).await;
    assert_stops_clean(service, &workspace).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crashed_cluster_recovers() {
    let workspace = Workspace::new();
    let service = Service::start(workspace.serve(0)).await;
    store(&service).await;
    let postmaster = workspace.postmaster().unwrap();
    service.kill().await;
    kill_postgresql(postmaster).await;
    assert_eq!(
        workspace.postmaster(),
        Some(postmaster),
        "its pid file is stale"
    );

    // The number went to another process of PostgreSQL's account, as after a reboot.
    let file = workspace.data_dir().join("cluster/postmaster.pid");
    let mut stranger = tokio::process::Command::new("sleep");
    stranger.arg("600").kill_on_drop(true);
    if geteuid().is_root() {
        stranger.uid(file.metadata().unwrap().uid());
    }
    let stranger = stranger.spawn().unwrap();
    let text = std::fs::read_to_string(&file).unwrap();
    let stale = postmaster.to_string();
    let number = stranger.id().unwrap().to_string();
    std::fs::write(&file, text.replacen(&stale, &number, 1)).unwrap();

    let service = Service::start(workspace.serve(0)).await;
    let again = workspace.postmaster().unwrap();
    assert!(again != postmaster && runs(again));
    assert_goes_on(&service).await;

    // At once, with whatever backends are left.
    service.kill().await;
    kill(again, Signal::SIGKILL).unwrap();
    let service = Service::start(workspace.serve(0)).await;
    assert_stops_clean(service, &workspace).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_second_service_on_a_data_folder_says_so() {
    let workspace = Workspace::new();
    let service = Service::start(workspace.serve(0)).await;
    store(&service).await;
    let said = Running::spawn(workspace.serve(0)).finish().await.failed(1);
    assert!(said.contains("in use by another leadvault"), "{said}");
    assert!(
        said.contains(&format!("process {}", service.pid())),
        "{said}"
    );
    assert_goes_on(&service).await;
    assert_stops_clean(service, &workspace).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_service_on_a_busy_port_says_so_and_stops_its_postgresql() {
    let (one, two) = (Workspace::new(), Workspace::new());
    let port = free_port();
    let service = Service::start(one.serve(port)).await;
    let said = Running::spawn(two.serve(port)).finish().await.failed(1);
    assert!(
        said.contains(&format!("cannot listen on 127.0.0.1:{port}")) && said.contains("--listen"),
        "{said}"
    );
    assert_eq!(two.postmaster(), None, "it left its PostgreSQL running");
    assert_stops_clean(service, &one).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn somebody_elses_folder_is_left_alone() {
    let workspace = Workspace::new();
    std::fs::create_dir(workspace.data_dir()).unwrap();
    let thesis = workspace.file("data/thesis.txt", "years of work");
    let owner = Path::new(&thesis).metadata().unwrap().uid();
    let said = Running::spawn(workspace.serve(0)).finish().await.failed(1);
    assert!(said.contains("files that are not leadvault's"), "{said}");
    let there: Vec<_> = std::fs::read_dir(workspace.data_dir()).unwrap().collect();
    assert_eq!(there.len(), 1);
    assert_eq!(workspace.data_dir().metadata().unwrap().uid(), owner);
}

#[tokio::test(flavor = "multi_thread")]
async fn postgresql_never_runs_as_root() {
    let workspace = Workspace::new();
    let service = Service::start(workspace.serve(0)).await;
    // The postmaster wrote it.
    let pid_file = workspace.data_dir().join("cluster/postmaster.pid");
    let runs_as = pid_file.metadata().unwrap().uid();
    if geteuid().is_root() {
        assert_ne!(runs_as, 0);
    } else {
        assert_eq!(runs_as, geteuid().as_raw());
    }
    let socket = workspace.data_dir().join("run").metadata().unwrap();
    assert_eq!(socket.mode() & 0o777, 0o700, "others reach the socket");
    assert_stops_clean(service, &workspace).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn root_is_told_of_a_folder_that_postgresql_cannot_reach() {
    if !geteuid().is_root() {
        return;
    }
    let workspace = Workspace::new();
    let private = workspace.path("private");
    std::fs::create_dir(&private).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o700);
    std::fs::set_permissions(&private, mode).unwrap();
    let mut command = crate::harness::leadvault(&["serve", "--listen", "127.0.0.1:0"]);
    command.arg("--data-dir").arg(private.join("data"));
    let said = Running::spawn(command).finish().await.failed(1);
    assert!(
        said.contains("may not enter") && said.contains(private.to_str().unwrap()),
        "{said}"
    );
    assert!(said.contains("--data-dir /var/lib/leadvault"), "{said}");
    assert!(!private.join("data").exists(), "it left a folder behind");
}

/// Everything else here runs as whoever runs the tests; where that is root, this one is an ordinary user.
#[tokio::test(flavor = "multi_thread")]
async fn an_ordinary_user_needs_no_other_account() {
    let Some(user) = User::from_name("nobody")
        .unwrap()
        .filter(|_| geteuid().is_root())
    else {
        return;
    };
    let workspace = Workspace::new();
    // A copy: the build may be in a folder that only root can enter.
    let binary = workspace.path("leadvault");
    // By another process: what this one has open for writing, a child of another test may have, too.
    let source = env!("CARGO_BIN_EXE_leadvault");
    let copied = StdCommand::new("cp").arg(source).arg(&binary).status();
    assert!(copied.unwrap().success());
    std::fs::create_dir(workspace.path("home")).unwrap();
    let (uid, gid) = (user.uid.as_raw(), user.gid.as_raw());
    std::os::unix::fs::chown(workspace.path("home"), Some(uid), Some(gid)).unwrap();
    // The usual place below the home folder, with a link where the watchdog looks.
    let data_dir = workspace.path("home/.local/share/leadvault");
    std::os::unix::fs::symlink(&data_dir, workspace.data_dir()).unwrap();
    let mut command = StdCommand::new(&binary);
    command.args(["serve", "--listen", "127.0.0.1:0"]);
    command.env_clear().env("HOME", workspace.path("home"));
    command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
    std::os::unix::process::CommandExt::uid(&mut command, uid);
    std::os::unix::process::CommandExt::gid(&mut command, gid);
    let mut command = tokio::process::Command::from(command);
    command.current_dir("/").kill_on_drop(true);

    let service = Service::start(command).await;
    assert!(
        service.data.contains(data_dir.to_str().unwrap()),
        "{}",
        service.data
    );
    let pid_file = data_dir.join("cluster/postmaster.pid");
    assert_eq!(pid_file.metadata().unwrap().uid(), uid);
    store(&service).await;
    assert_goes_on(&service).await;
    assert_stops_clean(service, &workspace).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_left_of_a_test_that_fails() {
    let workspace = Workspace::new();
    let service = Service::start(workspace.serve(0)).await;
    let (root, postmaster) = (workspace.path(""), workspace.postmaster().unwrap());
    let server = service.pid();
    let failing = tokio::spawn(async move {
        let _held = (workspace, service);
        panic!("a test that fails, on purpose");
    });
    assert!(failing.await.unwrap_err().is_panic());
    assert!(!root.exists());
    until("all of it to be gone", async || {
        (!runs(postmaster) && !runs(server)).then_some(())
    })
    .await;
}
