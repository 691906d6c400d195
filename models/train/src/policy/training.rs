//! A run under way: turns of playing and learning, and the networks that have done best so far.

use std::{io::Write, sync::Arc};

use ballast_core::policy::ranked::FEATURES;
use ballast_models::policy::{
    Seen,
    bundle::Bundle,
    network::{Ensemble, MEMBERS},
};
use burn::tensor::Device as BurnDevice;
use rand::{RngExt as _, SeedableRng as _};
use rand_pcg::Pcg64;
use rayon::prelude::*;

use super::{
    cells::{Cell, Days},
    episode::{self, Answers, Episode},
    learner::Learner,
    numbers::Numbers,
    replay::{self, Experience, Replay, Returns},
    trial::{Outcome, Trial},
};

/// Experiences that are kept.
pub(super) const KEPT: usize = 1 << 18;

/// Experiences of a step.
const BATCH: usize = 256;

/// Steps after which targets are reckoned by the newest network.
const RETARGET: usize = 200;

/// Rounds of the horizon over which the model reckons a plan's gain.
const HORIZON_ROUNDS: f32 = 12.0;

/// A run that can be set down after any turn and taken up again.
#[derive(Debug)]
pub(super) struct Run {
    /// Turns that are over.
    pub(super) turns: usize,
    pub(super) training: Training,
    pub(super) best: Option<Best>,
}

/// The networks that did best in a trial.
#[derive(Debug, Clone)]
pub(super) struct Best {
    pub(super) outcome: Outcome,
    pub(super) ensemble: Ensemble,
    /// Turns after which they were tried.
    pub(super) turns: usize,
}

impl Run {
    /// Nothing played yet.
    pub(super) fn new(training: Training) -> Self {
        Self { turns: 0, training, best: None }
    }

    /// One turn; the mean error of its newest steps.
    pub(super) fn turn(&mut self, numbers: &Numbers, days: &Days) -> anyhow::Result<f32> {
        let error = self.training.turn(numbers, days, self.turns)?;
        self.turns += 1;
        Ok(error)
    }

    /// Tries the networks of now, keeps them where they are the best so far, and says so.
    pub(super) fn try_out(&mut self, trial: &Trial, error: f32, out: &mut dyn Write) -> anyhow::Result<()> {
        let ensemble = self.training.ensemble();
        let outcome = trial.play(&ensemble, &self.training.seen);
        // A trial tells what networks are good for as they are: of those that are made to begin with, the last are the ones.
        let is_better = self.training.meta.is_some()
            || self.best.as_ref().is_none_or(|before| outcome.ratio < before.outcome.ratio);
        writeln!(
            out,
            "turn {}: {} experiences, error {error:.3}, {outcome} of the greedy's{}",
            self.turns,
            self.training.replay[0].len(),
            if is_better && self.training.meta.is_none() { ", best so far" } else { "" }
        )?;
        if is_better {
            self.best = Some(Best { outcome, ensemble, turns: self.turns });
        }
        Ok(())
    }
}

/// What plays and learns.
#[derive(Debug)]
pub(super) struct Training {
    pub(super) learners: Vec<Learner>,
    /// One for each member: what one has learnt another may not have.
    pub(super) replay: Vec<Replay>,
    pub(super) seen: Seen,
    pub(super) rng: Pcg64,
    pub(super) steps: usize,
    /// Turns in which the greedy policy answers: none for networks that have learnt before.
    pub(super) warm_up: usize,
    /// How far to go towards what a task has led to, at first; `None` where all days are learnt as one.
    pub(super) meta: Option<f64>,
    pub(super) device: BurnDevice,
}

impl Training {
    /// Begins with the networks of `before`, or with new ones.
    pub(super) fn new(numbers: &Numbers, before: Option<&Bundle>, device: &BurnDevice) -> Self {
        let mut rng = Pcg64::seed_from_u64(numbers.seed);
        let fresh = Ensemble::new(&mut || rng.random());
        let ensemble = before.map_or(fresh, |before| before.ensemble.clone());
        let learners = ensemble.members.into_iter().map(|member| Learner::new(member, device)).collect();
        let replay = (0..MEMBERS).map(|_| Replay::new(KEPT)).collect();
        let nothing = || Seen { low: vec![f32::INFINITY; FEATURES], high: vec![f32::NEG_INFINITY; FEATURES] };
        let seen = before.map_or_else(nothing, |before| before.card.seen.clone());
        let (warm_up, meta, device) = (numbers.warm_up_after(before), numbers.meta, device.clone());
        Self { learners, replay, seen, rng, steps: 0, warm_up, meta, device }
    }

