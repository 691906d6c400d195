//! The summed demand of one host: vms are added and taken off in constant time.

use crate::{
    risk::{MOMENTS, Risk, VmLoad, Z_MAX, expected_excess},
    snapshot::HostView,
    units::{Bytes, Cores},
};

/// Demand on one host, and what it has.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct HostLoad {
    /// CPU that vms may use.
    pub capacity: Cores,
    /// Memory that vms may use.
    pub memory_capacity: Bytes,
    /// CPU used by what is not a vm.
    pub base: Cores,
    /// Memory promised to vms.
    pub memory: Bytes,
    /// Vms that count here.
    pub vms: usize,
    /// Standard deviations above the mean that count as risk here, where that was measured; `None` where the tuning's do.
    pub z: Option<f64>,
    pub(super) mean: [f64; MOMENTS],
    pub(super) variance: [f64; MOMENTS],
    pub(super) deviation: [f64; MOMENTS],
    pub(super) ceiling: f64,
}

impl HostLoad {
    /// An empty host.
    pub fn empty(host: &HostView) -> Self {
        Self {
            capacity: host.inventory.cpu_capacity,
            memory_capacity: host.inventory.memory_capacity,
            ..Self::default()
        }
    }

    /// Counts a vm here.
    pub fn add(&mut self, vm: &VmLoad) {
        for moment in 0..MOMENTS {
            self.mean[moment] += vm.mean[moment];
            self.variance[moment] += vm.own * vm.deviation[moment].powi(2);
            self.deviation[moment] += vm.shared * vm.deviation[moment];
        }
        self.ceiling += vm.ceiling;
        self.memory = self.memory + vm.memory;
        self.vms += 1;
    }

    /// Counts a vm here no more. Rounding may leave a trace of it, never less than nothing.
    pub fn remove(&mut self, vm: &VmLoad) {
        for moment in 0..MOMENTS {
            self.mean[moment] = (self.mean[moment] - vm.mean[moment]).max(0.0);
            self.variance[moment] = (self.variance[moment] - vm.own * vm.deviation[moment].powi(2)).max(0.0);
            self.deviation[moment] = (self.deviation[moment] - vm.shared * vm.deviation[moment]).max(0.0);
        }
        // Infinity less infinity is not a number; an unbounded vm leaves the host unbounded, which is the safe side.
        if vm.ceiling.is_finite() {
            self.ceiling = (self.ceiling - vm.ceiling).max(0.0);
        }
        self.memory = self.memory.saturating_sub(vm.memory);
        self.vms = self.vms.saturating_sub(1);
    }

    /// The host with one vm more.
    pub fn with(mut self, vm: &VmLoad) -> Self {
        self.add(vm);
        self
    }

    /// The host with one vm less.
    pub fn without(mut self, vm: &VmLoad) -> Self {
        self.remove(vm);
        self
    }

    /// The same demand on `cores` more.
    pub fn with_cores(self, cores: Cores) -> Self {
        Self { capacity: self.capacity + cores, ..self }
    }

    /// A pool of hosts with one host less; the demand stays.
    pub fn without_host(self, host: &Self) -> Self {
        Self {
            capacity: self.capacity - host.capacity,
            memory_capacity: self.memory_capacity.saturating_sub(host.memory_capacity),
            base: self.base.saturating_sub(host.base),
            z: blend((self.z, self.capacity), (host.z, Cores(-host.capacity.get()))),
            ..self
        }
    }

    /// A pool of hosts with one host more; the demand stays.
    pub fn with_host(self, host: &Self) -> Self {
        Self {
            capacity: self.capacity + host.capacity,
            memory_capacity: self.memory_capacity + host.memory_capacity,
            base: self.base + host.base,
            z: blend((self.z, self.capacity), (host.z, host.capacity)),
            ..self
        }
    }

    /// CPU wanted now, the host's own use included.
    pub fn now(&self) -> Cores {
        self.base + Cores(self.mean[0])
    }

    /// CPU wanted at `moment` at the risk quantile: never more than the vms' vCPUs can use.
    pub fn at(&self, moment: usize, risk: &Risk) -> Cores {
        let wanted = self.mean[moment] + self.z.unwrap_or(risk.z) * risk.times * self.spread(moment, risk.correlation);
        self.base + Cores(wanted.min(self.ceiling.max(self.mean[moment])))
    }

