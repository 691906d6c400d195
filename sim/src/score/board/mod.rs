//! The scoreboard: every policy on every day with every seed, beside the bounds, and how sure the differences are.
//!
//! The command line says what is wanted and prints what comes back. What a scenario is and how a policy is played on it is
//! behind [`Runner`]; clocks are handed in, for none is read here. Runs are independent of each other and take as many
//! threads as they are given; everything but the times comes out the same whatever their number.

mod compare;
mod plan;
mod pool;
#[cfg(test)]
mod tests;

use std::time::Duration;

use serde::Serialize;
use thiserror::Error;

pub use compare::{Comparison, Summary};

use super::{
    Score, Stopwatch,
    contestant::Knob,
    cycles::{CycleFigures, Cycles},
};
use crate::bound::Bounds;

/// Why there is no scoreboard.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum ScoreError {
    /// A policy that nobody knows.
    #[error("policy {policy:?} is not known: one of {known} is needed")]
    UnknownPolicy {
        /// What was asked for.
        policy: String,
        /// What there is.
        known: String,
    },
    /// A day that the scenario does not have.
    #[error("day {day:?} is not in scenario {scenario}: {known}")]
    UnknownDay {
        /// What was asked for.
        day: String,
        /// Which scenario.
        scenario: String,
        /// What there is.
        known: String,
    },
    /// A value that makes no sense.
    #[error("{field} = {value}: {expected}")]
    Value {
        /// Which.
        field: &'static str,
        /// What was given.
        value: String,
        /// What would have been accepted.
        expected: &'static str,
    },
    /// A run failed.
    #[error("{job}: {reason}")]
    Failed {
        /// Which run.
        job: String,
        /// Why.
        reason: String,
    },
}

/// One run: a policy on a day with a seed.
#[derive(Debug, Clone, PartialEq)]
pub struct Job {
    /// Which policy, by its own name.
    pub policy: String,
    /// Its risk knob; `None` leaves it at its default.
    pub knob: Option<Knob>,
    /// Which day; `None` where the scenario has only one.
    pub day: Option<String>,
    /// Seed of the run.
    pub seed: u64,
}

impl Job {
    /// The policy as results name it: `risk-greedy`, or `risk-greedy@1.5` or `risk-greedy@alpha=0.01` where its knob was set.
    pub fn label(&self) -> String {
        self.knob.map_or_else(|| self.policy.clone(), |knob| format!("{}{knob}", self.policy))
    }
}

/// What a run came to.
#[derive(Debug, Clone, PartialEq)]
pub struct Run {
    /// Its figures; policy, day, seed, bound and gap are filled in by the board.
    pub score: Score,
    /// CPU time that the policy and what it needs took to decide, each time.
    pub deciding: Cycles,
}

/// Plays policies on a scenario.
pub trait Runner: Sync {
    /// Name of the scenario.
    fn scenario(&self) -> &str;

    /// Its days, in order; a single `None` where it has no such thing.
    fn days(&self) -> Vec<Option<String>>;

    /// The policies that can be played, for people: some stand for families of names.
    fn policies_known(&self) -> Vec<String>;

    /// Whether a policy of that name can be played.
    fn knows(&self, policy: &str) -> bool;

    /// Whether a policy has a risk knob.
    fn has_risk_knob(&self, policy: &str) -> bool;

    /// The limits of a day with a seed; `None` where the scenario's own accounting has none.
    ///
    /// # Errors
    /// [`ScoreError`] where the day cannot be made.
    fn bounds(&self, day: Option<&str>, seed: u64) -> Result<Option<Bounds>, ScoreError>;

    /// Plays one run. `stopwatch` is the CPU time of the calling thread so far.
    ///
    /// # Errors
    /// [`ScoreError`] where the run cannot be made or played.
    fn run(&self, job: &Job, stopwatch: Stopwatch<'_>) -> Result<Run, ScoreError>;
}

/// What is to be scored.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// Policies, in the order in which they are reported.
    pub policies: Vec<String>,
    /// Days; empty for every day of the scenario.
    pub days: Vec<String>,
    /// Seeds that are played.
    pub seeds: Vec<u64>,
    /// Settings of the risk knob for every policy that has one, in standard deviations; with none of either kind it is left
    /// at its default.
    pub risks: Vec<f64>,
    /// The same in shares of promises that may be broken.
    pub alphas: Vec<f64>,
    /// The policy, as results name it, that the others are compared with; `None` for the first.
    pub against: Option<String>,
    /// Threads that play.
    pub threads: usize,
}

