//! `ballast-train policy`: a Q-network that judges evacuations, learnt on small fleets drawn from recorded days.
//!
//! Deep Q-learning (Mnih et al. 2015) with a duelling network, double targets, returns over several rounds, prioritised replay and
//! an ensemble of which a different member acts in every episode. What an episode is paid is what the greedy policy's own course
//! of the same cell would have cost beyond it: demand is exogenous, so that the difference is exact, and its noise is gone. It
//! begins as the model's own judgement: the first episodes are the greedy policy's, and plans are worth what the model says.

pub mod cells;
pub mod episode;
pub mod fleet;
pub mod learner;
mod material;
pub mod replay;
mod shaping;
pub mod tabular;
#[cfg(test)]
mod tests;
pub mod trial;

use std::{fs, io::Write, path::PathBuf, sync::Arc};

use anyhow::Context as _;
use ballast_core::policy::ranked::{FEATURES, LEVELS};
use ballast_models::{
    bundle::DataSet,
    policy::{
        Seen,
        bundle::{Bundle, Card, SCHEMA},
        network::{Ensemble, MEMBERS},
    },
};
use burn::tensor::Device as BurnDevice;
use clap::Args as ClapArgs;
use rand::{RngExt as _, SeedableRng as _};
use rand_pcg::Pcg64;
use rayon::prelude::*;
use serde::Serialize;

use crate::device::Device;
use cells::{Cell, Days};
use episode::{Answers, Episode};
use learner::Learner;
use material::Material;
use replay::{Experience, Replay, Returns};

/// Experiences that are kept.
const KEPT: usize = 1 << 18;

/// Experiences of a step.
const BATCH: usize = 256;

/// Steps after which targets are reckoned by the newest network.
const RETARGET: usize = 200;

/// Cells of a trial of the newest networks.
const TRIAL: u64 = 96;

/// Turns between two trials.
const TRIAL_EVERY: usize = 15;

/// Rounds of the horizon over which the model reckons a plan's gain.
const HORIZON_ROUNDS: f32 = 12.0;

/// What is trained, on what, how long.
#[derive(Debug, Clone, ClapArgs)]
pub struct PolicyArgs {
    /// Folder with PlanetLab days (YYYYMMDD.csv.gz).
    #[arg(long, value_name = "DIR", required_unless_present = "experience")]
    pub data: Option<PathBuf>,
    /// Days to train on [default: all that are not tuned on].
    #[arg(long = "day", value_name = "YYYYMMDD", value_delimiter = ',')]
    pub days: Vec<String>,
    /// Days by which the best networks of the run are chosen.
    #[arg(long = "tune", value_name = "YYYYMMDD", value_delimiter = ',', required_unless_present = "experience")]
    pub tune: Vec<String>,
    /// Folder with a fleet's own days, as `ballast history` writes them: the last day judges, the one before chooses, and nothing
    /// is written that is not better than the greedy policy and than the networks of --from.
    #[arg(long, value_name = "DIR", conflicts_with_all = ["data", "days", "tune"])]
    pub experience: Option<PathBuf>,
    /// Cells of the last day that judge: the more, the narrower the interval that has to be below one.
    #[arg(long, default_value_t = 192)]
    pub judged: u64,
    /// Networks to go on from [default with --experience: those that ship].
    #[arg(long, value_name = "FILE")]
    pub from: Option<PathBuf>,
    /// Where the bundle goes.
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
    /// Turns of playing and learning.
    #[arg(long, default_value_t = 120)]
    pub turns: usize,
    /// Cells played in a turn.
    #[arg(long, default_value_t = 8)]
    pub cells: usize,
    /// Steps of learning in a turn, for each member.
    #[arg(long, default_value_t = 150)]
    pub steps: usize,
    /// Turns in which the greedy policy answers.
    #[arg(long, default_value_t = 15)]
    pub warm_up: usize,
    /// Learning rate at the beginning; it falls to a tenth.
    #[arg(long, default_value_t = 1e-3)]
    pub rate: f64,
    /// Share of answers by chance at the beginning; it falls to a fifth.
    #[arg(long, default_value_t = 0.1)]
    pub chance: f64,
    /// Weight of a round over that of the one before.
    #[arg(long, default_value_t = 0.97)]
    pub discount: f64,
    /// Rounds whose costs are taken as they came.
    #[arg(long, default_value_t = 6)]
    pub rounds: usize,
    /// Rounds' energy of an idle host by which pay is shaped towards as few hosts as a fluid would need; 0 shapes nothing.
    #[arg(long, default_value_t = 0.0)]
    pub shaping: f32,
    /// Seed of all that is drawn.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Where burn computes: cpu (burn's own), cuda:N, vulkan:N or wgpu:N.
    #[arg(long, default_value = "cpu")]
    pub device: Device,
}

