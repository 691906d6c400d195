//! The fleet's figures for a scrape, read from the newest snapshot: gauges that vanish with the host or vm they name.
//!
//! Labels grow with the fleet, not with time: per host always, per vm (two figures) only where configured.

use std::{collections::BTreeMap, fmt, sync::Arc};

use ballast_core::{
    migration_cost::CopyFactors,
    snapshot::{HostPower, HostView, Snapshot, VmView},
    units::{Bytes, Timestamp, count},
};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{MetricType, gauge::ConstGauge},
};

use super::{Look, names};

/// Encodes the fleet of one look.
#[derive(Debug)]
pub(super) struct Fleet {
    /// The look.
    pub(super) look: Arc<Look>,
    /// Now, for the age of samples.
    pub(super) now: Timestamp,
    /// Whether each vm is shown.
    pub(super) per_vm: bool,
}

impl Collector for Fleet {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let snapshot = &self.look.snapshot;
        totals(&mut encoder, snapshot)?;
        hosts(&mut encoder, snapshot, self.now)?;
        if self.per_vm { vms(&mut encoder, snapshot) } else { Ok(()) }
    }
}

/// A gauge with one value per label value; those without a value are left out.
fn gauge<L: AsRef<str>>(
    encoder: &mut DescriptorEncoder,
    (name, help): (&str, &str),
    label: &str,
    values: impl IntoIterator<Item = (L, Option<f64>)>,
) -> fmt::Result {
    let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
    for (key, value) in values {
        if let Some(value) = value {
            ConstGauge::new(value).encode(metric.encode_family(&[(label, key.as_ref())])?)?;
        }
    }
    Ok(())
}

fn plain(encoder: &mut DescriptorEncoder, name: &str, help: &str, value: f64) -> fmt::Result {
    ConstGauge::new(value).encode(encoder.encode_descriptor(name, help, None, MetricType::Gauge)?)
}

fn totals(encoder: &mut DescriptorEncoder, snapshot: &Snapshot) -> fmt::Result {
    gauge(encoder, (names::HOSTS, "Hosts, by power state"), "power", power_counts(snapshot))?;
    let doubted = snapshot.hosts.values().filter(|host| !host.is_trusted()).count();
    plain(encoder, names::HOSTS_DOUBTED, "Hosts whose figures are not acted on", count(doubted))?;
    plain(encoder, names::VMS, "Vms known", count(snapshot.vms.len()))?;
    plain(encoder, names::MIGRATIONS_RUNNING, "Migrations under way", count(snapshot.in_flight.len()))?;
    copies(encoder, snapshot.copying)
}

/// How copies went, as far as the newest tell.
fn copies(encoder: &mut DescriptorEncoder, copying: CopyFactors) -> fmt::Result {
    let figures = [
        ("speed", Some(copying.speed)),
        ("amount", Some(copying.amount)),
        ("pause", Some(copying.pause)),
        ("duration_at_most", copying.duration_at_most),
        ("pause_at_most", copying.pause_at_most),
    ];
    let help = "Newest copies relative to what the model says; the bounds relative to what is expected with that";
    gauge(encoder, (names::COPY_FACTOR, help), "of", figures)?;
    let help = "Time that destinations take to get ready for a copy";
    plain(encoder, names::COPY_PREPARATION, help, copying.preparation.as_secs_f64())
}

fn power_counts(snapshot: &Snapshot) -> [(&'static str, Option<f64>); 4] {
    let of = |power| Some(count(snapshot.hosts.values().filter(|host| host.power == power).count()));
    [
        ("awake", of(HostPower::Awake)),
        ("falling_asleep", of(HostPower::FallingAsleep)),
        ("asleep", of(HostPower::Asleep)),
        ("waking", of(HostPower::Waking)),
    ]
}

fn hosts(encoder: &mut DescriptorEncoder, snapshot: &Snapshot, now: Timestamp) -> fmt::Result {
    let mut each = |name: &str, help: &str, of: &dyn Fn(&HostView) -> Option<f64>| {
        gauge(encoder, (name, help), "host", snapshot.hosts.iter().map(|(id, host)| (id.as_str(), of(host))))
    };
    each(names::HOST_POWER_WATTS, "Power of a host", &|host| Some(host.sample?.power.value()?.get()))?;
    each(names::HOST_CPU_USED_CORES, "CPU in use", &|host| Some(host.sample?.cpu_used.value()?.get()))?;
    each(names::HOST_CPU_CAPACITY_CORES, "CPU that vms may use", &|host| Some(host.inventory.cpu_capacity.get()))?;
    each(names::HOST_MEMORY_CAPACITY_BYTES, "Memory that vms may use", &|host| {
        Some(host.inventory.memory_capacity.as_f64())
    })?;
    each(names::HOST_SAMPLE_AGE_SECONDS, "Age of the newest sample", &|host| {
        Some(now.since(host.heard_at?).as_secs_f64())
    })?;
    let reserved = reserved_by_host(snapshot);
    each(names::HOST_MEMORY_RESERVED_BYTES, "Memory promised to vms", &|host| {
        Some(reserved.get(host.id().as_str()).map_or(0.0, |bytes| bytes.as_f64()))
    })
}

fn reserved_by_host(snapshot: &Snapshot) -> BTreeMap<&str, Bytes> {
    let mut reserved = BTreeMap::<&str, Bytes>::new();
    for vm in snapshot.vms.values() {
        let sum = reserved.entry(vm.host.as_str()).or_default();
        *sum = sum.saturating_add(vm.memory_reserved());
    }
    reserved
}

fn vms(encoder: &mut DescriptorEncoder, snapshot: &Snapshot) -> fmt::Result {
    let mut each = |name: &str, help: &str, of: &dyn Fn(&VmView) -> Option<f64>| {
        gauge(encoder, (name, help), "vm", snapshot.vms.iter().map(|(id, vm)| (id.to_string(), of(vm))))
    };
    each(names::VM_CPU_USED_CORES, "CPU a vm uses", &|vm| Some(vm.cpu_used()?.get()))?;
    each(names::VM_STEAL_RATIO, "Share of time a vm waits for a host CPU", &|vm| Some(vm.sample?.steal.value()?.get()))
}
