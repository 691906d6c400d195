//! Samples: the stream's bulk, and the record of the telemetry log.

use ballast_core::{
    id::Seq,
    sample::{AgentHealth, Batch, HostSample, PowerSource, Pressure, Reading, VmSample, VmState},
    units::{Bytes, BytesPerSec, Cores, OpsPerSec, PacketsPerSec, Ratio, Seconds, Timestamp, Watts},
};

use super::{InvalidField, boot_id, each, host_id, uuid_bytes, vm_id};
use crate::v1;

/// A reading as it was sent; what is absent, of no stated or of unknown quality is missing.
fn reading<T: Copy>(wire: Option<v1::Reading>, unit: impl FnOnce(f64) -> T) -> Reading<T> {
    let Some(wire) = wire else { return Reading::Missing };
    match wire.quality() {
        v1::Quality::Measured => Reading::Measured(unit(wire.value)),
        v1::Quality::Estimated => Reading::Estimated(unit(wire.value)),
        v1::Quality::Unspecified | v1::Quality::Missing => Reading::Missing,
    }
}

/// Bytes of a reading. NaN and negative numbers become the largest amount there is, which no host has: as zero they
/// would pass for an idle vm, so they are left for the plausibility check to name.
fn bytes(value: f64) -> Bytes {
    if value >= 0.0 { Bytes::from_f64(value) } else { Bytes(u64::MAX) }
}

fn wire<T: Copy>(reading: Reading<T>, number: impl FnOnce(T) -> f64) -> Option<v1::Reading> {
    let quality = match reading {
        Reading::Measured(_) => v1::Quality::Measured,
        Reading::Estimated(_) => v1::Quality::Estimated,
        Reading::Missing => v1::Quality::Missing,
    };
    Some(v1::Reading { value: reading.value().map_or(0.0, number), quality: quality.into() })
}

impl From<v1::VmState> for VmState {
    fn from(wire: v1::VmState) -> Self {
        match wire {
            v1::VmState::Unspecified => Self::Unknown,
            v1::VmState::Running => Self::Running,
            v1::VmState::Paused => Self::Paused,
            v1::VmState::Incoming => Self::Incoming,
            v1::VmState::ShutOff => Self::ShutOff,
            v1::VmState::Crashed => Self::Crashed,
        }
    }
}

impl From<VmState> for v1::VmState {
    fn from(state: VmState) -> Self {
        match state {
            VmState::Unknown => Self::Unspecified,
            VmState::Running => Self::Running,
            VmState::Paused => Self::Paused,
            VmState::Incoming => Self::Incoming,
            VmState::ShutOff => Self::ShutOff,
            VmState::Crashed => Self::Crashed,
        }
    }
}

impl From<v1::PowerSource> for PowerSource {
    /// A source that is not said counts as the curve: the least that can be claimed for a figure.
    fn from(wire: v1::PowerSource) -> Self {
        match wire {
            v1::PowerSource::Unspecified | v1::PowerSource::Curve => Self::Curve,
            v1::PowerSource::Dcmi => Self::Dcmi,
            v1::PowerSource::Redfish => Self::Redfish,
            v1::PowerSource::Hwmon => Self::Hwmon,
            v1::PowerSource::Rapl => Self::Rapl,
        }
    }
}

impl From<PowerSource> for v1::PowerSource {
    fn from(source: PowerSource) -> Self {
        match source {
            PowerSource::Curve => Self::Curve,
            PowerSource::Dcmi => Self::Dcmi,
            PowerSource::Redfish => Self::Redfish,
            PowerSource::Hwmon => Self::Hwmon,
            PowerSource::Rapl => Self::Rapl,
        }
    }
}

impl From<v1::Pressure> for Pressure {
    fn from(wire: v1::Pressure) -> Self {
        Self {
            cpu_some: reading(wire.cpu_some_ratio, Ratio),
            memory_some: reading(wire.memory_some_ratio, Ratio),
            memory_full: reading(wire.memory_full_ratio, Ratio),
            io_some: reading(wire.io_some_ratio, Ratio),
            io_full: reading(wire.io_full_ratio, Ratio),
        }
    }
}

