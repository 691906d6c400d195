//! What one vm asks of its host, now and at each forecast step: what [`super::HostLoad`] adds up.

use crate::{
    forecast::{Ahead, Moments, STEPS},
    risk::{MOMENTS, Risk},
    sample::VmSample,
    snapshot::VmView,
    units::{Bytes, Cores},
};

/// Share of waiting above which a steal reading says no more about how much a vm would like to run.
const STEAL_MAX: f64 = 0.75;

/// Standard deviation of a vm without a forecast, as a share of what it uses now and of its vCPUs. On four PlanetLab days,
/// which begin with one sample of each vm, this costs 3.6 % less than to take it that such vms go on as they are; a tenth and
/// three tenths of the vCPUs cannot be told from a fifth.
const OF_USE_UNKNOWN: f64 = 0.5;
const OF_VCPUS_UNKNOWN: f64 = 0.2;

/// One vm's demand: means and deviations in cores.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct VmLoad {
    pub(super) mean: [f64; MOMENTS],
    pub(super) deviation: [f64; MOMENTS],
    /// Share of its variance that is its own, what it has in common with its bundle included; one where every pair of vms
    /// is taken to correlate alike.
    pub(super) own: f64,
    /// Share of its deviation that it has in common with all vms; one likewise.
    pub(super) shared: f64,
    pub(super) ceiling: f64,
    /// Memory to be set aside for it.
    pub memory: Bytes,
}

impl VmLoad {
    /// The demand of `vm`. Without a forecast it is as [`Self::as_known`] has it, give or take much.
    pub fn of(vm: &VmView, forecast: Option<&Ahead>) -> Self {
        let load = Self::as_known(vm, forecast);
        let deviation = if forecast.is_some() { load.deviation } else { unknown(load.mean[0], vm.record.vcpus) };
        Self { deviation, ..load }
    }

    /// The demand of `vm`. Without a forecast it is taken to go on as it is; without a sample too, to use every vCPU it has,
    /// for what is unknown must not look idle.
    pub fn as_known(vm: &VmView, forecast: Option<&Ahead>) -> Self {
        let ceiling = if vm.record.vcpus == 0 { f64::INFINITY } else { f64::from(vm.record.vcpus) };
        let fallback = forecast.map_or(f64::from(vm.record.vcpus), |known| known.steps[0].median());
        let now = vm.sample.as_ref().and_then(wanted).map_or(fallback, Cores::get).clamp(0.0, ceiling);
        let (mean, deviation, memory) = ([now; MOMENTS], [0.0; MOMENTS], vm.memory_reserved());
        let mut load = Self { mean, deviation, own: 1.0, shared: 1.0, ceiling, memory };
        let Some(known) = forecast else { return load };
        for step in 0..STEPS.len() {
            let Moments { mean, deviation } = known.moments(step);
            if mean.is_finite() && deviation.is_finite() {
                load.mean[step + 1] = mean.clamp(0.0, ceiling);
                load.deviation[step + 1] = deviation;
            }
        }
        load
    }

    /// The same with its deviation taken apart: `loading` of it is common to all vms, and with the rest of its bundle, whose
    /// deviations add up to `others` at the next step, it correlates by `beyond` more than that.
    pub(super) fn taken_apart(self, loading: f64, beyond: f64, others: f64) -> Self {
        let of_bundle = if self.deviation[1] > 0.0 { beyond * others / self.deviation[1] } else { 0.0 };
        Self { own: 1.0 - loading * loading + of_bundle, shared: loading, ..self }
    }

    /// Mean and standard deviation at `moment`, in cores.
    pub(super) fn step(&self, moment: usize) -> (f64, f64) {
        (self.mean[moment], self.deviation[moment])
    }

    /// What it wants now.
    pub fn now(&self) -> Cores {
        Cores(self.mean[0])
    }

    /// What it wants over the horizon on average.
    pub fn mean(&self, risk: &Risk) -> Cores {
        Cores(self.mean.iter().zip(risk.weights).map(|(mean, weight)| mean * weight).sum())
    }

    /// The smallest mean at any moment.
    pub fn least(&self) -> Cores {
        Cores(self.mean.iter().copied().fold(f64::INFINITY, f64::min))
    }

    /// The largest mean at any moment.
    pub fn peak(&self) -> Cores {
        Cores(self.mean.iter().copied().fold(0.0, f64::max))
    }
}

/// Deviations of a vm of which nothing but what it uses `now` is known: much, for half an hour's packing may rest on them.
fn unknown(now: f64, vcpus: u32) -> [f64; MOMENTS] {
    let ahead = OF_USE_UNKNOWN * now + OF_VCPUS_UNKNOWN * f64::from(vcpus);
    std::array::from_fn(|moment| if moment == 0 { 0.0 } else { ahead })
}

/// CPU the vm would use if it never had to wait: what it used, over the share of the time it did not wait.
pub(super) fn wanted(sample: &VmSample) -> Option<Cores> {
    let used = sample.cpu_used.value().filter(|used| used.is_sane())?;
    let steal = sample.steal.value().filter(|steal| steal.is_sane());
    let waited = steal.map_or(0.0, |steal| steal.get().min(STEAL_MAX));
    Some(used / (1.0 - waited))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{Fleet, vm_id};

    #[test]
    fn a_vm_of_which_only_one_sample_is_known_is_taken_to_be_uncertain() {
        let fleet = Fleet::new(&[("a", &[1.0])]);
        let vm = &fleet.snapshot.vms[&vm_id(1)];
        let (known, unknown) = (VmLoad::of(vm, fleet.forecasts.vms.get(&vm_id(1))), VmLoad::of(vm, None));
        assert_eq!((known.step(1), known.mean), ((1.0, 0.0), unknown.mean));
        assert_eq!((unknown.step(0).1, unknown.step(1).1), (0.0, 0.5 + 0.2 * 4.0), "it has four vCPUs");
    }
}
