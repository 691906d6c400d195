//! Where each vm is: what the hosts claim of it, and which claim holds.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use crate::{
    id::{Generation, HostId, VmId},
    inventory::{Inventory, VmRecord},
    quiet::QuietHours,
    sample::{self, VmSample},
    units::Timestamp,
};

use super::{FleetState, Notes, moves::Move};

/// What one host says of one vm.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Claim {
    pub(super) record: Arc<VmRecord>,
    /// Complete inventories in a row that no longer list it.
    pub(super) missing: u32,
}

/// What is known of one vm.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct VmState {
    /// By host; never empty unless a migration of it is unsettled.
    pub(super) claims: BTreeMap<HostId, Claim>,
    /// Where it is; for a vm in flight, its source.
    pub(super) host: HostId,
    /// The last record that was claimed, for the time in which none is.
    pub(super) last: Arc<VmRecord>,
    pub(super) sample: Option<VmSample>,
    pub(super) generation: Generation,
    pub(super) last_moved_at: Option<Timestamp>,
    /// Hosts that claim to run it, where that is more than can be.
    pub(super) duplicated_on: BTreeSet<HostId>,
}

impl VmState {
    fn new(host: HostId, record: Arc<VmRecord>, generation: Generation) -> Self {
        Self {
            claims: BTreeMap::new(),
            host,
            last: record,
            sample: None,
            generation,
            last_moved_at: None,
            duplicated_on: BTreeSet::new(),
        }
    }

    /// The record of the host it is on, else of another that claims it, else the last there was.
    pub(super) fn record(&self) -> &Arc<VmRecord> {
        let claim = self.claims.get(&self.host).or_else(|| self.claims.values().next());
        claim.map_or(&self.last, |claim| &claim.record)
    }

    /// Hosts that claim to run it in their newest inventories.
    fn running_on(&self) -> BTreeSet<HostId> {
        let runs = |claim: &Claim| claim.missing == 0 && claim.record.state == sample::VmState::Running;
        self.claims.iter().filter(|(_, claim)| runs(claim)).map(|(host, _)| host.clone()).collect()
    }

    /// Other hosts that hold it in memory, without running it.
    pub(super) fn also_in_memory_on(&self) -> impl Iterator<Item = &HostId> {
        let held = |claim: &Claim| claim.missing == 0 && claim.record.state.holds_memory();
        self.claims.iter().filter(move |(host, claim)| **host != self.host && held(claim)).map(|(host, _)| host)
    }

    /// True where the host it is thought to be on no longer lists it.
    pub(super) fn is_fading(&self) -> bool {
        self.claims.get(&self.host).is_some_and(|claim| claim.missing > 0)
    }

    /// Forgets claims that were withdrawn: at the second inventory without the vm, or at the first where another host
    /// lists it.
    fn drop_withdrawn(&mut self) -> Vec<HostId> {
        let listed = self.claims.values().any(|claim| claim.missing == 0);
        let withdrawn = |claim: &Claim| claim.missing >= 2 || (claim.missing == 1 && listed);
        let hosts: Vec<HostId> =
            self.claims.iter().filter(|(_, claim)| withdrawn(claim)).map(|(host, _)| host.clone()).collect();
        for host in &hosts {
            if let Some(claim) = self.claims.remove(host) {
                self.last = claim.record;
            }
        }
        hosts
    }

    /// The claim that holds: running before in memory before shut off, what is listed before what fades, where it was
    /// before elsewhere, and then by name.
    fn best_host(&self) -> Option<&HostId> {
        let rank = |claim: &Claim| match claim.record.state {
            sample::VmState::Running => 0,
            sample::VmState::Paused | sample::VmState::Unknown => 1,
            sample::VmState::Crashed => 2,
            sample::VmState::Incoming => 3,
            sample::VmState::ShutOff => 4,
        };
        let order = |(host, claim): &(&HostId, &Claim)| (claim.missing > 0, rank(claim), **host != self.host);
        self.claims.iter().min_by_key(order).map(|(host, _)| host)
    }
}

