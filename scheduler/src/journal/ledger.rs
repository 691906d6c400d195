//! What the journal comes to: a pure fold over its records.
//!
//! A checkpoint is the fold so far, so that old segments can go; history (decisions, ended migrations) is kept only
//! within bounds and is not part of a checkpoint.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use ballast_core::{
    aftercare::{Faring, LEFT_ALONE_FOR, Moved},
    command::{Command, Order},
    decision::Mode,
    id::{CommandId, DecisionId, Epoch, HostId, VmId},
    inventory::Inventory,
    migration_cost::{Experience, Reckoned},
    outcome::{Ending, Outcome},
    snapshot::{Event, HostMode},
    stake::Stake,
    units::Timestamp,
};
use serde::{Deserialize, Serialize};

use super::{Entry, Record};
use crate::engine::{DecisionRecord, MigrationRecord};

/// Rests that are longer than this are forgotten with the life they began in: no cool-down is, and vms come and go.
const LONGEST_REST: Duration = Duration::from_secs(7 * 86_400);

/// A command that was journalled and has no outcome yet, with what people want to know of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OpenIntent {
    /// The command.
    pub command: Command,
    /// The decision it belongs to.
    pub decision: DecisionId,
    /// The name of the vm or host it is about.
    pub name: String,
    /// Why, in words.
    pub motive: String,
    /// When it was ordered.
    pub ordered_at: Timestamp,
    /// Whether its agent is known to have journalled it.
    #[serde(default)]
    pub accepted: bool,
    /// The host has said that it goes to sleep by it.
    #[serde(default)]
    pub said_goodbye: bool,
    /// What a migration was reckoned with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub copy: Option<Box<Reckoned>>,
    /// How a vm that is to move fares now, to be compared with how it will.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub departure: Option<Box<Departure>>,
    /// What is at stake with a migration; older versions did not say, and theirs are not given up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stake: Option<Box<Stake>>,
}

/// What is kept of a vm's faring when it is ordered to move.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Departure {
    /// How it and those at its destination fare.
    pub before: Faring,
    /// Whether this is its way back.
    pub back: bool,
}

impl OpenIntent {
    /// The order to stop the migration `known`, as the command `id` that is good for `ttl`: why, and when it is given.
    pub(crate) fn stopping(
        known: MigrationRecord,
        (id, ttl): (CommandId, Duration),
        why: String,
        at: Timestamp,
    ) -> Self {
        let order = Order::Cancel { migration: known.id };
        Self {
            command: Command { id, host: known.source, ttl, order },
            decision: known.decision,
            name: known.name,
            motive: why,
            ordered_at: at,
            accepted: false,
            said_goodbye: false,
            copy: None,
            departure: None,
            stake: None,
        }
    }

    /// What the migration it orders leaves to watch, once it has completed at `at`.
    pub fn arrived(&self, at: Timestamp) -> Option<Moved> {
        let Order::Migrate { vm, destination, .. } = &self.command.order else { return None };
        let Departure { before, back } = *self.departure.as_deref()?;
        Some(Moved { vm: *vm, from: self.command.host.clone(), to: destination.clone(), at, before, back })
    }

    /// The migration it orders, as it stands before any news.
    pub fn migration(&self) -> Option<MigrationRecord> {
        let Order::Migrate { vm, destination, .. } = &self.command.order else { return None };
        Some(MigrationRecord {
            id: self.command.id,
            decision: self.decision,
            vm: *vm,
            name: self.name.clone(),
            source: self.command.host.clone(),
            destination: destination.clone(),
            motive: self.motive.clone(),
            ordered_at: self.ordered_at,
            progress: Default::default(),
            copy: self.copy.clone(),
            rest: None,
            stop: None,
            outcome: None,
        })
    }
}

