//! From the state to a snapshot: everything that depends on the moment it is taken at.

use std::collections::BTreeMap;

use crate::{
    id::{CommandId, HostId, VmId},
    outcome::Ending,
    snapshot::{Doubt, HostView, InFlight, Snapshot, VmView},
    units::Timestamp,
};

use super::{FleetState, host::HostState, moves::Move, place::VmState};

impl FleetState {
    /// The fleet at `now`, which must not lie before the last event.
    pub fn snapshot(&self, now: Timestamp) -> Snapshot {
        let duplicates = self.duplicates();
        let mut locks = BTreeMap::new();
        for one in self.moves.all() {
            locks.entry(one.vm).or_insert(one);
        }
        let host = |(id, state): (&HostId, &HostState)| (id.clone(), self.host_view(id, state, &duplicates, now));
        let vm = |(id, state): (&VmId, &VmState)| (*id, vm_view(state, locks.get(id).copied()));
        Snapshot {
            taken_at: now,
            epoch: self.epoch,
            hosts: self.hosts.iter().map(host).collect(),
            vms: self.vms.iter().map(vm).collect(),
            in_flight: self.moves.all().map(Move::in_flight).collect(),
            copying: self.copying,
            refused: self.refused.at(now),
            newcomers: std::sync::Arc::clone(&self.newcomers),
            quiet: std::sync::Arc::clone(&self.quiet),
            aftercare: self.aftercare.at(now, |vm| self.vms.get(&vm).map(|vm| vm.host.clone())),
        }
    }

    /// One unsettled migration, for whoever follows up on commands.
    pub fn in_flight(&self, command: CommandId) -> Option<InFlight> {
        self.moves.get(command).map(Move::in_flight)
    }

    /// By host, what it claims to run and who else does.
    fn duplicates(&self) -> BTreeMap<&HostId, Vec<Doubt>> {
        let mut doubts: BTreeMap<&HostId, Vec<Doubt>> = BTreeMap::new();
        for (vm, state) in &self.vms {
            for host in &state.duplicated_on {
                let others = state.duplicated_on.iter().filter(|other| *other != host);
                let each = others.map(|other| Doubt::DuplicateVm { vm: *vm, other: other.clone() });
                doubts.entry(host).or_default().extend(each);
            }
        }
        doubts
    }

    fn host_view(
        &self,
        id: &HostId,
        state: &HostState,
        duplicates: &BTreeMap<&HostId, Vec<Doubt>>,
        now: Timestamp,
    ) -> HostView {
        let (power, power_since) = state.power_at(now);
        let mut doubts = state.doubts(&self.settings, now);
        doubts.extend(duplicates.get(id).into_iter().flatten().cloned());
        HostView {
            inventory: state.inventory.clone(),
            sample: state.sample,
            base: state.base,
            heard_at: state.heard_at,
            power,
            power_since,
            mode: self.modes.get(id).copied().unwrap_or_default(),
            doubts,
            overloaded_for: state.overloaded_for(now),
            empty_for: state.empty_for(now),
        }
    }
}

fn vm_view(state: &VmState, lock: Option<&Move>) -> VmView {
    VmView {
        record: state.record().clone(),
        host: state.host.clone(),
        sample: state.sample,
        generation: state.generation,
        last_moved_at: state.last_moved_at,
        locked_by: lock.map(|one| one.command),
        frozen: frozen(state, lock),
    }
}

/// Why a vm is left alone, in words.
fn frozen(state: &VmState, lock: Option<&Move>) -> Option<String> {
    if !state.duplicated_on.is_empty() {
        let hosts: Vec<&str> = state.duplicated_on.iter().map(HostId::as_str).collect();
        return Some(format!("claimed to run on {}", hosts.join(" and on ")));
    }
    if let Some(one) = lock {
        let Some(Ending::Unresolved { reason }) = &one.ending else { return None };
        return Some(format!("outcome of {} is unresolved: {reason}", one.command));
    }
    if state.is_fading() {
        return Some(format!("{} no longer lists it; its next inventory will tell", state.host));
    }
    let other = state.also_in_memory_on().next()?;
    Some(format!("it is also in memory on {other}: somebody else may be moving it"))
}
