//! Vms.

use ballast_proto::v1;
use serde::Serialize;

use super::{Row, words};

/// One vm.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct VmRow {
    pub(crate) vm: String,
    pub(crate) name: String,
    pub(crate) host: String,
    pub(crate) destination: Option<String>,
    pub(crate) state: &'static str,
    pub(crate) vcpu_count: u32,
    pub(crate) memory_max_bytes: u64,
    pub(crate) cpu_used_cores: Option<f64>,
    pub(crate) steal_ratio: Option<f64>,
    pub(crate) memory_used_bytes: Option<f64>,
    pub(crate) disk_read_bytes_per_second: Option<f64>,
    pub(crate) disk_write_bytes_per_second: Option<f64>,
    pub(crate) net_rx_bytes_per_second: Option<f64>,
    pub(crate) net_tx_bytes_per_second: Option<f64>,
    pub(crate) dirty_rate_bytes_per_second: Option<f64>,
    pub(crate) working_set_bytes: Option<f64>,
    pub(crate) disk_read_latency_seconds: Option<f64>,
    pub(crate) disk_write_latency_seconds: Option<f64>,
    pub(crate) net_rx_packets_per_second: Option<f64>,
    pub(crate) net_tx_packets_per_second: Option<f64>,
    pub(crate) net_rx_lost_packets_per_second: Option<f64>,
    pub(crate) net_tx_lost_packets_per_second: Option<f64>,
    pub(crate) obstacles: Vec<String>,
}

impl From<&v1::VmStatus> for VmRow {
    fn from(vm: &v1::VmStatus) -> Self {
        type Field = fn(&v1::VmSample) -> Option<&v1::Reading>;
        let read = |field: Field| words::value(vm.sample.as_ref().and_then(field));
        Self {
            vm: vm.vm.clone(),
            name: vm.name.clone(),
            host: vm.host.clone(),
            destination: words::some(&vm.destination),
            state: words::vm_state(vm.state()),
            vcpu_count: vm.vcpu_count,
            memory_max_bytes: vm.memory_max_bytes,
            cpu_used_cores: read(|sample| sample.cpu_used_cores.as_ref()),
            steal_ratio: read(|sample| sample.steal_ratio.as_ref()),
            memory_used_bytes: read(|sample| sample.memory_used_bytes.as_ref()),
            disk_read_bytes_per_second: read(|sample| sample.disk_read_bytes_per_second.as_ref()),
            disk_write_bytes_per_second: read(|sample| sample.disk_write_bytes_per_second.as_ref()),
            net_rx_bytes_per_second: read(|sample| sample.net_rx_bytes_per_second.as_ref()),
            net_tx_bytes_per_second: read(|sample| sample.net_tx_bytes_per_second.as_ref()),
            dirty_rate_bytes_per_second: read(|sample| sample.dirty_rate_bytes_per_second.as_ref()),
            working_set_bytes: read(|sample| sample.working_set_bytes.as_ref()),
            disk_read_latency_seconds: read(|sample| sample.disk_read_latency_seconds.as_ref()),
            disk_write_latency_seconds: read(|sample| sample.disk_write_latency_seconds.as_ref()),
            net_rx_packets_per_second: read(|sample| sample.net_rx_packets_per_second.as_ref()),
            net_tx_packets_per_second: read(|sample| sample.net_tx_packets_per_second.as_ref()),
            net_rx_lost_packets_per_second: read(|sample| sample.net_rx_lost_packets_per_second.as_ref()),
            net_tx_lost_packets_per_second: read(|sample| sample.net_tx_lost_packets_per_second.as_ref()),
            obstacles: vm.obstacles.clone(),
        }
    }
}

impl VmRow {
    fn disk(&self) -> String {
        both(self.disk_read_bytes_per_second, self.disk_write_bytes_per_second)
    }

    fn net(&self) -> String {
        both(self.net_rx_bytes_per_second, self.net_tx_bytes_per_second)
    }

    fn memory(&self) -> String {
        let used = words::or_dash(self.memory_used_bytes, words::bytes);
        format!("{used} of {}", words::bytes(words::float(self.memory_max_bytes)))
    }

    fn remarks(&self) -> String {
        let going = self.destination.iter().map(|host| format!("on its way to {host}"));
        going.chain(self.obstacles.iter().cloned()).collect::<Vec<_>>().join(", ")
    }
}

/// What comes in and what goes out together, where either is known.
fn both(read: Option<f64>, written: Option<f64>) -> String {
    let sum = match (read, written) {
        (None, None) => None,
        (read, written) => Some(read.unwrap_or(0.0) + written.unwrap_or(0.0)),
    };
    words::or_dash(sum, words::rate)
}

impl Row for VmRow {
    const HEAD: &'static [&'static str] =
        &["VM", "HOST", "STATE", ">CPU", ">WAITS", ">MEMORY", ">DISK", ">NETWORK", "UUID", "REMARKS"];

    fn cells(&self) -> Vec<String> {
        let cpu = words::or_dash(self.cpu_used_cores, |cores| format!("{cores:.2}"));
        vec![
            self.name.clone(),
            self.host.clone(),
            self.state.replace('_', " "),
            format!("{cpu} of {}", self.vcpu_count),
            words::or_dash(self.steal_ratio, words::percent),
            self.memory(),
            self.disk(),
            self.net(),
            self.vm.clone(),
            self.remarks(),
        ]
    }
}
