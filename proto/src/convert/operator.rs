//! What an operator is shown: snapshots as lists of hosts and vms, and the modes.

use std::collections::BTreeMap;

use ballast_core::{
    decision::Mode,
    id::{HostId, VmId},
    snapshot::{HostMode, HostPower, HostView, Snapshot, VmView},
    units::{Bytes, Timestamp},
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

/// What a host holds, counted over the vms and migrations of a snapshot.
#[derive(Default)]
struct Tally {
    vms: usize,
    reserved: Bytes,
    migrating: usize,
}

/// The tallies of the hosts for which `wanted` holds, in one pass: a list of all hosts must not go over all vms for each.
fn tallies(snapshot: &Snapshot, wanted: impl Fn(&HostId) -> bool) -> BTreeMap<&HostId, Tally> {
    let mut tallies = BTreeMap::<&HostId, Tally>::new();
    for vm in snapshot.vms.values().filter(|vm| wanted(&vm.host) && vm.record.state.holds_memory()) {
        let tally = tallies.entry(&vm.host).or_default();
        tally.vms += 1;
        tally.reserved = tally.reserved.saturating_add(vm.memory_reserved());
    }
    for flight in &snapshot.in_flight {
        if wanted(&flight.source) {
            tallies.entry(&flight.source).or_default().migrating += 1;
        }
        if wanted(&flight.destination) {
            let tally = tallies.entry(&flight.destination).or_default();
            tally.migrating += 1;
            let coming = snapshot.vms.get(&flight.vm).map(VmView::memory_reserved);
            tally.reserved = tally.reserved.saturating_add(coming.unwrap_or_default());
        }
    }
    tallies
}

/// One host of a snapshot as an operator sees it; `None` for a host that is not in it.
pub fn host_status(snapshot: &Snapshot, host: &HostId) -> Option<v1::HostStatus> {
    let view = snapshot.hosts.get(host)?;
    let tally = tallies(snapshot, |one| one == host).remove(host).unwrap_or_default();
    Some(status_of(view, &tally, snapshot.taken_at))
}

/// All hosts of a snapshot as an operator sees them, in order of name.
pub fn host_statuses(snapshot: &Snapshot) -> Vec<v1::HostStatus> {
    let tallies = tallies(snapshot, |_| true);
    let none = Tally::default();
    let status = |(host, view)| status_of(view, tallies.get(host).unwrap_or(&none), snapshot.taken_at);
    snapshot.hosts.iter().map(status).collect()
}

fn status_of(view: &HostView, tally: &Tally, now: Timestamp) -> v1::HostStatus {
    v1::HostStatus {
        host: view.id().to_string(),
        power: v1::HostPower::from(view.power).into(),
        draining: view.mode == HostMode::Draining,
        doubts: view.doubts.iter().map(ToString::to_string).collect(),
        sample_age_millis: view.heard_at.map(|at| millis(now.since(at))),
        sample: view.sample.map(Into::into),
        vm_count: small(tally.vms),
        memory_reserved_bytes: tally.reserved.get(),
        migrating_count: small(tally.migrating),
        hypervisor: view.inventory.hypervisor.clone(),
    }
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