impl From<Pressure> for v1::Pressure {
    fn from(pressure: Pressure) -> Self {
        Self {
            cpu_some_ratio: wire(pressure.cpu_some, Ratio::get),
            memory_some_ratio: wire(pressure.memory_some, Ratio::get),
            memory_full_ratio: wire(pressure.memory_full, Ratio::get),
            io_some_ratio: wire(pressure.io_some, Ratio::get),
            io_full_ratio: wire(pressure.io_full, Ratio::get),
        }
    }
}

impl From<v1::AgentHealth> for AgentHealth {
    fn from(wire: v1::AgentHealth) -> Self {
        Self {
            resident: Bytes(wire.resident_bytes),
            cpu_used: Cores(wire.cpu_used_cores),
            spooled: wire.spooled_count,
            dropped: wire.dropped_count,
            late_ticks: wire.late_ticks_count,
            hypervisor_connected: wire.hypervisor_connected,
        }
    }
}

impl From<AgentHealth> for v1::AgentHealth {
    fn from(health: AgentHealth) -> Self {
        Self {
            resident_bytes: health.resident.get(),
            cpu_used_cores: health.cpu_used.get(),
            spooled_count: health.spooled,
            dropped_count: health.dropped,
            late_ticks_count: health.late_ticks,
            hypervisor_connected: health.hypervisor_connected,
        }
    }
}

impl From<v1::HostSample> for HostSample {
    /// Absent pressure is missing readings; an absent agent's state says that the hypervisor is away.
    fn from(wire: v1::HostSample) -> Self {
        Self {
            cpu_capacity: Cores(wire.cpu_capacity_cores),
            cpu_used: reading(wire.cpu_used_cores, Cores),
            memory_capacity: Bytes(wire.memory_capacity_bytes),
            memory_used: reading(wire.memory_used_bytes, bytes),
            power: reading(wire.power_watts, Watts),
            power_source: wire.power_source().into(),
            pressure: wire.pressure.unwrap_or_default().into(),
            agent: wire.agent.unwrap_or_default().into(),
        }
    }
}

impl From<HostSample> for v1::HostSample {
    fn from(sample: HostSample) -> Self {
        Self {
            cpu_capacity_cores: sample.cpu_capacity.get(),
            cpu_used_cores: wire(sample.cpu_used, Cores::get),
            cpu_remaining_cores: wire(sample.cpu_remaining(), Cores::get),
            memory_capacity_bytes: sample.memory_capacity.get(),
            memory_used_bytes: wire(sample.memory_used, Bytes::as_f64),
            memory_remaining_bytes: wire(sample.memory_remaining(), Bytes::as_f64),
            power_watts: wire(sample.power, Watts::get),
            power_source: v1::PowerSource::from(sample.power_source).into(),
            pressure: Some(sample.pressure.into()),
            agent: Some(sample.agent.into()),
        }
    }
}

impl TryFrom<v1::VmSample> for VmSample {
    type Error = InvalidField;

