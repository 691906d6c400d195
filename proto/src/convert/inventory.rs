//! Inventories: what a host is and which vms it holds. Nothing later screens them, so their numbers are checked here.

use std::{collections::BTreeSet, time::Duration};

use ballast_core::{
    convergence::{Compression, Convergence},
    id::HostId,
    inventory::{CpuNeed, Inventory, Obstacle, SleepSupport, VmLabels, VmRecord},
    power::{POINTS, PowerCurve},
    units::{Bytes, BytesPerSec, Cores, Timestamp, Watts},
};

use super::{InvalidField, amount, boot_id, each, host_id, millis, required, span, uuid_bytes, vm_id};
use crate::v1;

impl From<v1::SleepSupport> for SleepSupport {
    fn from(wire: v1::SleepSupport) -> Self {
        match wire {
            v1::SleepSupport::Unspecified => Self::None,
            v1::SleepSupport::Suspend => Self::Suspend,
            v1::SleepSupport::PowerOff => Self::PowerOff,
        }
    }
}

impl From<SleepSupport> for v1::SleepSupport {
    fn from(sleep: SleepSupport) -> Self {
        match sleep {
            SleepSupport::None => Self::Unspecified,
            SleepSupport::Suspend => Self::Suspend,
            SleepSupport::PowerOff => Self::PowerOff,
        }
    }
}

impl From<v1::Compression> for Compression {
    fn from(wire: v1::Compression) -> Self {
        match wire {
            v1::Compression::Unspecified => Self::None,
            v1::Compression::Zstd => Self::Zstd,
        }
    }
}

impl From<Compression> for v1::Compression {
    fn from(compression: Compression) -> Self {
        match compression {
            Compression::None => Self::Unspecified,
            Compression::Zstd => Self::Zstd,
        }
    }
}

impl TryFrom<v1::Convergence> for Convergence {
    type Error = InvalidField;

    fn try_from(wire: v1::Convergence) -> Result<Self, InvalidField> {
        let wish = Self {
            downtime_max_ms: wire.downtime_max_millis,
            bandwidth_mbit: wire.bandwidth_megabits_per_second,
            timeout_seconds: wire.timeout_seconds,
            auto_converge: wire.auto_converge,
            parallel: wire.parallel_connection_count,
            compression: wire.compression().into(),
        };
        match wish.problems().into_iter().next() {
            None => Ok(wish),
            Some(problem) => Err(InvalidField::new(problem.field, problem.value, &problem.needed)),
        }
    }
}

impl From<Convergence> for v1::Convergence {
    fn from(wish: Convergence) -> Self {
        Self {
            downtime_max_millis: wish.downtime_max_ms,
            bandwidth_megabits_per_second: wish.bandwidth_mbit,
            timeout_seconds: wish.timeout_seconds,
            auto_converge: wish.auto_converge,
            parallel_connection_count: wish.parallel,
            compression: v1::Compression::from(wish.compression).into(),
        }
    }
}

impl TryFrom<v1::CpuNeed> for CpuNeed {
    type Error = InvalidField;

    fn try_from(wire: v1::CpuNeed) -> Result<Self, InvalidField> {
        Ok(match wire.need.ok_or_else(|| InvalidField::absent("need"))? {
            v1::cpu_need::Need::Any(_) => Self::Any,
            v1::cpu_need::Need::Model(model) => Self::Model(model),
            v1::cpu_need::Need::SameAs(model) => Self::SameAs(model),
        })
    }
}

impl From<CpuNeed> for v1::CpuNeed {
    fn from(need: CpuNeed) -> Self {
        let need = match need {
            CpuNeed::Any => v1::cpu_need::Need::Any(true),
            CpuNeed::Model(model) => v1::cpu_need::Need::Model(model),
            CpuNeed::SameAs(model) => v1::cpu_need::Need::SameAs(model),
        };
        Self { need: Some(need) }
    }
}