    /// The networks of now.
    pub(super) fn ensemble(&self) -> Ensemble {
        Ensemble { members: self.learners.iter().map(|learner| learner.online.clone()).collect() }
    }

    /// Plays some cells and learns from all that is kept; the mean error of the newest steps.
    fn turn(&mut self, numbers: &Numbers, days: &Days, turn: usize) -> anyhow::Result<f32> {
        #[allow(clippy::cast_precision_loss)] // A share of the turns.
        let done = turn as f64 / numbers.turns.max(2) as f64;
        let is_warming = turn < self.warm_up;
        let chance = if is_warming { numbers.chance } else { numbers.chance * (1.0 - 0.8 * done) };
        if let Some(share) = self.meta.filter(|_| !is_warming) {
            return self.adapt(numbers, days, share * (1.0 - done), chance);
        }
        self.play(numbers, days, is_warming, chance)?;
        let rate = numbers.rate * (1.0 - 0.9 * done);
        let mut error = 0.0;
        for _ in 0..numbers.steps {
            error = self.step(is_warming, rate, 0.4 + 0.6 * done)?;
        }
        Ok(error)
    }

    /// Plays a turn's cells and keeps what they teach.
    pub(super) fn play(&mut self, numbers: &Numbers, days: &Days, is_warming: bool, chance: f64) -> anyhow::Result<()> {
        let ensemble = Arc::new(self.ensemble());
        let seeds: Vec<u64> = (0..numbers.cells).map(|_| self.rng.random()).collect();
        let played: Vec<anyhow::Result<Vec<Experience>>> = seeds
            .par_iter()
            .enumerate()
            .map(|(index, seed)| {
                let answers =
                    if is_warming { Answers::Greedy } else { Answers::Member(Arc::clone(&ensemble), index % MEMBERS) };
                Ok(lived(&days.cell(*seed)?, answers, chance, numbers.returns()))
            })
            .collect();
        for experience in played {
            for one in experience? {
                self.note(&one);
                self.replay.iter_mut().for_each(|replay| replay.push(one.clone()));
            }
        }
        Ok(())
    }

    /// One step of every member.
    pub(super) fn step(&mut self, is_warming: bool, rate: f64, correction: f64) -> anyhow::Result<f32> {
        let mut sum = 0.0;
        self.steps += 1;
        for (learner, replay) in self.learners.iter_mut().zip(&mut self.replay) {
            if self.steps.is_multiple_of(RETARGET) {
                learner.retarget();
            }
            let drawn = replay.draw(BATCH, correction, &mut self.rng);
            let batch: Vec<&Experience> = drawn.iter().map(|drawn| replay.at(drawn.place)).collect();
            let wanted: Vec<f32> =
                batch.iter().map(|one| if is_warming { reckoned(one) } else { learner.target(one) }).collect();
            let weights: Vec<f32> = drawn.iter().map(|drawn| drawn.weight).collect();
            let errors = learner.step(&batch, &wanted, &weights, rate)?;
            for (drawn, error) in drawn.iter().zip(&errors) {
                replay.learnt(drawn.place, *error);
                sum += error.abs();
            }
        }
        #[allow(clippy::cast_precision_loss)] // A batch.
        let mean = sum / (BATCH * MEMBERS) as f32;
        Ok(mean)
    }

    fn note(&mut self, one: &Experience) {
        for own in &one.asked.plans {
            for (index, value) in one.asked.shared.iter().chain(own).enumerate() {
                self.seen.low[index] = self.seen.low[index].min(*value);
                self.seen.high[index] = self.seen.high[index].max(*value);
            }
        }
    }
}

/// What the model itself says that an answer is worth: where a network begins. The second feature of a plan is its gain over the
/// horizon, in the energy that the idle host draws in it.
fn reckoned(one: &Experience) -> f32 {
    one.plan().map_or(0.0, |own| own[1] * HORIZON_ROUNDS)
}

/// Plays a cell and says what it teaches.
fn lived(cell: &Cell, answers: Answers, chance: f64, returns: Returns) -> Vec<Experience> {
    let rng = Pcg64::seed_from_u64(cell.seed ^ 0x9e37_79b9);
    let episode: Episode = episode::explore(cell, answers, chance, rng);
    replay::experiences(&episode, &episode::greedy(cell), unit(cell), returns)
}

/// Energy that an idle host of the cell draws in a round.
pub(super) fn unit(cell: &Cell) -> f64 {
    let hosts = cell.scenario.hosts();
    let idle: f64 = hosts.iter().map(|host| host.power.idle().get()).sum();
    idle / ballast_core::units::count(hosts.len().max(1)) * cell.pace.round.as_secs_f64()
}
