//! The spool's copy on disk: what an agent that is restarted within a boot goes on from. Blocks; the spool has it done aside.

use std::path::{Path, PathBuf};

use ballast_core::{
    id::{BootId, Seq},
    units::Timestamp,
};
use ballast_daemon::segments::{Disk, Options, Recovery, SegmentError, SegmentWriter, read_dir, segment_files};
use ballast_proto::{convert, v1};
use prost::Message;

use super::{Encoded, Ring};
use crate::journal::chain;

/// Marks the segments of the spool.
const KIND: u16 = 11;
/// Twice the ring, for acknowledged batches leave it a segment at a time. Not compressed: that is work at every beat for files
/// that hardly anybody ever reads.
const OPTIONS: Options =
    Options { kind: KIND, compress: false, sync: false, segment_bytes_max: 1 << 20, total_bytes_max: Some(32 << 20) };
/// The copy is emptied when all of it is acknowledged and it is this large.
pub(super) const CLEAR_BYTES: u64 = 1 << 20;
/// A disk that refused is tried again after so many batches: five minutes at the default period.
pub(super) const TRIED_AGAIN: u32 = 60;

/// The copy, where there is a disk that takes one.
#[derive(Debug)]
pub(super) struct DiskCopy {
    place: (Disk, PathBuf),
    writer: Option<SegmentWriter>,
    pub(super) bytes: u64,
    /// Batches since the disk refused.
    without: u32,
}

impl DiskCopy {
    /// Opens the copy in `dir` and puts what an earlier agent of the same boot left into `ring`.
    pub(super) fn open(on: Disk, dir: &Path, boot: BootId, ring: &mut Ring) -> Self {
        let writer = take_up(&on, dir, boot, ring).inspect_err(warn_once).ok();
        let bytes = bytes_of(writer.as_ref());
        Self { place: (on, dir.to_path_buf()), writer, bytes, without: 0 }
    }

    /// Adds a batch; `all_acknowledged` where none before it need be kept.
    pub(super) fn keep(&mut self, batch: &[u8], all_acknowledged: bool, now: Timestamp) {
        self.try_again();
        if let Err(error) = self.write(batch, all_acknowledged, now) {
            warn_once(&error);
            self.writer = None;
        }
    }

    /// Takes up a disk that refused, now and then. What it still holds is of before; what only the ring holds stays there.
    fn try_again(&mut self) {
        if self.writer.is_some() {
            return;
        }
        self.without += 1;
        if self.without >= TRIED_AGAIN {
            self.without = 0;
            let (on, dir) = &self.place;
            self.writer = open_or_empty(on, dir).ok().map(|(writer, _)| writer);
            self.bytes = bytes_of(self.writer.as_ref());
        }
    }

    fn write(&mut self, batch: &[u8], all_acknowledged: bool, now: Timestamp) -> Result<(), SegmentError> {
        let Some(writer) = &mut self.writer else { return Ok(()) };
        if all_acknowledged && self.bytes > CLEAR_BYTES {
            writer.clear()?;
            self.bytes = 0;
        }
        writer.push(batch)?;
        writer.commit(now)?;
        self.bytes += batch.len() as u64;
        Ok(())
    }
}

fn bytes_of(writer: Option<&SegmentWriter>) -> u64 {
    writer.and_then(|writer| writer.disk_bytes().ok()).unwrap_or_default()
}

fn warn_once(error: &SegmentError) {
    tracing::warn!(
        error = chain(error),
        "The spool on disk cannot be used: samples are kept in memory alone, and lost with the agent"
    );
}

fn take_up(on: &Disk, dir: &Path, boot: BootId, ring: &mut Ring) -> Result<SegmentWriter, SegmentError> {
    let (mut disk, recovery) = open_or_empty(on, dir)?;
    if let Some((path, bytes)) = recovery.torn {
        tracing::info!(path = %path.display(), bytes, "Cut an interrupted write from the spool");
    }
    let mut others = 0_u64;
    read_dir(dir, KIND, |entry| match decode(&entry.bytes, boot) {
        Some(seq) => ring.push(Encoded { seq, bytes: entry.bytes }),
        None => others += 1,
    })?;
    if others > 0 {
        tracing::info!(batches = others, "Dropped samples of an earlier boot that were never sent");
        if ring.len() == 0 {
            disk.clear()?;
        }
    }
    Ok(disk)
}

/// Opens the segments. Samples are not worth a stop: what is damaged is thrown away.
fn open_or_empty(on: &Disk, dir: &Path) -> Result<(SegmentWriter, Recovery), SegmentError> {
    let open = || SegmentWriter::open_on(on.clone(), dir, OPTIONS);
    let opened = open().and_then(|opened| read_dir(dir, KIND, |_| ()).map(|()| opened));
    match opened {
        Err(error) if !error.is_io() => {
            tracing::warn!(error = chain(&error), "Threw away a damaged spool; its samples are lost");
            for path in segment_files(dir)? {
                std::fs::remove_file(&path).map_err(|source| SegmentError::Io { action: "remove", path, source })?;
            }
            open()
        }
        outcome => outcome,
    }
}

fn decode(bytes: &[u8], boot: BootId) -> Option<Seq> {
    let batch = v1::Batch::decode(bytes).ok()?;
    (batch.boot_uuid == convert::uuid_bytes(boot)).then_some(Seq(batch.seq))
}
