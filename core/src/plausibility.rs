//! Whether readings can be true: called by ingest for every batch before anything else sees it.
//!
//! A reading that cannot be true (not a number, negative, more than the host can do) becomes missing and is named, so
//! that the host can be doubted with a reason. Nothing is guessed in its place.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    id::VmId,
    inventory::Inventory,
    sample::{Batch, HostSample, Pressure, Reading, VmSample},
    units::{Bytes, BytesPerSec, Cores, OpsPerSec, PacketsPerSec, Ratio, Seconds, Watts},
};

/// So many absurd readings of one batch are named; of the rest, the number.
pub const NAMED_MAX: usize = 32;

/// More cores than any host has.
const CORES_MAX: f64 = 65_536.0;
/// More memory than any host has: 2^60 bytes.
const MEMORY_MAX: f64 = 1_152_921_504_606_846_976.0;
/// More than any bus or network carries for one vm: 1.6 Tbit/s.
const RATE_MAX: f64 = 2e11;
/// More operations than any storage does for one vm, and more packets than any network carries for it.
const OPS_MAX: f64 = 1e9;
/// Longer than any operation of storage takes before somebody gives it up: an hour.
const LATENCY_MAX: f64 = 3600.0;
/// More power than any single host draws.
const POWER_MAX: f64 = 100_000.0;
/// How far a share may lie outside of 0 to 1 by rounding; it is then taken as the nearer end.
const SHARE_TOLERANCE: f64 = 0.01;

/// Screens a batch by what little is known: the host's capacity, where it is.
pub fn screen(batch: Batch, capacity: Option<(Cores, Bytes)>) -> (Batch, Vec<String>) {
    screen_by(batch, &Limits::of_capacity(capacity))
}

/// Screens a batch by its host's inventory: also by its peak power, and each vm by its vCPUs and memory.
pub fn screen_against(batch: Batch, inventory: &Inventory) -> (Batch, Vec<String>) {
    let mut limits = Limits::of_capacity(Some((inventory.cpu_capacity, inventory.memory_capacity)));
    let peak = inventory.power.peak().get();
    if peak > 0.0 {
        limits.power = (peak * 10.0).min(POWER_MAX);
    }
    let room = |vcpus: u32, memory: Bytes| VmLimits {
        cores: if vcpus > 0 { (f64::from(vcpus) * 1.5 + 1.0).min(limits.vm.cores) } else { limits.vm.cores },
        memory: if memory > Bytes::ZERO { (memory.as_f64() * 1.05).min(limits.vm.memory) } else { limits.vm.memory },
    };
    limits.vms = inventory.vms.iter().map(|vm| (vm.vm, room(vm.vcpus, vm.memory_max))).collect();
    screen_by(batch, &limits)
}

/// What one vm can use at most.
#[derive(Debug, Clone, Copy)]
struct VmLimits {
    cores: f64,
    memory: f64,
}

/// What a host and its vms can use at most.
#[derive(Debug, Clone)]
struct Limits {
    capacity: Option<(Cores, Bytes)>,
    power: f64,
    /// A vm of which nothing is known may use what the host has.
    vm: VmLimits,
    vms: BTreeMap<VmId, VmLimits>,
}

impl Limits {
    /// Use is measured over other moments than capacity is known for, hence the quarter and the core on top.
    fn of_capacity(capacity: Option<(Cores, Bytes)>) -> Self {
        let cores = capacity.map_or(CORES_MAX, |(cores, _)| cores.get() * 1.25 + 1.0);
        let memory = capacity.map_or(MEMORY_MAX, |(_, memory)| memory.as_f64() * 1.05);
        Self { capacity, power: POWER_MAX, vm: VmLimits { cores, memory }, vms: BTreeMap::new() }
    }
}

fn screen_by(mut batch: Batch, limits: &Limits) -> (Batch, Vec<String>) {
    let mut absurd = Absurd::default();
    screen_host(&mut batch.sample, limits, &mut absurd);
    let mut seen = BTreeSet::new();
    batch.vms.retain(|sample| {
        let first = seen.insert(sample.vm);
        if !first {
            absurd.name(&format!("vms[{}]", sample.vm), "a second sample", "one in a batch needed");
        }
        first
    });
    for sample in &mut batch.vms {
        let of_vm = limits.vms.get(&sample.vm).copied().unwrap_or(limits.vm);
        screen_vm(sample, of_vm, limits.vm.memory, &mut absurd);
    }
    (batch, absurd.finish())
}

fn screen_host(sample: &mut HostSample, limits: &Limits, absurd: &mut Absurd) {
    let most = limits.vm;
    if !sample.cpu_capacity.is_sane() || sample.cpu_capacity.get() > most.cores {
        absurd.number("cpu_capacity", sample.cpu_capacity.get(), most.cores);
        sample.cpu_capacity = limits.capacity.map_or(Cores::ZERO, |(cores, _)| cores);
    }
    if sample.memory_capacity.as_f64() > most.memory {
        absurd.number("memory_capacity", sample.memory_capacity.as_f64(), most.memory);
        sample.memory_capacity = limits.capacity.map_or(Bytes::ZERO, |(_, memory)| memory);
    }
    if !sample.agent.cpu_used.is_sane() {
        absurd.number("agent.cpu_used", sample.agent.cpu_used.get(), most.cores);
        sample.agent.cpu_used = Cores::ZERO;
    }
    absurd.check("cpu_used", &mut sample.cpu_used, Cores::get, most.cores);
    absurd.check("memory_used", &mut sample.memory_used, Bytes::as_f64, most.memory);
    absurd.check("power", &mut sample.power, Watts::get, limits.power);
    screen_pressure(&mut sample.pressure, absurd);
}

