//! After the move: whether a vm and those it came to fare as they were expected to, and the one way back where they do not.
//!
//! ```text
//!   moved ─▶ Watch (a quarter of an hour) ──fares worse beyond the bound, two minutes long──▶ one move back ─▶ left alone
//!                └── fares as expected ─▶ forgotten                                                           (an hour)
//! ```
//!
//! What was expected is what vm and host had before: neither was to get slower by the move. How they fare is the share of time
//! that runnable vCPUs waited for a processor (steal); where no vm tells, the host's pressure stall information. Pure: the
//! fleet's state feeds it batches, `decide` asks it, the guard has the last word, the scheduler's journal remembers.

use std::{collections::BTreeMap, fmt, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{
    id::{HostId, VmId},
    sample::{Batch, HostSample, Reading, VmSample, VmState},
    snapshot::Snapshot,
    units::{Ratio, Timestamp},
};

mod memory;

pub(crate) use memory::Memory;

/// How much slower than expected counts: a tenth of the time spent waiting is what people notice and what noise is not.
pub const BOUND: f64 = 0.10;
/// Time after the arrival that does not count: caches are cold, and the copy has just used both hosts.
const SETTLING: Duration = Duration::from_secs(30);
/// Readings count for so long, and over so long a time they must agree.
const SPAN: Duration = Duration::from_secs(120);
/// Fewest readings that say anything.
const READINGS_MIN: usize = 4;
/// A watch ends after this: what happens later has other reasons.
pub const WATCHED_FOR: Duration = Duration::from_secs(15 * 60);
/// A vm that was moved back is left alone for this long, but for need.
pub const LEFT_ALONE_FOR: Duration = Duration::from_secs(3600);

/// How a vm and those around it fare, as shares of time spent waiting for a processor; `None` where nobody tells.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Faring {
    /// The vm.
    pub vm: Option<f64>,
    /// The other vms of its host, their mean.
    pub neighbours: Option<f64>,
    /// The host, by its pressure stall information.
    pub host: Option<f64>,
}

impl Faring {
    /// How they fare by one batch of the vm's host.
    pub fn of(vm: VmId, batch: &Batch) -> Self {
        Self::by(vm, &batch.sample, batch.vms.iter())
    }

    /// How `vm` fares where it is, and those on `to` without it: what both are expected to go on with.
    pub fn before(vm: VmId, to: &HostId, snapshot: &Snapshot) -> Self {
        let Some(host) = snapshot.hosts.get(to) else { return Self::default() };
        let there = snapshot.vms.values().filter(|other| other.host == *to).filter_map(|other| other.sample.as_ref());
        let own = snapshot.vms.get(&vm).and_then(|vm| vm.sample.as_ref()).and_then(steal);
        Self { vm: own, ..Self::by(vm, &host.sample.unwrap_or_default(), there) }
    }

    fn by<'a>(vm: VmId, host: &HostSample, vms: impl Iterator<Item = &'a VmSample>) -> Self {
        let (own, others): (Vec<_>, Vec<_>) =
            vms.filter(|sample| sample.state == VmState::Running).partition(|sample| sample.vm == vm);
        Self {
            vm: own.into_iter().find_map(steal),
            neighbours: mean(others.into_iter().filter_map(steal)),
            host: value(host.pressure.cpu_some),
        }
    }

    /// The mean of several, field by field.
    fn mean(all: &[Self]) -> Self {
        let each = |field: fn(&Self) -> Option<f64>| mean(all.iter().filter_map(field));
        Self { vm: each(|one| one.vm), neighbours: each(|one| one.neighbours), host: each(|one| one.host) }
    }
}

fn steal(sample: &VmSample) -> Option<f64> {
    value(sample.steal)
}

fn value(reading: Reading<Ratio>) -> Option<f64> {
    reading.value().map(Ratio::get).filter(|share| (0.0..=1.0).contains(share))
}

fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let (sum, count) = values.fold((0.0, 0.0), |(sum, count), value| (sum + value, count + 1.0));
    (count > 0.0).then(|| sum / count)
}

/// Who fares worse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Who {
    /// The vm that moved.
    Vm,
    /// Those it came to.
    Neighbours,
    /// All of the host, for no vm tells.
    Host,
}

