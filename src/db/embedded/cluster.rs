//! The cluster's life: `initdb`, start, reuse, stop.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::{Duration, Instant};

use nix::fcntl::OFlag;

use super::super::error::Error;
use super::binaries::Binaries;
use super::folder::Folder;
use super::pidfile::{Address, Server, look};

/// How long a start may take: crash recovery after a bulk load replays up to `max_wal_size`.
const START_SECONDS: &str = "600";
const START_PATIENCE: Duration = Duration::from_secs(600);
/// How long a server that was told to end at once may take.
const END_PATIENCE: Duration = Duration::from_secs(10);

/// Backends of a killed postmaster end by themselves, but not at once.
const ORPHAN_PATIENCE: Duration = Duration::from_secs(30);

/// A log that grew past this is set aside at the next start.
const LOG_LIMIT: u64 = 16 << 20;

/// What a private cluster needs beyond PostgreSQL's careful defaults. Durability is left alone.
/// Its log may end up in ours, where no value of a row may be: what a statement fails with is told to who sent it.
const SETTINGS: [(&str, &str); 6] = [
    ("listen_addresses", ""),
    ("unix_socket_permissions", "0700"),
    ("shared_buffers", "256MB"),
    ("max_wal_size", "4GB"),
    ("log_line_prefix", "%m [%p] "),
    ("log_min_messages", "log"),
];

/// A cluster in a data folder, and the programs that run it.
#[derive(Debug)]
pub(super) struct Cluster {
    folder: Folder,
    binaries: Binaries,
}

impl Cluster {
    pub(super) fn new(folder: Folder, binaries: Binaries) -> Self {
        Self { folder, binaries }
    }

    pub(super) fn folder(&self) -> &Folder {
        &self.folder
    }

    /// Makes the cluster beside its place and renames it, so that an interruption leaves either
    /// nothing or all of it.
    pub(super) fn init_if_missing(&self) -> Result<(), Error> {
        let cluster = self.folder.cluster();
        self.remove_leftovers();
        if cluster.join("global/pg_control").exists() {
            return Ok(());
        }
        match std::fs::remove_dir(&cluster) {
            Ok(()) => {}
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
            Err(_) => return Err(self.folder.damaged("cluster/global/pg_control is missing")),
        }
        let fresh = self
            .folder
            .root()
            .join(format!("init-{}", std::process::id()));
        tracing::info!(data_dir = %self.folder.root().display(), "making a private PostgreSQL cluster");
        self.initdb(&fresh)?;
        std::fs::rename(&fresh, &cluster).map_err(Error::io("rename", &fresh))?;
        sync_folder(self.folder.root())
    }

    fn initdb(&self, into: &Path) -> Result<(), Error> {
        let mut command = self.command("initdb");
        command
            .args(["-U", "postgres", "-E", "UTF8", "--locale=C", "--auth=trust"])
            .arg("--no-instructions")
            .arg("-D")
            .arg(into);
        run("initdb", &mut command, String::new)?;
        let conf = into.join("postgresql.conf");
        let mut file = OpenOptions::new()
            .append(true)
            .open(&conf)
            .map_err(Error::io("open", &conf))?;
        // A file of its own is rewritten at each start; the owner's edits stay where they are.
        let line =
            "\n# Written by leadvault at each start.\ninclude_if_exists = 'leadvault.conf'\n";
        let written = file
            .write_all(line.as_bytes())
            .and_then(|()| file.sync_all());
        written.map_err(Error::io("write", &conf))
    }

    /// Half-made clusters of interrupted starts. An orphaned `initdb` may still write into one, so
    /// what cannot be removed now is removed next time.
    fn remove_leftovers(&self) {
        let entries = std::fs::read_dir(self.folder.root());
        for entry in entries.into_iter().flatten().flatten() {
            let name = entry.file_name();
            if name.to_string_lossy().starts_with("init-") {
                let removed = std::fs::remove_dir_all(entry.path());
                tracing::info!(leftover = %entry.path().display(), ok = removed.is_ok(), "removed a half-made cluster");
            }
        }
    }

