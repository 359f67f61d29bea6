//! Opens what rows are read from: a file, a pipe or standard input, gzipped or not.
//!
//! Guarantees: gzip is recognised by its first bytes, not by a name. A regular file is read twice, once to
//! find its fingerprint and once for its rows; the second reading is hashed too, and [`Input::verify`]
//! finds out when the two differ. Memory does not grow with the file.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read},
    path::{Path, PathBuf},
};

use flate2::read::MultiGzDecoder;
use sha2::{Digest as _, Sha256};

use super::{error::Error, format::Format};

/// How much is read at once.
const BUFFER_BYTES: usize = 256 * 1024;

/// A file that takes seconds to read.
const LARGE_BYTES: u64 = 1 << 30;

const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];
const UTF8_MARK: &[u8] = b"\xef\xbb\xbf";

/// Where rows are read from.
#[derive(Debug, Clone)]
pub(crate) enum Origin {
    /// A file or a pipe with a name.
    Path(PathBuf),
    /// Standard input.
    Stdin,
}

impl Origin {
    /// `-` is standard input.
    pub(crate) fn new(path: PathBuf) -> Self {
        if path.as_os_str() == "-" {
            Self::Stdin
        } else {
            Self::Path(path)
        }
    }

    /// What messages call it.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Path(path) => path.display().to_string(),
            Self::Stdin => "standard input".to_owned(),
        }
    }

    /// The name of the file without its folders.
    pub(crate) fn base_name(&self) -> String {
        match self {
            Self::Path(path) => path
                .file_name()
                .unwrap_or(path.as_os_str())
                .to_string_lossy()
                .into_owned(),
            Self::Stdin => "stdin".to_owned(),
        }
    }

    /// Whether it can be read twice, which a pipe cannot.
    pub(crate) fn is_regular(&self) -> bool {
        match self {
            Self::Path(path) => path.metadata().is_ok_and(|data| data.is_file()),
            Self::Stdin => false,
        }
    }

    /// Whether reading it takes long enough that someone would wonder.
    pub(crate) fn is_large(&self) -> bool {
        match self {
            Self::Path(path) => path.metadata().is_ok_and(|data| data.len() > LARGE_BYTES),
            Self::Stdin => false,
        }
    }

    fn open(&self) -> Result<Box<dyn Read + Send>, Error> {
        match self {
            Self::Path(path) => open_file(path).map_err(|source| Error::Open {
                name: self.name(),
                source,
            }),
            Self::Stdin => Ok(Box::new(io::stdin())),
        }
    }
}

fn open_file(path: &Path) -> io::Result<Box<dyn Read + Send>> {
    let file = File::open(path)?;
    if file.metadata()?.is_dir() {
        return Err(io::Error::new(
            io::ErrorKind::IsADirectory,
            "it is a folder; give its files, such as folder/*.csv",
        ));
    }
    Ok(Box::new(file))
}

/// What the first reading of a regular file found out.
#[derive(Debug, Clone)]
pub(crate) struct Survey {
    /// The SHA-256 of the decompressed content.
    pub(crate) digest: [u8; 32],
    /// How many bytes it has, decompressed.
    pub(crate) bytes: u64,
}

/// Reads a regular file to its end, to know its fingerprint and size.
pub(crate) fn survey(origin: &Origin) -> Result<Survey, Error> {
    let mut input = Input::open(origin, None)?;
    loop {
        let read = match input.fill_buf() {
            Ok(available) => available.len(),
            Err(error) => return Err(input.read_error(error)),
        };
        if read == 0 {
            return Ok(Survey {
                digest: input.hasher.finalize().into(),
                bytes: input.position,
            });
        }
        input.consume(read);
    }
}

/// The decompressed content of a file, hashed as it is read; without its byte order mark.
pub(crate) struct Input {
    reader: Box<dyn Read + Send>,
    buffer: Vec<u8>,
    start: usize,
    position: u64,
    hasher: Sha256,
    expected: Option<[u8; 32]>,
    name: String,
    base_name: String,
}