fn screen_pressure(pressure: &mut Pressure, absurd: &mut Absurd) {
    absurd.check_share("pressure.cpu_some", &mut pressure.cpu_some);
    absurd.check_share("pressure.memory_some", &mut pressure.memory_some);
    absurd.check_share("pressure.memory_full", &mut pressure.memory_full);
    absurd.check_share("pressure.io_some", &mut pressure.io_some);
    absurd.check_share("pressure.io_full", &mut pressure.io_full);
}

fn screen_vm(sample: &mut VmSample, most: VmLimits, host_memory: f64, absurd: &mut Absurd) {
    absurd.within = Some(sample.vm);
    absurd.check("cpu_used", &mut sample.cpu_used, Cores::get, most.cores);
    absurd.check_share("steal", &mut sample.steal);
    absurd.check("memory_used", &mut sample.memory_used, Bytes::as_f64, most.memory);
    absurd.check("memory_balloon", &mut sample.memory_balloon, Bytes::as_f64, most.memory);
    // The process holds the hypervisor's own memory too, so only the host bounds it.
    absurd.check("memory_resident", &mut sample.memory_resident, Bytes::as_f64, host_memory);
    absurd.check("disk_read", &mut sample.disk_read, BytesPerSec::get, RATE_MAX);
    absurd.check("disk_write", &mut sample.disk_write, BytesPerSec::get, RATE_MAX);
    absurd.check("disk_read_ops", &mut sample.disk_read_ops, OpsPerSec::get, OPS_MAX);
    absurd.check("disk_write_ops", &mut sample.disk_write_ops, OpsPerSec::get, OPS_MAX);
    absurd.check("net_rx", &mut sample.net_rx, BytesPerSec::get, RATE_MAX);
    absurd.check("net_tx", &mut sample.net_tx, BytesPerSec::get, RATE_MAX);
    absurd.check("dirty_rate", &mut sample.dirty_rate, BytesPerSec::get, RATE_MAX);
    absurd.check("working_set", &mut sample.working_set, Bytes::as_f64, most.memory);
    absurd.check("disk_read_latency", &mut sample.disk_read_latency, Seconds::get, LATENCY_MAX);
    absurd.check("disk_write_latency", &mut sample.disk_write_latency, Seconds::get, LATENCY_MAX);
    absurd.check("net_rx_packets", &mut sample.net_rx_packets, PacketsPerSec::get, OPS_MAX);
    absurd.check("net_tx_packets", &mut sample.net_tx_packets, PacketsPerSec::get, OPS_MAX);
    absurd.check("net_rx_lost", &mut sample.net_rx_lost, PacketsPerSec::get, OPS_MAX);
    absurd.check("net_tx_lost", &mut sample.net_tx_lost, PacketsPerSec::get, OPS_MAX);
}

/// Names absurd readings and takes them away.
#[derive(Debug, Default)]
struct Absurd {
    /// The vm whose readings are being checked; `None` for the host's own.
    within: Option<VmId>,
    named: Vec<String>,
    unnamed: usize,
}

impl Absurd {
    fn check<T: Copy>(&mut self, field: &str, reading: &mut Reading<T>, number: impl Fn(T) -> f64, most: f64) {
        let Some(value) = reading.value().map(number) else { return };
        if !(0.0..=most).contains(&value) {
            self.number(field, value, most);
            *reading = Reading::Missing;
        }
    }

    fn check_share(&mut self, field: &str, share: &mut Reading<Ratio>) {
        let allowed = -SHARE_TOLERANCE..=1.0 + SHARE_TOLERANCE;
        match share.value() {
            Some(value) if !allowed.contains(&value.get()) => {
                self.name(field, &value.get().to_string(), "from 0 to 1 needed");
                *share = Reading::Missing;
            }
            _ => *share = share.map(|value| Ratio(value.get().clamp(0.0, 1.0))),
        }
    }

    fn number(&mut self, field: &str, value: f64, most: f64) {
        if value.is_finite() && value >= 0.0 {
            self.name(field, &value.to_string(), &format!("at most {most} possible"));
        } else {
            self.name(field, &value.to_string(), "finite and >= 0 needed");
        }
    }

    fn name(&mut self, field: &str, value: &str, expected: &str) {
        if self.named.len() == NAMED_MAX {
            self.unnamed += 1;
            return;
        }
        let path = self.within.map_or_else(|| field.to_owned(), |vm| format!("vms[{vm}].{field}"));
        self.named.push(format!("{path} = {value}: {expected}"));
    }

    fn finish(mut self) -> Vec<String> {
        if self.unnamed > 0 {
            self.named.push(format!("{} more absurd readings", self.unnamed));
        }
        self.named
    }
}

#[cfg(test)]
mod tests;
