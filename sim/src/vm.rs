//! One simulated vm: where it is, what it wants and gets, and the counters a hypervisor would show of it.

use std::{sync::Arc, time::Duration};

use ballast_core::{
    counters::VmCounters,
    id::VmId,
    migration_cost::assumed_writes,
    sample::VmState,
    units::{Bytes, BytesPerSec, Cores, Timestamp},
};

use crate::{
    demand::{Demand, Source, seed_of},
    host::Load,
    noise,
    scenario::{Scenario, Terms, VmSpec},
    service::Desk,
    trace::Series,
};

/// Size of one storage operation.
const OPERATION: f64 = 16_384.0;

/// CPU of the hypervisor's own threads for a vm, as a share of its vCPUs' time.
pub(crate) const HYPERVISOR_SHARE: f64 = 0.02;

/// Where a vm is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// Not started yet, or gone.
    Nowhere,
    /// Waits for a host with room since then.
    Waiting(Timestamp),
    /// On the host with this index.
    On(usize),
}

/// Cumulative since the vm arrived on its host, in seconds, bytes and operations; or the rates of these.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Totals {
    cpu: f64,
    delay: f64,
    disk_read: f64,
    disk_write: f64,
    net_rx: f64,
    net_tx: f64,
}

impl Totals {
    /// These, with `seconds` at `rates` more.
    fn after(&self, rates: &Self, seconds: f64) -> Self {
        Self {
            cpu: self.cpu + rates.cpu * seconds,
            delay: self.delay + rates.delay * seconds,
            disk_read: self.disk_read + rates.disk_read * seconds,
            disk_write: self.disk_write + rates.disk_write * seconds,
            net_rx: self.net_rx + rates.net_rx * seconds,
            net_tx: self.net_tx + rates.net_tx * seconds,
        }
    }
}

/// One vm.
#[derive(Debug, Clone)]
pub(crate) struct Vm {
    pub(crate) spec: VmSpec,
    series: Arc<Series>,
    /// The requests it answers, where it is a service.
    pub(crate) desk: Option<Desk>,
    seed: u64,
    pub(crate) place: Place,
    pub(crate) paused: bool,
    incarnation: u64,
    pub(crate) demand: Demand,
    /// Cores it could use now: less than its demand while it is copied, none while it is paused.
    pub(crate) runnable: f64,
    totals: Totals,
    rates: Totals,
    resident: f64,
}

impl Vm {
    pub(crate) fn new(scenario: &Scenario, index: usize, seed: u64) -> Self {
        let spec = scenario.vms()[index].clone();
        Self {
            series: Arc::clone(scenario.series(spec.series)),
            desk: spec.service.map(|service| Desk::new(Arc::clone(scenario.service(service)))),
            seed: seed_of(&spec, seed),
            place: Place::Nowhere,
            paused: false,
            incarnation: 0,
            demand: Demand::default(),
            runnable: 0.0,
            totals: Totals::default(),
            rates: Totals::default(),
            resident: 0.0,
            spec,
        }
    }

    pub(crate) fn id(&self) -> VmId {
        self.spec.vm
    }

    /// The host it is on.
    pub(crate) fn host(&self) -> Option<usize> {
        if let Place::On(host) = self.place { Some(host) } else { None }
    }

    /// Sets what it wants `at` seconds after the start.
    pub(crate) fn want(&mut self, at: f64, terms: &Terms) {
        let service = self.desk.as_ref().map(Desk::service);
        let source = Source { spec: &self.spec, series: &self.series, service, seed: self.seed };
        self.demand = source.at(at, terms);
        if let Some(desk) = &mut self.desk {
            let slot = at / self.series.slot.as_secs_f64();
            self.demand.cpu = desk.want(slot, terms.step.as_secs_f64()).min(f64::from(self.spec.vcpus));
        }
        // A page once touched stays with the process: without a balloon nothing takes it back.
        self.resident = self.resident.max(self.demand.memory);
    }

    /// Takes its share of what `host` carries, at `slowdown` (a share of its CPU that copying costs it).
    pub(crate) fn take(&mut self, load: &Load, slowdown: f64) {
        self.runnable = if self.paused { 0.0 } else { self.demand.cpu * (1.0 - slowdown) };
        let served = self.runnable * load.served;
        // What a vm does with its disks and links it does in step with its CPU.
        let running = if self.paused { 0.0 } else { (1.0 - slowdown) * load.served };
        let (storage, network) = (running.min(load.storage), running.min(load.network));
        self.rates = Totals {
            cpu: served,
            delay: self.runnable - served,
            disk_read: self.demand.disk_read * storage,
            disk_write: self.demand.disk_write * storage,
            net_rx: self.demand.net_rx * network,
            net_tx: self.demand.net_tx * network,
        };
        if let Some(desk) = &mut self.desk {
            desk.serve(served, f64::from(self.spec.vcpus) * load.served * (1.0 - slowdown));
        }
    }