/// What is true after all records so far.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Ledger {
    /// The newest epoch.
    pub epoch: Epoch,
    /// The mode, where one was ever set.
    pub mode: Option<Mode>,
    /// Hosts that are not simply in use.
    pub host_modes: BTreeMap<HostId, HostMode>,
    /// Commands without an outcome.
    pub open: BTreeMap<CommandId, OpenIntent>,
    /// Migrations of which nobody could tell where the vm ended up.
    pub unresolved: BTreeMap<CommandId, (OpenIntent, Outcome)>,
    /// When the newest move of each vm ended: its rest outlives the scheduler.
    #[serde(default)]
    pub moved: BTreeMap<VmId, Timestamp>,
    /// Vms that moved lately: watched, or left alone where they were moved back.
    #[serde(default)]
    pub arrived: BTreeMap<VmId, Moved>,
    /// Hosts that sleep on our order.
    pub asleep: BTreeMap<HostId, Inventory>,
    /// What came of the newest copies, beside what they were reckoned with.
    #[serde(default)]
    pub copies: Experience,
    /// The newest decisions, oldest first.
    #[serde(skip)]
    pub decisions: VecDeque<DecisionRecord>,
    /// The newest migrations, oldest first.
    #[serde(skip)]
    pub migrations: VecDeque<MigrationRecord>,
    /// How many of each are kept.
    #[serde(skip)]
    pub kept_max: usize,
}

impl Ledger {
    /// Nothing yet; of decisions and migrations `kept_max` each will be kept.
    pub fn new(kept_max: usize) -> Self {
        Self { kept_max, ..Self::default() }
    }

    /// The ledger without its history: what a checkpoint holds.
    pub fn without_history(&self) -> Self {
        Self { decisions: VecDeque::new(), migrations: VecDeque::new(), kept_max: 0, ..self.clone() }
    }

    /// Takes the next record.
    pub fn apply(&mut self, entry: &Entry) {
        match &entry.record {
            Record::EpochStart { epoch } => {
                self.epoch = *epoch;
                self.moved.retain(|_, at| entry.at.since(*at) < LONGEST_REST);
            }
            Record::Checkpoint { ledger } => self.restart_from(ledger),
            Record::Decision { decision } => {
                push_bounded(
                    &mut self.decisions,
                    DecisionRecord { decision: (**decision).clone(), executed: false, came: Vec::new() },
                    self.kept_max,
                );
            }
            Record::Executed { decision, .. } => {
                if let Some(known) = self.decisions.iter_mut().rev().find(|known| known.decision.id == *decision) {
                    known.executed = true;
                }
            }
            Record::Settled { came } => {
                if let Some(known) = self.decisions.iter_mut().rev().find(|known| known.decision.id == came.decision) {
                    known.came.push((**came).clone());
                }
            }
            Record::Intent { intent } => self.intend(intent),
            Record::Accepted { id } => {
                if let Some(intent) = self.open.get_mut(id) {
                    intent.accepted = true;
                }
            }
            Record::Goodbye { id } => {
                if let Some(intent) = self.open.get_mut(id) {
                    intent.said_goodbye = true;
                }
            }
            Record::Outcome { outcome } => self.end(outcome, entry.at),
            Record::Asleep { inventory } => {
                self.asleep.insert(inventory.host.clone(), (**inventory).clone());
            }
            Record::Awake { host } => {
                self.asleep.remove(host);
            }
            Record::Mode { mode, .. } => self.mode = Some(*mode),
            Record::HostMode { host, mode: HostMode::Active, .. } => {
                self.host_modes.remove(host);
            }
            Record::HostMode { host, mode, .. } => {
                self.host_modes.insert(host.clone(), *mode);
            }
            Record::CancelRequested { .. } | Record::SteppedDown { .. } => {}
        }
    }

    fn restart_from(&mut self, checkpoint: &Self) {
        let (decisions, migrations) = (std::mem::take(&mut self.decisions), std::mem::take(&mut self.migrations));
        *self = Self { decisions, migrations, kept_max: self.kept_max, ..checkpoint.clone() };
        for intent in self.open.values() {
            let Some(migration) = intent.migration() else { continue };
            if !self.migrations.iter().any(|known| known.id == migration.id) {
                push_bounded(&mut self.migrations, migration, self.kept_max);
            }
        }
    }

