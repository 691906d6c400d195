//! Which moves were refused lately: the fleet's state keeps it, snapshots show it, policies and guard go by it.
//!
//! A refusal is forgotten when its time is over, or when what it rested on may have changed: the destination's inventory,
//! the vm's record, or the host it runs on. It outlives no scheduler; the next one asks once more.

use std::{collections::BTreeMap, time::Duration};

use crate::{
    id::{HostId, VmId},
    inventory::{Inventory, VmRecord},
    sample::VmState,
    units::Timestamp,
};

use super::{Refused, Said};

/// Moves of one vm that are remembered: a fleet that refuses more changes faster than it is asked.
const PER_VM: usize = 64;

/// What is remembered, by vm.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Memory(BTreeMap<VmId, Vec<Refused>>);

impl Memory {
    /// A move was refused at `now`.
    pub(crate) fn refuse(&mut self, vm: VmId, to: &HostId, said: &[Said], now: Timestamp) {
        let longest = said.iter().map(|one| one.refusal.check.counts_for()).max();
        let moves = self.0.entry(vm).or_default();
        moves.retain(|one| one.to != *to && one.until > now);
        if let Some(longest) = longest {
            if moves.len() >= PER_VM {
                moves.remove(0);
            }
            moves.push(Refused { to: to.clone(), said: said.to_vec(), until: now.after(longest) });
        }
        self.0.retain(|_, moves| !moves.is_empty());
    }

    /// Forgets what rested on a host that is other than it was.
    pub(crate) fn host_changed(&mut self, before: &Inventory, after: &Inventory) {
        // Every inventory comes by here, and nearly always nothing is remembered of its host.
        let concerned = || self.0.values().flatten().any(|one| one.to == after.host);
        if concerned() && essence(before) != essence(after) {
            self.0.values_mut().for_each(|moves| moves.retain(|one| one.to != after.host));
            self.0.retain(|_, moves| !moves.is_empty());
        }
    }

    /// Forgets what rested on a vm that is other than it was.
    pub(crate) fn vm_changed(&mut self, before: &VmRecord, after: &VmRecord) {
        if self.0.contains_key(&after.vm) && definition(before) != definition(after) {
            self.0.remove(&after.vm);
        }
    }

    /// The vm runs elsewhere, or nowhere.
    pub(crate) fn forget(&mut self, vm: VmId) {
        self.0.remove(&vm);
    }

    /// What counts at `now`.
    pub(crate) fn at(&self, now: Timestamp) -> BTreeMap<VmId, Vec<Refused>> {
        let counts = |moves: &Vec<Refused>| moves.iter().filter(|one| one.until > now).cloned().collect::<Vec<_>>();
        self.0.iter().map(|(vm, moves)| (*vm, counts(moves))).filter(|(_, moves)| !moves.is_empty()).collect()
    }
}

/// A host without what changes all the time.
fn essence(inventory: &Inventory) -> Inventory {
    Inventory {
        taken_at: Timestamp::EPOCH,
        up_for: Duration::ZERO,
        complete: true,
        vms: Vec::new(),
        ..inventory.clone()
    }
}

/// A vm without what it is doing.
fn definition(record: &VmRecord) -> VmRecord {
    VmRecord { state: VmState::Running, busy: false, ..record.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        fixture::{Fleet, NOW, host_id, vm_id},
        preflight::{Check, Refusal},
    };

    fn said(check: Check) -> Vec<Said> {
        vec![Said { by: host_id("b"), refusal: Refusal::new(check, "nothing", "something") }]
    }

    fn refused(check: Check) -> Memory {
        let mut memory = Memory::default();
        memory.refuse(vm_id(1), &host_id("b"), &said(check), NOW);
        memory
    }

    #[test]
    fn a_refusal_counts_for_its_time_and_no_longer() {
        let memory = refused(Check::Memory);
        assert_eq!(memory.at(NOW)[&vm_id(1)].len(), 1);
        assert!(memory.at(NOW.after(Duration::from_secs(301))).is_empty());
        assert!(!refused(Check::Network).at(NOW.after(Duration::from_secs(301))).is_empty(), "not by itself");
    }

    #[test]
    fn a_changed_inventory_of_the_destination_makes_it_worth_asking_again() {
        let mut fleet = Fleet::new(&[("a", &[1.0]), ("b", &[])]);
        let before = fleet.inventory("b").clone();
        let mut memory = refused(Check::Network);
        let later = Inventory { taken_at: NOW, up_for: Duration::from_secs(60), ..before.clone() };
        memory.host_changed(&before, &later);
        assert!(!memory.at(NOW).is_empty(), "only its time is new");
        let networks = before.networks.iter().cloned().chain(["br1".to_owned()]).collect();
        memory.host_changed(&before, &Inventory { networks, ..before.clone() });
        assert!(memory.at(NOW).is_empty());
    }

    #[test]
    fn a_changed_definition_of_the_vm_makes_it_worth_asking_again() {
        let mut fleet = Fleet::new(&[("a", &[1.0])]);
        let before = fleet.record(1).clone();
        let mut memory = refused(Check::Obstacle);
        memory.vm_changed(&before, &VmRecord { busy: true, ..before.clone() });
        assert!(!memory.at(NOW).is_empty(), "it only does something else");
        memory.vm_changed(&before, &VmRecord { vcpus: before.vcpus + 1, ..before.clone() });
        assert!(memory.at(NOW).is_empty());
    }
}
