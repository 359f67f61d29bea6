//! The data folder: who may use it, and who does.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;
use nix::unistd::{User, geteuid};
use sha2::{Digest as _, Sha256};

use super::super::error::Error;
use super::account::Account;

/// What a socket's folder may have, so that the socket's path fits the kernel's 104 bytes (macOS).
const LONGEST_SOCKET_DIR: usize = 88;

/// What `pg_ctl` hands to a shell inside of double quotes.
const UNSAFE_IN_SHELL: [char; 5] = ['"', '$', '`', '\\', '\n'];

/// The folder where a private cluster lives unless the caller says otherwise: `/var/lib/leadvault`
/// for root, `$XDG_DATA_HOME/leadvault` or `~/.local/share/leadvault` for anybody else.
#[must_use]
pub fn default_data_dir() -> PathBuf {
    let me = geteuid();
    if me.is_root() {
        return PathBuf::from("/var/lib/leadvault");
    }
    let absolute = |name| {
        let value = std::env::var_os(name).map(PathBuf::from);
        value.filter(|path| path.is_absolute())
    };
    if let Some(data) = absolute("XDG_DATA_HOME") {
        return data.join("leadvault");
    }
    let from_system = || User::from_uid(me).ok().flatten().map(|user| user.dir);
    match absolute("HOME").or_else(from_system) {
        Some(home) => home.join(".local/share/leadvault"),
        None => PathBuf::from("/var/lib/leadvault"),
    }
}

/// A data folder that is ours for as long as this value lives.
#[derive(Debug)]
pub(super) struct Folder {
    root: PathBuf,
    account: Account,
    /// Held, never read: the kernel frees the lock when the process ends, however it ends.
    _lock: File,
}

impl Folder {
    /// Makes the folder if it is missing, checks that PostgreSQL can live in it, and locks it.
    pub(super) fn open(data_dir: &Path) -> Result<Self, Error> {
        let root = std::path::absolute(data_dir).map_err(Error::io("resolve", data_dir))?;
        check_name(&root)?;
        check_is_ours(&root)?;
        let account = Account::choose(&root, &root.join("cluster"))?;
        check_reach(&root, &account)?;
        let made = std::fs::DirBuilder::new()
            .recursive(true)
            .create(&root)
            .map_err(|e| cannot_use(&root, &format!("it cannot be made ({e})")));
        made?;
        // From here on without links, since ownership is given to what is really there.
        let root = root.canonicalize().map_err(Error::io("resolve", &root))?;
        // Again: folders that we made in between follow the umask.
        check_reach(&root, &account)?;
        let lock = take_lock(&root)?;
        account.give(&root)?;
        // Else the account could not run leadvault here itself later.
        account.give(&root.join("leadvault.lock"))?;
        Ok(Self {
            root,
            account,
            _lock: lock,
        })
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    pub(super) fn account(&self) -> &Account {
        &self.account
    }

    /// PostgreSQL's own data folder.
    pub(super) fn cluster(&self) -> PathBuf {
        self.root.join("cluster")
    }

    /// The server's log.
    pub(super) fn log(&self) -> PathBuf {
        self.root.join("postgres.log")
    }

    /// The major version that made the cluster, if there is one.
    pub(super) fn major(&self) -> Result<Option<u32>, Error> {
        let path = self.cluster().join("PG_VERSION");
        match std::fs::read_to_string(&path) {
            Ok(text) => match text.trim().parse() {
                Ok(major) => Ok(Some(major)),
                Err(_) => Err(self.damaged("cluster/PG_VERSION holds no version")),
            },
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(Error::io("read", &path)(e)),
        }
    }

    pub(super) fn damaged(&self, problem: &str) -> Error {
        Error::DataDir {
            data_dir: self.root.clone(),
            problem: problem.to_owned(),
            fix: "Bring the folder back from a backup, or move `cluster` away to begin anew"
                .to_owned(),
        }
    }

    /// The socket's folder, made so that nobody but the account can enter it: that is what guards
    /// a server that trusts whoever reaches its socket.
    pub(super) fn prepare_socket_dir(&self) -> Result<PathBuf, Error> {
        let dir = socket_dir(&self.root, &std::env::temp_dir());
        match std::fs::DirBuilder::new().mode(0o700).create(&dir) {
            Ok(()) => self.account.give(&dir)?,
            Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(e) => return Err(Error::io("create", &dir)(e)),
        }
        let meta = dir.symlink_metadata().map_err(Error::io("look at", &dir))?;
        if meta.is_dir() && meta.mode() & 0o777 == 0o700 && meta.uid() == self.account.uid() {
            return Ok(dir);
        }
        Err(Error::DataDir {
            data_dir: self.root.clone(),
            problem: format!("the socket's folder {} is open to others", dir.display()),
            fix: format!(
                "It must be a folder of user {} with mode 0700: remove it, and it is made anew",
                self.account.name()
            ),
        })
    }
}

/// `run` in the data folder; where that is too long for a socket, or has what separates folders in
/// PostgreSQL's setting, a folder under the temporary one whose name follows from the data folder.
fn socket_dir(root: &Path, temp: &Path) -> PathBuf {
    let run = root.join("run");
    let text = run.to_string_lossy();
    if text.len() <= LONGEST_SOCKET_DIR && !text.contains([',', '\'']) {
        return run;
    }
    let digest = Sha256::digest(root.as_os_str().as_encoded_bytes());
    let short: String = digest.iter().take(8).map(|b| format!("{b:02x}")).collect();
    let name = format!("leadvault-{short}");
    let in_temp = temp.join(&name);
    if in_temp.as_os_str().len() <= LONGEST_SOCKET_DIR {
        in_temp
    } else {
        Path::new("/tmp").join(name)
    }
}

fn cannot_use(root: &Path, problem: &str) -> Error {
    Error::DataDir {
        data_dir: root.to_path_buf(),
        problem: problem.to_owned(),
        fix: "Name a folder that can be made or written, with --data-dir".to_owned(),
    }
}

/// `pg_ctl` starts the server through a shell, and a URL is text.
fn check_name(root: &Path) -> Result<(), Error> {
    let problem = match root.to_str() {
        None => "its name is not UTF-8",
        Some(name) if name.contains(UNSAFE_IN_SHELL) => {
            "its name holds a quote, $, ` or \\, which PostgreSQL's pg_ctl cannot handle"
        }
        Some(_) => return Ok(()),
    };
    Err(cannot_use(root, problem))
}

/// Giving somebody's folder away to `postgres` would be a bad surprise: `--data-dir /home/me`.
fn check_is_ours(root: &Path) -> Result<(), Error> {
    let entries = match std::fs::read_dir(root) {
        Ok(entries) => entries,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(cannot_use(root, &format!("it cannot be read ({e})"))),
    };
    let names: Vec<_> = entries.flatten().map(|entry| entry.file_name()).collect();
    // A mounted volume has a lost+found.
    let strangers = names.iter().any(|name| name != "lost+found");
    if !strangers || names.iter().any(|name| name == "leadvault.lock") {
        return Ok(());
    }
    Err(cannot_use(root, "it holds files that are not leadvault's"))
}

/// The nearest folder that exists must let the account through.
fn check_reach(root: &Path, account: &Account) -> Result<(), Error> {
    let existing = root.ancestors().find(|dir| dir.is_dir());
    let existing = existing.unwrap_or(Path::new("/"));
    // The folder itself is given to the account in a moment.
    let way = if existing == root {
        root.parent().unwrap_or(root)
    } else {
        existing
    };
    let Some(barrier) = account.barred_from(way) else {
        return Ok(());
    };
    Err(Error::DataDir {
        data_dir: root.to_path_buf(),
        problem: format!(
            "PostgreSQL runs as user {}, who may not enter {}",
            account.name(),
            barrier.display()
        ),
        fix: "Name a folder that this user can reach, such as --data-dir /var/lib/leadvault"
            .to_owned(),
    })
}

fn take_lock(root: &Path) -> Result<File, Error> {
    let path = root.join("leadvault.lock");
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        // The folder is the account's: as root, follow no link that it may have put here.
        .custom_flags(OFlag::O_NOFOLLOW.bits())
        .open(&path)
        .map_err(Error::io("open", &path))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(in_use(root, file)),
        Err(TryLockError::Error(e)) => return Err(Error::io("lock", &path)(e)),
    }
    let written = file
        .set_len(0)
        .and_then(|()| writeln!(file, "{}", std::process::id()));
    written.map_err(Error::io("write", &path))?;
    Ok(file)
}