impl Input {
    /// Opens a file for its rows; `expected` is the digest of its first reading.
    pub(crate) fn open(origin: &Origin, expected: Option<[u8; 32]>) -> Result<Self, Error> {
        let name = origin.name();
        let reader = decompress(origin.open()?).map_err(|source| Error::Open {
            name: name.clone(),
            source,
        })?;
        Self::new(reader, name, origin.base_name(), expected)
    }

    /// Reads from memory, for tests.
    #[cfg(test)]
    pub(crate) fn from_bytes(bytes: &[u8]) -> Self {
        let reader = Box::new(io::Cursor::new(bytes.to_vec()));
        Self::new(reader, "test".into(), "test".into(), None).unwrap()
    }

    fn new(
        reader: Box<dyn Read + Send>,
        name: String,
        base_name: String,
        expected: Option<[u8; 32]>,
    ) -> Result<Self, Error> {
        let mut input = Self {
            reader,
            buffer: Vec::with_capacity(BUFFER_BYTES),
            start: 0,
            position: 0,
            hasher: Sha256::new(),
            expected,
            name,
            base_name,
        };
        let head = input.peek(UTF8_MARK.len())?;
        if head.starts_with(b"\xff\xfe") || head.starts_with(b"\xfe\xff") {
            return Err(input.format_error("it is UTF-16; save or export it as UTF-8"));
        }
        if head.starts_with(UTF8_MARK) {
            input.consume(UTF8_MARK.len());
        }
        Ok(input)
    }

    /// The format to read it in: the one asked for, or the one that its name and content show.
    pub(crate) fn resolve(&mut self, asked: Format) -> Result<Format, Error> {
        if asked != Format::Auto {
            return Ok(asked);
        }
        if let Some(format) = Format::of_name(&self.base_name) {
            return Ok(format);
        }
        // No more than is needed: a pipe may hold its second row back for long.
        let mut count = 1;
        loop {
            let head = self.peek(count)?;
            if head.len() < count || !head.trim_ascii().is_empty() {
                return Ok(Format::of_content(head));
            }
            count += 1;
        }
    }

    /// The next bytes without consuming them: `count`, or fewer at the end.
    pub(crate) fn peek(&mut self, count: usize) -> Result<&[u8], Error> {
        while self.buffer.len() - self.start < count {
            match self.read_more() {
                Ok(0) => break,
                Ok(_) => {}
                Err(error) => return Err(self.read_error(error)),
            }
        }
        let end = self.buffer.len().min(self.start + count);
        Ok(&self.buffer[self.start..end])
    }

    /// How many bytes of the content were consumed.
    pub(crate) fn position(&self) -> u64 {
        self.position
    }

    /// What messages call it.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Compares what was read with the first reading. To be called at the end.
    pub(crate) fn verify(&self) -> Result<(), Error> {
        let read: [u8; 32] = self.hasher.clone().finalize().into();
        match self.expected {
            Some(expected) if expected != read => Err(Error::Changed {
                name: self.name.clone(),
            }),
            _ => Ok(()),
        }
    }

    /// An error of reading, with how far it came.
    pub(crate) fn read_error(&self, source: io::Error) -> Error {
        Error::Read {
            name: self.name.clone(),
            position: self.position,
            source,
        }
    }

    /// An error of the file's beginning.
    pub(crate) fn format_error(&self, detail: impl Into<String>) -> Error {
        Error::Format {
            name: self.name.clone(),
            detail: detail.into(),
        }
    }

    /// Reads once behind what is in the buffer; 0 at the end.
    fn read_more(&mut self) -> io::Result<usize> {
        self.buffer.drain(..self.start);
        self.start = 0;
        let held = self.buffer.len();
        self.buffer.resize(held + BUFFER_BYTES, 0);
        let result = loop {
            match self.reader.read(&mut self.buffer[held..]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => break result,
            }
        };
        let read = *result.as_ref().unwrap_or(&0);
        self.buffer.truncate(held + read);
        self.hasher.update(&self.buffer[held..]);
        result
    }
}

impl Read for Input {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let available = self.fill_buf()?;
        let count = available.len().min(out.len());
        out[..count].copy_from_slice(&available[..count]);
        self.consume(count);
        Ok(count)
    }
}