    /// The running server's address; starts it where none runs.
    pub(super) fn ensure_running(&self, settings: &[(String, String)]) -> Result<Address, Error> {
        let begun = Instant::now();
        let mut told = false;
        loop {
            match look(&self.folder.cluster()) {
                Server::Ready(address) => {
                    tracing::info!("found the private cluster running");
                    return Ok(address);
                }
                Server::Absent => return self.start(settings),
                Server::Impostor => {
                    self.remove_stale_pid_files()?;
                    return self.start(settings);
                }
                Server::Busy if begun.elapsed() > START_PATIENCE => return Err(self.stuck()),
                Server::Busy => {
                    if !std::mem::replace(&mut told, true) {
                        tracing::info!("the private cluster is starting or stopping: waiting");
                    }
                    std::thread::sleep(Duration::from_millis(200));
                }
            }
        }
    }

    fn start(&self, settings: &[(String, String)]) -> Result<Address, Error> {
        let socket_dir = self.folder.prepare_socket_dir()?;
        self.write_settings(&socket_dir, settings)?;
        self.set_aside_long_log();
        let begun = Instant::now();
        while let Err(error) = self.start_once() {
            let orphans = error.to_string().contains("shared memory block");
            if !orphans || begun.elapsed() > ORPHAN_PATIENCE {
                return Err(error);
            }
            std::thread::sleep(Duration::from_secs(1));
        }
        match look(&self.folder.cluster()) {
            Server::Ready(address) => Ok(address),
            _ => Err(self.stuck()),
        }
    }

    /// `pg_ctl` puts the server into a session of its own: a Ctrl-C at our terminal passes it by.
    fn start_once(&self) -> Result<(), Error> {
        let mut command = self.command("pg_ctl");
        command
            .args(["start", "-w", "-s", "-t", START_SECONDS, "-D"])
            .arg(self.folder.cluster())
            .arg("-l")
            .arg(self.folder.log());
        let before = self.log_length();
        run("pg_ctl start", &mut command, || self.log_since(before))
    }

    /// Stops the server; one that is gone already is stopped. One that is not done in time is ended at once: what was
    /// committed is in its log, from which the next start recovers.
    pub(super) fn stop(&self, patience: Duration) -> Result<(), Error> {
        if self.stop_by("fast", patience).is_ok() {
            return Ok(());
        }
        tracing::warn!(
            "the private cluster did not stop within {patience:?}: ending it at once, its next start recovers"
        );
        self.stop_by("immediate", END_PATIENCE)
    }

    fn stop_by(&self, mode: &str, patience: Duration) -> Result<(), Error> {
        let mut command = self.command("pg_ctl");
        command
            .args(["stop", "-w", "-s", "-m", mode, "-t"])
            .arg(patience.as_secs().to_string())
            .arg("-D")
            .arg(self.folder.cluster());
        let result = run("pg_ctl stop", &mut command, || self.log_since(0));
        match look(&self.folder.cluster()) {
            Server::Absent | Server::Impostor => Ok(()),
            Server::Busy | Server::Ready(_) => result,
        }
    }

    fn command(&self, program: &str) -> std::process::Command {
        let program = self.binaries.program(program);
        self.folder.account().command(&program, self.folder.root())
    }

    fn write_settings(&self, socket_dir: &Path, extra: &[(String, String)]) -> Result<(), Error> {
        let path = self.folder.cluster().join("leadvault.conf");
        let text = settings_text(socket_dir, extra);
        let opened = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .custom_flags(OFlag::O_NOFOLLOW.bits())
            .open(&path);
        let written = opened.and_then(|mut file| file.write_all(text.as_bytes()));
        written.map_err(Error::io("write", &path))?;
        self.folder.account().give(&path)
    }

