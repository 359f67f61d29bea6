//! Where an export goes, without harm to what is there.
//!
//! Guarantees: a regular file has its old content or all of the new one, at all times, also after a crash;
//! nothing but a regular file is ever replaced; two exports never write to one file.

use std::{
    fs::{self, File, OpenOptions, Permissions},
    io,
    path::{Path, PathBuf},
};

use uuid::Uuid;

/// How many links are followed before they count as a ring, as Linux has it.
const MAX_LINKS: usize = 40;

/// What is written to.
pub(super) enum Target {
    /// A pipe or a device, as it is.
    InPlace(File),
    /// A file that will take the place of a regular one, or of none.
    New(NewFile),
}

impl Target {
    /// Looks at what has the name now.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        match fs::metadata(path) {
            Ok(found) if found.is_file() => {
                NewFile::create(fs::canonicalize(path)?, Some(found.permissions())).map(Self::New)
            }
            Ok(_) => OpenOptions::new().write(true).open(path).map(Self::InPlace),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                NewFile::create(end_of_links(path)?, None).map(Self::New)
            }
            Err(error) => Err(error),
        }
    }
}

/// Where a link leads that leads to nothing yet; a path that is no link leads to itself.
fn end_of_links(path: &Path) -> io::Result<PathBuf> {
    let mut path = path.to_owned();
    for _ in 0..MAX_LINKS {
        match fs::read_link(&path) {
            Ok(next) => path = path.with_file_name("").join(next),
            Err(_) => return Ok(path),
        }
    }
    Err(io::ErrorKind::InvalidInput.into())
}

/// A file that grows beside its place. Unless it takes it, it is removed.
pub(super) struct NewFile {
    file: File,
    path: PathBuf,
    place: PathBuf,
    kept: bool,
}

impl NewFile {
    fn create(place: PathBuf, permissions: Option<Permissions>) -> io::Result<Self> {
        let path = place.with_file_name(format!(".leadvault-export-{}", Uuid::new_v4()));
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(&path)?;
        let new = Self {
            file,
            path,
            place,
            kept: false,
        };
        // Before there is anything to read: what was kept from others stays so.
        if let Some(permissions) = permissions {
            new.file.set_permissions(permissions)?;
        }
        Ok(new)
    }

    /// To write to.
    pub(super) fn as_file(&mut self) -> &mut File {
        &mut self.file
    }

    /// Puts the complete file in its place, once it is on disk.
    pub(super) fn take_its_place(mut self) -> io::Result<()> {
        self.file.sync_all()?;
        fs::rename(&self.path, &self.place)?;
        self.kept = true;
        let folder = match self.place.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        // The new name is to survive a crash too; some file systems cannot say, and the file is there.
        if let Ok(folder) = File::open(folder) {
            let _ = folder.sync_all();
        }
        Ok(())
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        if !self.kept {
            // What is incomplete is of no use; that it cannot be removed is not the trouble to report.
            let _ = fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::Write as _,
        os::unix::fs::{PermissionsExt as _, symlink},
    };

    use super::*;

    fn new(path: &Path) -> NewFile {
        match Target::open(path).unwrap() {
            Target::New(file) => file,
            Target::InPlace(_) => panic!("in place"),
        }
    }

    #[test]
    fn a_file_keeps_its_mode_and_its_links() {
        let folder = tempfile::tempdir().unwrap();
        let (file, link) = (folder.path().join("file"), folder.path().join("link"));
        fs::write(&file, "old").unwrap();
        fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
        symlink("file", &link).unwrap();
        let mut first = new(&link);
        let mut second = new(&file);
        first.as_file().write_all(b"first").unwrap();
        second.as_file().write_all(b"second").unwrap();
        assert_eq!(fs::read(&file).unwrap(), b"old");
        first.take_its_place().unwrap();
        assert_eq!(fs::read(&file).unwrap(), b"first");
        drop(second);
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        let mode = fs::metadata(&file).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
    }

    #[test]
    fn a_link_to_nothing_gets_its_file_and_a_ring_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let (link, ring) = (folder.path().join("link"), folder.path().join("ring"));
        symlink("to-be", &link).unwrap();
        new(&link).take_its_place().unwrap();
        assert!(folder.path().join("to-be").is_file());
        symlink("ring", &ring).unwrap();
        assert!(Target::open(&ring).is_err());
        assert!(Target::open(folder.path()).is_err());
    }

    #[test]
    fn a_device_is_written_to_as_it_is() {
        assert!(matches!(
            Target::open(Path::new("/dev/null")).unwrap(),
            Target::InPlace(_)
        ));
    }
}