impl From<v1::Obstacle> for Obstacle {
    /// A kind this version does not know still stands in the way.
    fn from(wire: v1::Obstacle) -> Self {
        match wire.kind {
            Some(v1::obstacle::Kind::HostDevice(what)) => Self::HostDevice(what),
            Some(v1::obstacle::Kind::LocalDisk(what)) => Self::LocalDisk(what),
            Some(v1::obstacle::Kind::SharedFilesystem(what)) => Self::SharedFilesystem(what),
            Some(v1::obstacle::Kind::Other(what)) => Self::Other(what),
            None => Self::Other("of a kind this version does not know".into()),
        }
    }
}

impl From<Obstacle> for v1::Obstacle {
    fn from(obstacle: Obstacle) -> Self {
        let kind = match obstacle {
            Obstacle::HostDevice(what) => v1::obstacle::Kind::HostDevice(what),
            Obstacle::LocalDisk(what) => v1::obstacle::Kind::LocalDisk(what),
            Obstacle::SharedFilesystem(what) => v1::obstacle::Kind::SharedFilesystem(what),
            Obstacle::Other(what) => v1::obstacle::Kind::Other(what),
        };
        Self { kind: Some(kind) }
    }
}

fn pinned(names: &[String]) -> Result<BTreeSet<HostId>, InvalidField> {
    let one = |(index, name): (usize, &String)| host_id(name, &format!("pinned_to[{index}]"));
    names.iter().enumerate().map(one).collect()
}

impl TryFrom<v1::VmRecord> for VmRecord {
    type Error = InvalidField;

    fn try_from(wire: v1::VmRecord) -> Result<Self, InvalidField> {
        Ok(Self {
            vm: vm_id(&wire.vm_uuid, "vm_uuid")?,
            state: wire.state().into(),
            vcpus: wire.vcpu_count,
            memory_max: Bytes(wire.memory_max_bytes),
            cpu: required(wire.cpu, "cpu")?,
            labels: VmLabels {
                pinned_to: pinned(&wire.pinned_to)?,
                anti_affinity: wire.anti_affinity.into_iter().collect(),
                affinity: wire.affinity.into_iter().collect(),
                spread: wire.spread.into_iter().collect(),
                users: Some(wire.users).filter(|users| !users.is_empty()),
                immovable: wire.immovable,
                convergence: wire
                    .convergence
                    .map(|wish| required(Some(wish), "convergence"))
                    .transpose()?
                    .unwrap_or_default(),
            },
            name: wire.name,
            networks: wire.networks.into_iter().collect(),
            storages: wire.storages.into_iter().collect(),
            obstacles: wire.obstacles.into_iter().map(Into::into).collect(),
            busy: wire.busy,
        })
    }
}

impl From<VmRecord> for v1::VmRecord {
    fn from(record: VmRecord) -> Self {
        Self {
            vm_uuid: uuid_bytes(record.vm),
            name: record.name,
            state: v1::VmState::from(record.state).into(),
            vcpu_count: record.vcpus,
            memory_max_bytes: record.memory_max.get(),
            cpu: Some(record.cpu.into()),
            networks: record.networks.into_iter().collect(),
            storages: record.storages.into_iter().collect(),
            pinned_to: record.labels.pinned_to.iter().map(ToString::to_string).collect(),
            anti_affinity: record.labels.anti_affinity.into_iter().collect(),
            affinity: record.labels.affinity.into_iter().collect(),
            spread: record.labels.spread.into_iter().collect(),
            users: record.labels.users.unwrap_or_default(),
            immovable: record.labels.immovable,
            convergence: (!record.labels.convergence.is_plain()).then(|| record.labels.convergence.into()),
            obstacles: record.obstacles.into_iter().map(Into::into).collect(),
            busy: record.busy,
        }
    }
}

/// Longest time a host may need to fall asleep or to wake; what is longer is a slip of the unit.
const TRANSITION_MAX: Duration = Duration::from_secs(24 * 3600);

fn transition(millis: u64, path: &str) -> Result<Duration, InvalidField> {
    let time = span(millis);
    if time <= TRANSITION_MAX {
        return Ok(time);
    }
    Err(InvalidField::new(path, millis, "at most a day (86400000) is needed"))
}

impl TryFrom<v1::PowerCurve> for PowerCurve {
    type Error = InvalidField;