    /// Only after nobody was found in the cluster: both files would make PostgreSQL refuse.
    fn remove_stale_pid_files(&self) -> Result<(), Error> {
        tracing::warn!(
            "the cluster's pid file names a process that is not its server: removing it"
        );
        let socket_dir = self.folder.prepare_socket_dir()?;
        for path in [
            socket_dir.join(".s.PGSQL.5432.lock"),
            self.folder.cluster().join("postmaster.pid"),
        ] {
            match std::fs::remove_file(&path) {
                Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                    return Err(Error::io("remove", &path)(e));
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn set_aside_long_log(&self) {
        let log = self.folder.log();
        if log.metadata().is_ok_and(|meta| meta.len() > LOG_LIMIT) {
            // A log that stays long is no reason not to start.
            let _ = std::fs::rename(&log, log.with_extension("log.1"));
        }
    }

    fn stuck(&self) -> Error {
        Error::Program {
            program: "pg_ctl start",
            detail: "the server runs but does not take connections".to_owned(),
            log: self.log_since(0),
        }
    }

    fn log_length(&self) -> u64 {
        self.folder.log().metadata().map_or(0, |meta| meta.len())
    }

    /// The end of the log, without what earlier runs wrote.
    fn log_since(&self, start: u64) -> String {
        last_lines(&self.folder.log(), start, 15)
    }
}

/// The text of `leadvault.conf`; of a name given twice PostgreSQL takes the last.
fn settings_text(socket_dir: &Path, extra: &[(String, String)]) -> String {
    let socket_dir = socket_dir.to_string_lossy();
    let own = SETTINGS
        .into_iter()
        .chain([("unix_socket_directories", socket_dir.as_ref())]);
    let extra = extra.iter().map(|(n, v)| (n.as_str(), v.as_str()));
    let mut text = String::from("# Written by leadvault at each start: edits here are lost.\n");
    for (name, value) in own.chain(extra) {
        let value = value.replace('\\', "\\\\").replace('\'', "''");
        text.push_str(&format!("{name} = '{value}'\n"));
    }
    text
}

/// Runs a program to its end; `log` is asked only where it failed.
fn run(
    name: &'static str,
    command: &mut std::process::Command,
    log: impl FnOnce() -> String,
) -> Result<(), Error> {
    let program = PathBuf::from(command.get_program());
    let output = command.output().map_err(Error::io("run", &program))?;
    if output.status.success() {
        return Ok(());
    }
    Err(Error::Program {
        program: name,
        detail: said(&output),
        log: log(),
    })
}

fn said(output: &Output) -> String {
    let text = [&output.stderr, &output.stdout]
        .map(|bytes| String::from_utf8_lossy(bytes).trim().to_owned())
        .join(" ");
    format!("{}: {}", output.status, text.trim())
}

/// The end of a file, which may be long, from `start` on.
fn last_lines(path: &Path, start: u64, count: usize) -> String {
    use std::io::{Read as _, Seek as _, SeekFrom};
    let read = || -> std::io::Result<Vec<u8>> {
        let mut file = std::fs::File::open(path)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(8192).max(start)))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let bytes = read().unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}

/// Makes a rename survive a power cut.
fn sync_folder(dir: &Path) -> Result<(), Error> {
    let synced = std::fs::File::open(dir).and_then(|folder| folder.sync_all());
    synced.map_err(Error::io("sync", dir))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    #[test]
    fn settings_are_quoted_and_the_callers_come_last() {
        let extra = [("shared_buffers".to_owned(), r"it's a \".to_owned())];
        let text = settings_text(Path::new("/d/run"), &extra);
        assert!(text.contains("unix_socket_directories = '/d/run'\n"));
        assert!(text.contains("listen_addresses = ''\n"));
        assert!(
            text.ends_with("shared_buffers = 'it''s a \\\\'\n"),
            "{text}"
        );
        assert!(!text.contains("fsync") && !text.contains("synchronous_commit"));
    }

    #[test]
    fn the_end_of_a_log_is_shown() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("log");
        assert_eq!(last_lines(&log, 0, 2), "");
        std::fs::write(&log, "a\nb\nc\n").unwrap();
        assert_eq!(last_lines(&log, 0, 2), "b\nc");
        assert_eq!(last_lines(&log, 4, 2), "c");
    }
}
