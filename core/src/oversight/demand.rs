//! What vms used, in means of one forecast step: what forecasts are scored against, and the last two hours for people.
//!
//! A slot holds what was measured in `(begin, end]`: a sample tells of the time before it. A slot without a value is a gap,
//! never zero. Per vm it keeps the open slot and the newest 24 that are closed: about 1 KiB, whatever the sampling period.

use std::{collections::BTreeMap, time::Duration};

use crate::{
    forecast::STEP,
    id::VmId,
    oversight::resource::Resource,
    sample::VmSample,
    units::{Timestamp, nanos_of},
    window::Window,
};

/// Closed slots that are kept of each vm: two hours, as much as a chart of a terminal's width shows.
const KEPT: usize = 24;

/// Time after its end for which a slot that misses its last sample waits: it may be on its way.
const GRACE: Duration = Duration::from_secs(2);

/// Means by resource, in the order of [`Resource::ALL`].
pub(super) type Means = [Option<f64>; Resource::ALL.len()];

/// One step of a vm's past.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DemandStep {
    /// Its beginning.
    pub from: Timestamp,
    /// Mean CPU, cores.
    pub cpu: Option<f64>,
    /// Mean memory used, bytes.
    pub memory: Option<f64>,
}

/// A slot that is over.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Closed {
    pub(super) vm: VmId,
    pub(super) slot: u64,
    pub(super) means: Means,
}

/// What every vm used.
#[derive(Debug, Clone, Default)]
pub(super) struct Demand(BTreeMap<VmId, Track>);

#[derive(Debug, Clone)]
struct Track {
    slot: u64,
    sums: [(f64, u32); Resource::ALL.len()],
    /// The newest sample's moment.
    reached: Timestamp,
    newest: Option<(u64, Means)>,
    /// CPU and memory; what is missing is not a number here.
    past: Window<[f64; 2]>,
}

/// The slot that is under way at `now`: everything up to `now` belongs to those before it.
pub(super) fn under_way(now: Timestamp) -> u64 {
    now.nanos() / nanos_of(STEP)
}

/// The beginning of a slot.
pub(super) fn begin_of(slot: u64) -> Timestamp {
    Timestamp(slot.saturating_mul(nanos_of(STEP)))
}

impl Demand {
    /// Takes a sample; returns the slot that is over by it. One that comes after its slot was closed tells nothing.
    pub(super) fn observe(&mut self, sample: &VmSample) -> Option<Closed> {
        let slot = under_way(Timestamp(sample.taken_at.nanos().saturating_sub(1)));
        let track = self.0.entry(sample.vm).or_insert_with(|| Track::new(slot));
        let closed = (slot > track.slot).then(|| track.close(sample.vm, slot)).flatten();
        if slot == track.slot {
            track.add(sample);
        }
        closed
    }

    /// Closes every slot that ended by `now` and has all its samples, as far as one can tell.
    pub(super) fn close(&mut self, now: Timestamp) -> Vec<Closed> {
        let current = under_way(now);
        let is_over = |track: &Track| {
            let end = begin_of(track.slot.saturating_add(1));
            track.slot < current && (track.reached >= end || now >= end.after(GRACE))
        };
        let over = self.0.iter_mut().filter(|(_, track)| is_over(track));
        over.filter_map(|(vm, track)| track.close(*vm, current)).collect()
    }

    /// The means of the slot before `slot`, where it is known.
    pub(super) fn before(&self, vm: VmId, slot: u64) -> Option<Means> {
        let (newest, means) = self.0.get(&vm)?.newest?;
        (newest.saturating_add(1) == slot).then_some(means)
    }

    /// Every vm that is known.
    pub(super) fn vms(&self) -> impl Iterator<Item = VmId> {
        self.0.keys().copied()
    }