/// The numbers of a run, for the card.
#[derive(Debug, Serialize)]
struct Recipe {
    turns: usize,
    cells: usize,
    steps: usize,
    warm_up: usize,
    rate: f64,
    chance: f64,
    discount: f64,
    rounds: usize,
    shaping: f32,
    tuned_on: Vec<String>,
}

/// Trains, tells `out` how it goes, and writes the best networks.
///
/// # Errors
/// Where data cannot be read, the device is not there, or the bundle cannot be written.
pub fn run(args: &PolicyArgs, out: &mut dyn Write) -> anyhow::Result<()> {
    let (material, before) = (Material::read(args)?, material::begun_with(args)?);
    let device = args.device.burn()?.unwrap_or_else(BurnDevice::flex);
    writeln!(out, "{}", material.told())?;
    let mut training = Training::new(args, before.as_ref(), &device);
    let (outcome, ensemble) = best_of(args, &material, &mut training, out)?;
    if let Some(judge) = &material.judge
        && !material::is_better((judge, args.judged), (&ensemble, &training.seen), before.as_ref(), out)?
    {
        writeln!(out, "that is not better beyond doubt: nothing is written")?;
        return Ok(());
    }
    let card = card(args, &material, &training.seen, &outcome);
    let bytes = Bundle { card, ensemble }.to_bytes()?;
    fs::write(&args.out, &bytes).with_context(|| format!("write {}", args.out.display()))?;
    writeln!(out, "{}: {} bytes", args.out.display(), bytes.len())?;
    Ok(())
}

/// Plays and learns for all turns; the networks that did best in a trial.
fn best_of(
    args: &PolicyArgs,
    material: &Material,
    training: &mut Training,
    out: &mut dyn Write,
) -> anyhow::Result<(trial::Outcome, Ensemble)> {
    let trial = trial::Trial::new(&material.tune, TRIAL)?;
    let (mut best, mut best_at): (Option<(trial::Outcome, Ensemble)>, usize) = (None, 0);
    for turn in 0..args.turns {
        let error = training.turn(args, &material.train, turn)?;
        let is_last = turn + 1 == args.turns;
        if (turn + 1).is_multiple_of(TRIAL_EVERY) || is_last {
            let ensemble = training.ensemble();
            let outcome = trial.play(&ensemble, &training.seen);
            let is_better = best.as_ref().is_none_or(|(before, _)| outcome.ratio < before.ratio);
            writeln!(
                out,
                "turn {}: {} experiences, error {error:.3}, {outcome} of the greedy's{}",
                turn + 1,
                training.replay[0].len(),
                if is_better { ", best so far" } else { "" }
            )?;
            if is_better {
                (best, best_at) = (Some((outcome, ensemble)), turn + 1);
            }
        }
    }
    let (outcome, ensemble) = best.context("--turns 0: nothing was trained")?;
    writeln!(out, "the networks of turn {best_at}: {outcome} of the greedy's")?;
    Ok((outcome, ensemble))
}

