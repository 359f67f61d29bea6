//! The system account that PostgreSQL runs as: it refuses to run as root.
//!
//! Guarantees: programs get an environment of ours, without the caller's `PG*` variables and
//! secrets, and a process group of their own, so that a Ctrl-C meant for the service does not cut
//! a clean stop short.

use std::os::unix::fs::{MetadataExt as _, lchown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::unistd::{Uid, User, geteuid};

use super::super::error::Error;

/// What programs may see of our environment: where libraries and temporary files are.
const PASSED_ON: [&str; 5] = [
    "PATH",
    "LD_LIBRARY_PATH",
    "DYLD_LIBRARY_PATH",
    "TMPDIR",
    "TZDIR",
];

/// Who PostgreSQL runs as.
#[derive(Debug, Clone)]
pub(super) struct Account {
    /// User and group to change to; `None` where we run as an ordinary user ourselves.
    switch_to: Option<(u32, u32)>,
    name: String,
}

impl Account {
    /// As an ordinary user that user; as root the owner of the cluster if there is one already, else
    /// `postgres`, else `nobody`.
    pub(super) fn choose(data_dir: &Path, cluster: &Path) -> Result<Self, Error> {
        let me = geteuid();
        let owner = cluster.metadata().ok().map(|m| (m.uid(), m.gid()));
        match (me.is_root(), owner) {
            (true, Some((uid, gid))) if uid != 0 => Ok(Self {
                switch_to: Some((uid, gid)),
                name: name_of(uid),
            }),
            (true, _) => Self::by_name(data_dir),
            (false, Some((uid, _))) if uid != me.as_raw() => Err(Error::DataDir {
                data_dir: data_dir.to_path_buf(),
                problem: format!("its cluster belongs to the user {}", name_of(uid)),
                fix: "Run leadvault as that user or as root, or name another --data-dir".to_owned(),
            }),
            (false, _) => Ok(Self {
                switch_to: None,
                name: name_of(me.as_raw()),
            }),
        }
    }

    fn by_name(data_dir: &Path) -> Result<Self, Error> {
        for name in ["postgres", "nobody"] {
            if let Ok(Some(user)) = User::from_name(name) {
                return Ok(Self {
                    switch_to: Some((user.uid.as_raw(), user.gid.as_raw())),
                    name: user.name,
                });
            }
        }
        Err(Error::DataDir {
            data_dir: data_dir.to_path_buf(),
            problem: "PostgreSQL refuses to run as root, and this machine has neither a user \
                      postgres nor nobody"
                .to_owned(),
            fix: "Add one (`useradd --system postgres`), or run leadvault as an ordinary user"
                .to_owned(),
        })
    }

    /// The account's name, for messages.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// A command that runs as this account in `cwd`, and reads nothing from the terminal.
    pub(super) fn command(&self, program: &Path, cwd: &Path) -> Command {
        let mut command = Command::new(program);
        command.env_clear().env("LC_ALL", "C").env("LANG", "C");
        for name in PASSED_ON {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        command.current_dir(cwd).stdin(Stdio::null());
        command.process_group(0);
        if let Some((uid, gid)) = self.switch_to {
            command.uid(uid).gid(gid);
        }
        command
    }

    /// Gives a file or folder to the account; a link itself, never what it points to.
    pub(super) fn give(&self, path: &Path) -> Result<(), Error> {
        match self.switch_to {
            Some((uid, gid)) => {
                lchown(path, Some(uid), Some(gid)).map_err(Error::io("change the owner of", path))
            }
            None => Ok(()),
        }
    }

    /// The account's user id.
    pub(super) fn uid(&self) -> u32 {
        self.switch_to
            .map_or_else(|| geteuid().as_raw(), |(uid, _)| uid)
    }

    /// The first folder on the way to `dir` that the account cannot enter. Tried, not computed from
    /// mode bits, since access lists and container mounts have their say too.
    pub(super) fn barred_from(&self, dir: &Path) -> Option<PathBuf> {
        if self.switch_to.is_none() || self.can_enter(dir) {
            return None;
        }
        let mut way: Vec<&Path> = dir.ancestors().collect();
        way.reverse();
        let culprit = way.into_iter().find(|folder| !self.can_enter(folder));
        culprit.map(Path::to_path_buf)
    }

    fn can_enter(&self, dir: &Path) -> bool {
        let status = self
            .command(Path::new("/bin/sh"), dir)
            .args(["-c", "exit 0"])
            .status();
        status.is_ok_and(|status| status.success())
    }
}

fn name_of(uid: u32) -> String {
    match User::from_uid(Uid::from_raw(uid)) {
        Ok(Some(user)) => user.name,
        _ => format!("with id {uid}"),
    }
}