    /// The last hours of a vm, oldest first; steps without a value are left out.
    pub(super) fn history(&self, vm: VmId) -> Vec<DemandStep> {
        let known = |value: f64| Some(value).filter(|value| value.is_finite());
        let past = self.0.get(&vm).into_iter().flat_map(|track| track.past.iter());
        past.filter_map(|(from, means)| {
            let [cpu, memory] = *means?;
            Some(DemandStep { from, cpu: known(cpu), memory: known(memory) })
        })
        .collect()
    }

    pub(super) fn forget(&mut self, vm: VmId) {
        self.0.remove(&vm);
    }
}

impl Track {
    fn new(slot: u64) -> Self {
        Self { slot, sums: Default::default(), reached: Timestamp::EPOCH, newest: None, past: Window::new(STEP, KEPT) }
    }

    fn add(&mut self, sample: &VmSample) {
        self.reached = sample.taken_at;
        for (resource, (sum, values)) in Resource::ALL.into_iter().zip(&mut self.sums) {
            if let Some(value) = resource.value(sample) {
                *sum += value;
                *values = values.saturating_add(1);
            }
        }
    }

    /// Ends the open slot and begins `next`; `None` where the open one held nothing.
    fn close(&mut self, vm: VmId, next: u64) -> Option<Closed> {
        let (slot, sums) = (self.slot, std::mem::take(&mut self.sums));
        self.slot = next;
        let means = sums.map(|(sum, values)| (values > 0).then(|| sum / f64::from(values)));
        if means.iter().all(Option::is_none) {
            return None;
        }
        self.newest = Some((slot, means));
        self.past.push(begin_of(slot), [means[0].unwrap_or(f64::NAN), means[1].unwrap_or(f64::NAN)]);
        Some(Closed { vm, slot, means })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{sample::Reading, units::Cores};

    fn sample(seconds: u64, cpu: Option<f64>) -> VmSample {
        VmSample {
            taken_at: Timestamp::from_secs(seconds),
            cpu_used: Reading::measured(cpu.map(Cores)),
            ..VmSample::default()
        }
    }

    #[test]
    fn a_sample_on_the_boundary_tells_of_the_step_before_it() {
        let mut demand = Demand::default();
        assert_eq!(demand.observe(&sample(300, Some(1.0))), None);
        let closed = demand.close(Timestamp::from_secs(300));
        assert_eq!((closed[0].slot, closed[0].means[0]), (0, Some(1.0)));
        assert_eq!(demand.before(VmId::default(), 1).unwrap()[0], Some(1.0));
    }

    #[test]
    fn a_step_is_the_mean_of_what_was_read_and_a_gap_is_no_zero() {
        let mut demand = Demand::default();
        for (at, cpu) in [(5, Some(1.0)), (10, None), (15, Some(3.0)), (1000, Some(7.0))] {
            demand.observe(&sample(at, cpu));
        }
        demand.close(Timestamp::from_secs(1210));
        let history = demand.history(VmId::default());
        let seen: Vec<_> = history.iter().map(|step| (step.from.as_secs_f64(), step.cpu, step.memory)).collect();
        assert_eq!(seen, [(0.0, Some(2.0), None), (900.0, Some(7.0), None)]);
    }

    #[test]
    fn a_step_waits_a_moment_for_its_last_sample() {
        let mut demand = Demand::default();
        demand.observe(&sample(285, Some(1.0)));
        assert_eq!(demand.close(Timestamp::from_secs(300)), []);
        demand.observe(&sample(300, Some(3.0)));
        assert_eq!(demand.close(Timestamp::from_secs(300))[0].means[0], Some(2.0));
        demand.observe(&sample(585, Some(1.0)));
        assert_eq!(demand.close(Timestamp::from_secs(601)), []);
        assert_eq!(demand.close(Timestamp::from_secs(602)).len(), 1);
    }

    #[test]
    fn what_comes_after_its_step_was_closed_changes_nothing() {
        let mut demand = Demand::default();
        demand.observe(&sample(5, Some(1.0)));
        demand.close(Timestamp::from_secs(310));
        assert_eq!(demand.observe(&sample(299, Some(9.0))), None);
        assert_eq!(demand.close(Timestamp::from_secs(600)), []);
    }
}
