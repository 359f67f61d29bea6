//! PostgreSQL's `postmaster.pid`: who runs on this cluster, or is said to.
//!
//! A pid in a file means little: after a power cut or in a restarted container the number may
//! belong to anybody, and PostgreSQL then refuses to start. Where `/proc` can tell, we look whether
//! the process is a postmaster of this very cluster before believing the file.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use nix::errno::Errno;
use nix::sys::signal::kill;
use nix::unistd::Pid;

/// Where a server can be reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Address {
    pub(super) socket_dir: String,
    pub(super) port: u16,
}

/// What can be said about a cluster's server.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Server {
    /// No process runs here; a pid file of a crashed one may be there, which PostgreSQL handles.
    Absent,
    /// Nobody runs here, but the file's number belongs to somebody else: the file must go.
    Impostor,
    /// It is starting, recovering or stopping.
    Busy,
    /// It takes connections.
    Ready(Address),
}

/// Looks at the cluster's pid file and at the process that it names.
pub(super) fn look(cluster: &Path) -> Server {
    let Ok(text) = std::fs::read_to_string(cluster.join("postmaster.pid")) else {
        return Server::Absent;
    };
    let Some(file) = PidFile::parse(&text) else {
        // Half-written: its postmaster is just starting, or died at it.
        return Server::Absent;
    };
    if !is_alive(file.pid) {
        return Server::Absent;
    }
    if !is_postmaster_of(file.pid, cluster) {
        return if anybody_in(cluster) {
            Server::Busy
        } else {
            Server::Impostor
        };
    }
    match file.address {
        Some(address) if file.ready => Server::Ready(address),
        _ => Server::Busy,
    }
}

#[derive(Debug, PartialEq, Eq)]
struct PidFile {
    pid: i32,
    address: Option<Address>,
    ready: bool,
}

impl PidFile {
    /// Lines: pid, data folder, start time, port, socket folder, TCP address, memory key, state.
    fn parse(text: &str) -> Option<Self> {
        let lines: Vec<&str> = text.lines().map(str::trim).collect();
        // A stand-alone backend writes its pid negative.
        let pid: i32 = lines.first()?.parse().ok()?;
        let port = lines.get(3).and_then(|line| line.parse().ok());
        let socket_dir = lines.get(4).filter(|line| !line.is_empty());
        Some(Self {
            pid: pid.abs(),
            address: port.zip(socket_dir).map(|(port, dir)| Address {
                socket_dir: (*dir).to_owned(),
                port,
            }),
            ready: lines.get(7) == Some(&"ready"),
        })
    }
}

fn is_alive(pid: i32) -> bool {
    matches!(kill(Pid::from_raw(pid), None), Ok(()) | Err(Errno::EPERM))
}

/// A postmaster's working folder is its cluster. Where `/proc` is missing or shut, the file is
/// believed as far as the process's name allows.
fn is_postmaster_of(pid: i32, cluster: &Path) -> bool {
    let proc = Path::new("/proc").join(pid.to_string());
    if !proc.exists() {
        return true;
    }
    match std::fs::read_link(proc.join("cwd")) {
        Ok(cwd) => same(&cwd, cluster),
        Err(e) if e.kind() == std::io::ErrorKind::PermissionDenied => may_serve(&proc, cluster),
        // A zombie has no working folder.
        Err(_) => false,
    }
}

/// Whether any process still works in this cluster: backends outlive a killed postmaster briefly.
fn anybody_in(cluster: &Path) -> bool {
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    processes.into_iter().any(|entry| {
        let proc = entry.path();
        match std::fs::read_link(proc.join("cwd")) {
            Ok(cwd) => same(&cwd, cluster),
            Err(e) if e.kind() == std::io::ErrorKind::PermissionDenied => may_serve(&proc, cluster),
            Err(_) => false,
        }
    })
}

/// All that can be said of a process that does not show its folder: it may work in the cluster if it is
/// called so and is the cluster owner's. Somebody else's PostgreSQL on the machine is no reason to wait.
fn may_serve(proc: &Path, cluster: &Path) -> bool {
    let owner = |path: &Path| path.metadata().ok().map(|meta| meta.uid());
    is_named_postgres(proc) && owner(proc) == owner(cluster)
}

fn is_named_postgres(proc: &Path) -> bool {
    let name = std::fs::read_to_string(proc.join("comm")).unwrap_or_default();
    matches!(name.trim(), "postgres" | "postmaster")
}

fn same(a: &Path, b: &Path) -> bool {
    match (a.canonicalize(), b.canonicalize()) {
        (Ok(a), Ok(b)) => a == b,
        _ => false,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    const READY: &str = "123\n/d/cluster\n1700000000\n5432\n/d/run\n\n  7 8\nready   \n";

    #[test]
    fn a_ready_server_tells_where_it_listens() {
        let file = PidFile::parse(READY).unwrap();
        assert_eq!(file.pid, 123);
        assert!(file.ready);
        let address = file.address.unwrap();
        assert_eq!(
            (address.socket_dir.as_str(), address.port),
            ("/d/run", 5432)
        );
    }

    #[test]
    fn half_written_files_and_other_states_are_not_ready() {
        let starting = PidFile::parse(&READY.replace("ready   ", "starting")).unwrap();
        assert!(!starting.ready);
        let short = PidFile::parse("123\n/d/cluster\n").unwrap();
        assert_eq!(short.address, None);
        assert_eq!(PidFile::parse(""), None);
    }

    #[test]
    fn a_file_that_names_another_living_process_is_an_impostor() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(look(dir.path()), Server::Absent);
        let me = READY.replace("123", &std::process::id().to_string());
        std::fs::write(dir.path().join("postmaster.pid"), me).unwrap();
        if Path::new("/proc/self/cwd").exists() {
            assert_eq!(look(dir.path()), Server::Impostor);
        }
    }
}
