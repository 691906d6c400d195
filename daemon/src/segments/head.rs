//! The newest record that is known to be on the disk, noted in a file beside the segments.
//!
//! Records vouch only for those before them: without the note, segments that lost their end look like segments whose last write
//! was interrupted. It is written after each synced record and not synced itself, so it may be older than the records after a
//! power failure, and is never newer. `seq:u64` and its complement, little-endian; what is not that says nothing.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

const FILE: &str = "head";
const BYTES: usize = 16;

/// Where the note of these segments is.
pub(super) fn path(dir: &Path) -> PathBuf {
    dir.join(FILE)
}

/// What is noted; nothing where no note is, or none that is whole.
pub(super) fn read(dir: &Path) -> Option<u64> {
    let bytes: [u8; BYTES] = fs::read(path(dir)).ok()?.try_into().ok()?;
    let (seq, complement) = bytes.split_first_chunk::<8>()?;
    let seq = u64::from_le_bytes(*seq);
    (complement == (!seq).to_le_bytes()).then_some(seq)
}

/// The note, to be written anew again and again.
#[derive(Debug)]
pub(super) struct Head(File);

impl Head {
    pub(super) fn open(dir: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().write(true).create(true).truncate(false).open(path(dir))?;
        file.set_len(BYTES as u64)?;
        Ok(Self(file))
    }

    pub(super) fn note(&self, seq: u64) -> io::Result<()> {
        let mut bytes = [0; BYTES];
        bytes[..8].copy_from_slice(&seq.to_le_bytes());
        bytes[8..].copy_from_slice(&(!seq).to_le_bytes());
        self.0.write_all_at(&bytes, 0)
    }
}
