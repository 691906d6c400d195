//! Batches of samples until the scheduler has stored them.
//!
//! The sampler pushes; the link sends from the [`Ring`] and acknowledges. Beside the ring a copy goes to disk, unsynced,
//! so that an agent that is restarted within a boot sends what it had left and does not number anew. A disk that is
//! full or read-only is said once; the ring goes on alone, and the disk is tried again now and then.

mod ring;
#[cfg(test)]
mod tests;

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use ballast_core::{
    id::{BootId, Seq},
    sample::Batch,
    units::Timestamp,
};
use ballast_daemon::segments::{Disk, Options, SegmentError, SegmentWriter, read_dir};
use ballast_proto::{convert, v1};
use prost::Message;
use tokio::sync::watch;

use crate::journal::chain;
pub(crate) use ring::{Encoded, Ring};

/// Marks the segments of the spool.
const KIND: u16 = 11;
/// The backlog kept: four thousand batches of twenty vms, five hours at the default period.
const RING_BYTES_MAX: usize = 16 << 20;
/// The copy on disk: twice the ring, for acknowledged batches leave it a segment at a time.
const OPTIONS: Options =
    Options { kind: KIND, compress: true, sync: false, segment_bytes_max: 1 << 20, total_bytes_max: Some(32 << 20) };
/// The copy is emptied when all of it is acknowledged and it is this large.
const CLEAR_BYTES: u64 = 1 << 20;
/// A disk that refused is tried again after so many batches: five minutes at the default period.
const TRIED_AGAIN: u32 = 60;

/// The backlog as the link sees it.
#[derive(Debug, Clone)]
pub(crate) struct Backlog {
    ring: Arc<Mutex<Ring>>,
    grown: watch::Receiver<()>,
}

impl Backlog {
    /// Looks at the ring, or changes it. The lock is held for `look` alone, so two looks never wait for each other.
    pub(crate) fn with<T>(&self, look: impl FnOnce(&mut Ring) -> T) -> T {
        look(&mut self.ring.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Returns when a batch was added since the last time it returned; never once the sampler is gone.
    pub(crate) async fn grown(&mut self) {
        if self.grown.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// The first batch after `seq`, ready to be sent.
    pub(crate) fn after(&self, seq: Seq) -> Option<(Seq, v1::Batch)> {
        let found = self.with(|ring| ring.after(seq).cloned())?;
        // What is in the ring was encoded here.
        v1::Batch::decode(found.bytes.as_slice()).ok().map(|batch| (found.seq, batch))
    }
}

/// The backlog as the sampler sees it.
#[derive(Debug)]
pub(crate) struct Spool {
    backlog: Backlog,
    grew: watch::Sender<()>,
    boot: BootId,
    place: (Disk, PathBuf),
    disk: Option<SegmentWriter>,
    disk_bytes: u64,
    /// Batches since the disk refused.
    without: u32,
}

impl Spool {
    /// Opens the spool in `dir` and takes up what an earlier agent of the same boot left.
    pub(crate) fn open(on: Disk, dir: &Path, boot: BootId) -> Self {
        let mut ring = Ring::new(RING_BYTES_MAX);
        let disk = open(&on, dir, boot, &mut ring).inspect_err(warn_once).ok();
        let disk_bytes = disk.as_ref().and_then(|disk| disk.disk_bytes().ok()).unwrap_or_default();
        let (grew, grown) = watch::channel(());
        let backlog = Backlog { ring: Arc::new(Mutex::new(ring)), grown };
        Self { backlog, grew, boot, place: (on, dir.to_path_buf()), disk, disk_bytes, without: 0 }
    }

    /// What the link sends from.
    pub(crate) fn backlog(&self) -> Backlog {
        self.backlog.clone()
    }

    /// Gives `batch` its number and keeps it until it is acknowledged. Blocks for a write without a sync.
    pub(crate) fn push(&mut self, mut batch: Batch, now: Timestamp) {
        let (encoded, all_acknowledged) = self.backlog.with(|ring| {
            batch.seq = ring.next();
            let encoded = Encoded { seq: batch.seq, bytes: v1::Batch::from(batch).encode_to_vec() };
            let all_acknowledged = ring.len() == 0;
            ring.push(encoded.clone());
            (encoded, all_acknowledged)
        });
        self.grew.send_replace(());
        self.try_again();
        if let Err(error) = self.copy(&encoded, all_acknowledged, now) {
            warn_once(&error);
            self.disk = None;
        }
    }

    /// Takes up a disk that refused, now and then. What it still holds is of before; what only the ring holds stays there.
    fn try_again(&mut self) {
        if self.disk.is_some() {
            return;
        }
        self.without += 1;
        if self.without >= TRIED_AGAIN {
            self.without = 0;
            let (on, dir) = &self.place;
            self.disk = open_or_empty(on, dir).ok().map(|(disk, _)| disk);
            self.disk_bytes = self.disk.as_ref().and_then(|disk| disk.disk_bytes().ok()).unwrap_or_default();
        }
    }

    fn copy(&mut self, batch: &Encoded, all_acknowledged: bool, now: Timestamp) -> Result<(), SegmentError> {
        let Some(disk) = &mut self.disk else { return Ok(()) };
        if all_acknowledged && self.disk_bytes > CLEAR_BYTES {
            disk.clear()?;
            self.disk_bytes = 0;
        }
        disk.push(&batch.bytes)?;
        disk.commit(now)?;
        self.disk_bytes += batch.bytes.len() as u64;
        Ok(())
    }

    /// Which boot its numbers belong to.
    pub(crate) fn boot(&self) -> BootId {
        self.boot
    }
}

fn warn_once(error: &SegmentError) {
    tracing::warn!(
        error = chain(error),
        "The spool on disk cannot be used: samples are kept in memory alone, and lost with the agent"
    );
}

fn open(on: &Disk, dir: &Path, boot: BootId, ring: &mut Ring) -> Result<SegmentWriter, SegmentError> {
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
fn open_or_empty(on: &Disk, dir: &Path) -> Result<(SegmentWriter, ballast_daemon::segments::Recovery), SegmentError> {
    let open = || SegmentWriter::open_on(on.clone(), dir, OPTIONS);
    let opened = open().and_then(|opened| read_dir(dir, KIND, |_| ()).map(|()| opened));
    match opened {
        Err(error) if !error.is_io() => {
            tracing::warn!(error = chain(&error), "Threw away a damaged spool; its samples are lost");
            for path in ballast_daemon::segments::segment_files(dir)? {
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
