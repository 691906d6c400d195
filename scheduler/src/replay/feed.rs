//! One replay under way: records in, decisions out at the moments the scheduler would have made them.

use std::time::Duration;

use ballast_core::{
    decide::{DecideInput, decide},
    decision::{Decision, Mode, Step, Trigger},
    id::{DecisionId, Epoch, Seq},
    oversight::{ModelMode, Supervised},
    policy::{Policy, View},
    risk::FleetLoad,
    snapshot::Snapshot,
    units::Timestamp,
};

use super::{ReplayError, ReplaySettings, Summary};
use crate::{
    control::{WARM_UP_PERIODS, needs_relief},
    ingest::Admission,
    intake::Intake,
    proposer::Proposer,
    repeats::Repeats,
    telemetry_log::{Content, LogRecord},
};

/// The epoch under which replayed decisions are numbered: a replay is nobody's.
const EPOCH: Epoch = Epoch(0);

/// The forecaster of a replay: its model runs where it stands and is waited for, so that the same log gives the same bytes.
fn forecaster(settings: &ReplaySettings) -> Result<Supervised, ReplayError> {
    let forecast = &settings.forecast;
    let mut supervised = forecast.supervised();
    if forecast.oversight.mode != ModelMode::Off {
        let loaded = settings.models.load(forecast.model.as_deref()).map_err(|why| ReplayError::Model { why })?;
        if let Some(loaded) = loaded {
            supervised.load(loaded.model, &loaded.identity, Timestamp::EPOCH);
        }
    }
    Ok(supervised)
}

/// Who is told of a decision.
type Each<'a> = dyn FnMut(&Decision, &Snapshot) + 'a;

pub(super) struct Feed<'a> {
    settings: &'a ReplaySettings,
    intake: Intake,
    policy: Box<dyn Policy>,
    now: Timestamp,
    next_round: Option<Timestamp>,
    next_relief: Timestamp,
    number: u64,
    repeats: Repeats,
    summary: Summary,
}

impl<'a> Feed<'a> {
    pub(super) fn new(settings: &'a ReplaySettings) -> Result<Self, ReplayError> {
        let name = &settings.policy;
        let proposer = Proposer::new(name, settings.policy_bundle.as_deref());
        let proposer = proposer.map_err(|why| ReplayError::PolicyBundle { why })?;
        let policy = proposer.make().ok_or_else(|| ReplayError::UnknownPolicy { name: name.clone() })?;
        Ok(Self {
            settings,
            intake: Intake::new(EPOCH, settings.period, &settings.tuning, forecaster(settings)?),
            policy,
            now: Timestamp::EPOCH,
            next_round: None,
            next_relief: Timestamp::EPOCH,
            number: 0,
            repeats: Repeats::default(),
            summary: Summary::default(),
        })
    }

    /// Takes the next record; the rounds that were due before it come first. A record from before the one before, as a
    /// clock that was set back leaves them, counts as of the same moment.
    pub(super) fn take(&mut self, record: LogRecord, each: &mut Each<'_>) {
        let at = record.at.max(self.now);
        if self.next_round.is_none() {
            self.summary.from = at;
            let first = self.settings.round_interval.max(self.settings.period * WARM_UP_PERIODS);
            self.next_round = Some(at.after(first));
        }
        self.run_rounds_until(at, each);
        self.now = at;
        self.summary.to = at;
        self.summary.records += 1;
        self.absorb(record.content, each);
    }

    /// A file ended in bytes that could not be read.
    pub(super) fn left_out(&mut self, bytes: usize) {
        self.summary.unreadable_bytes += bytes as u64;
    }

    /// The end of the log; decisions due at its very last moment are made.
    pub(super) fn finish(mut self, each: &mut Each<'_>) -> Summary {
        self.run_rounds_until(self.now, each);
        self.summary
    }

    fn run_rounds_until(&mut self, moment: Timestamp, each: &mut Each<'_>) {
        while let Some(due) = self.next_round.filter(|due| *due <= moment) {
            self.summary.rounds += 1;
            self.decide(Trigger::Round, due, each);
            self.next_round = Some(due.after(self.settings.round_interval.max(Duration::from_millis(1))));
        }
    }

    fn absorb(&mut self, content: Content, each: &mut Each<'_>) {
        let now = self.now;
        match content {
            Content::Batch(batch) => self.batch(&batch, each),
            Content::Opened(inventory) => drop(self.intake.opened(&inventory, Seq(1), now)),
            Content::Inventory(inventory) => drop(self.intake.inventory(&inventory, now)),
            Content::Closed { host, boot } => drop(self.intake.closed(&host, boot, now)),
            Content::Event(event) => drop(self.intake.event(&event, now)),
            // Only the first segment of a replay tells something new by it.
            Content::Standing(inventory) if self.intake.knows_link_of(&inventory) => {}
            Content::Standing(inventory) => drop(self.intake.opened(&inventory, Seq(1), now)),
        }
    }

    fn batch(&mut self, batch: &ballast_core::sample::Batch, each: &mut Each<'_>) {
        let taken = self.intake.batch(batch, self.now);
        match taken.admission {
            Admission::Taken { .. } => self.summary.batches += 1,
            Admission::Duplicate | Admission::Late | Admission::OtherBoot => self.summary.batches_dropped += 1,
        }
        self.summary.readings_absurd += taken.absurd as u64;
        let warm = self.now >= self.summary.from.after(self.settings.period * WARM_UP_PERIODS);
        if taken.is_overloaded && warm && self.now >= self.next_relief {
            self.next_relief = self.now.after(self.settings.relief_interval);
            if needs_relief(&self.intake.snapshot(self.now), self.settings.tuning.relief_after) {
                self.summary.relief_rounds += 1;
                self.decide(Trigger::Relief, self.now, each);
            }
        }
    }

    fn decide(&mut self, trigger: Trigger, at: Timestamp, each: &mut Each<'_>) {
        self.number += 1;
        let snapshot = self.intake.snapshot(at);
        self.intake.cycle(&snapshot);
        let forecasts = self.intake.forecasts(&snapshot);
        let seed = self.settings.seed.wrapping_add(self.number);
        let (load, tuning) = (FleetLoad::of(&snapshot, &forecasts), &self.settings.tuning);
        let view = View { snapshot: &snapshot, forecasts: &forecasts, load: &load, tuning, seed };
        let id = DecisionId { epoch: EPOCH, number: self.number };
        let decision = decide(&DecideInput { view, id, trigger, mode: Mode::Recommend }, &mut *self.policy);
        self.summary.denied += decision.denied.len() as u64;
        if decision.chosen.steps.is_empty() {
            self.summary.decisions_empty += 1;
        } else if self.repeats.note(&decision) {
            self.summary.decisions_repeated += 1;
        } else {
            self.count(&decision);
            each(&decision, &snapshot);
        }
    }

    fn count(&mut self, decision: &Decision) {
        self.summary.decisions += 1;
        for planned in &decision.chosen.steps {
            match planned.step {
                Step::Migrate(_) => self.summary.moves += 1,
                Step::Sleep { .. } => self.summary.sleeps += 1,
                Step::Wake { .. } => self.summary.wakes += 1,
            }
        }
    }
}
