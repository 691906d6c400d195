//! The fleet as it becomes known, event by event: what ingest and dispatch feed and the control loop takes snapshots of.
//!
//! Rules. The agents' inventories are the truth about where vms are. A vm under one of our orders is locked, and counts
//! on both ends, until the order has ended *and* the inventories of its hosts say where it is. What two hosts claim to
//! run is left alone, and so are both hosts. Silence never means "gone". Nothing here reads a clock: every event comes
//! with the moment it was received at, by the scheduler's clock, and the same events give the same state.
//!
//! Callers report a link as closed only if it is the host's newest; a cached inventory is fed as
//! [`Event::Inventory`] and leaves its host disconnected.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use crate::{
    aftercare,
    command::{Command, Order},
    id::{CommandId, Epoch, Generation, HostId, VmId},
    inventory::Inventory,
    migration_cost::CopyFactors,
    newcomers::Newcomers,
    outcome::{Ending, Outcome},
    preflight,
    quiet::QuietHours,
    sample::{self, VmSample},
    snapshot::{Event, HostMode},
    units::Timestamp,
};

mod check;
mod host;
mod moves;
mod open_moves;
mod place;
mod view;

use host::{HostState, Transition};
use moves::Move;
use open_moves::OpenMoves;
use place::VmState;

/// The numbers the fleet's state depends on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FleetSettings {
    /// Time between two samples of a host.
    pub period: Duration,
    /// Age of the newest sample, in periods, beyond which a host is silent; also how many clean batches in a row it
    /// takes to forget an absurd one.
    pub silent_periods: u32,
    /// CPU load, as a share of capacity, above which a host counts as overloaded.
    pub cpu_limit: f64,
}

/// What one event brought about beyond the ordinary, in words for the log; empty for most events.
pub type Notes = Vec<String>;

/// The fleet as far as it is known.
#[derive(Debug, Clone, PartialEq)]
pub struct FleetState {
    epoch: Epoch,
    settings: FleetSettings,
    hosts: BTreeMap<HostId, HostState>,
    /// Wishes for hosts, also for those that have never connected.
    modes: BTreeMap<HostId, HostMode>,
    vms: BTreeMap<VmId, VmState>,
    /// When vms that have not been seen yet were moved before this start.
    moved: BTreeMap<VmId, Timestamp>,
    /// Migrations that are ordered and not yet settled.
    moves: OpenMoves,
    /// Sleep and wake orders that have not ended.
    transitions: BTreeMap<CommandId, Transition>,
    /// Generation of a vm that is seen for the first time: never below one that a removed vm had.
    first_generation: Generation,
    copying: CopyFactors,
    refused: preflight::Memory,
    aftercare: aftercare::Memory,
    newcomers: Arc<Newcomers>,
    quiet: Arc<QuietHours>,
}

impl FleetState {
    /// A fleet of which nothing is known. Generations begin at 1 in every epoch: agents compare both, epoch first.
    pub fn new(epoch: Epoch, settings: FleetSettings) -> Self {
        Self {
            epoch,
            settings,
            hosts: BTreeMap::new(),
            modes: BTreeMap::new(),
            vms: BTreeMap::new(),
            moved: BTreeMap::new(),
            moves: OpenMoves::default(),
            transitions: BTreeMap::new(),
            first_generation: Generation(1),
            copying: CopyFactors::default(),
            refused: preflight::Memory::default(),
            aftercare: aftercare::Memory::default(),
            newcomers: Arc::default(),
            quiet: Arc::default(),
        }
    }

    /// The state after all of `events`, each with the moment it was received at: to be compared with a state that
    /// lived through them.
    pub fn rebuild<'a>(
        epoch: Epoch,
        settings: FleetSettings,
        events: impl IntoIterator<Item = (&'a Event, Timestamp)>,
    ) -> Self {
        let mut fleet = Self::new(epoch, settings);
        for (event, now) in events {
            fleet.apply(event, now);
        }
        fleet
    }

