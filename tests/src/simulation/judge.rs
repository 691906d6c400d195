//! Holds the journals of a run against what was promised and against what really happened.
//!
//! The numbers are those of the list of invariants in docs/reliability.md. What must hold at every moment is asked of every
//! prefix of the journals: they keep the order in which things became true.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use anyhow::Result;
use ballast_core::{
    command::Order,
    decision::{Decision, Planned, Step},
    id::{CommandId, DecisionId, Epoch, HostId, VmId},
    outcome::{Ending, Outcome},
    proposal::Motive,
    tuning::LEAST_REST,
};
use ballast_scheduler::journal::{Entry, OpenIntent, Record};

use super::{
    books::{self, Note},
    run::{Run, STEP},
    watch::{LOOK, Watch},
    witness::Effect,
};
use crate::scheduler::START;

/// Bound within which every intent ends once nothing goes wrong any more.
const CLOSED_WITHIN: Duration = Duration::from_secs(60);

/// What the journals came to.
pub(super) struct Judged {
    /// Promises that were broken.
    pub(super) broken: Vec<String>,
    /// Commands that were journalled.
    pub(super) commands: u64,
}

/// Judges a run that is over.
///
/// # Errors
/// Where a journal cannot be read.
pub(super) fn judge(run: &Run, watch: &Watch) -> Result<Judged> {
    let entries = books::of_scheduler(&run.config.engine.data_dir)?;
    let effects = run.witness.with(|seen| seen.effects.clone());
    let mut judge = Judge { run, watch, effects, broken: Vec::new(), commands: 0 };
    judge.started_once();
    for index in 0..run.agents.len() {
        let notes = books::of_agent(&run.agent_dir(index))?;
        judge.fence(index, &notes);
        run.trace.note(format_args!("kvm{} has {} records", index + 1, notes.len()));
    }
    judge.journal(&entries);
    for entry in &entries {
        run.trace.absorb(&entry.encode().unwrap_or_default());
    }
    Ok(Judged { broken: judge.broken, commands: judge.commands })
}

struct Judge<'a> {
    run: &'a Run,
    watch: &'a Watch,
    effects: Vec<Effect>,
    broken: Vec<String>,
    commands: u64,
}

/// What is known while the scheduler's journal is read.
#[derive(Default)]
struct Reading {
    open: BTreeMap<CommandId, (OpenIntent, Duration)>,
    intended: BTreeSet<CommandId>,
    decisions: BTreeMap<DecisionId, Decision>,
    epoch: Epoch,
    /// When the newest move of each vm ended.
    moved: BTreeMap<VmId, Duration>,
}

