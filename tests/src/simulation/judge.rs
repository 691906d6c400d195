//! Holds the journals of a run against what was promised and against what really happened.
//!
//! The numbers are those of the list of invariants in docs/reliability.md. What must hold at every moment is asked of every
//! prefix of the journals: they keep the order in which things became true.

mod truth;

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
    units::Timestamp,
};
use ballast_scheduler::journal::{Entry, OpenIntent, Record};

use super::{
    books::{self, Note},
    run::{Run, STEP},
    watch::{Flight, Watch},
    witness::Effect,
};
/// Bound within which every intent ends once nothing goes wrong any more.
pub(super) const CLOSED_WITHIN: Duration = Duration::from_secs(60);
/// Bound of a copy: that of its completion, and a minute for what comes before and after.
const COPIED_WITHIN: Duration = Duration::from_secs(360);

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
    let journals = run.dirs.iter().map(|dir| books::of_scheduler(dir)).collect::<Result<Vec<_>>>()?;
    let effects = run.witness.with(|seen| seen.effects.clone());
    let mut judge = Judge { run, watch, effects, broken: Vec::new(), intended: BTreeSet::new() };
    judge.started_once();
    let mut placements = BTreeMap::new();
    for index in 0..run.fleet.hosts.len() {
        let notes = books::of_agent(&run.agent_dir(index))?;
        judge.fence(index, &notes);
        placements.extend(notes.iter().filter_map(truth::placement));
        run.trace.note(format_args!("kvm{} has {} records", index + 1, notes.len()));
    }
    for (index, entries) in journals.iter().enumerate() {
        judge.journal(entries, index + 1 == journals.len());
        for entry in entries {
            run.trace.absorb(&entry.encode().unwrap_or_default());
        }
    }
    judge.epochs(&journals);
    judge.all_intended();
    judge.placed_anew(&journals, &placements);
    Ok(Judged { commands: judge.intended.len() as u64, broken: judge.broken })
}

struct Judge<'a> {
    run: &'a Run,
    watch: &'a Watch,
    effects: Vec<Effect>,
    broken: Vec<String>,
    /// Every command of every journal.
    intended: BTreeSet<CommandId>,
}

/// What is known while the scheduler's journal is read.
#[derive(Default)]
struct Reading {
    open: BTreeMap<CommandId, (OpenIntent, Duration)>,
    intended: BTreeSet<CommandId>,
    decisions: BTreeMap<DecisionId, Decision>,
    epoch: Epoch,
    /// When the newest move of each vm ended: truly, and in which life by which time of the scheduler.
    moved: BTreeMap<VmId, (Duration, Epoch, Timestamp)>,
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

    /// Reads the journal of a scheduler; of one that was replaced, what it left open is not its own to close any more.
    fn journal(&mut self, entries: &[Entry], is_last: bool) {
        let mut reading = Reading::default();
        for entry in entries {
            if let Record::EpochStart { epoch } = &entry.record {
                self.epoch(&mut reading, *epoch);
            }
            let at = self.run.shown.truth(reading.epoch, entry.at);
            match &entry.record {
                Record::Decision { decision } => drop(reading.decisions.insert(decision.id, (**decision).clone())),
                Record::Intent { intent } => self.intent(&mut reading, intent, (at, entry.at)),
                Record::Outcome { outcome } => self.outcome(&mut reading, outcome, (at, entry.at)),
                _ => {}
            }
        }
        self.intended.append(&mut reading.intended);
        if is_last {
            self.closed(&reading);
        }
    }

    /// I1: whatever ran, some journal knows.
    fn all_intended(&mut self) {
        let known = |effect: &&Effect| effect.id.is_some_and(|id| self.intended.contains(&id));
        let unknown: Vec<_> = self.effects.iter().filter(|effect| !known(effect)).map(|effect| effect.id).collect();
        unknown.into_iter().for_each(|id| self.break_it(format!("I1: {id:?} ran, and no journal knows it")));
    }

    /// I5: no two schedulers share an epoch. A journal begins with what its scheduler took over from the one before.
    fn epochs(&mut self, journals: &[Vec<Entry>]) {
        let mut begun: BTreeMap<Epoch, Timestamp> = BTreeMap::new();
        for entry in journals.iter().flatten() {
            let Record::EpochStart { epoch } = entry.record else { continue };
            if *begun.entry(epoch).or_insert(entry.at) != entry.at {
                self.break_it(format!("I5: epoch {epoch} was begun twice"));
            }
        }
    }

    /// I5 at the scheduler: no two lives share an epoch.
    fn epoch(&mut self, reading: &mut Reading, epoch: Epoch) {
        if epoch <= reading.epoch {
            self.break_it(format!("I5: epoch {epoch} began after epoch {}", reading.epoch));
        }
        reading.epoch = epoch;
    }