    /// Lets `span` pass at the rates of now.
    pub(crate) fn pass(&mut self, span: Duration) {
        self.totals = self.totals.after(&self.rates, span.as_secs_f64());
    }

    /// Storage traffic it wants, bytes per second.
    pub(crate) fn storage(&self) -> f64 {
        self.demand.disk_read + self.demand.disk_write
    }

    /// Network traffic it wants, bytes per second.
    pub(crate) fn network(&self) -> f64 {
        self.demand.net_rx + self.demand.net_tx
    }

    /// Storage and network traffic it gets, bytes per second.
    pub(crate) fn io_served(&self) -> f64 {
        self.rates.disk_read + self.rates.disk_write + self.rates.net_rx + self.rates.net_tx
    }

    /// It runs on another host from now on: a new process, so its counters start at zero.
    pub(crate) fn arrive(&mut self, host: usize) {
        self.place = Place::On(host);
        self.paused = false;
        self.incarnation += 1;
        self.totals = Totals::default();
    }

    /// It runs nowhere from now on.
    pub(crate) fn stop(&mut self, place: Place) {
        self.place = place;
        self.paused = false;
        self.rates = Totals::default();
        self.resident = 0.0;
    }

    pub(crate) fn state(&self) -> VmState {
        if self.paused { VmState::Paused } else { VmState::Running }
    }

    /// Memory of the host that its process holds.
    pub(crate) fn resident(&self) -> Bytes {
        Bytes::from_f64(self.resident)
    }

    /// Rate at which it writes memory now: its own habit, or the general assumption, off by a factor that no scheduler knows.
    pub(crate) fn dirty_rate(&self) -> BytesPerSec {
        if self.paused {
            return BytesPerSec::ZERO;
        }
        if let Some(writes) = self.spec.writes {
            return writes.idle + writes.per_core * self.rates.cpu;
        }
        let factor = 0.3 + 2.0 * noise::unit(self.seed, 2, 0);
        assumed_writes(Cores(self.rates.cpu), self.resident()).0 * factor
    }

    /// Memory it writes again and again.
    pub(crate) fn working_set(&self) -> Bytes {
        match self.spec.writes {
            Some(writes) => Bytes::from_f64(self.demand.memory * writes.working_set),
            None => assumed_writes(Cores(self.rates.cpu), Bytes::from_f64(self.demand.memory)).1,
        }
    }

    /// What a hypervisor would show at `now`, `span` after everything was last counted.
    pub(crate) fn counters(&self, now: Timestamp, span: Duration) -> VmCounters {
        let totals = self.totals.after(&self.rates, span.as_secs_f64());
        let bytes = |total: f64| Some(Bytes::from_f64(total).get());
        VmCounters {
            vm: self.spec.vm,
            incarnation: self.incarnation,
            taken_at: now,
            state: self.state(),
            cpu_time_nanos: bytes(totals.cpu * (1.0 + HYPERVISOR_SHARE) * 1e9),
            vcpu_time_nanos: bytes(totals.cpu * 1e9),
            vcpu_delay_nanos: bytes(totals.delay * 1e9),
            memory_used: Some(Bytes::from_f64(self.demand.memory)),
            memory_balloon: Some(self.spec.memory_max),
            memory_resident: Some(self.resident()),
            disk_read_bytes: bytes(totals.disk_read),
            disk_write_bytes: bytes(totals.disk_write),
            disk_read_ops: bytes(totals.disk_read / OPERATION),
            disk_write_ops: bytes(totals.disk_write / OPERATION),
            net_rx_bytes: bytes(totals.net_rx),
            net_tx_bytes: bytes(totals.net_tx),
            // Neither packets nor the times of single operations are simulated.
            disk_read_nanos: None,
            disk_write_nanos: None,
            net_rx_packets: None,
            net_tx_packets: None,
            net_rx_lost: None,
            net_tx_lost: None,
            dirty_rate: Some(self.dirty_rate()),
            working_set: Some(self.working_set()),
        }
    }
}