    /// Takes one event, received at `now`. What comes back is for the log; ignoring it loses nothing.
    pub fn apply(&mut self, event: &Event, now: Timestamp) -> Notes {
        let mut notes = Notes::new();
        match event {
            Event::Connected { inventory } => self.connected(inventory, now, &mut notes),
            Event::Inventory { inventory } => self.inventory(inventory, now, &mut notes),
            Event::Batch { batch, absurd } => self.batch(batch, absurd, now, &mut notes),
            Event::Disconnected { host, boot } => {
                if let Some(state) = self.hosts.get_mut(host).filter(|state| state.inventory.boot == *boot) {
                    state.disconnected(now);
                }
            }
            Event::Ordered { command } => self.ordered(command, now, &mut notes),
            Event::Ended { outcome } => self.ended(outcome, now, &mut notes),
            Event::Copying { factors } => self.copying = *factors,
            Event::Arrived { moved } => self.aftercare.moved(moved),
            Event::Refused { vm, to, said } => self.refused.refuse(*vm, to, said, now),
            Event::Moved { vm, at } => match self.vms.get_mut(vm) {
                Some(state) => state.last_moved_at = state.last_moved_at.max(Some(*at)),
                None => drop(self.moved.insert(*vm, *at)),
            },
            Event::HostMode { host, mode } => {
                self.modes.insert(host.clone(), *mode);
            }
        }
        notes
    }

    fn connected(&mut self, inventory: &Inventory, now: Timestamp, notes: &mut Notes) {
        let falling = self.transitions.values().any(|one| *one == Transition::Sleep(inventory.host.clone()));
        self.host_entry(inventory, now).connected(falling, now);
        self.inventory(inventory, now, notes);
    }

    fn host_entry(&mut self, inventory: &Inventory, now: Timestamp) -> &mut HostState {
        self.hosts.entry(inventory.host.clone()).or_insert_with(|| HostState::new(inventory.clone(), now))
    }

    /// Takes an inventory: first what the host holds, then what that settles, then where each touched vm is.
    fn inventory(&mut self, inventory: &Inventory, now: Timestamp, notes: &mut Notes) {
        let host = self.host_entry(inventory, now);
        let before = Arc::clone(&host.inventory);
        host.take_inventory(inventory, now);
        self.note_newcomers(&before, inventory, now);
        self.refused.host_changed(&before, inventory);
        let mut touched = self.take_claims(inventory);
        if inventory.complete {
            self.moves.seen(&inventory.host);
        }
        let mut concerned = self.ends_of_ended_moves();
        concerned.insert(inventory.host.clone());
        touched.extend(self.settle(now, notes));
        for vm in touched {
            self.resolve(vm, now, notes);
        }
        self.note_emptiness(&concerned, now);
    }

    /// Notes the vms that a host did not hold before and that ran nowhere else: they were started. What a host holds when it is first
    /// heard of, or after it was away, says nothing of when it came.
    fn note_newcomers(&mut self, before: &Inventory, inventory: &Inventory, now: Timestamp) {
        let is_known = before.boot == inventory.boot && before.complete;
        let held = |vm| before.vms.iter().any(|known| known.vm == vm && known.state.holds_memory());
        let ran = |vm| self.vms.get(&vm).is_some_and(|vm| vm.record().state.holds_memory());
        let running = inventory.vms.iter().filter(|record| is_known && record.state == sample::VmState::Running);
        let started = running.filter(|one| !ran(one.vm) && !held(one.vm) && self.move_of(one.vm).is_none());
        let came: Vec<_> = started.map(|record| record.memory_max).collect();
        // Most inventories bring nobody, and what a snapshot holds would be copied for nothing.
        if !came.is_empty() || !self.newcomers.is_watched() {
            let newcomers = Arc::make_mut(&mut self.newcomers);
            newcomers.watch(now);
            came.into_iter().for_each(|memory| newcomers.came(memory, now));
        }
    }

    /// Both hosts of every migration that has ended: settling one empties or fills them, whichever told of it last.
    fn ends_of_ended_moves(&self) -> BTreeSet<HostId> {
        self.moves.ended().flat_map(|one| [one.source.clone(), one.destination.clone()]).collect()
    }

