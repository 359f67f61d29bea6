//! A PostgreSQL of one test's own, on a TCP port, set up as its operator would: TLS, passwords, a standby.

use std::{
    os::unix::{fs::chown, process::CommandExt as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::{Pid, User, geteuid},
};

use super::{Workspace, free_port};

/// What every cluster of a test has: it need not outlive the machine, and has no socket that another could have.
const SETTINGS: &str = "
listen_addresses = '127.0.0.1'
unix_socket_directories = ''
fsync = off
full_page_writes = off
";

/// A cluster in a workspace, which ends with it.
pub(crate) struct Postgres {
    folder: PathBuf,
    pub(crate) port: u16,
}

impl Postgres {
    /// Makes a cluster whose superuser `postgres` needs no password from this machine.
    pub(crate) fn create(workspace: &Workspace, name: &str) -> Self {
        let cluster = Self::at(workspace, name);
        let folder = cluster.folder.to_str().unwrap();
        cluster.program(
            "initdb",
            &[
                "-D",
                folder,
                "-U",
                "postgres",
                "-E",
                "UTF8",
                "--locale=C",
                "-A",
                "trust",
                "-N",
            ],
        );
        cluster.set(SETTINGS);
        cluster.set(&format!("port = {}", cluster.port));
        cluster
    }

    /// Makes a standby of this one.
    pub(crate) fn standby(&self, workspace: &Workspace, name: &str) -> Self {
        let standby = Self::at(workspace, name);
        let (folder, port) = (standby.folder.to_str().unwrap(), self.port.to_string());
        standby.program(
            "pg_basebackup",
            &[
                "-D",
                folder,
                "-h",
                "127.0.0.1",
                "-p",
                &port,
                "-U",
                "postgres",
                "-R",
                "-X",
                "stream",
                "-c",
                "fast",
            ],
        );
        standby.set(&format!("port = {}", standby.port));
        standby
    }

    fn at(workspace: &Workspace, name: &str) -> Self {
        let folder = workspace.path(name);
        std::fs::create_dir(&folder).unwrap();
        give(&folder);
        private(&folder);
        Self {
            folder,
            port: free_port(),
        }
    }

    /// Adds settings, which hold from the next start on; the last one of a name wins.
    pub(crate) fn set(&self, settings: &str) {
        self.append("postgresql.conf", settings);
    }

    /// Says who may connect, and how.
    pub(crate) fn set_hba(&self, lines: &str) {
        std::fs::write(self.folder.join("pg_hba.conf"), lines).unwrap();
    }

    fn append(&self, file: &str, text: &str) {
        let path = self.folder.join(file);
        let before = std::fs::read_to_string(&path).unwrap();
        std::fs::write(path, format!("{before}\n{text}\n")).unwrap();
    }

    /// Puts a file that only the server reads into its folder.
    pub(crate) fn file(&self, name: &str, content: &str) {
        let path = self.folder.join(name);
        std::fs::write(&path, content).unwrap();
        give(&path);
        private(&path);
    }

    /// Starts it and waits until it takes connections.
    pub(crate) fn start(&self) {
        self.start_with(&[]);
    }

    /// The same with variables of its own.
    pub(crate) fn start_with(&self, variables: &[(&str, &Path)]) {
        let log = self.folder.join("server.log");
        let (folder, log) = (self.folder.to_str().unwrap(), log.to_str().unwrap());
        let args = ["-D", folder, "start", "-w", "-l", log];
        self.program_with(variables, "pg_ctl", &args);
    }

    /// Stops it, in `fast` or `immediate` mode, and waits until it is gone.
    pub(crate) fn stop(&self, mode: &str) {
        self.pg_ctl(&["stop", "-w", "-m", mode]);
    }

    /// Stops all of its processes where they are. The system goes on to take what is sent to them.
    pub(crate) fn hang(&self) {
        let file = std::fs::read_to_string(self.folder.join("postmaster.pid")).unwrap();
        let postmaster = file.lines().next().unwrap().trim();
        let stop = |pid: &str| kill(Pid::from_raw(pid.parse().unwrap()), Signal::SIGSTOP);
        // First, since it makes the others.
        stop(postmaster).unwrap();
        let children = format!("/proc/{postmaster}/task/{postmaster}/children");
        for child in std::fs::read_to_string(children)
            .unwrap()
            .split_whitespace()
        {
            // One may just have ended.
            let _ = stop(child);
        }
    }

    /// Makes a primary of a standby.
    pub(crate) fn promote(&self) {
        self.pg_ctl(&["promote", "-w"]);
    }

    /// Reads the settings again.
    pub(crate) fn reload(&self) {
        self.pg_ctl(&["reload"]);
    }

    /// The URL of a database, for the superuser.
    pub(crate) fn url(&self, database: &str) -> String {
        format!("postgresql://postgres@127.0.0.1:{}/{database}", self.port)
    }

    fn pg_ctl(&self, args: &[&str]) {
        let folder = self.folder.to_str().unwrap();
        let args: Vec<&str> = ["-D", folder].iter().chain(args).copied().collect();
        self.program("pg_ctl", &args);
    }

    fn program(&self, name: &str, args: &[&str]) {
        self.program_with(&[], name, args);
    }

    fn program_with(&self, variables: &[(&str, &Path)], name: &str, args: &[&str]) {
        let mut command = as_account(&program(name));
        command.envs(variables.iter().copied());
        // A server that is started keeps what it inherits: it gets no pipe of ours to hold.
        let errors = self.folder.with_extension("err");
        let file = std::fs::File::create(&errors).unwrap();
        let status = command.args(args).stderr(file).status().unwrap();
        let said = std::fs::read_to_string(errors).unwrap();
        let log = std::fs::read_to_string(self.folder.join("server.log")).unwrap_or_default();
        assert!(status.success(), "{name} {args:?}: {said}\n{log}");
    }
}

/// A command that runs as the account that PostgreSQL runs as, and says nothing.
pub(crate) fn as_account(program: &Path) -> Command {
    let mut command = Command::new(program);
    command
        .env("LC_ALL", "C")
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    if let Some((uid, gid)) = account() {
        command.uid(uid).gid(gid);
    }
    command
}

/// Gives a file or folder to that account.
pub(crate) fn give(path: &Path) {
    if let Some((uid, gid)) = account() {
        chown(path, Some(uid), Some(gid)).unwrap();
    }
}

fn private(path: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    let mode = if path.is_dir() { 0o700 } else { 0o600 };
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

/// Whom to change to: PostgreSQL refuses to run as root.
fn account() -> Option<(u32, u32)> {
    if !geteuid().is_root() {
        return None;
    }
    let named = |name| User::from_name(name).unwrap();
    let user = named("postgres").or_else(|| named("nobody")).unwrap();
    Some((user.uid.as_raw(), user.gid.as_raw()))
}

/// A program of PostgreSQL's: of the distribution's newest version, or of `PATH`.
fn program(name: &str) -> PathBuf {
    let versions = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten();
    let newest = versions
        .filter_map(|version| version.unwrap().file_name().into_string().ok())
        .filter(|version| {
            Path::new("/usr/lib/postgresql")
                .join(version)
                .join("bin/initdb")
                .exists()
        })
        .max_by_key(|version| version.parse::<u32>().unwrap_or(0));
    newest.map_or_else(
        || PathBuf::from(name),
        |version| {
            Path::new("/usr/lib/postgresql")
                .join(version)
                .join("bin")
                .join(name)
        },
    )
}
