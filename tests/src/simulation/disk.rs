//! The disks of a run's machines, which may be full for a while.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering::Relaxed},
};

use ballast_daemon::segments;

use super::dice::Dice;

/// One machine's disk; clones are of the same.
#[derive(Debug, Clone)]
pub(super) struct Disk {
    is_full: Arc<AtomicBool>,
    has_refused: Arc<AtomicBool>,
    dice: Dice,
}

impl Disk {
    /// A disk with room.
    pub(super) fn new(dice: Dice) -> Self {
        Self { is_full: Arc::default(), has_refused: Arc::default(), dice }
    }

    /// Fills it, or makes room.
    pub(super) fn fill(&self, full: bool) {
        self.is_full.store(full, Relaxed);
    }

    /// Whether it is full.
    pub(super) fn is_full(&self) -> bool {
        self.is_full.load(Relaxed)
    }

    /// Whether it has refused anything since it was last asked to forget that.
    pub(super) fn has_refused(&self) -> bool {
        self.has_refused.load(Relaxed)
    }

    /// Forgets what it has refused.
    pub(super) fn forget(&self) {
        self.has_refused.store(false, Relaxed);
    }

    /// How a process writes to it. A full disk may take a little still (the last page of a file), and takes the beginning of
    /// what it refuses.
    pub(super) fn written(&self) -> segments::Disk {
        let disk = self.clone();
        segments::Disk::simulated(Arc::new(move |_, bytes| {
            if !disk.is_full() || disk.dice.chance(0.15) {
                return bytes;
            }
            disk.has_refused.store(true, Relaxed);
            disk.dice.below(bytes)
        }))
    }
}