    fn try_from(wire: v1::VmSample) -> Result<Self, InvalidField> {
        Ok(Self {
            vm: vm_id(&wire.vm_uuid, "vm_uuid")?,
            taken_at: Timestamp(wire.taken_at_unix_nanos),
            state: wire.state().into(),
            cpu_used: reading(wire.cpu_used_cores, Cores),
            steal: reading(wire.steal_ratio, Ratio),
            memory_used: reading(wire.memory_used_bytes, bytes),
            memory_balloon: reading(wire.memory_balloon_bytes, bytes),
            memory_resident: reading(wire.memory_resident_bytes, bytes),
            disk_read: reading(wire.disk_read_bytes_per_second, BytesPerSec),
            disk_write: reading(wire.disk_write_bytes_per_second, BytesPerSec),
            disk_read_ops: reading(wire.disk_read_ops_per_second, OpsPerSec),
            disk_write_ops: reading(wire.disk_write_ops_per_second, OpsPerSec),
            net_rx: reading(wire.net_rx_bytes_per_second, BytesPerSec),
            net_tx: reading(wire.net_tx_bytes_per_second, BytesPerSec),
            dirty_rate: reading(wire.dirty_rate_bytes_per_second, BytesPerSec),
            working_set: reading(wire.working_set_bytes, bytes),
            disk_read_latency: reading(wire.disk_read_latency_seconds, Seconds),
            disk_write_latency: reading(wire.disk_write_latency_seconds, Seconds),
            net_rx_packets: reading(wire.net_rx_packets_per_second, PacketsPerSec),
            net_tx_packets: reading(wire.net_tx_packets_per_second, PacketsPerSec),
            net_rx_lost: reading(wire.net_rx_lost_packets_per_second, PacketsPerSec),
            net_tx_lost: reading(wire.net_tx_lost_packets_per_second, PacketsPerSec),
        })
    }
}

impl From<VmSample> for v1::VmSample {
    fn from(sample: VmSample) -> Self {
        Self {
            vm_uuid: uuid_bytes(sample.vm),
            taken_at_unix_nanos: sample.taken_at.nanos(),
            state: v1::VmState::from(sample.state).into(),
            cpu_used_cores: wire(sample.cpu_used, Cores::get),
            steal_ratio: wire(sample.steal, Ratio::get),
            memory_used_bytes: wire(sample.memory_used, Bytes::as_f64),
            memory_balloon_bytes: wire(sample.memory_balloon, Bytes::as_f64),
            memory_resident_bytes: wire(sample.memory_resident, Bytes::as_f64),
            disk_read_bytes_per_second: wire(sample.disk_read, BytesPerSec::get),
            disk_write_bytes_per_second: wire(sample.disk_write, BytesPerSec::get),
            disk_read_ops_per_second: wire(sample.disk_read_ops, OpsPerSec::get),
            disk_write_ops_per_second: wire(sample.disk_write_ops, OpsPerSec::get),
            net_rx_bytes_per_second: wire(sample.net_rx, BytesPerSec::get),
            net_tx_bytes_per_second: wire(sample.net_tx, BytesPerSec::get),
            dirty_rate_bytes_per_second: wire(sample.dirty_rate, BytesPerSec::get),
            working_set_bytes: wire(sample.working_set, Bytes::as_f64),
            disk_read_latency_seconds: wire(sample.disk_read_latency, Seconds::get),
            disk_write_latency_seconds: wire(sample.disk_write_latency, Seconds::get),
            net_rx_packets_per_second: wire(sample.net_rx_packets, PacketsPerSec::get),
            net_tx_packets_per_second: wire(sample.net_tx_packets, PacketsPerSec::get),
            net_rx_lost_packets_per_second: wire(sample.net_rx_lost, PacketsPerSec::get),
            net_tx_lost_packets_per_second: wire(sample.net_tx_lost, PacketsPerSec::get),
        }
    }
}

impl TryFrom<v1::Batch> for Batch {
    type Error = InvalidField;

    fn try_from(wire: v1::Batch) -> Result<Self, InvalidField> {
        Ok(Self {
            host: host_id(&wire.host, "host")?,
            boot: boot_id(&wire.boot_uuid, "boot_uuid")?,
            seq: Seq(wire.seq),
            taken_at: Timestamp(wire.taken_at_unix_nanos),
            sample: wire.sample.ok_or_else(|| InvalidField::absent("sample"))?.into(),
            vms: each(wire.vms, "vms")?,
        })
    }
}

impl From<Batch> for v1::Batch {
    fn from(batch: Batch) -> Self {
        Self {
            host: batch.host.to_string(),
            boot_uuid: uuid_bytes(batch.boot),
            seq: batch.seq.0,
            taken_at_unix_nanos: batch.taken_at.nanos(),
            sample: Some(batch.sample.into()),
            vms: batch.vms.into_iter().map(Into::into).collect(),
        }
    }
}