impl BufRead for Input {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.start == self.buffer.len() {
            self.read_more()?;
        }
        Ok(&self.buffer[self.start..])
    }

    fn consume(&mut self, count: usize) {
        self.start = (self.start + count).min(self.buffer.len());
        self.position += count as u64;
    }
}

/// Undoes gzip where the first bytes show it, in any number of members.
fn decompress(mut raw: Box<dyn Read + Send>) -> io::Result<Box<dyn Read + Send>> {
    let mut head = Vec::new();
    raw.by_ref()
        .take(GZIP_MAGIC.len() as u64)
        .read_to_end(&mut head)?;
    let gzipped = head == GZIP_MAGIC;
    let whole = io::Cursor::new(head).chain(raw);
    Ok(if gzipped {
        let buffered = BufReader::with_capacity(BUFFER_BYTES, whole);
        Box::new(MultiGzDecoder::new(buffered))
    } else {
        Box::new(whole)
    })
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn file(name: &str, content: &[u8]) -> (tempfile::TempDir, Origin) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        (folder, Origin::new(path))
    }

    fn gzip(content: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(content).unwrap();
        encoder.finish().unwrap()
    }

    fn read(origin: &Origin) -> Vec<u8> {
        let mut content = Vec::new();
        let mut input = Input::open(origin, None).unwrap();
        input.read_to_end(&mut content).unwrap();
        content
    }

    #[test]
    fn gzip_is_known_by_its_bytes_and_hashed_decompressed() {
        let (_plain_folder, plain) = file("a.csv", b"email\nx\n");
        let members = [gzip(b"email\n"), gzip(b"x\n")].concat();
        let (_gzip_folder, gzipped) = file("b.csv", &members);
        assert_eq!(read(&gzipped), read(&plain));
        let surveys = (survey(&plain).unwrap(), survey(&gzipped).unwrap());
        assert_eq!(surveys.0.digest, surveys.1.digest);
        assert_eq!((surveys.0.bytes, surveys.1.bytes), (8, 8));
    }

    #[test]
    fn a_cut_gzip_is_an_error() {
        let whole = gzip(&vec![b'x'; 100_000]);
        let (_folder, cut) = file("a.gz", &whole[..whole.len() / 2]);
        assert!(matches!(survey(&cut), Err(Error::Read { .. })));
    }

    #[test]
    fn a_file_that_changes_between_the_readings_is_found_out() {
        let (_folder, origin) = file("a.csv", b"email\nx\n");
        let digest = survey(&origin).unwrap().digest;
        let Origin::Path(path) = &origin else {
            panic!("a path")
        };
        std::fs::write(path, b"email\ny\n").unwrap();
        let mut input = Input::open(&origin, Some(digest)).unwrap();
        io::copy(&mut input, &mut io::sink()).unwrap();
        assert!(matches!(input.verify(), Err(Error::Changed { .. })));
    }

    #[test]
    fn formats_are_known_by_name_then_by_content() {
        let cases: [(&str, &[u8], Format); 9] = [
            ("a.csv", b"[1]", Format::Csv),
            ("a.CSV.GZ", b"{}", Format::Csv),
            ("a.ndjson", b"[1]", Format::Ndjson),
            ("a.jsonl.gz", b"[1]", Format::Ndjson),
            ("a.json", b"\xef\xbb\xbf\n [1]", Format::Json),
            ("a.json", b"{}", Format::Ndjson),
            ("a", b" {}", Format::Ndjson),
            ("a.txt", b"Email,Name", Format::Csv),
            ("a", b"", Format::Csv),
        ];
        for (name, content, expected) in cases {
            let (_folder, origin) = file(name, content);
            let mut input = Input::open(&origin, None).unwrap();
            assert_eq!(input.resolve(Format::Auto).unwrap(), expected, "{name}");
            assert_eq!(input.resolve(Format::Json).unwrap(), Format::Json);
        }
    }

    #[test]
    fn utf16_is_named() {
        let (_folder, origin) = file("a.csv", b"\xff\xfee\0m\0");
        let error = Input::open(&origin, None).err().unwrap().to_string();
        assert!(error.contains("UTF-16"), "{error}");
    }
}