impl FleetState {
    /// Takes what an inventory says of vms, and gives every vm it touches. Only a complete one can withdraw a claim.
    pub(super) fn take_claims(&mut self, inventory: &Inventory) -> BTreeSet<VmId> {
        let host = &inventory.host;
        let mut touched = BTreeSet::new();
        for record in &inventory.vms {
            self.claim(host, record);
            touched.insert(record.vm);
        }
        let claims = self.hosts.get(host).map(|state| state.claims.clone()).unwrap_or_default();
        if inventory.complete {
            for vm in claims.difference(&touched) {
                if let Some(claim) = self.vms.get_mut(vm).and_then(|vm| vm.claims.get_mut(host)) {
                    claim.missing = claim.missing.saturating_add(1);
                }
            }
            touched.extend(claims);
        }
        touched
    }

    fn claim(&mut self, host: &HostId, record: &VmRecord) {
        let (id, record) = (record.vm, Arc::new(record.clone()));
        let source = self.move_of(id).map(|one| one.source.clone());
        let generation = self.first_generation;
        let vm = self
            .vms
            .entry(id)
            .or_insert_with(|| VmState::new(source.unwrap_or_else(|| host.clone()), record.clone(), generation));
        if let Some(before) = vm.claims.get(host) {
            self.refused.vm_changed(&before.record, &record);
        }
        vm.claims.insert(host.clone(), Claim { record, missing: 0 });
        vm.last_moved_at = vm.last_moved_at.max(self.moved.remove(&id));
        if let Some(state) = self.hosts.get_mut(host) {
            state.claims.insert(id);
        }
    }

    /// Works out anew where one vm is, whether it is there at all, and whether too many claim to run it.
    pub(super) fn resolve(&mut self, id: VmId, now: Timestamp, notes: &mut Notes) {
        let in_flight = self.move_of(id).cloned();
        let Some(vm) = self.vms.get_mut(&id) else { return };
        let withdrawn = vm.resolve(in_flight.as_ref(), now, notes);
        if vm.claims.is_empty() && in_flight.is_none() {
            notes.push(format!("vm {id} is gone: no host lists it any more"));
            self.first_generation = self.first_generation.max(Generation(vm.generation.0.saturating_add(1)));
            self.vms.remove(&id);
            QuietHours::remove(&mut self.quiet, id);
        }
        for host in &withdrawn {
            if let Some(state) = self.hosts.get_mut(host) {
                state.claims.remove(&id);
            }
        }
        self.note_emptiness(&withdrawn, now);
    }
}

impl VmState {
    /// Works out anew where it is; gives the hosts whose claims were withdrawn.
    pub(super) fn resolve(&mut self, in_flight: Option<&Move>, now: Timestamp, notes: &mut Notes) -> Vec<HostId> {
        let withdrawn = self.drop_withdrawn();
        match (in_flight, self.best_host().cloned()) {
            (Some(one), _) => self.host = one.source.clone(),
            (None, Some(best)) => self.place(best, now, notes),
            (None, None) => {}
        }
        let duplicated_on = self.duplicates(in_flight);
        if !duplicated_on.is_empty() && duplicated_on != self.duplicated_on {
            notes.push(format!("vm {} is claimed to run on {duplicated_on:?}: all are left alone", self.last.vm));
        }
        self.duplicated_on = duplicated_on;
        withdrawn
    }

    /// Hosts that claim to run it where more than one does and no migration of ours explains it.
    fn duplicates(&self, in_flight: Option<&Move>) -> BTreeSet<HostId> {
        let running = self.running_on();
        let explained =
            in_flight.is_some_and(|one| one.explains_both() && running.iter().all(|host| one.touches(host)));
        if running.len() > 1 && !explained { running } else { BTreeSet::new() }
    }

    /// Puts it where the best claim is; a change that no order of ours explains is somebody else's move.
    fn place(&mut self, best: HostId, now: Timestamp, notes: &mut Notes) {
        if self.host == best {
            return;
        }
        notes.push(format!("vm {} moved from {} to {best} without an order", self.last.vm, self.host));
        self.host = best;
        self.generation = Generation(self.generation.0.saturating_add(1));
        self.last_moved_at = Some(now);
    }
}
