//! Wall clocks of a run's machines, which may be wrong and may be stepped; and what the scheduler's showed when, so that
//! its journal can be judged by the time that really passed.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering::Relaxed},
    },
    time::Duration,
};

use ballast_core::{
    id::Epoch,
    units::{Timestamp, nanos_of},
};
use ballast_daemon::clock::Wall;

use crate::scheduler::START;

/// One machine's wall clock; clones are of the same machine.
#[derive(Debug, Clone, Default)]
pub(super) struct WallClock(Arc<AtomicI64>);

impl WallClock {
    /// A clock that is `ahead` of the truth.
    pub(super) fn ahead(ahead: Duration) -> Self {
        Self(Arc::new(AtomicI64::new(signed(ahead))))
    }

    /// Steps it: forward, or back.
    pub(super) fn step(&self, by: Duration, back: bool) {
        self.0.fetch_add(if back { -signed(by) } else { signed(by) }, Relaxed);
    }

    /// How a process reads it that was begun at `born`.
    pub(super) fn read_from(&self, born: Duration) -> Wall {
        let clock = self.clone();
        Box::new(move |elapsed| shifted(START.after(born + elapsed), clock.0.load(Relaxed)))
    }
}

fn signed(span: Duration) -> i64 {
    i64::try_from(nanos_of(span)).unwrap_or(i64::MAX)
}

fn shifted(time: Timestamp, by: i64) -> Timestamp {
    let span = Duration::from_nanos(by.unsigned_abs());
    if by < 0 { time.before(span) } else { time.after(span) }
}

/// What the clock of each life of the scheduler showed, and when that was.
#[derive(Debug, Default)]
pub(super) struct Shown(BTreeMap<Epoch, Vec<(Timestamp, Timestamp)>>);

impl Shown {
    /// At `now` the scheduler of this epoch showed `shown`.
    pub(super) fn note(&mut self, epoch: Epoch, shown: Timestamp, now: Duration) {
        let (seen, truth) = (self.0.entry(epoch).or_default(), START.after(now));
        // A clock that is right, or as wrong as before, needs no new entry.
        let same = |(last, then): &(Timestamp, Timestamp)| {
            difference(*last, *then).abs_diff(difference(shown, truth)) < 500_000
        };
        if !seen.last().is_some_and(same) {
            seen.push((shown, truth));
        }
    }

    /// How far into the run it was when the scheduler of this epoch showed `at`.
    pub(super) fn truth(&self, epoch: Epoch, at: Timestamp) -> Duration {
        let seen = self.0.get(&epoch).map(Vec::as_slice).unwrap_or_default();
        let after = seen.partition_point(|(shown, _)| *shown <= at);
        let error = seen.get(after.saturating_sub(1)).map_or(0, |(shown, truth)| difference(*shown, *truth));
        shifted(at, -error).since(START)
    }
}

/// How far one is after the other, in nanoseconds.
fn difference(one: Timestamp, other: Timestamp) -> i64 {
    signed(one.since(other)) - signed(other.since(one))
}
