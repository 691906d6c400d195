//! What happens when: events in order of time, and at one moment in a fixed order of kinds, so that a run can be repeated.

use std::{cmp::Reverse, collections::BinaryHeap};

use ballast_core::units::Timestamp;

/// One thing that is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Due {
    /// A fault sets in, by its index.
    Fault(usize),
    /// A fault is mended.
    Mended(usize),
    /// A host has fallen asleep, or has woken.
    Host(usize),
    /// A vm is shut down.
    Departure(usize),
    /// A vm is to be started.
    Arrival(usize),
    /// A migration changes by itself.
    Flight {
        /// The index of its vm.
        vm: usize,
        /// The version of it that this is about: void where it is another by now.
        version: u64,
    },
    /// The demand of every vm is looked at.
    Look,
}

/// Everything that is due.
#[derive(Debug, Clone, Default)]
pub(super) struct Agenda(BinaryHeap<Reverse<(Timestamp, Due)>>);

impl Agenda {
    pub(super) fn add(&mut self, at: Timestamp, due: Due) {
        self.0.push(Reverse((at, due)));
    }

    /// Takes the next thing that is due by `now`.
    pub(super) fn next_until(&mut self, now: Timestamp) -> Option<(Timestamp, Due)> {
        let Reverse((at, _)) = self.0.peek()?;
        if *at > now {
            return None;
        }
        self.0.pop().map(|Reverse(next)| next)
    }
}