    fn batch(&mut self, batch: &crate::sample::Batch, absurd: &[String], now: Timestamp, notes: &mut Notes) {
        let Some(host) = self.hosts.get_mut(&batch.host).filter(|host| host.inventory.boot == batch.boot) else {
            notes.push(format!("a batch of host {} is set aside: no inventory of boot {}", batch.host, batch.boot));
            return;
        };
        host.take_batch(batch, absurd, &self.settings, now);
        let link = host.inventory.migration_bandwidth;
        self.aftercare.batch(batch, now);
        let moves = &self.moves;
        // A destination that runs the vm knows best how it does, also where its inventory does not say so yet: what is
        // known of a vm must not depend on which of the two comes first.
        let has_arrived = |sample: &VmSample| {
            let runs = sample.state == crate::sample::VmState::Running;
            runs && moves.of(sample.vm).any(|one| one.destination == batch.host)
        };
        for sample in &batch.vms {
            let holds = |vm: &&mut VmState| vm.host == batch.host || has_arrived(sample);
            if let Some(vm) = self.vms.get_mut(&sample.vm).filter(holds) {
                vm.sample = Some(*sample);
                QuietHours::observe(&mut self.quiet, sample, link);
            }
        }
    }

    /// Takes an order; one that is open already is the same order, told twice.
    fn ordered(&mut self, command: &Command, now: Timestamp, notes: &mut Notes) {
        if self.moves.get(command.id).is_some() || self.transitions.contains_key(&command.id) {
            notes.push(format!("command {} is open already: ordered twice", command.id));
            return;
        }
        match &command.order {
            Order::Migrate { vm, generation, destination, .. } => {
                let (source, destination) = (command.host.clone(), destination.clone());
                self.moves.insert(Move::new(command.id, *vm, source.clone(), destination.clone(), now));
                if let Some(state) = self.vms.get_mut(vm) {
                    // Replayed from the journal, an order may know a later placement than a fresh state does.
                    state.generation = state.generation.max(*generation);
                }
                self.resolve(*vm, now, notes);
                self.note_emptiness([&source, &destination], now);
            }
            Order::Sleep => {
                if let Some(host) = self.hosts.get_mut(&command.host) {
                    host.fall_asleep(now);
                }
                self.transitions.insert(command.id, Transition::Sleep(command.host.clone()));
            }
            Order::Wake { target, .. } => {
                self.transitions.insert(command.id, Transition::Wake(target.clone()));
            }
            Order::Cancel { .. } => {}
        }
    }

    fn ended(&mut self, outcome: &Outcome, now: Timestamp, notes: &mut Notes) {
        let completed = outcome.ending == Ending::Completed;
        match self.transitions.remove(&outcome.id) {
            Some(Transition::Sleep(host)) => self.on_host(&host, |host| host.slept(completed, now)),
            Some(Transition::Wake(host)) if completed => self.on_host(&host, |host| host.waking(now)),
            Some(Transition::Wake(_)) | None => {}
        }
        if let Some(vm) = self.moves.end(outcome.id, outcome.ending.clone()) {
            if completed {
                self.refused.forget(vm);
            }
            let concerned = self.ends_of_ended_moves();
            let touched: BTreeSet<VmId> = self.settle(now, notes).into_iter().chain([vm]).collect();
            for vm in touched {
                self.resolve(vm, now, notes);
            }
            self.note_emptiness(&concerned, now);
        }
    }

    fn on_host(&mut self, host: &HostId, change: impl FnOnce(&mut HostState)) {
        if let Some(host) = self.hosts.get_mut(host) {
            change(host);
        }
    }

    /// Keeps the account of how long hosts have held no vm.
    fn note_emptiness<'a>(&mut self, hosts: impl IntoIterator<Item = &'a HostId>, now: Timestamp) {
        for id in hosts {
            let moving = self.moves.touch(id);
            let vms = &self.vms;
            let Some(host) = self.hosts.get_mut(id) else { continue };
            let holds = host.claims.iter().filter_map(|vm| vms.get(vm)?.claims.get(id));
            let empty =
                host.inventory.complete && !moving && holds.into_iter().all(|claim| !claim.record.state.holds_memory());
            host.note_empty(empty, now);
        }
    }
}

#[cfg(test)]
pub(crate) mod fixtures;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod walk;
