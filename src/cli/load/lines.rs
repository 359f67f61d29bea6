//! Remembers on which line of its file each row began, so that the file of rejected rows can say so.
//!
//! Eight bytes a row, in nameless temporary files: memory does not grow with the input, and nothing is left
//! behind whatever happens.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, BufWriter, Write as _},
    os::unix::fs::FileExt as _,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

use super::error::Error;

const ENTRY_BYTES: u64 = 8;

/// The lines of the rows of each lane.
#[derive(Debug)]
pub(crate) struct LineIndex {
    lanes: Vec<BufWriter<File>>,
}

impl LineIndex {
    /// An empty index.
    pub(crate) fn new(lanes: usize) -> Result<Self, Error> {
        let lanes: io::Result<_> = (0..lanes)
            .map(|_| nameless_file().map(BufWriter::new))
            .collect();
        Ok(Self {
            lanes: lanes.map_err(error)?,
        })
    }

    /// Adds the lane's next row.
    pub(crate) fn push(&mut self, lane: usize, line: Option<u64>) -> Result<(), Error> {
        let entry = line.unwrap_or(0).to_le_bytes();
        match self.lanes.get_mut(lane) {
            Some(file) => file.write_all(&entry).map_err(error),
            None => Ok(()),
        }
    }

    /// Makes everything that was added readable.
    pub(crate) fn flush(&mut self) -> Result<(), Error> {
        self.lanes
            .iter_mut()
            .try_for_each(|file| file.flush())
            .map_err(error)
    }

    /// The line of a row, if it is known.
    pub(crate) fn line(&self, lane: i32, offset: i64) -> Option<u64> {
        let file = self.lanes.get(usize::try_from(lane).ok()?)?.get_ref();
        let mut entry = [0; ENTRY_BYTES as usize];
        let at = u64::try_from(offset).ok()?.checked_mul(ENTRY_BYTES)?;
        file.read_exact_at(&mut entry, at).ok()?;
        Some(u64::from_le_bytes(entry)).filter(|&line| line > 0)
    }
}

/// A file that exists only while it is open.
fn nameless_file() -> io::Result<File> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let number = NEXT.fetch_add(1, Relaxed);
    let name = format!("leadvault-lines-{}-{number}", std::process::id());
    let path = std::env::temp_dir().join(name);
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .open(&path)?;
    fs::remove_file(&path)?;
    Ok(file)
}

fn error(source: io::Error) -> Error {
    Error::Write {
        name: format!(
            "the index of line numbers, a temporary file in {} (TMPDIR)",
            std::env::temp_dir().display()
        ),
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_found_by_lane_and_offset() {
        let mut index = LineIndex::new(2).unwrap();
        for (lane, line) in [(0, Some(2)), (1, Some(3)), (0, Some(7)), (1, None)] {
            index.push(lane, line).unwrap();
        }
        index.flush().unwrap();
        assert_eq!(index.line(0, 1), Some(7));
        assert_eq!(index.line(1, 0), Some(3));
        assert_eq!(index.line(1, 1), None);
        assert_eq!(index.line(0, 2), None);
        assert_eq!((index.line(-1, 0), index.line(2, 0)), (None, None));
    }
}
