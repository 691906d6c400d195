//! Append-only segment files: journal, telemetry log and spool are all kept this way.
//!
//! Entries are pushed into a block; a commit writes the block as one framed record (`ballast_core::journal`), compressed
//! where wanted and synced where wanted. Full segments are closed and a new one begun; the oldest are deleted when
//! there are too many. A torn tail is cut on opening; anything else that is wrong stops it with file and offset, a synced record
//! that is gone from the end included (`head`).

mod block;
mod disk;
mod head;
mod reader;
mod writer;

use std::{io, path::PathBuf};

use ballast_core::journal::HeaderError;
use thiserror::Error;

pub use disk::{Disk, Room};
pub use reader::{Entry, read_dir, read_file, segment_files};
pub use writer::{Recovery, SegmentWriter};

/// How a set of segments is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// What the segments hold: opening files of another kind is an error.
    pub kind: u16,
    /// Whether blocks are compressed (zstd).
    pub compress: bool,
    /// Whether a commit returns only when its block is on the disk.
    pub sync: bool,
    /// Size at which a segment is closed.
    pub segment_bytes_max: u64,
    /// Size of all segments together above which the oldest are deleted; `None` keeps all.
    pub total_bytes_max: Option<u64>,
}

/// Why segments could not be read or written.
#[derive(Debug, Error)]
pub enum SegmentError {
    /// The file system said no.
    #[error("{action} {}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file or directory.
        path: PathBuf,
        /// What came of it.
        #[source]
        source: io::Error,
    },
    /// The file is not a segment of the kind wanted.
    #[error("{}", path.display())]
    Header {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        #[source]
        source: HeaderError,
    },
    /// A record that once was on the disk is damaged.
    #[error("{} is damaged at byte {offset}: {reason}", path.display())]
    Corrupt {
        /// Which file.
        path: PathBuf,
        /// Where.
        offset: usize,
        /// What is wrong.
        reason: String,
    },
    /// One entry is longer than a record may be.
    #[error("an entry of {bytes} bytes is longer than a record may be")]
    TooLong {
        /// How long it is.
        bytes: usize,
    },
}

impl SegmentError {
    fn io(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { action, path, source }
    }

    /// True where the disk is full, read-only or failing rather than the data wrong.
    pub fn is_io(&self) -> bool {
        matches!(self, Self::Io { .. })
    }
}

#[cfg(test)]
mod tests;
