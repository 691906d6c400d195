//! The summed demand of one host: vms are added and taken off in constant time.

use crate::{
    risk::{MOMENTS, Risk, VmLoad, expected_excess},
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
            self.variance[moment] += vm.deviation[moment].powi(2);
            self.deviation[moment] += vm.deviation[moment];
        }
        self.ceiling += vm.ceiling;
        self.memory = self.memory + vm.memory;
        self.vms += 1;
    }

    /// Counts a vm here no more. Rounding may leave a trace of it, never less than nothing.
    pub fn remove(&mut self, vm: &VmLoad) {
        for moment in 0..MOMENTS {
            self.mean[moment] = (self.mean[moment] - vm.mean[moment]).max(0.0);
            self.variance[moment] = (self.variance[moment] - vm.deviation[moment].powi(2)).max(0.0);
            self.deviation[moment] = (self.deviation[moment] - vm.deviation[moment]).max(0.0);
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
            ..self
        }
    }

    /// A pool of hosts with one host more; the demand stays.
    pub fn with_host(self, host: &Self) -> Self {
        Self {
            capacity: self.capacity + host.capacity,
            memory_capacity: self.memory_capacity + host.memory_capacity,
            base: self.base + host.base,
            ..self
        }
    }

    /// CPU wanted now, the host's own use included.
    pub fn now(&self) -> Cores {
        self.base + Cores(self.mean[0])
    }

    /// CPU wanted at `moment` at the risk quantile: never more than the vms' vCPUs can use.
    pub fn at(&self, moment: usize, risk: &Risk) -> Cores {
        let wanted = self.mean[moment] + risk.z * self.spread(moment, risk.correlation);
        self.base + Cores(wanted.min(self.ceiling.max(self.mean[moment])))
    }

    /// CPU wanted at the risk quantile at the next forecast step.
    pub fn next_step(&self, risk: &Risk) -> Cores {
        self.at(1, risk)
    }

    /// CPU wanted at the risk quantile at the worst moment of the horizon, now included.
    pub fn ahead(&self, risk: &Risk) -> Cores {
        let moments = (0..MOMENTS).filter(|moment| *moment == 0 || risk.weights[*moment] > 0.0);
        moments.map(|moment| self.at(moment, risk)).fold(Cores::ZERO, Cores::max)
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

    /// Standard deviation of the sum: `V = Σσ² + ρ ((Σσ)² - Σσ²)`, which lies between independence and lockstep.
    fn spread(&self, moment: usize, correlation: f64) -> f64 {
        let own = self.variance[moment];
        let lockstep = self.deviation[moment].powi(2).max(own);
        (own + correlation * (lockstep - own)).sqrt()
    }
}