    fn try_from(wire: v1::PowerCurve) -> Result<Self, InvalidField> {
        let count = wire.load_watts.len();
        let points: [f64; POINTS] = wire
            .load_watts
            .try_into()
            .map_err(|_| InvalidField::new("load_watts", format!("{count} values"), "eleven values are needed"))?;
        let wake = transition(wire.wake_millis, "wake_millis")?;
        let fall_asleep = transition(wire.fall_asleep_millis, "fall_asleep_millis")?;
        Self::new(points.map(Watts), Watts(wire.asleep_watts), wake, fall_asleep)
            .map_err(|error| InvalidField::new("load_watts", format!("{points:?}"), &error.to_string()))
    }
}

impl From<PowerCurve> for v1::PowerCurve {
    fn from(curve: PowerCurve) -> Self {
        Self {
            load_watts: curve.points().iter().map(|point| point.get()).collect(),
            asleep_watts: curve.asleep().get(),
            wake_millis: millis(curve.wake_time()),
            fall_asleep_millis: millis(curve.fall_asleep_time()),
        }
    }
}

/// Cores beyond which a capacity is a slip of the unit or a lie: no host has that many.
const CORES_MAX: f64 = 65_536.0;

fn cores(value: f64, path: &str) -> Result<Cores, InvalidField> {
    if (0.0..=CORES_MAX).contains(&value) {
        return Ok(Cores(value));
    }
    Err(InvalidField::new(path, value, "from 0 to 65536 cores are needed"))
}

impl TryFrom<v1::Inventory> for Inventory {
    type Error = InvalidField;

    fn try_from(wire: v1::Inventory) -> Result<Self, InvalidField> {
        let bandwidth = amount(wire.migration_bandwidth_bytes_per_second, "migration_bandwidth_bytes_per_second")?;
        Ok(Self {
            host: host_id(&wire.host, "host")?,
            boot: boot_id(&wire.boot_uuid, "boot_uuid")?,
            taken_at: Timestamp(wire.taken_at_unix_nanos),
            up_for: span(wire.up_for_millis),
            complete: wire.complete,
            cpu_capacity: cores(wire.cpu_capacity_cores, "cpu_capacity_cores")?,
            memory_capacity: Bytes(wire.memory_capacity_bytes),
            sleep: wire.sleep().into(),
            hypervisor: wire.hypervisor,
            cpu_model: wire.cpu_model,
            cpu_models: wire.cpu_models.into_iter().collect(),
            networks: wire.networks.into_iter().collect(),
            storages: wire.storages.into_iter().collect(),
            migration_uri: wire.migration_uri,
            migration_bandwidth: BytesPerSec(bandwidth),
            power: required(wire.power, "power")?,
            wake_address: Some(wire.wake_address).filter(|address| !address.is_empty()),
            fault_domain: Some(wire.fault_domain).filter(|domain| !domain.is_empty()),
            site: Some(wire.site).filter(|site| !site.is_empty()),
            vms: each(wire.vms, "vms")?,
        })
    }
}

impl From<Inventory> for v1::Inventory {
    fn from(inventory: Inventory) -> Self {
        Self {
            host: inventory.host.to_string(),
            boot_uuid: uuid_bytes(inventory.boot),
            taken_at_unix_nanos: inventory.taken_at.nanos(),
            up_for_millis: millis(inventory.up_for),
            complete: inventory.complete,
            hypervisor: inventory.hypervisor,
            cpu_capacity_cores: inventory.cpu_capacity.get(),
            memory_capacity_bytes: inventory.memory_capacity.get(),
            cpu_model: inventory.cpu_model,
            cpu_models: inventory.cpu_models.into_iter().collect(),
            networks: inventory.networks.into_iter().collect(),
            storages: inventory.storages.into_iter().collect(),
            migration_uri: inventory.migration_uri,
            migration_bandwidth_bytes_per_second: inventory.migration_bandwidth.get(),
            power: Some(inventory.power.into()),
            sleep: v1::SleepSupport::from(inventory.sleep).into(),
            wake_address: inventory.wake_address.unwrap_or_default(),
            fault_domain: inventory.fault_domain.unwrap_or_default(),
            site: inventory.site.unwrap_or_default(),
            vms: inventory.vms.into_iter().map(Into::into).collect(),
        }
    }
}