    fn intent(&mut self, reading: &mut Reading, intent: &OpenIntent, (at, written): (Duration, Timestamp)) {
        let id = intent.command.id;
        if !reading.intended.insert(id) {
            self.break_it(format!("I2: {id} was ordered twice"));
        }
        if id.epoch != reading.epoch {
            self.break_it(format!("I5: {id} was ordered in epoch {}", reading.epoch));
        }
        if let Order::Migrate { vm, destination, .. } = &intent.command.order {
            self.one_at_a_time(reading, id, *vm);
            self.budgets(reading, id, &intent.command.host, destination);
            self.rest(reading, intent, *vm, (at, written));
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

    /// I8: a vm rests after a move, across restarts. Within a life that is by the time that passes; how long a scheduler was
    /// gone, only its wall clock can tell the next.
    fn rest(&mut self, reading: &Reading, intent: &OpenIntent, vm: VmId, (at, written): (Duration, Timestamp)) {
        let whole = self.run.tuning.vm_cool_down;
        let needed = match planned(reading, intent, vm).map(|planned| &planned.motive) {
            Some(Motive::Overload { .. } | Motive::Drain { .. }) => whole.min(LEAST_REST),
            _ => whole,
        };
        // The scheduler's clock is at most half a thousandth fast.
        let needed = needed.mul_f64(0.999);
        let rested = reading.moved.get(&vm).map(|(moved, epoch, noted)| {
            let shown = if *epoch == reading.epoch { Duration::ZERO } else { written.since(*noted) };
            at.saturating_sub(*moved).max(shown)
        });
        if let Some(rested) = rested.filter(|rested| *rested < needed) {
            let id = intent.command.id;
            self.break_it(format!("I8: {id} moves {vm} after a rest of {rested:?}; {needed:?} are promised"));
        }
    }

    /// I9: what is decided rests on figures of both hosts that are fresh.
    fn freshness(&mut self, reading: &Reading, intent: &OpenIntent, destination: &HostId, at: Duration) {
        let limit = self.run.config.engine.period * self.run.tuning.silent_periods;
        let decided = reading.decisions.get(&intent.decision);
        let decided = decided.map_or(at, |decision| self.run.shown.truth(reading.epoch, decision.at));
        for host in [&intent.command.host, destination] {
            let index = self.run.fleet.hosts.iter().position(|spec| spec.host == *host).unwrap_or_default();
            let newest = self.run.wire.arrivals(|arrivals| {
                let scheduler = arrivals.schedulers.get(&intent.command.id.epoch).copied().unwrap_or_default();
                let all = arrivals.batches.get(&(scheduler, index));
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

    fn outcome(&mut self, reading: &mut Reading, outcome: &Outcome, (at, written): (Duration, Timestamp)) {
        let known = reading.open.remove(&outcome.id);
        let Some((intent, _)) = known else { return };
        let Order::Migrate { vm, destination, .. } = &intent.command.order else { return };
        reading.moved.insert(*vm, (at, reading.epoch, written));
        if matches!(outcome.ending, Ending::Unresolved { .. }) {
            // Agents lose what they were writing, never what they have written: somebody always knows.
            self.break_it(format!("I7: {} ended unresolved", outcome.id));
        }
        let effect = self.effects.iter().find(|effect| effect.id == Some(outcome.id)).cloned();
        self.truth(&intent, (*vm, destination), outcome, effect.as_ref(), at);
    }

    /// I7: every intent ends within the bound once nothing goes wrong any more; where its copy goes on, once that has ended,
    /// which has a bound of its own.
    fn closed(&mut self, reading: &Reading) {
        let quiet = self.run.options.span.saturating_sub(self.run.options.quiet);
        // A run that was ended early has not had its quiet.
        if self.run.now < self.run.end {
            return;
        }
        let too_long = |flight: &&Flight| flight.until.saturating_sub(flight.from.max(quiet)) > COPIED_WITHIN;
        let long: Vec<VmId> = self.watch.flights.iter().filter(too_long).map(|flight| flight.vm).collect();
        long.into_iter().for_each(|vm| self.break_it(format!("I7: {vm} was copied for more than {COPIED_WITHIN:?}")));
        for (id, (intent, since)) in &reading.open {
            let vm = intent.command.order.vm();
            let copied = self.watch.flights.iter().filter(|flight| Some(flight.vm) == vm && flight.until >= *since);
            let copied = copied.map(|flight| flight.until).max().unwrap_or_default();
            if (*since).max(quiet).max(copied) + CLOSED_WITHIN <= self.run.now {
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
