//! The newest decisions and migrations in memory, for lists, explanations and watchers.
//!
//! Written by the control loop and the dispatcher, read by the handle. The journal is the record; this is its newest part,
//! plus the decisions that chose nothing, which are not journalled.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
};

use ballast_core::{
    command::Progress,
    decision::Decision,
    hindsight::Settled,
    id::{CommandId, DecisionId},
    migration_cost::Rest,
    outcome::{Outcome, Stage},
};
use tokio::sync::broadcast;

use crate::{
    engine::{DecisionRecord, KeepSettings, MigrationRecord},
    journal::Ledger,
};

/// Changes a slow watcher may be behind before it misses some.
const WATCH: usize = 1024;

/// The newest decisions and migrations.
#[derive(Debug)]
pub(crate) struct History {
    kept: Mutex<Kept>,
    watchers: broadcast::Sender<MigrationRecord>,
}

#[derive(Debug)]
struct Kept {
    decisions: VecDeque<DecisionRecord>,
    empty: VecDeque<DecisionRecord>,
    migrations: BTreeMap<CommandId, MigrationRecord>,
    decisions_max: usize,
    migrations_max: usize,
}

impl History {
    /// What the journal remembers, within the bounds of `keep`.
    pub(crate) fn new(ledger: &Ledger, keep: &KeepSettings) -> Self {
        let skip = ledger.decisions.len().saturating_sub(keep.decisions);
        let mut kept = Kept {
            decisions: ledger.decisions.iter().skip(skip).cloned().collect(),
            empty: VecDeque::new(),
            migrations: ledger.migrations.iter().map(|migration| (migration.id, migration.clone())).collect(),
            decisions_max: keep.decisions.max(1),
            migrations_max: keep.migrations.max(1),
        };
        kept.bound_migrations();
        Self { kept: Mutex::new(kept), watchers: broadcast::channel(WATCH).0 }
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        // Every change below is complete before anything in it could panic.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Every change of a migration from now on.
    pub(crate) fn watch(&self) -> broadcast::Receiver<MigrationRecord> {
        self.watchers.subscribe()
    }

    /// A decision was made.
    pub(crate) fn decided(&self, decision: Decision, executed: bool) {
        let mut kept = self.lock();
        let bound = kept.decisions_max;
        let ring = if decision.chosen.steps.is_empty() { &mut kept.empty } else { &mut kept.decisions };
        ring.push_back(DecisionRecord { decision, executed, came: Vec::new() });
        if ring.len() > bound {
            ring.pop_front();
        }
    }

    /// Orders were given for a decision.
    pub(crate) fn executed(&self, id: DecisionId) {
        let mut kept = self.lock();
        if let Some(known) = kept.decisions.iter_mut().rev().find(|known| known.decision.id == id) {
            known.executed = true;
        }
    }

    /// It is known what a decision's moves have gained.
    pub(crate) fn settled(&self, came: &Settled) {
        let mut kept = self.lock();
        if let Some(known) = kept.decisions.iter_mut().rev().find(|known| known.decision.id == came.decision) {
            known.came.push(came.clone());
        }
    }

    /// A migration was ordered.
    pub(crate) fn ordered(&self, migration: MigrationRecord) {
        let mut kept = self.lock();
        kept.migrations.insert(migration.id, migration.clone());
        kept.bound_migrations();
        drop(kept);
        self.tell(migration);
    }

    /// A migration came further; what is left of its copy, where that can be told.
    pub(crate) fn progressed(&self, id: CommandId, progress: Progress, rest: Option<Rest>) {
        self.change(id, |migration| {
            migration.progress = progress;
            migration.rest = rest.or(migration.rest);
        });
    }

    /// A migration was ordered to stop.
    pub(crate) fn stopped(&self, id: CommandId, why: String) {
        self.change(id, |migration| migration.stop = Some(why));
    }

    /// A migration ended.
    pub(crate) fn ended(&self, outcome: &Outcome) {
        self.change(outcome.id, |migration| {
            migration.progress.stage = Stage::Ended;
            migration.outcome = Some(outcome.clone());
        });
    }

    fn change(&self, id: CommandId, change: impl FnOnce(&mut MigrationRecord)) {
        let changed = self.lock().migrations.get_mut(&id).map(|migration| {
            change(migration);
            migration.clone()
        });
        changed.into_iter().for_each(|migration| self.tell(migration));
    }

    /// Nobody has to be watching.
    fn tell(&self, migration: MigrationRecord) {
        drop(self.watchers.send(migration));
    }

    /// Migrations, newest first.
    pub(crate) fn migrations(&self, limit: usize, running_only: bool) -> Vec<MigrationRecord> {
        let kept = self.lock();
        let wanted = kept.migrations.values().rev().filter(|migration| !running_only || migration.outcome.is_none());
        wanted.take(limit).cloned().collect()
    }

    /// One migration.
    pub(crate) fn migration(&self, id: CommandId) -> Option<MigrationRecord> {
        self.lock().migrations.get(&id).cloned()
    }

    /// The migrations of a decision, oldest first.
    pub(crate) fn migrations_of(&self, decision: DecisionId) -> Vec<MigrationRecord> {
        self.lock().migrations.values().filter(|migration| migration.decision == decision).cloned().collect()
    }

    /// Decisions, newest first.
    pub(crate) fn decisions(&self, limit: usize, include_empty: bool) -> Vec<DecisionRecord> {
        let kept = self.lock();
        let mut all: Vec<&DecisionRecord> = kept.decisions.iter().collect();
        if include_empty {
            all.extend(&kept.empty);
            all.sort_by_key(|known| known.decision.id);
        }
        all.into_iter().rev().take(limit).cloned().collect()
    }

    /// One decision.
    pub(crate) fn decision(&self, id: DecisionId) -> Option<DecisionRecord> {
        let kept = self.lock();
        kept.decisions.iter().chain(&kept.empty).find(|known| known.decision.id == id).cloned()
    }
}

impl Kept {
    /// Drops the oldest migrations that are over.
    fn bound_migrations(&mut self) {
        while self.migrations.len() > self.migrations_max {
            let over = self.migrations.values().find(|migration| migration.outcome.is_some());
            let Some(id) = over.map(|migration| migration.id) else { break };
            self.migrations.remove(&id);
        }
    }
}