/// That somebody fares worse than expected, beyond the bound.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Worse {
    /// Who.
    pub who: Who,
    /// Share of time spent waiting.
    pub found: f64,
    /// What was expected.
    pub expected: f64,
}

impl fmt::Display for Worse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let who = match self.who {
            Who::Vm => "it waits for a processor",
            Who::Neighbours => "those it came to wait for a processor",
            Who::Host => "its host is under pressure",
        };
        let percent = |share: f64| share * 100.0;
        write!(f, "{who} {:.0} % of the time, {:.0} % were expected", percent(self.found), percent(self.expected))
    }
}

/// A vm that has moved, as the journal keeps it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Moved {
    /// Which vm.
    pub vm: VmId,
    /// Where it came from.
    pub from: HostId,
    /// Where it is now.
    pub to: HostId,
    /// When it had arrived.
    pub at: Timestamp,
    /// How both fared before.
    pub before: Faring,
    /// True where this was the way back: no further one follows.
    pub back: bool,
}

/// What a snapshot shows of a vm that has moved.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Care {
    /// It is watched.
    Watched {
        /// Where it came from.
        from: HostId,
        /// That it fares worse than expected, where it does.
        worse: Option<Worse>,
    },
    /// It was moved back, and rests.
    LeftAlone {
        /// Until when.
        until: Timestamp,
    },
}

/// A vm that is watched.
#[derive(Debug, Clone, PartialEq)]
struct Watch {
    moved: Moved,
    readings: Vec<(Timestamp, Faring)>,
}

impl Watch {
    fn new(moved: Moved) -> Self {
        Self { moved, readings: Vec::new() }
    }

    /// Takes a batch of the host that it moved to.
    fn observe(&mut self, batch: &Batch, now: Timestamp) {
        if now.since(self.moved.at) < SETTLING || !batch.vms.iter().any(|sample| sample.vm == self.moved.vm) {
            return;
        }
        self.readings.push((now, Faring::of(self.moved.vm, batch)));
        // One reading beyond the span is kept: it shows that the others cover all of it.
        let beyond = self.readings.iter().filter(|(at, _)| now.since(*at) >= SPAN).count();
        self.readings.drain(..beyond.saturating_sub(1));
    }

    /// Who fares worse than expected, where somebody does: over all of the span.
    fn verdict(&self) -> Option<Worse> {
        let (first, last) = self.readings.first().zip(self.readings.last()).map(|(first, last)| (first.0, last.0))?;
        if last.since(first) < SPAN || self.readings.len() < READINGS_MIN {
            return None;
        }
        let readings: Vec<Faring> = self.readings.iter().map(|(_, faring)| *faring).collect();
        worse(&self.moved.before, &Faring::mean(&readings))
    }
}

/// Who fares worse by `found` than by `before`, beyond the bound; the worst of them. Pressure counts only where no vm tells.
pub fn worse(before: &Faring, found: &Faring) -> Option<Worse> {
    let each = [(Who::Vm, found.vm, before.vm), (Who::Neighbours, found.neighbours, before.neighbours)];
    let silent = found.vm.is_none() && found.neighbours.is_none();
    let host = silent.then_some((Who::Host, found.host, before.host));
    let each = each.into_iter().chain(host).filter_map(|(who, found, expected)| {
        // What nobody knew is expected to be nothing: a host that was empty has nobody who waited.
        Some(Worse { who, found: found?, expected: expected.unwrap_or(0.0) })
    });
    let beyond = each.filter(|one| one.found > one.expected + BOUND);
    beyond.max_by(|a, b| (a.found - a.expected).total_cmp(&(b.found - b.expected)))
}

/// Vms that are to be moved back, with where to and why.
pub fn regrets(snapshot: &Snapshot) -> impl Iterator<Item = (VmId, &HostId, Worse)> {
    snapshot.aftercare.iter().filter_map(|(vm, care)| match care {
        Care::Watched { from, worse: Some(worse) } => Some((*vm, from, *worse)),
        Care::Watched { worse: None, .. } | Care::LeftAlone { .. } => None,
    })
}

/// What snapshots show, by vm.
pub type Cares = BTreeMap<VmId, Care>;

#[cfg(test)]
mod tests;
