//! Batches of samples until the scheduler has stored them.
//!
//! The sampler pushes; the link sends from the [`Ring`] and acknowledges. Beside the ring a copy goes to disk, unsynced,
//! so that an agent that is restarted within a boot sends what it had left and does not number anew. A disk that is
//! full or read-only is said once; the ring goes on alone, and the disk is tried again now and then.

mod copy;
mod ring;
#[cfg(test)]
mod tests;

use std::{
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use ballast_core::{
    id::{BootId, Seq},
    sample::Batch,
    units::Timestamp,
};
use ballast_daemon::clock::Clock;
use ballast_proto::v1;
use prost::Message;
use tokio::sync::watch;

use copy::DiskCopy;
pub(crate) use ring::{Encoded, Ring};

/// The backlog kept: four thousand batches of twenty vms, five hours at the default period.
const RING_BYTES_MAX: usize = 16 << 20;

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
    clock: Clock,
    copy: Arc<Mutex<DiskCopy>>,
}

impl Spool {
    /// Opens the spool in `dir` and takes up what an earlier agent of the same boot left.
    pub(crate) fn open(clock: Clock, dir: &Path, boot: BootId) -> Self {
        let mut ring = Ring::new(RING_BYTES_MAX);
        let copy = Arc::new(Mutex::new(DiskCopy::open(clock.disk(), dir, boot, &mut ring)));
        let (grew, grown) = watch::channel(());
        let backlog = Backlog { ring: Arc::new(Mutex::new(ring)), grown };
        Self { backlog, grew, boot, clock, copy }
    }

    /// What the link sends from.
    pub(crate) fn backlog(&self) -> Backlog {
        self.backlog.clone()
    }

    /// Gives `batch` its number and keeps it until it is acknowledged. A disk that hangs delays this and nothing else.
    pub(crate) async fn push(&mut self, mut batch: Batch, now: Timestamp) {
        let (encoded, all_acknowledged) = self.backlog.with(|ring| {
            batch.seq = ring.next();
            let encoded = Encoded { seq: batch.seq, bytes: v1::Batch::from(batch).encode_to_vec() };
            let all_acknowledged = ring.len() == 0;
            ring.push(encoded.clone());
            (encoded, all_acknowledged)
        });
        self.grew.send_replace(());
        let copy = Arc::clone(&self.copy);
        let keep =
            move || copy.lock().unwrap_or_else(PoisonError::into_inner).keep(&encoded.bytes, all_acknowledged, now);
        if let Err(error) = self.clock.aside(keep).await {
            tracing::debug!(%error, "A batch was not copied to the disk");
        }
    }

    /// Which boot its numbers belong to.
    pub(crate) fn boot(&self) -> BootId {
        self.boot
    }
}