    /// CPU wanted at the risk quantile at the next forecast step.
    pub fn next_step(&self, risk: &Risk) -> Cores {
        self.at(1, risk)
    }

    /// CPU wanted at the risk quantile at the worst moment of the horizon, now included.
    pub fn ahead(&self, risk: &Risk) -> Cores {
        risk.moments().map(|moment| self.at(moment, risk)).fold(Cores::ZERO, Cores::max)
    }

    /// How many times the same demand fits into `room` cores beside what is no vm's, `z` deviations included, at the worst moment
    /// of the horizon: the `s` for which `s m + z sqrt(s V + (s D)²) = room`, where what is common to all vms grows with `s` and
    /// what is each one's own with its root.
    pub(super) fn scale_to(&self, room: f64, z: f64, risk: &Risk) -> f64 {
        let fits = |moment: usize| {
            let mean = self.mean[moment];
            let (own, common) = self.parts(moment, risk.correlation);
            let a = mean * mean - z * z * common * common;
            let b = 2.0 * room * mean + z * z * own;
            let fits = 2.0 * room * room / (b + (b * b - 4.0 * a * room * room).max(0.0).sqrt());
            fits.max(room / self.ceiling.max(mean))
        };
        risk.moments().map(fits).fold(f64::INFINITY, f64::min)
    }

    /// Variance that is each vm's own, and deviation that all have in common.
    fn parts(&self, moment: usize, correlation: f64) -> (f64, f64) {
        let (own, deviation) = (self.variance[moment], self.deviation[moment]);
        if self.z.is_some() {
            return (own, deviation);
        }
        (own * (1.0 - correlation), deviation.powi(2).max(own).sqrt() * correlation.sqrt())
    }

    /// Mean CPU in use at `moment`, as a share of capacity, at most 1.
    pub fn utilisation(&self, moment: usize) -> f64 {
        (self.base.get() + self.mean[moment]).min(self.capacity.get()) / self.capacity.get().max(f64::MIN_POSITIVE)
    }

    /// Cores of demand expected to go unserved, as a mean over the horizon.
    pub fn unserved(&self, risk: &Risk) -> Cores {
        let at = |moment: usize| {
            let mean = self.base.get() + self.mean[moment];
            expected_excess(mean, self.spread(moment, risk.correlation), self.capacity.get())
        };
        Cores((0..MOMENTS).map(|moment| risk.weights[moment] * at(moment)).sum())
    }

    /// Mean CPU wanted by the vms at `moment`, in cores.
    pub fn mean_at(&self, moment: usize) -> f64 {
        self.mean[moment]
    }

    /// Standard deviation of that, in cores.
    pub fn deviation_at(&self, moment: usize, correlation: f64) -> f64 {
        self.spread(moment, correlation)
    }

    /// True where anything is uncertain at `moment`.
    pub(super) fn deviates(&self, moment: usize) -> bool {
        self.variance[moment] > 0.0
    }

    /// Standard deviation of the sum. Where every pair of vms is taken to correlate by `ρ` it is the root of
    /// `Σσ² + ρ ((Σσ)² - Σσ²)`, between independence and lockstep; where it was measured how much `ρᵢ` of each vm's
    /// deviation is common to all, of `Σσᵢ²(1 - ρᵢ²) + (Σρᵢσᵢ)²`, which is the same where all are alike.
    pub(super) fn spread(&self, moment: usize, correlation: f64) -> f64 {
        let own = self.variance[moment];
        if self.z.is_some() {
            return (own + self.deviation[moment].powi(2)).sqrt();
        }
        let lockstep = self.deviation[moment].powi(2).max(own);
        (own + correlation * (lockstep - own)).sqrt()
    }
}

/// The z of a pool: each part's counts by its capacity, that of a part taken away (of negative capacity) no more.
fn blend((one, of_one): (Option<f64>, Cores), (other, of_other): (Option<f64>, Cores)) -> Option<f64> {
    let (z, other) = (one?, other.or(one)?);
    let whole = of_one + of_other;
    let mean = (z * of_one.get() + other * of_other.get()) / whole.get();
    // Rounding, and a part that the whole does not contain, must not lead beyond what any host may have.
    Some(if whole.get() > 0.0 && mean.is_finite() { mean.clamp(0.0, Z_MAX) } else { z })
}
