//! What one vm asks of its host, now and at each forecast step: what [`super::HostLoad`] adds up.

use crate::{
    forecast::VmForecast,
    risk::MOMENTS,
    snapshot::VmView,
    units::{Bytes, Cores},
};

/// Share of waiting above which a steal reading says no more about how much a vm would like to run.
const STEAL_MAX: f64 = 0.75;

/// One vm's demand: means and deviations in cores.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct VmLoad {
    pub(super) mean: [f64; MOMENTS],
    pub(super) deviation: [f64; MOMENTS],
    pub(super) ceiling: f64,
    /// Memory to be set aside for it.
    pub memory: Bytes,
}

impl VmLoad {
    /// The demand of `vm`. Without a forecast it is taken to go on as it is; without a sample too, to use every vCPU it
    /// has, for what is unknown must not look idle.
    pub fn of(vm: &VmView, forecast: Option<&VmForecast>) -> Self {
        let ceiling = if vm.record.vcpus == 0 { f64::INFINITY } else { f64::from(vm.record.vcpus) };
        let fallback = forecast.map_or(f64::from(vm.record.vcpus), |known| known.cpu.steps[0].median());
        let now = wanted(vm).map_or(fallback, Cores::get).clamp(0.0, ceiling);
        let mut load = Self { mean: [now; MOMENTS], deviation: [0.0; MOMENTS], ceiling, memory: vm.memory_reserved() };
        for (index, quantiles) in forecast.iter().flat_map(|known| known.cpu.steps.iter()).enumerate() {
            let (mean, deviation) = quantiles.normal();
            if mean.is_finite() && deviation.is_finite() {
                load.mean[index + 1] = mean.clamp(0.0, ceiling);
                load.deviation[index + 1] = deviation;
            }
        }
        load
    }

    /// What it wants now.
    pub fn now(&self) -> Cores {
        Cores(self.mean[0])
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

/// CPU the vm would use if it never had to wait: what it used, over the share of the time it did not wait.
fn wanted(vm: &VmView) -> Option<Cores> {
    let used = vm.cpu_used().filter(|used| used.is_sane())?;
    let steal = vm.sample.as_ref().and_then(|sample| sample.steal.value()).filter(|steal| steal.is_sane());
    let waited = steal.map_or(0.0, |steal| steal.get().min(STEAL_MAX));
    Some(used / (1.0 - waited))
}
