//! Reading segments back, entry by entry.

use std::{
    fs,
    path::{Path, PathBuf},
};

use ballast_core::journal::{self, Chain, Tail};

use super::{SegmentError, block};

/// One entry and where it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// What was pushed.
    pub bytes: Vec<u8>,
    /// The file it is in.
    pub path: PathBuf,
    /// Where its record begins.
    pub offset: usize,
}

/// The segment files of a directory, oldest first; a directory that does not exist has none.
///
/// # Errors
/// [`SegmentError::Io`] when it cannot be listed.
pub fn segment_files(dir: &Path) -> Result<Vec<PathBuf>, SegmentError> {
    let listing = match fs::read_dir(dir) {
        Ok(listing) => listing,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(SegmentError::io("list", dir)(error)),
    };
    let mut files = Vec::new();
    for entry in listing {
        let path = entry.map_err(SegmentError::io("list", dir))?.path();
        if path.extension().is_some_and(|extension| extension == "seg") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// Every entry of a directory's segments, oldest first. A torn tail of the last segment ends the reading quietly: it was
/// never acknowledged to anybody.
///
/// # Errors
/// [`SegmentError`] when a file cannot be read, is of another kind, is damaged, or does not follow the one before.
pub fn read_dir(dir: &Path, kind: u16, mut each: impl FnMut(Entry)) -> Result<(), SegmentError> {
    let files = segment_files(dir)?;
    let mut expected: Option<(u64, Chain)> = None;
    for (index, path) in files.iter().enumerate() {
        let is_last = index + 1 == files.len();
        expected = read_one(path, kind, is_last, expected, &mut each)?.next;
    }
    Ok(())
}

/// Every entry of one segment file on its own; returns how many bytes at its end could not be read because a write was
/// interrupted, or because nothing after them says that they were once whole.
///
/// # Errors
/// As [`read_dir`].
pub fn read_file(path: &Path, kind: u16, mut each: impl FnMut(Entry)) -> Result<usize, SegmentError> {
    read_one(path, kind, true, None, &mut each).map(|read| read.torn_bytes)
}

/// What reading one segment left behind.
struct Read {
    /// What the next segment must begin with.
    next: Option<(u64, Chain)>,
    /// Bytes at its end that were not read.
    torn_bytes: usize,
}

/// Reads one segment.
fn read_one(
    path: &Path,
    kind: u16,
    is_last: bool,
    expected: Option<(u64, Chain)>,
    each: &mut impl FnMut(Entry),
) -> Result<Read, SegmentError> {
    let bytes = fs::read(path).map_err(SegmentError::io("read", path))?;
    if is_last && bytes.len() < journal::HEADER_BYTES {
        return Ok(Read { next: expected, torn_bytes: bytes.len() });
    }
    let scan = journal::scan(&bytes, kind).map_err(|source| SegmentError::Header { path: path.into(), source })?;
    let corrupt = |offset, reason| SegmentError::Corrupt { path: path.into(), offset, reason };
    if expected.is_some_and(|expected| expected != (scan.header.first, scan.header.chain)) {
        return Err(corrupt(0, "the segment does not follow the one before it".into()));
    }
    let torn_bytes = match scan.tail {
        Tail::Corrupt { offset, reason } => return Err(corrupt(offset, reason)),
        Tail::Torn { offset, bytes } if !is_last => {
            return Err(corrupt(offset, format!("{bytes} bytes are damaged in a segment that was closed")));
        }
        Tail::Torn { bytes, .. } => bytes,
        Tail::Clean => 0,
    };
    for record in &scan.records {
        for bytes in block::entries(record.payload).map_err(|reason| corrupt(record.offset, reason))? {
            each(Entry { bytes, path: path.into(), offset: record.offset });
        }
    }
    Ok(Read { next: Some((scan.next, scan.chain)), torn_bytes })
}
