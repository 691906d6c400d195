//! Puts what agents send in order: by boot and sequence number, each batch once.
//!
//! Pure. The state task asks it before anything of a batch is believed; replay asks it the same. It doubts nothing of a
//! batch's figures; `core::plausibility` does.

use std::{collections::BTreeMap, time::Duration};

use ballast_core::{
    id::{BootId, HostId, Seq},
    inventory::Inventory,
    sample::Batch,
    units::Timestamp,
};

/// What becomes of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Admission {
    /// It is the next one, after `missing` that never came.
    Taken {
        /// Batches left out.
        missing: u64,
        /// When its figures were taken, by the scheduler's clock: now, or for what waited in a spool, earlier.
        at: Timestamp,
    },
    /// It has come before.
    Duplicate,
    /// Newer ones have been taken: what it says is over.
    Late,
    /// It is of an earlier boot, or of one that was never announced.
    OtherBoot,
}

/// Where each host's stream stands.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ingest {
    hosts: BTreeMap<HostId, Stream>,
}

#[derive(Debug, Clone)]
struct Stream {
    boot: BootId,
    /// The newest batch taken.
    newest: Seq,
    /// Batches below `newest` that never came, newest last; bounded.
    missing: Vec<Seq>,
    /// When the link was opened: by the agent's clock, and by ours.
    opened: (Timestamp, Timestamp),
    /// Whether a batch was taken that is newer than the opening of the link.
    caught_up: bool,
}

/// Gaps remembered per host, to tell a late batch from a duplicate.
const GAPS: usize = 64;

impl Ingest {
    /// A host opened its link at `now` and still holds batches from `resume_from` on. Returns where it shall resume.
    pub(crate) fn open(&mut self, inventory: &Inventory, resume_from: Seq, now: Timestamp) -> Seq {
        let opened = (inventory.taken_at, now);
        let stream = self.hosts.entry(inventory.host.clone()).or_insert_with(|| Stream::new(inventory.boot, opened));
        if stream.boot != inventory.boot {
            *stream = Stream::new(inventory.boot, opened);
        }
        (stream.opened, stream.caught_up) = (opened, false);
        Seq(resume_from.0.max(stream.newest.0.saturating_add(1)))
    }

    /// Whether this boot of a host has opened a link.
    pub(crate) fn knows(&self, host: &HostId, boot: BootId) -> bool {
        self.hosts.get(host).is_some_and(|stream| stream.boot == boot)
    }

    /// Judges a batch that was received at `now`.
    pub(crate) fn admit(&mut self, batch: &Batch, now: Timestamp) -> Admission {
        let Some(stream) = self.hosts.get_mut(&batch.host) else { return Admission::OtherBoot };
        if stream.boot != batch.boot {
            return Admission::OtherBoot;
        }
        if batch.seq <= stream.newest {
            return stream.judge_old(batch.seq);
        }
        Admission::Taken { missing: stream.advance(batch.seq), at: stream.time_of(batch.taken_at, now) }
    }
}

impl Stream {
    fn new(boot: BootId, opened: (Timestamp, Timestamp)) -> Self {
        Self { boot, newest: Seq(0), missing: Vec::new(), opened, caught_up: false }
    }

    fn judge_old(&mut self, seq: Seq) -> Admission {
        match self.missing.iter().position(|gap| *gap == seq) {
            Some(place) => {
                self.missing.remove(place);
                Admission::Late
            }
            None => Admission::Duplicate,
        }
    }

    /// Moves on to `seq`; returns how many were left out. A stream that begins later than at 1 left out nothing: its
    /// beginning was acknowledged to an earlier life of the scheduler.
    fn advance(&mut self, seq: Seq) -> u64 {
        let left_out = seq.0 - self.newest.0 - 1;
        let missing = if self.newest == Seq(0) { 0 } else { left_out };
        self.missing.extend((seq.0 - missing.min(GAPS as u64)..seq.0).map(Seq));
        let excess = self.missing.len().saturating_sub(GAPS);
        self.missing.drain(..excess);
        self.newest = seq;
        missing
    }

    /// A batch that the agent took before it opened the link waited in its spool: its figures are as old as the agent's
    /// own clock says between the two. The agent's clock is believed for nothing else, and for nothing once a batch
    /// is newer than the opening.
    fn time_of(&mut self, taken_at: Timestamp, now: Timestamp) -> Timestamp {
        let (agents, ours) = self.opened;
        self.caught_up |= taken_at >= agents;
        if self.caught_up {
            return now;
        }
        let waited: Duration = agents.since(taken_at);
        ours.before(waited).min(now)
    }
}

#[cfg(test)]
mod tests;