impl Judge<'_> {
    fn break_it(&mut self, what: String) {
        self.broken.push(what);
    }

    /// I2: every command is begun once at most.
    fn started_once(&mut self) {
        let mut seen = BTreeSet::new();
        let twice: Vec<_> = self.effects.iter().filter_map(|effect| effect.id).filter(|id| !seen.insert(*id)).collect();
        twice.into_iter().for_each(|id| self.break_it(format!("I2: {id} was begun twice")));
    }

    /// I5 at an agent: nothing is accepted from an epoch older than the newest seen.
    fn fence(&mut self, index: usize, notes: &[Note]) {
        let mut newest = Epoch::default();
        for note in notes {
            match note {
                Note::Fence(epoch) => newest = newest.max(*epoch),
                Note::Accepted { command, .. } if command.id.epoch < newest => {
                    self.break_it(format!("I5: kvm{} accepted {} after epoch {newest}", index + 1, command.id));
                }
                Note::Accepted { command, .. } => newest = command.id.epoch,
                Note::Started { .. } | Note::Settled { .. } | Note::Acknowledged(_) => {}
            }
        }
    }

    fn journal(&mut self, entries: &[Entry]) {
        let mut reading = Reading::default();
        for entry in entries {
            let at = entry.at.since(START);
            match &entry.record {
                Record::EpochStart { epoch } => self.epoch(&mut reading, *epoch),
                Record::Decision { decision } => drop(reading.decisions.insert(decision.id, (**decision).clone())),
                Record::Intent { intent } => self.intent(&mut reading, intent, at),
                Record::Outcome { outcome } => self.outcome(&mut reading, outcome, at),
                _ => {}
            }
        }
        let known = |effect: &&Effect| effect.id.is_some_and(|id| reading.intended.contains(&id));
        let unknown: Vec<_> = self.effects.iter().filter(|effect| !known(effect)).map(|effect| effect.id).collect();
        unknown.into_iter().for_each(|id| self.break_it(format!("I1: {id:?} ran, and the journal does not know it")));
        self.closed(&reading);
    }

    /// I5 at the scheduler: no two lives share an epoch.
    fn epoch(&mut self, reading: &mut Reading, epoch: Epoch) {
        if epoch <= reading.epoch {
            self.break_it(format!("I5: epoch {epoch} began after epoch {}", reading.epoch));
        }
        reading.epoch = epoch;
    }

    fn intent(&mut self, reading: &mut Reading, intent: &OpenIntent, at: Duration) {
        let id = intent.command.id;
        self.commands += 1;
        if !reading.intended.insert(id) {
            self.break_it(format!("I2: {id} was ordered twice"));
        }
        if id.epoch != reading.epoch {
            self.break_it(format!("I5: {id} was ordered in epoch {}", reading.epoch));
        }
        if let Order::Migrate { vm, destination, .. } = &intent.command.order {
            self.one_at_a_time(reading, id, *vm);
            self.budgets(reading, id, &intent.command.host, destination);
            self.rest(reading, intent, *vm, at);
            self.freshness(reading, intent, destination, at);
        }
        reading.open.insert(id, (intent.clone(), at));
    }

    /// I3: one open intent per vm.
    fn one_at_a_time(&mut self, reading: &Reading, id: CommandId, vm: VmId) {
        let held = reading.open.values().find(|(open, _)| open.command.order.vm() == Some(vm));
        if let Some((open, _)) = held {
            let by = open.command.id;
            self.break_it(format!("I3: {id} moves {vm}, which {by} holds"));
        }
    }

    /// I3, I8: one open intent per budget slot, across restarts.
    fn budgets(&mut self, reading: &Reading, id: CommandId, source: &HostId, destination: &HostId) {
        let open = || reading.open.values().filter(|(open, _)| open.command.order.vm().is_some());
        let out = open().filter(|(open, _)| open.command.host == *source).count();
        let into = |open: &&(OpenIntent, Duration)| matches!(&open.0.command.order, Order::Migrate { destination: to, .. } if to == destination);
        let (coming, all, tuning) = (open().filter(into).count(), open().count(), &self.run.tuning);
        let bounds = [
            (out, tuning.moves_out_per_host, "out of its host"),
            (coming, tuning.moves_in_per_host, "into its host"),
            (all, tuning.moves_in_fleet, "in the fleet"),
        ];
        for (running, bound, what) in bounds {
            if running >= bound {
                self.break_it(format!("I8: {id} is one of {} moves {what}, {bound} are allowed", running + 1));
            }
        }
    }

    /// I8: a vm rests after a move, across restarts.
    fn rest(&mut self, reading: &Reading, intent: &OpenIntent, vm: VmId, at: Duration) {
        let whole = self.run.tuning.vm_cool_down;
        let needed = match planned(reading, intent, vm).map(|planned| &planned.motive) {
            Some(Motive::Overload { .. } | Motive::Drain { .. }) => whole.min(LEAST_REST),
            _ => whole,
        };
        let rested = reading.moved.get(&vm).map(|moved| at.saturating_sub(*moved));
        if let Some(rested) = rested.filter(|rested| *rested < needed) {
            let id = intent.command.id;
            self.break_it(format!("I8: {id} moves {vm} after a rest of {rested:?}; {needed:?} are promised"));
        }
    }

    /// I9: what is decided rests on figures of both hosts that are fresh.
    fn freshness(&mut self, reading: &Reading, intent: &OpenIntent, destination: &HostId, at: Duration) {
        let limit = self.run.config.engine.period * self.run.tuning.silent_periods;
        let decided = reading.decisions.get(&intent.decision).map_or(at, |decision| decision.at.since(START));
        for host in [&intent.command.host, destination] {
            let index = self.run.fleet.hosts.iter().position(|spec| spec.host == *host).unwrap_or_default();
            let newest = self.run.wire.arrivals(|arrivals| {
                let all = arrivals.batches.get(&index);
                // What arrives within a step may be read from its beginning.
                all.and_then(|all| all.iter().rev().find(|arrived| **arrived <= decided + STEP).copied())
            });
            // A batch is taken a moment after it arrived, and a snapshot may be shared for a fifth of a second.
            let age = newest.map_or(decided, |newest| decided.saturating_sub(newest));
            if age > limit + Duration::from_millis(500) {
                let id = intent.command.id;
                self.break_it(format!(
                    "I9: {id} rests on figures of {host} that are {age:?} old; {limit:?} are allowed"
                ));
            }
        }
    }

    fn outcome(&mut self, reading: &mut Reading, outcome: &Outcome, at: Duration) {
        let known = reading.open.remove(&outcome.id);
        let Some((intent, _)) = known else { return };
        let Order::Migrate { vm, destination, .. } = &intent.command.order else { return };
        reading.moved.insert(*vm, at);
        if matches!(outcome.ending, Ending::Unresolved { .. }) {
            // Agents lose what they were writing, never what they have written: somebody always knows.
            self.break_it(format!("I7: {} ended unresolved", outcome.id));
        }
        let effect = self.effects.iter().find(|effect| effect.id == Some(outcome.id)).cloned();
        self.truth(&intent, (*vm, destination), outcome, effect.as_ref(), at);
    }

    /// I6 and I11: what was abandoned never ran, and an outcome says what really happened, after it has.
    fn truth(
        &mut self,
        intent: &OpenIntent,
        (vm, destination): (VmId, &HostId),
        outcome: &Outcome,
        effect: Option<&Effect>,
        at: Duration,
    ) {
        let id = outcome.id;
        let Some(effect) = effect else {
            if outcome.ending == Ending::Completed {
                self.break_it(format!("I11: {id} completed and was never begun"));
            }
            return;
        };
        if matches!(outcome.ending, Ending::Abandoned { .. }) {
            self.break_it(format!("I6: {id} was abandoned and ran"));
        }
        let flight = self.watch.flights.iter().find(|flight| flight.vm == vm && flight.from + 2 * LOOK >= effect.at);
        let until = flight.filter(|flight| flight.from <= effect.at + 2 * LOOK).map(|flight| flight.until);
        if until.is_some_and(|until| until > at + 2 * LOOK) {
            self.break_it(format!("I3: {id} was closed {:?} while its migration ran", outcome.ending));
        }
        let places = self.watch.places(vm, effect.at, until.unwrap_or(effect.at).max(at) + 2 * LOOK);
        let arrived = places.iter().flatten().any(|host| host == destination);
        let stayed = places.iter().flatten().any(|host| *host == intent.command.host);
        let lies = match outcome.ending {
            Ending::Completed => !arrived,
            Ending::Failed { .. } | Ending::Cancelled { .. } => {
                !stayed || until.is_some() && self.has_left(vm, destination, effect.at, until)
            }
            // Neither of the two hosts it was asked of has it; whether somebody else moved it on, nobody there can say.
            Ending::VmGone => {
                let now = self.watch.places(vm, at.saturating_sub(2 * LOOK), at);
                now.iter().flatten().all(|host| host == destination || *host == intent.command.host)
                    && !now.contains(&None)
            }
            Ending::Abandoned { .. } | Ending::Unresolved { .. } => false,
        };
        if lies {
            self.break_it(format!("I11: {id} is said to have ended {:?}, but {vm} was on {places:?}", outcome.ending));
        }
    }

    /// Whether a migration brought its vm to the destination: it is there when it is over.
    fn has_left(&self, vm: VmId, destination: &HostId, from: Duration, until: Option<Duration>) -> bool {
        let until = until.unwrap_or(from) + 2 * LOOK;
        self.watch.places(vm, until, until).iter().flatten().any(|host| host == destination)
    }

    /// I7: every intent ends within the bound once nothing goes wrong any more.
    fn closed(&mut self, reading: &Reading) {
        let quiet = self.run.options.span.saturating_sub(self.run.options.quiet);
        // A run that was ended early has not had its quiet.
        if self.run.now < self.run.options.span {
            return;
        }
        for (id, (intent, since)) in &reading.open {
            if (*since).max(quiet) + CLOSED_WITHIN <= self.run.now {
                self.break_it(format!("I7: {id} ({}) is still open", intent.command.order.kind()));
            }
        }
    }
}

/// The step of a decision that an intent carries out.
fn planned<'a>(reading: &'a Reading, intent: &OpenIntent, vm: VmId) -> Option<&'a Planned> {
    let decision = reading.decisions.get(&intent.decision)?;
    decision.chosen.steps.iter().find(|planned| matches!(&planned.step, Step::Migrate(one) if one.vm == vm))
}
