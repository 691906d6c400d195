//! One run on a new fleet: what its networks cost there, as they learn.

use ballast_core::policy::ranked::FEATURES;
use ballast_models::policy::{
    Seen,
    bundle::Bundle,
    network::{Ensemble, Member, SHAPES},
};
use burn::tensor::Device;
use serde::Serialize;

use super::super::{
    cells::Days,
    numbers::Numbers,
    training::{Run, Training},
    trial::{Trial, total},
};

/// Cells of the new fleet, with what they cost who knows nothing and who goes by the greedy rule.
#[derive(Debug)]
pub(super) struct Judge {
    trial: Trial,
    nothing: f64,
    greedy: f64,
}

impl Judge {
    pub(super) fn new(days: &Days, cells: u64) -> anyhow::Result<Self> {
        let trial = Trial::new(days, cells)?;
        let nothing =
            Ensemble { members: vec![Member { tensors: SHAPES.map(|shape| vec![0.0; shape.iter().product()]) }] };
        let nothing = total(&trial.costs(&nothing, &everything()));
        let greedy = trial.greedy();
        anyhow::ensure!(greedy < nothing, "the greedy rule saves nothing on this fleet: there is nothing to learn");
        Ok(Self { trial, nothing, greedy })
    }

    /// What networks cost that answer for themselves.
    fn cost(&self, networks: &Ensemble) -> f64 {
        total(&self.trial.costs(networks, &everything()))
    }

    /// What of the greedy rule's saving over leaving every host alone is saved.
    pub(super) fn score(&self, cost: f64) -> f64 {
        (self.nothing - cost) / (self.nothing - self.greedy)
    }

    /// What the scale stands for, in words.
    pub(super) fn told(&self) -> String {
        let saved = 100.0 * (1.0 - self.greedy / self.nothing);
        format!(
            "the greedy rule, at {} times the risk, costs {saved:.1} % less than leaving every host alone",
            self.trial.level
        )
    }
}

/// A range that nothing lies beyond: networks are asked about everything.
fn everything() -> Seen {
    Seen { low: vec![f32::NEG_INFINITY; FEATURES], high: vec![f32::INFINITY; FEATURES] }
}

/// What a run's networks cost, judgement by judgement.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Curve {
    /// What it began with.
    pub(super) start: String,
    /// Hours of the fleet's data it learnt on.
    pub(super) hours: u32,
    pub(super) seed: u64,
    /// Gradient steps of a member, and the cost after them in joules.
    pub(super) points: Vec<(usize, f64)>,
}

impl Curve {
    /// The run in a line.
    pub(super) fn told(&self, judge: &Judge) -> String {
        let scores: Vec<String> =
            self.points.iter().map(|(steps, cost)| format!("{:.4} after {steps}", judge.score(*cost))).collect();
        format!("{}, {} h, seed {}: {}", self.start, self.hours, self.seed, scores.join(", "))
    }
}

/// Learns a fleet from a start, and is judged before the first turn and after every so many.
pub(super) fn learn(
    (start, hours): (&str, u32),
    (before, days): (Option<&Bundle>, &Days),
    (numbers, every): (&Numbers, usize),
    judge: &Judge,
    device: &Device,
) -> anyhow::Result<Curve> {
    let mut run = Run::new(Training::new(numbers, before, device));
    let mut points = vec![(0, judge.cost(&run.training.ensemble()))];
    while run.turns < numbers.turns {
        run.turn(numbers, days)?;
        if run.turns.is_multiple_of(every) || run.turns == numbers.turns {
            points.push((run.turns * numbers.steps, judge.cost(&run.training.ensemble())));
        }
    }
    Ok(Curve { start: start.to_owned(), hours, seed: numbers.seed, points })
}
