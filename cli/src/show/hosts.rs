//! Hosts.

use ballast_proto::v1;
use serde::Serialize;

use super::{Row, words};

/// One host.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct HostRow {
    pub(crate) host: String,
    pub(crate) power: &'static str,
    pub(crate) draining: bool,
    pub(crate) doubts: Vec<String>,
    pub(crate) sample_age_millis: Option<u64>,
    pub(crate) cpu_used_cores: Option<f64>,
    pub(crate) cpu_capacity_cores: Option<f64>,
    pub(crate) memory_used_bytes: Option<f64>,
    pub(crate) memory_capacity_bytes: Option<u64>,
    pub(crate) memory_reserved_bytes: u64,
    pub(crate) power_watts: Option<f64>,
    pub(crate) power_source: &'static str,
    pub(crate) vm_count: u32,
    pub(crate) migrating_count: u32,
    pub(crate) hypervisor: String,
}

impl From<&v1::HostStatus> for HostRow {
    fn from(host: &v1::HostStatus) -> Self {
        let sample = host.sample.as_ref();
        // The last sample of a host that sleeps says what it used before.
        let fresh = sample.filter(|_| host.power() != v1::HostPower::Asleep);
        Self {
            host: host.host.clone(),
            power: words::host_power(host.power()),
            draining: host.draining,
            doubts: host.doubts.clone(),
            sample_age_millis: host.sample_age_millis,
            cpu_used_cores: words::value(fresh.and_then(|sample| sample.cpu_used_cores.as_ref())),
            cpu_capacity_cores: sample.map(|sample| sample.cpu_capacity_cores),
            memory_used_bytes: words::value(fresh.and_then(|sample| sample.memory_used_bytes.as_ref())),
            memory_capacity_bytes: sample.map(|sample| sample.memory_capacity_bytes),
            memory_reserved_bytes: host.memory_reserved_bytes,
            power_watts: words::value(fresh.and_then(|sample| sample.power_watts.as_ref())),
            power_source: sample.map_or("unknown", |sample| words::power_source(sample.power_source())),
            vm_count: host.vm_count,
            migrating_count: host.migrating_count,
            hypervisor: host.hypervisor.clone(),
        }
    }
}

impl HostRow {
    /// Load as a share of capacity, where both are known.
    pub(crate) fn load(&self) -> Option<f64> {
        let capacity = self.cpu_capacity_cores.filter(|capacity| *capacity > 0.0)?;
        Some(self.cpu_used_cores? / capacity)
    }

    /// How it is, in a word or a reason.
    pub(crate) fn state(&self) -> String {
        let mut state = self.power.replace('_', " ");
        if self.draining {
            state.push_str(", draining");
        }
        for doubt in &self.doubts {
            state.push_str(", ");
            state.push_str(doubt);
        }
        state
    }

    fn memory(&self) -> String {
        words::or_dash(self.memory_capacity_bytes, |capacity| {
            format!(
                "{} of {}",
                words::bytes(words::float(self.memory_reserved_bytes)),
                words::bytes(words::float(capacity))
            )
        })
    }

    /// Power draw; one that was modelled is marked.
    fn watts(&self) -> String {
        let mark = if self.power_source == "curve" { "~" } else { "" };
        words::or_dash(self.power_watts, |watts| format!("{mark}{watts:.0} W"))
    }
}

impl Row for HostRow {
    const HEAD: &'static [&'static str] =
        &["HOST", ">CPU", ">CORES", ">MEMORY PROMISED", ">POWER", ">VMS", ">MOVING", ">AGE", "STATE"];

    fn cells(&self) -> Vec<String> {
        let capacity = words::or_dash(self.cpu_capacity_cores, |cores| format!("{cores:.1}"));
        let used = words::or_dash(self.cpu_used_cores, |cores| format!("{cores:.1}"));
        vec![
            self.host.clone(),
            words::or_dash(self.load(), words::percent),
            format!("{used} of {capacity}"),
            self.memory(),
            self.watts(),
            self.vm_count.to_string(),
            self.migrating_count.to_string(),
            words::or_dash(self.sample_age_millis, words::millis),
            self.state(),
        ]
    }
}
