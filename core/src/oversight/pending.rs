//! Forecasts that have not come due: a sample of the fleet's vms, so that the memory is bounded whatever the fleet.
//!
//! At most 256 vms, and of each the next step and, begun every quarter of an hour, four hours under way: five forecasts
//! of about 500 bytes, two thirds of a megabyte in all. Which vms is told by their ids alone, so that the same fleet
//! gives the same sample, a vm stays in it, and nothing about a vm's demand decides whether it is looked at.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    forecast::{Quantiles, STEP, VmForecast},
    id::VmId,
    oversight::{
        demand::{Closed, Means, begin_of},
        resource::{Resource, Target},
        score::{Due, Scores},
    },
    units::Timestamp,
};

/// Vms whose forecasts are scored: of more, the means would hardly change, and a step of 256 vms already gives 256 scores.
const VMS_MAX: usize = 256;

/// Steps between two forecasts of an hour's maximum: hours that overlap tell mostly the same.
const HOUR_EVERY: u64 = 3;

/// Steps of an hour.
const HOUR: u64 = 12;

/// Steps of an hour that must have a value; a host that was away for longer has hidden the maximum.
const HOUR_SEEN_MIN: u32 = 10;

/// Share of a step after whose beginning its forecast is no longer taken: it would know what it foretells.
const TAKEN_WITHIN: u32 = 3;

/// What the two forecasters said of one vm.
#[derive(Debug, Clone, Copy)]
pub(super) struct Said<'a> {
    pub(super) model: Option<&'a VmForecast>,
    pub(super) fallback: &'a VmForecast,
    /// The step before.
    pub(super) last: Means,
    /// The vm's capacity by resource.
    pub(super) ceilings: [f64; Resource::ALL.len()],
}

/// Forecasts that have not come due.
#[derive(Debug, Clone, Default)]
pub(super) struct Pending {
    vms: BTreeMap<VmId, Vec<One>>,
    taken: BTreeMap<VmId, u64>,
}

#[derive(Debug, Clone)]
struct One {
    target: Target,
    slot: u64,
    model: Option<[Quantiles; Resource::ALL.len()]>,
    fallback: [Quantiles; Resource::ALL.len()],
    last: Means,
    ceilings: [f64; Resource::ALL.len()],
    highest: Means,
    seen: u32,
}

/// Whether forecasts of the step `slot`, which is under way, may still be taken at `now`.
pub(super) fn is_time(slot: u64, now: Timestamp) -> bool {
    now.since(begin_of(slot)) <= STEP / TAKEN_WITHIN
}

/// The vms of the sample: those whose ids come first when mixed.
pub(super) fn sample(vms: impl Iterator<Item = VmId>) -> BTreeSet<VmId> {
    let mut first: BTreeSet<(u64, VmId)> = BTreeSet::new();
    for vm in vms {
        first.insert((mixed(vm), vm));
        if first.len() > VMS_MAX {
            first.pop_last();
        }
    }
    first.into_iter().map(|(_, vm)| vm).collect()
}

/// Steele and others' SplitMix64 over both halves of the id: uuids made by time or by hand differ in few bits.
fn mixed(vm: VmId) -> u64 {
    let (high, low) = vm.0.as_u64_pair();
    let mut mixed = high.rotate_left(32) ^ low;
    for factor in [0xbf58_476d_1ce4_e5b9_u64, 0x94d0_49bb_1331_11eb] {
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(factor);
    }
    mixed ^ (mixed >> 31)
}

impl Pending {
    /// Whether the forecast of `vm` for the step `slot` is still to be taken.
    pub(super) fn wants(&self, vm: VmId, slot: u64) -> bool {
        self.taken.get(&vm).is_none_or(|taken| *taken < slot)
    }

    /// Takes what was said of a vm at the beginning of the step `slot`.
    pub(super) fn take(&mut self, vm: VmId, slot: u64, said: &Said<'_>) {
        self.taken.insert(vm, slot);
        let all = self.vms.entry(vm).or_default();
        all.push(One::new(Target::Step, slot, said));
        if slot.is_multiple_of(HOUR_EVERY) {
            all.push(One::new(Target::Hour, slot, said));
        }
    }

    /// A step is over: what is due is scored, what waited in vain is dropped.
    pub(super) fn came(&mut self, closed: &Closed, scores: &mut Scores) {
        let Some(all) = self.vms.get_mut(&closed.vm) else { return };
        let at = begin_of(closed.slot.saturating_add(1));
        all.retain_mut(|one| {
            one.see(closed);
            if closed.slot < one.last_slot() {
                return true;
            }
            one.score(scores, at);
            false
        });
    }

    /// Forgets every vm that is not in `vms`.
    pub(super) fn retain(&mut self, vms: &BTreeSet<VmId>) {
        self.vms.retain(|vm, _| vms.contains(vm));
        self.taken.retain(|vm, _| vms.contains(vm));
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// How many forecasts have not come due.
    pub(super) fn len(&self) -> usize {
        self.vms.values().map(Vec::len).sum()
    }
}

impl One {
    fn new(target: Target, slot: u64, said: &Said<'_>) -> Self {
        let of = |forecast: &VmForecast| Resource::ALL.map(|resource| *target.of(resource.of(forecast)));
        Self {
            target,
            slot,
            model: said.model.map(of),
            fallback: of(said.fallback),
            last: said.last,
            ceilings: said.ceilings,
            highest: Means::default(),
            seen: 0,
        }
    }

    fn last_slot(&self) -> u64 {
        match self.target {
            Target::Step => self.slot,
            Target::Hour => self.slot.saturating_add(HOUR - 1),
        }
    }

    fn see(&mut self, closed: &Closed) {
        if !(self.slot..=self.last_slot()).contains(&closed.slot) {
            return;
        }
        self.seen += 1;
        for (highest, mean) in self.highest.iter_mut().zip(closed.means) {
            *highest = match (*highest, mean) {
                (Some(highest), Some(mean)) => Some(highest.max(mean)),
                (highest, mean) => highest.or(mean),
            };
        }
    }

    fn score(&self, scores: &mut Scores, at: Timestamp) {
        let needed = if self.target == Target::Hour { HOUR_SEEN_MIN } else { 1 };
        if self.seen < needed {
            return;
        }
        for (index, resource) in Resource::ALL.into_iter().enumerate() {
            let (Some(came), Some(last)) = (self.highest[index], self.last[index]) else { continue };
            let model = self.model.map(|said| said[index]);
            let due = Due { model, fallback: self.fallback[index], last, came, ceiling: self.ceilings[index] };
            scores.add(resource, self.target, &due, at);
        }
    }
}