    fn intend(&mut self, intent: &OpenIntent) {
        if let Some(migration) = intent.migration() {
            push_bounded(&mut self.migrations, migration, self.kept_max);
        }
        if let Order::Cancel { migration } = intent.command.order
            && let Some(known) = self.migrations.iter_mut().rev().find(|known| known.id == migration)
        {
            known.stop = Some(intent.motive.clone());
        }
        // That a vm is ordered to move again says that its whereabouts have become clear.
        let vm = intent.command.order.vm();
        self.unresolved.retain(|_, (earlier, _)| vm.is_none() || earlier.command.order.vm() != vm);
        self.open.insert(intent.command.id, intent.clone());
    }

    fn end(&mut self, outcome: &Outcome, at: Timestamp) {
        let intent = self.open.remove(&outcome.id);
        if let Some(vm) = intent.as_ref().and_then(|intent| intent.command.order.vm()) {
            self.moved.insert(vm, at);
        }
        if let Some(moved) =
            intent.as_ref().filter(|_| outcome.ending == Ending::Completed).and_then(|one| one.arrived(at))
        {
            self.arrive(moved);
        }
        let intent = intent.or_else(|| self.unresolved.remove(&outcome.id).map(|(intent, _)| intent));
        if let Some(known) = self.migrations.iter_mut().rev().find(|known| known.id == outcome.id) {
            known.outcome = Some(outcome.clone());
        }
        if let Some(copy) = intent.as_ref().and_then(|intent| intent.copy.as_ref()) {
            self.copies.note(copy, outcome);
        }
        if let (Some(intent), Ending::Unresolved { .. }) = (intent, &outcome.ending) {
            self.unresolved.insert(outcome.id, (intent, outcome.clone()));
        }
    }

    /// A vm that is left alone stays so, wherever it is ordered to meanwhile.
    fn arrive(&mut self, moved: Moved) {
        let now = moved.at;
        self.arrived.retain(|_, earlier| now.since(earlier.at) < LEFT_ALONE_FOR);
        let left_alone = self.arrived.get(&moved.vm).is_some_and(|earlier| earlier.back);
        if moved.back || !left_alone {
            self.arrived.insert(moved.vm, moved);
        }
    }

    /// What the fleet's state must be told of the time before this start: how copies went, wishes for hosts, hosts that sleep,
    /// vms that rest, moves nobody could resolve, and commands without an outcome, whose vms are locked.
    pub fn events(&self) -> Vec<Event> {
        let modes = self.host_modes.iter().map(|(host, mode)| Event::HostMode { host: host.clone(), mode: *mode });
        let asleep = (0..).zip(self.asleep.values()).flat_map(|(number, inventory)| sleep_events(number, inventory));
        let unresolved = self.unresolved.values().flat_map(|(intent, outcome)| {
            [Event::Ordered { command: intent.command.clone() }, Event::Ended { outcome: outcome.clone() }]
        });
        let open = self.open.values().map(|intent| Event::Ordered { command: intent.command.clone() });
        let known = Some(self.copies.factors()).filter(|factors| factors.copies > 0);
        let copying = known.map(|factors| Event::Copying { factors });
        // Hosts that sleep come last: an open order to sleep is among the others, and its host sleeps all the same.
        let moved = self.moved.iter().map(|(vm, at)| Event::Moved { vm: *vm, at: *at });
        let arrived = self.arrived.values().map(|moved| Event::Arrived { moved: Box::new(moved.clone()) });
        let first = copying.into_iter().chain(modes).chain(moved).chain(arrived);
        first.chain(unresolved).chain(open).chain(asleep).collect()
    }
}

/// A sleep that was ordered and carried out before this start, under an id of epoch 0, which no scheduler has.
fn sleep_events(number: u64, inventory: &Inventory) -> [Event; 2] {
    let id = CommandId { epoch: Epoch(0), number };
    let command = Command { id, host: inventory.host.clone(), ttl: Duration::ZERO, order: Order::Sleep };
    let outcome = command.ended(Ending::Completed, Timestamp::EPOCH);
    [Event::Ordered { command }, Event::Ended { outcome }]
}

/// Appends and drops the oldest beyond the bound.
fn push_bounded<T>(queue: &mut VecDeque<T>, item: T, bound: usize) {
    queue.push_back(item);
    while queue.len() > bound {
        queue.pop_front();
    }
}
