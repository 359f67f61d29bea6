//! The machine: its disk.

use std::path::Path;

use indicatif::HumanBytes;
use nix::sys::statvfs::statvfs;

use super::check::Check;

const DISK: &str = "disk";
/// What must be free at least, in bytes and in percent.
const LEAST_BYTES: u64 = 1_000_000_000;
const LEAST_PERCENT: u64 = 10;

/// The disk of a folder that may not exist yet.
#[allow(
    clippy::useless_conversion,
    reason = "the types differ between systems"
)]
pub(super) fn disk(folder: &Path) -> Check {
    let existing = folder.ancestors().find(|folder| folder.exists());
    let folder = existing.unwrap_or(folder);
    match statvfs(folder) {
        Ok(disk) => judge(
            folder,
            u64::from(disk.blocks_available()) * u64::from(disk.fragment_size()),
            u64::from(disk.blocks()) * u64::from(disk.fragment_size()),
        ),
        Err(error) => Check::warning(
            DISK,
            format!(
                "the disk of {} cannot be looked at: {error}",
                folder.display()
            ),
            "run as the user that the service runs as, or as root",
        ),
    }
}

fn judge(folder: &Path, free: u64, all: u64) -> Check {
    let percent = u128::from(free) * 100 / u128::from(all.max(1));
    let detail = format!(
        "{} of {} free ({percent} %) where {} is",
        HumanBytes(free),
        HumanBytes(all),
        folder.display()
    );
    if free < LEAST_BYTES || percent < u128::from(LEAST_PERCENT) {
        let mend = "make room, or move the data: PostgreSQL stops where it cannot write";
        return Check::warning(DISK, detail, mend);
    }
    Check::ok(DISK, detail)
}

#[cfg(test)]
mod tests {
    use super::{super::check::State, *};

    #[test]
    fn little_is_a_tenth_or_a_gigabyte() {
        let state = |free, all| judge(Path::new("/"), free, all).state;
        assert_eq!(state(5_000_000_000, 40_000_000_000), State::Ok);
        assert_eq!(state(3_000_000_000, 40_000_000_000), State::Warning);
        assert_eq!(state(900_000_000, 2_000_000_000), State::Warning);
        assert_eq!(disk(Path::new("/nowhere/at/all")).check, "disk");
    }
}