fn in_use(root: &Path, mut file: File) -> Error {
    let mut text = String::new();
    // The text is a courtesy: between lock and write it may be missing.
    let _ = file.read_to_string(&mut text);
    let pid = match text.trim() {
        "" => "unknown".to_owned(),
        pid => pid.to_owned(),
    };
    Error::InUse {
        data_dir: root.to_path_buf(),
        pid,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    #[test]
    fn long_or_odd_paths_move_the_socket_under_the_temporary_folder() {
        let temp = Path::new("/tmp");
        let short = socket_dir(Path::new("/var/lib/leadvault"), temp);
        assert_eq!(short, Path::new("/var/lib/leadvault/run"));
        let long = PathBuf::from(format!("/{}", "x".repeat(100)));
        let moved = socket_dir(&long, temp);
        assert!(
            moved.starts_with("/tmp") && moved.as_os_str().len() < 40,
            "{moved:?}"
        );
        assert_eq!(
            moved,
            socket_dir(&long, temp),
            "the next start must find it"
        );
        assert_ne!(moved, socket_dir(&long.join("y"), temp));
        assert!(socket_dir(Path::new("/a,b"), temp).starts_with("/tmp"));
        let deep = PathBuf::from(format!("/{}", "t".repeat(90)));
        assert_eq!(socket_dir(&long, &deep), socket_dir(&long, temp));
    }

    #[test]
    fn a_folder_with_other_files_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        assert!(check_is_ours(dir.path()).is_ok());
        assert!(check_is_ours(&dir.path().join("missing")).is_ok());
        std::fs::create_dir(dir.path().join("lost+found")).unwrap();
        assert!(check_is_ours(dir.path()).is_ok());
        std::fs::write(dir.path().join("thesis.txt"), "").unwrap();
        assert!(check_is_ours(dir.path()).is_err());
        std::fs::write(dir.path().join("leadvault.lock"), "").unwrap();
        assert!(check_is_ours(dir.path()).is_ok());
    }

    #[test]
    fn the_second_lock_names_the_first_holder() {
        let dir = tempfile::tempdir().unwrap();
        let first = take_lock(dir.path()).unwrap();
        let error = take_lock(dir.path()).unwrap_err().to_string();
        assert!(error.contains(&std::process::id().to_string()), "{error}");
        drop(first);
        take_lock(dir.path()).unwrap();
    }

    #[test]
    fn names_that_a_shell_would_read_are_refused() {
        assert!(check_name(Path::new("/a/b c")).is_ok());
        assert!(check_name(Path::new("/a/$HOME")).is_err());
    }
}