/// What the board needs from outside.
#[derive(Clone, Copy)]
pub struct Watch<'a> {
    /// CPU time of the calling thread.
    pub cpu: Stopwatch<'a>,
    /// Time that passes.
    pub wall: &'a (dyn Fn() -> Duration + Sync),
    /// Told after each run how many of how many are done.
    pub progress: &'a (dyn Fn(usize, usize) + Sync),
}

impl std::fmt::Debug for Watch<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Watch")
    }
}

/// The limits of one day with one seed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Limits {
    /// Which day.
    pub day: Option<String>,
    /// Which seed.
    pub seed: u64,
    /// The limits.
    #[serde(flatten)]
    pub bounds: Bounds,
}

/// How long one run took.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Timing {
    /// Which policy, as results name it.
    pub policy: String,
    /// Which day.
    pub day: Option<String>,
    /// Which seed.
    pub seed: u64,
    /// CPU time spent deciding, seconds.
    pub deciding_cpu_s: f64,
    /// How often, and for how long each time.
    #[serde(flatten)]
    pub decisions: CycleFigures,
    /// CPU time of the whole run, seconds.
    pub cpu_s: f64,
    /// Time the run took, seconds.
    pub wall_s: f64,
}

/// The scoreboard. All of it but `timing` follows from scenario and plan.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Board {
    /// Which scenario.
    pub scenario: String,
    /// One per policy, day and seed, in that order.
    pub results: Vec<Score>,
    /// One per day and seed.
    pub bounds: Vec<Limits>,
    /// One per policy but the one compared with, and figure.
    pub comparisons: Vec<Comparison>,
    /// One per result, in the same order.
    pub timing: Vec<Timing>,
}

/// Makes the scoreboard.
///
/// # Errors
/// [`ScoreError`] for a plan that makes no sense, before anything is played; or of the first run that failed.
pub fn score(runner: &dyn Runner, plan: &Plan, watch: Watch<'_>) -> Result<Board, ScoreError> {
    let jobs = plan::jobs(runner, plan)?;
    let against = plan::against(plan, &jobs)?;
    let moments = plan::moments(&jobs);
    let total = moments.len() + jobs.len();
    let progress = |done| (watch.progress)(done, total);
    let limits = pool::in_order(moments.len(), plan.threads, &progress, &|index| {
        let (day, seed) = &moments[index];
        runner.bounds(day.as_deref(), *seed)
    })?;
    let progress = |done| (watch.progress)(moments.len() + done, total);
    let runs = pool::in_order(jobs.len(), plan.threads, &progress, &|index| timed(runner, &jobs[index], watch))?;
    let (runs, timing): (Vec<Run>, Vec<Timing>) = runs.into_iter().unzip();
    let bounds: Vec<Limits> = moments
        .into_iter()
        .zip(limits)
        .filter_map(|((day, seed), bounds)| Some(Limits { day, seed, bounds: bounds? }))
        .collect();
    let results: Vec<Score> = jobs.iter().zip(runs).map(|(job, run)| finished(job, run.score, &bounds)).collect();
    let comparisons = compare::comparisons(&results, &against);
    Ok(Board { scenario: runner.scenario().to_owned(), results, bounds, comparisons, timing })
}

/// Plays one run and takes its times.
fn timed(runner: &dyn Runner, job: &Job, watch: Watch<'_>) -> Result<(Run, Timing), ScoreError> {
    let (cpu, wall) = ((watch.cpu)(), (watch.wall)());
    let run = runner.run(job, watch.cpu)?;
    let timing = Timing {
        policy: job.label(),
        day: job.day.clone(),
        seed: job.seed,
        deciding_cpu_s: run.deciding.total().as_secs_f64(),
        decisions: run.deciding.figures(),
        cpu_s: (watch.cpu)().saturating_sub(cpu).as_secs_f64(),
        wall_s: (watch.wall)().saturating_sub(wall).as_secs_f64(),
    };
    Ok((run, timing))
}

/// A score with its name and its distance to the limit.
fn finished(job: &Job, score: Score, bounds: &[Limits]) -> Score {
    let limits = bounds.iter().find(|limits| limits.day == job.day && limits.seed == job.seed);
    let bound_kwh = limits.map(|limits| limits.bounds.fluid_kwh);
    let gap = bound_kwh.filter(|bound| *bound > 0.0).map(|bound| score.energy_kwh / bound - 1.0);
    Score { policy: job.label(), day: job.day.clone(), seed: job.seed, bound_kwh, gap, ..score }
}
