//! Writes the rejected rows of batches to a file: one JSON object a line.
//!
//! They are read back from the service when the load is done, so that the file holds each rejected row of
//! the batch once, whichever run sent it.

use std::{
    collections::BTreeMap,
    fs::{File, OpenOptions},
    io::{self, BufWriter, Write as _},
    ops::RangeInclusive,
    path::{Path, PathBuf},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::Serialize;

use super::{
    engine::Outcome, error::Error, lane::reason_name, lines::LineIndex, progress::Progress,
};
use crate::{cli::client::Service, proto::intake::v1::RejectedRow};

/// Above this, rejected rows are not fetched only to count their reasons.
const COUNTABLE: u64 = 100_000;

/// One line of the file. The names of its fields do not change.
#[derive(Serialize)]
struct Entry<'a> {
    batch_id: &'a str,
    lane: i32,
    offset: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<u64>,
    reason: String,
    pointer: &'a str,
    detail: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    original: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    original_base64: Option<String>,
    original_size: i64,
}

impl<'a> Entry<'a> {
    fn new(row: &'a RejectedRow, reason: &str, lines: Option<&LineIndex>) -> Self {
        let rejection = row.rejection.as_ref();
        let offset = rejection.map_or(0, |rejection| rejection.offset);
        let text = std::str::from_utf8(&row.original).ok();
        Self {
            batch_id: &row.batch_id,
            lane: row.lane,
            offset,
            // Staged rows have one lane, which is below 0; the loader counts their lines as those of the first.
            line: lines.and_then(|lines| lines.line(row.lane.max(0), offset)),
            reason: reason.to_owned(),
            pointer: rejection.map_or("", |rejection| &rejection.pointer),
            detail: rejection.map_or("", |rejection| &rejection.detail),
            original: text,
            original_base64: text.is_none().then(|| STANDARD.encode(&row.original)),
            original_size: row.original_size,
        }
    }
}

/// The file that rejected rows are written to.
pub(crate) struct RejectsFile {
    path: PathBuf,
    writer: Option<BufWriter<File>>,
}

impl RejectsFile {
    /// Finds out that the file can be written, before hours of loading; leaves its content alone.
    pub(crate) fn new(path: PathBuf) -> Result<Self, Error> {
        let opened = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path);
        opened.map_err(|source| error(&path, source))?;
        Ok(Self { path, writer: None })
    }

    /// Writes the rejected rows of a batch, below those of the batches before it in this run.
    fn write(&mut self, entry: &Entry<'_>) -> Result<(), Error> {
        let path = &self.path;
        let written = (|| {
            let writer = match &mut self.writer {
                Some(writer) => writer,
                None => self.writer.insert(BufWriter::new(File::create(path)?)),
            };
            serde_json::to_writer(&mut *writer, entry)?;
            writer.write_all(b"\n")
        })();
        written.map_err(|source: io::Error| error(path, source))
    }

    /// Completes the file; an empty one where nothing was rejected.
    pub(crate) fn finish(self) -> Result<(), Error> {
        let finished = match self.writer {
            Some(mut writer) => writer.flush(),
            None => File::create(&self.path).map(drop),
        };
        finished.map_err(|source| error(&self.path, source))
    }
}

/// Completes an outcome with what the service keeps of its rejected rows: the reasons that the acks of this
/// run did not tell, and the file of rejected rows where there is one.
pub(crate) async fn collect(
    outcome: &mut Outcome,
    service: &Service,
    file: Option<&mut RejectsFile>,
) -> Result<(), Error> {
    let counted: u64 = outcome.reasons.values().sum();
    let wanted = counted != outcome.tally.rejected && outcome.tally.rejected <= COUNTABLE;
    if outcome.tally.rejected == 0 || !(wanted || file.is_some()) {
        return Ok(());
    }
    // Lane -1 holds what IngestRows appended to the batch: not this loader's rows.
    let lanes = 0..=i32::MAX;
    let lines = outcome.lines.as_mut();
    outcome.reasons = fetch(service, &outcome.batch_id, lanes, lines, file).await?;
    Ok(())
}

/// Writes the rejected rows of lanes to the file, if there is one; how many have which reason.
pub(super) async fn fetch(
    service: &Service,
    batch_id: &str,
    lanes: RangeInclusive<i32>,
    mut lines: Option<&mut LineIndex>,
    mut file: Option<&mut RejectsFile>,
) -> Result<BTreeMap<String, u64>, Error> {
    if let Some(lines) = &mut lines {
        lines.flush()?;
    }
    let mut reasons = BTreeMap::new();
    let progress = Progress::new(None);
    let each = |row: RejectedRow| {
        let reason = reason_name(row.rejection.as_ref().map_or(0, |r| r.reason));
        if let Some(file) = &mut file {
            file.write(&Entry::new(&row, &reason, lines.as_deref()))?;
        }
        *reasons.entry(reason).or_default() += 1;
        Ok(())
    };
    service
        .rejected_rows(batch_id, lanes, &progress, each)
        .await?;
    Ok(reasons)
}

fn error(path: &Path, source: io::Error) -> Error {
    Error::Write {
        name: path.display().to_string(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::{intake::v1::Rejection, r#type::v1::RejectionReason};

    fn row(original: &[u8]) -> RejectedRow {
        RejectedRow {
            batch_id: "b".into(),
            lane: 1,
            rejection: Some(Rejection {
                offset: 0,
                reason: RejectionReason::InvalidEmail.into(),
                pointer: "/email".into(),
                detail: "no @".into(),
            }),
            original: original.to_vec(),
            original_size: original.len() as i64,
            ..RejectedRow::default()
        }
    }

    #[test]
    fn an_entry_holds_the_row_as_text_or_base64() {
        let mut lines = LineIndex::new(2).unwrap();
        lines.push(1, Some(17)).unwrap();
        lines.flush().unwrap();
        let row_of_text = row(b"{}");
        let entry = Entry::new(&row_of_text, "INVALID_EMAIL", Some(&lines));
        assert_eq!(
            serde_json::to_string(&entry).unwrap(),
            r#"{"batch_id":"b","lane":1,"offset":0,"line":17,"reason":"INVALID_EMAIL","pointer":"/email","detail":"no @","original":"{}","original_size":2}"#
        );
        let row_of_bytes = row(b"\xff");
        let entry = serde_json::to_value(Entry::new(&row_of_bytes, "X", None)).unwrap();
        assert_eq!(entry["original_base64"], "/w==");
        assert!(entry.get("original").is_none() && entry.get("line").is_none());
    }

    #[test]
    fn a_file_is_replaced_only_when_there_is_something_to_say() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rejects.ndjson");
        std::fs::write(&path, "old").unwrap();
        let mut file = RejectsFile::new(path.clone()).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "old");
        file.write(&Entry::new(&row(b"{}"), "X", None)).unwrap();
        file.write(&Entry::new(&row(b"[]"), "X", None)).unwrap();
        file.finish().unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap().lines().count(), 2);
        RejectsFile::new(path.clone()).unwrap().finish().unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "");
        assert!(RejectsFile::new(folder.path().join("no/such/folder")).is_err());
    }
}
