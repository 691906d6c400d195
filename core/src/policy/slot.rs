//! One host of the round's working copy: what counts on it, what is leaving it, and whom it suits.

use std::collections::BTreeMap;

use crate::{
    inventory::CpuNeed,
    risk::{FleetLoad, HostLoad, VmLoad},
    snapshot::{HostMode, HostPower, HostView, VmView},
};

/// One host on the board.
#[derive(Debug, Clone)]
pub(super) struct Slot<'a> {
    pub(super) host: &'a HostView,
    /// What counts on it, proposed arrivals included.
    pub(super) load: HostLoad,
    /// Load that will be gone once the migrations under way have ended.
    pub(super) leaving: Vec<VmLoad>,
    /// Vms on it that are not leaving.
    pub(super) settled: Vec<&'a VmView>,
    /// Vms that are arriving, or proposed to.
    pub(super) arriving: usize,
    /// Anti-affinity groups of the vms that count here.
    pub(super) groups: BTreeMap<&'a str, usize>,
    /// A proposal of this round takes vms off it.
    pub(super) gives: bool,
    /// To be emptied by a proposal of this round.
    pub(super) emptied: bool,
    /// To be woken by a proposal of this round.
    pub(super) woken: bool,
    /// Watts for the room it offers, relative to the best host of the fleet: 1 is best, more is worse.
    pub(super) cost: f64,
}

impl<'a> Slot<'a> {
    /// The slot of a host with what counts there, before its vms are put on it one by one.
    pub(super) fn empty(host: &'a HostView, fleet: &FleetLoad<'a>) -> Self {
        let load = fleet.host(host.id()).copied().unwrap_or_default();
        let (leaving, settled) = (Vec::new(), Vec::new());
        Self {
            host,
            load,
            leaving,
            settled,
            arriving: 0,
            groups: BTreeMap::new(),
            gives: false,
            emptied: false,
            woken: false,
            cost: 1.0,
        }
    }

    /// The load without what is already leaving.
    pub(super) fn remaining(&self) -> HostLoad {
        self.leaving.iter().fold(self.load, |load, vm| load.without(vm))
    }

    /// True where it is in use and awake, or will soon be.
    pub(super) fn is_up(&self) -> bool {
        let waking = self.host.power == HostPower::Waking || self.woken;
        self.host.is_eligible_target() || (waking && self.host.mode == HostMode::Active)
    }

    /// True where no vm is on it, leaving it or coming.
    pub(super) fn is_empty(&self) -> bool {
        self.load.vms == 0
    }

    /// True where vms are on it to stay, or coming.
    pub(super) fn is_inhabited(&self) -> bool {
        !self.settled.is_empty() || self.arriving > 0
    }

    /// True where it sleeps, may be used, and is not being woken.
    pub(super) fn could_wake(&self) -> bool {
        self.host.power == HostPower::Asleep && self.host.mode == HostMode::Active && !self.woken
    }

    /// Whether the host has what the vm needs and nobody on it but `leaving` forbids it.
    pub(super) fn suits(&self, vm: &VmView, leaving: Option<&VmView>) -> bool {
        let (record, host) = (&vm.record, &self.host.inventory);
        let labels = &record.labels;
        let cpu = match &record.cpu {
            CpuNeed::Any => true,
            CpuNeed::Model(model) => host.cpu_models.contains(model),
            CpuNeed::SameAs(model) => host.cpu_model == *model,
        };
        cpu && (labels.pinned_to.is_empty() || labels.pinned_to.contains(&host.host))
            && record.networks.is_subset(&host.networks)
            && record.storages.is_subset(&host.storages)
            && labels.anti_affinity.iter().all(|group| {
                let there = self.groups.get(group.as_str()).copied().unwrap_or_default();
                there <= usize::from(leaving.is_some_and(|other| other.record.labels.anti_affinity.contains(group)))
            })
    }
}
