//! One simulated vm: what it wants at any moment, and the counters a hypervisor would show of it.

use std::sync::Arc;

use ballast_core::{
    counters::VmCounters,
    migration_cost::assumed_writes,
    sample::VmState,
    units::{Bytes, BytesPerSec, Cores, Timestamp},
};

use crate::{
    demand::{Demand, Source},
    noise,
    scenario::{Terms, VmSpec},
    trace::Series,
};

/// Size of one storage operation.
const OPERATION: f64 = 16_384.0;

/// CPU of the hypervisor's own threads for a vm, as a share of its vCPUs' time.
pub(crate) const HYPERVISOR_SHARE: f64 = 0.02;

/// Cumulative since the vm arrived on its host, in seconds, bytes and operations.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Totals {
    cpu: f64,
    delay: f64,
    disk_read: f64,
    disk_write: f64,
    net_rx: f64,
    net_tx: f64,
}

/// One vm.
#[derive(Debug, Clone)]
pub(crate) struct Vm {
    pub(crate) spec: VmSpec,
    series: Arc<Series>,
    seed: u64,
    /// Index of the host it runs on.
    pub(crate) host: usize,
    pub(crate) paused: bool,
    incarnation: u64,
    pub(crate) demand: Demand,
    /// CPU it got in the tick before.
    pub(crate) served: f64,
    resident: f64,
    totals: Totals,
}

impl Vm {
    pub(crate) fn new(spec: VmSpec, series: Arc<Series>, host: usize, seed: u64) -> Self {
        Self {
            spec,
            series,
            seed,
            host,
            paused: false,
            incarnation: 1,
            demand: Demand::default(),
            served: 0.0,
            resident: 0.0,
            totals: Totals::default(),
        }
    }

    /// Sets what it wants `at` seconds after the start.
    pub(crate) fn want(&mut self, at: f64, terms: &Terms) {
        let source = Source { spec: &self.spec, series: &self.series, service: None, seed: self.seed };
        self.demand = source.at(at, terms);
        // A page once touched stays with the process: without a balloon nothing takes it back.
        self.resident = self.resident.max(self.demand.memory);
    }

    /// Lets `seconds` pass in which it got `served` cores of the `wanted`; `busy` is the share of the time it ran at all.
    pub(crate) fn run(&mut self, seconds: f64, served: f64, wanted: f64, busy: f64) {
        let progress = if wanted > 0.0 { served / wanted } else { busy };
        self.served = served;
        self.totals.cpu += served * seconds;
        self.totals.delay += (wanted - served).max(0.0) * seconds;
        self.totals.disk_read += self.demand.disk_read * progress * seconds;
        self.totals.disk_write += self.demand.disk_write * progress * seconds;
        self.totals.net_rx += self.demand.net_rx * progress * seconds;
        self.totals.net_tx += self.demand.net_tx * progress * seconds;
    }

    /// It runs on another host from now on: a new process, so its counters start at zero.
    pub(crate) fn arrive(&mut self, host: usize) {
        self.host = host;
        self.paused = false;
        self.incarnation += 1;
        self.totals = Totals::default();
    }

    pub(crate) fn state(&self) -> VmState {
        if self.paused { VmState::Paused } else { VmState::Running }
    }

    /// Memory of the host that its process holds.
    pub(crate) fn resident(&self) -> Bytes {
        Bytes::from_f64(self.resident)
    }

    /// Rate at which it writes memory now: the general assumption, off by a factor of its own that no scheduler knows.
    pub(crate) fn dirty_rate(&self) -> BytesPerSec {
        let factor = 0.3 + 2.0 * noise::unit(self.seed, 2, 0);
        if self.paused { BytesPerSec::ZERO } else { assumed_writes(Cores(self.served), self.resident()).0 * factor }
    }

    /// Memory it writes again and again.
    pub(crate) fn working_set(&self) -> Bytes {
        assumed_writes(Cores(self.served), Bytes::from_f64(self.demand.memory)).1
    }

    /// What a hypervisor would show.
    pub(crate) fn counters(&self, now: Timestamp) -> VmCounters {
        let bytes = |total: f64| Some(Bytes::from_f64(total).get());
        VmCounters {
            vm: self.spec.vm,
            incarnation: self.incarnation,
            taken_at: now,
            state: self.state(),
            cpu_time_nanos: bytes(self.totals.cpu * (1.0 + HYPERVISOR_SHARE) * 1e9),
            vcpu_time_nanos: bytes(self.totals.cpu * 1e9),
            vcpu_delay_nanos: bytes(self.totals.delay * 1e9),
            memory_used: Some(Bytes::from_f64(self.demand.memory)),
            memory_balloon: Some(self.spec.memory_max),
            memory_resident: Some(self.resident()),
            disk_read_bytes: bytes(self.totals.disk_read),
            disk_write_bytes: bytes(self.totals.disk_write),
            disk_read_ops: bytes(self.totals.disk_read / OPERATION),
            disk_write_ops: bytes(self.totals.disk_write / OPERATION),
            net_rx_bytes: bytes(self.totals.net_rx),
            net_tx_bytes: bytes(self.totals.net_tx),
            dirty_rate: Some(self.dirty_rate()),
        }
    }
}