fn card(args: &PolicyArgs, material: &Material, seen: &Seen, outcome: &trial::Outcome) -> Card {
    let PolicyArgs { turns, cells, steps, warm_up, rate, chance, discount, rounds, shaping, .. } = *args;
    let tuned_on = material.tune.names();
    let recipe = Recipe { turns, cells, steps, warm_up, rate, chance, discount, rounds, shaping, tuned_on };
    let days = &material.train;
    let data =
        DataSet { kind: material.kind.into(), files: days.names(), hash: days.hash.clone(), ..DataSet::default() };
    Card {
        schema: SCHEMA.into(),
        features: FEATURES,
        levels: LEVELS.to_vec(),
        members: MEMBERS,
        version: env!("CARGO_PKG_VERSION").into(),
        seed: args.seed,
        // Numbers and text cannot fail to be written.
        recipe: serde_json::to_value(recipe).unwrap_or_default(),
        data: vec![data],
        tuned: Some([outcome.ratio, outcome.low, outcome.high]),
        seen: seen.clone(),
    }
}

/// A run under way.
struct Training {
    learners: Vec<Learner>,
    /// One for each member: what one has learnt another may not have.
    replay: Vec<Replay>,
    seen: Seen,
    rng: Pcg64,
    steps: usize,
    /// Turns in which the greedy policy answers: none for networks that have learnt before.
    warm_up: usize,
}

impl Training {
    fn new(args: &PolicyArgs, before: Option<&Bundle>, device: &BurnDevice) -> Self {
        let mut rng = Pcg64::seed_from_u64(args.seed);
        let fresh = Ensemble::new(&mut || rng.random());
        let ensemble = before.map_or(fresh, |before| before.ensemble.clone());
        let learners = ensemble.members.into_iter().map(|member| Learner::new(member, device)).collect();
        let replay = (0..MEMBERS).map(|_| Replay::new(KEPT)).collect();
        let nothing = || Seen { low: vec![f32::INFINITY; FEATURES], high: vec![f32::NEG_INFINITY; FEATURES] };
        let seen = before.map_or_else(nothing, |before| before.card.seen.clone());
        let warm_up = if before.is_some() { 0 } else { args.warm_up };
        Self { learners, replay, seen, rng, steps: 0, warm_up }
    }

    fn ensemble(&self) -> Ensemble {
        Ensemble { members: self.learners.iter().map(|learner| learner.online.clone()).collect() }
    }

    /// Plays some cells and learns from all that is kept; the mean error of the newest steps.
    fn turn(&mut self, args: &PolicyArgs, days: &Days, turn: usize) -> anyhow::Result<f32> {
        #[allow(clippy::cast_precision_loss)] // A share of the turns.
        let done = turn as f64 / args.turns.max(2) as f64;
        let is_warming = turn < self.warm_up;
        let chance = if is_warming { args.chance } else { args.chance * (1.0 - 0.8 * done) };
        let ensemble = Arc::new(self.ensemble());
        let seeds: Vec<u64> = (0..args.cells).map(|_| self.rng.random()).collect();
        let played: Vec<anyhow::Result<Vec<Experience>>> = seeds
            .par_iter()
            .enumerate()
            .map(|(index, seed)| {
                let answers =
                    if is_warming { Answers::Greedy } else { Answers::Member(Arc::clone(&ensemble), index % MEMBERS) };
                Ok(lived(&days.cell(*seed)?, answers, chance, returns(args)))
            })
            .collect();
        for experience in played {
            for one in experience? {
                self.note(&one);
                self.replay.iter_mut().for_each(|replay| replay.push(one.clone()));
            }
        }
        let rate = args.rate * (1.0 - 0.9 * done);
        let mut error = 0.0;
        for _ in 0..args.steps {
            error = self.step(is_warming, rate, 0.4 + 0.6 * done)?;
        }
        Ok(error)
    }

    /// One step of every member.
    fn step(&mut self, is_warming: bool, rate: f64, correction: f64) -> anyhow::Result<f32> {
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

fn returns(args: &PolicyArgs) -> Returns {
    let PolicyArgs { discount, rounds, shaping, .. } = *args;
    Returns { discount, rounds, rounds_max: 4 * rounds, shaping }
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
fn unit(cell: &Cell) -> f64 {
    let hosts = cell.scenario.hosts();
    let idle: f64 = hosts.iter().map(|host| host.power.idle().get()).sum();
    idle / ballast_core::units::count(hosts.len().max(1)) * cell.pace.round.as_secs_f64()
}
