//! What an operator is shown: snapshots as lists of hosts and vms, and the modes.

use ballast_core::{
    decision::Mode,
    id::{HostId, VmId},
    snapshot::{HostMode, HostPower, Snapshot, VmView},
    units::Bytes,
};

use super::{InvalidField, millis};
use crate::v1;

impl TryFrom<v1::Mode> for Mode {
    type Error = InvalidField;

    fn try_from(wire: v1::Mode) -> Result<Self, InvalidField> {
        Ok(match wire {
            v1::Mode::Off => Self::Off,
            v1::Mode::Recommend => Self::Recommend,
            v1::Mode::Auto => Self::Auto,
            v1::Mode::Unspecified => {
                return Err(InvalidField::new("mode", wire.as_str_name(), "MODE_OFF, MODE_RECOMMEND or MODE_AUTO"));
            }
        })
    }
}

impl From<Mode> for v1::Mode {
    fn from(mode: Mode) -> Self {
        match mode {
            Mode::Off => Self::Off,
            Mode::Recommend => Self::Recommend,
            Mode::Auto => Self::Auto,
        }
    }
}

impl From<HostPower> for v1::HostPower {
    fn from(power: HostPower) -> Self {
        match power {
            HostPower::Awake => Self::Awake,
            HostPower::FallingAsleep => Self::FallingAsleep,
            HostPower::Asleep => Self::Asleep,
            HostPower::Waking => Self::Waking,
        }
    }
}

impl TryFrom<v1::HostPower> for HostPower {
    type Error = InvalidField;

    fn try_from(wire: v1::HostPower) -> Result<Self, InvalidField> {
        Ok(match wire {
            v1::HostPower::Awake => Self::Awake,
            v1::HostPower::FallingAsleep => Self::FallingAsleep,
            v1::HostPower::Asleep => Self::Asleep,
            v1::HostPower::Waking => Self::Waking,
            v1::HostPower::Unspecified => {
                return Err(InvalidField::new("power", wire.as_str_name(), "one of HostPower, 1 to 4, is needed"));
            }
        })
    }
}

/// One host of a snapshot as an operator sees it; `None` for a host that is not in it.
pub fn host_status(snapshot: &Snapshot, host: &HostId) -> Option<v1::HostStatus> {
    let view = snapshot.hosts.get(host)?;
    let here = || snapshot.vms.values().filter(|vm| vm.host == *host && vm.record.state.holds_memory());
    let coming = snapshot.in_flight.iter().filter(|flight| flight.destination == *host);
    let reserved_coming = coming.filter_map(|flight| snapshot.vms.get(&flight.vm)).map(VmView::memory_reserved);
    let moving = snapshot.in_flight.iter().filter(|flight| flight.source == *host || flight.destination == *host);
    Some(v1::HostStatus {
        host: host.to_string(),
        power: v1::HostPower::from(view.power).into(),
        draining: view.mode == HostMode::Draining,
        doubts: view.doubts.iter().map(ToString::to_string).collect(),
        sample_age_millis: view.heard_at.map(|at| millis(snapshot.taken_at.since(at))),
        sample: view.sample.map(Into::into),
        vm_count: small(here().count()),
        memory_reserved_bytes: here().map(VmView::memory_reserved).chain(reserved_coming).sum::<Bytes>().get(),
        migrating_count: small(moving.count()),
        hypervisor: view.inventory.hypervisor.clone(),
    })
}

/// One vm of a snapshot as an operator sees it; `None` for a vm that is not in it.
pub fn vm_status(snapshot: &Snapshot, vm: VmId) -> Option<v1::VmStatus> {
    let view = snapshot.vms.get(&vm)?;
    let record = &view.record;
    let destination = snapshot.in_flight.iter().find(|flight| flight.vm == vm).map(|flight| &flight.destination);
    Some(v1::VmStatus {
        vm: vm.to_string(),
        name: record.name.clone(),
        host: view.host.to_string(),
        state: v1::VmState::from(record.state).into(),
        vcpu_count: record.vcpus,
        memory_max_bytes: record.memory_max.get(),
        sample: view.sample.map(Into::into),
        destination: destination.map(ToString::to_string).unwrap_or_default(),
        obstacles: stands_still_because(view),
    })
}

fn stands_still_because(vm: &VmView) -> Vec<String> {
    let obstacles = vm.record.obstacles.iter().map(ToString::to_string);
    let immovable = vm.record.labels.immovable.then(|| "labelled immovable".to_owned());
    vm.frozen.iter().cloned().chain(immovable).chain(obstacles).collect()
}

/// A count as the wire carries it; saturates.
fn small(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}
