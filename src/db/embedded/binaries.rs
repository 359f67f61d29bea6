//! Where PostgreSQL's server programs are on this machine.
//!
//! Distributions keep them out of `PATH`, or link only some of them into it: links are followed,
//! and a folder counts when it has all three that we need. A data folder belongs to one major
//! version, so that a matching one is preferred to a newer one.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::super::error::Error;
use super::folder::Folder;

/// The oldest major version that the schema works with.
const OLDEST: u32 = 15;

/// What a folder must have.
const PROGRAMS: [&str; 3] = ["initdb", "pg_ctl", "postgres"];

/// Where distributions put them: a folder, then a name with `*` for the version, then the rest.
const USUAL: [(&str, &str, &str); 6] = [
    ("/usr/lib/postgresql", "*", "bin"),
    ("/usr", "pgsql-*", "bin"),
    ("/opt/homebrew/opt", "postgresql@*", "bin"),
    ("/usr/local/opt", "postgresql@*", "bin"),
    ("/Applications/Postgres.app/Contents/Versions", "*", "bin"),
    ("/usr/libexec", "postgresql*", ""),
];

/// A folder with the server's programs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Binaries {
    pub(super) dir: PathBuf,
    pub(super) major: u32,
}

impl Binaries {
    pub(super) fn program(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }
}

/// The programs for this data folder.
pub(super) fn find(folder: &Folder) -> Result<Binaries, Error> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut seen = BTreeSet::new();
    let dirs = std::env::split_paths(&path)
        .filter_map(|dir| real_folder(&dir))
        .chain(usual_folders(Path::new("/")));
    let found: Vec<Binaries> = dirs
        .filter(|dir| is_complete(dir) && seen.insert(dir.clone()))
        .filter_map(|dir| major_version(&dir).map(|major| Binaries { dir, major }))
        .collect();
    choose(&found, folder.major()?).ok_or_else(|| missing(&found, folder))
}

/// The one whose version made the data; for new data the first that is new enough.
fn choose(found: &[Binaries], wanted: Option<u32>) -> Option<Binaries> {
    let fits = |b: &&Binaries| match wanted {
        Some(major) => b.major == major,
        None => b.major >= OLDEST,
    };
    found.iter().find(fits).cloned()
}

fn missing(found: &[Binaries], folder: &Folder) -> Error {
    let list = found
        .iter()
        .map(|b| format!("{} in {}", b.major, b.dir.display()))
        .collect::<Vec<_>>()
        .join(", ");
    if let Ok(Some(wanted)) = folder.major() {
        return Error::WrongMajor {
            data_dir: folder.root().to_path_buf(),
            wanted,
            found: if list.is_empty() {
                "none".to_owned()
            } else {
                list
            },
        };
    }
    let looked = USUAL.map(|(dir, name, rest)| format!("{dir}/{name}/{rest}"));
    Error::BinariesMissing {
        found: if list.is_empty() {
            list
        } else {
            format!(" (only {list})")
        },
        looked: looked.join(", "),
    }
}

/// The folder where the programs of a `PATH` entry really are, with links followed.
fn real_folder(dir: &Path) -> Option<PathBuf> {
    PROGRAMS.iter().find_map(|program| {
        let real = dir.join(program).canonicalize().ok()?;
        real.parent()
            .filter(|d| is_complete(d))
            .map(Path::to_path_buf)
    })
}

fn is_complete(dir: &Path) -> bool {
    PROGRAMS.iter().all(|program| dir.join(program).is_file())
}

/// The distributions' folders that exist, the highest version first in each.
fn usual_folders(root: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for (dir, name, rest) in USUAL {
        let dir = root.join(dir.trim_start_matches('/'));
        let (before, _) = name.split_once('*').unwrap_or((name, ""));
        let mut versions: Vec<(u32, PathBuf)> = std::fs::read_dir(dir)
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|entry| {
                let name = entry.file_name();
                let version = leading_number(name.to_str()?.strip_prefix(before)?)?;
                let found = entry.path().join(rest).canonicalize().ok()?;
                Some((version, found))
            })
            .collect();
        versions.sort_by(|a, b| b.cmp(a));
        all.extend(versions.into_iter().map(|(_, path)| path));
    }
    all
}

/// Asks `postgres --version`: folder names lie, and `PATH` entries have none.
fn major_version(dir: &Path) -> Option<u32> {
    let output = Command::new(dir.join("postgres"))
        .arg("--version")
        .output()
        .ok()?;
    parse_version(&String::from_utf8_lossy(&output.stdout))
}

/// `postgres (PostgreSQL) 15.17 (Debian 15.17-0+deb12u1)` is 15; so is `15beta2`.
fn parse_version(text: &str) -> Option<u32> {
    let (_, version) = text.split_once("(PostgreSQL) ")?;
    leading_number(version)
}

fn leading_number(text: &str) -> Option<u32> {
    let digits = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    text[..digits].parse().ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    fn at(dir: &str, major: u32) -> Binaries {
        Binaries {
            dir: dir.into(),
            major,
        }
    }

    #[test]
    fn versions_of_releases_and_betas_are_read() {
        let text = "postgres (PostgreSQL) 15.17 (Debian 15.17-0+deb12u1)\n";
        assert_eq!(parse_version(text), Some(15));
        assert_eq!(parse_version("postgres (PostgreSQL) 18beta1"), Some(18));
        assert_eq!(parse_version("sh: not found"), None);
    }

    #[test]
    fn the_matching_version_wins_over_the_first() {
        let found = [at("/a", 14), at("/b", 17), at("/c", 15)];
        assert_eq!(choose(&found, None), Some(at("/b", 17)));
        assert_eq!(choose(&found, Some(15)), Some(at("/c", 15)));
        assert_eq!(choose(&found, Some(16)), None);
        assert_eq!(choose(&found[..1], None), None);
    }

    #[test]
    fn usual_folders_are_sorted_by_number_and_links_are_followed() {
        let root = tempfile::tempdir().unwrap();
        let base = root.path().canonicalize().unwrap();
        for version in ["9", "15", "100"] {
            let bin = base.join("usr/lib/postgresql").join(version).join("bin");
            std::fs::create_dir_all(&bin).unwrap();
            for program in PROGRAMS {
                std::fs::write(bin.join(program), "").unwrap();
            }
        }
        let names: Vec<_> = usual_folders(&base)
            .iter()
            .map(|p| p.strip_prefix(&base).unwrap().display().to_string())
            .collect();
        let expected = ["100", "15", "9"].map(|v| format!("usr/lib/postgresql/{v}/bin"));
        assert_eq!(names, expected);

        let path = base.join("links");
        std::fs::create_dir(&path).unwrap();
        let real = base.join(&names[1]);
        std::os::unix::fs::symlink(real.join("initdb"), path.join("initdb")).unwrap();
        assert_eq!(real_folder(&path), Some(real));
    }
}
