//! The pass over memory that a copy is in, as far as its reports show.

use crate::{command::Progress, units::Bytes};

/// A pass.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Pass {
    /// Which, from 1; 0 before the first.
    pub(crate) number: u64,
    /// The most that was left in it: what it began with, where a report came early in it.
    pub(crate) began_with: Bytes,
    /// Reports of it so far.
    pub(crate) reports: u32,
}

impl Pass {
    /// Takes a report; true where another pass has begun.
    pub(crate) fn take(&mut self, progress: &Progress) -> bool {
        let is_another = progress.iteration != self.number;
        if is_another {
            *self = Self { number: progress.iteration, ..Self::default() };
        }
        self.reports += 1;
        self.began_with = self.began_with.max(progress.remaining);
        is_another
    }

    /// Whether it is known what it began with. QEMU counts a pass before it has found out what is to be copied in it, so that the first
    /// report may be of what was left of the pass before.
    pub(crate) fn is_clear(&self) -> bool {
        self.number <= 1 || self.reports > 1
    }
}
