//! How good answers were: errors per vm, so that methods are compared vm by vm.

use std::collections::BTreeMap;

use ballast_core::{forecast::LEVELS, history::History};
use ballast_models::{
    bundle::Score,
    network::{MEDIAN, TARGETS},
    offline::{self, Said},
    predictor::Predictor,
    scale::{RESOURCES, Resource},
};

use crate::data::Futures;

/// Sums over the answers for one resource and target of one vm. CPU and memory in percent; storage and network on the scale.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Tally {
    /// Answers.
    pub number: u32,
    /// Absolute errors of the median.
    pub absolute: f64,
    /// Pinball losses by level.
    pub pinball: [f64; LEVELS.len()],
    /// Answers by level that what came did not exceed.
    pub covered: [u32; LEVELS.len()],
    /// Absolute errors of the last value: what MASE is relative to.
    pub naive: f64,
}

impl Tally {
    fn add(&mut self, quantiles: &[f32; LEVELS.len()], wanted: f32, last: f32, resource: Resource) {
        let value = |scaled: f32| {
            if resource.is_share() { f64::from(resource.raw(scaled)) * 100.0 } else { f64::from(scaled) }
        };
        let came = value(wanted);
        self.number += 1;
        self.naive += (came - value(last)).abs();
        self.absolute += (came - value(quantiles[MEDIAN])).abs();
        for (level, quantile) in quantiles.iter().enumerate() {
            let over = came - value(*quantile);
            self.pinball[level] += (LEVELS[level] * over).max((LEVELS[level] - 1.0) * over);
            self.covered[level] += u32::from(wanted <= *quantile + 1e-6);
        }
    }

    /// Takes another's sums too.
    pub fn merge(&mut self, other: &Self) {
        self.number += other.number;
        self.absolute += other.absolute;
        self.naive += other.naive;
        for level in 0..LEVELS.len() {
            self.pinball[level] += other.pinball[level];
            self.covered[level] += other.covered[level];
        }
    }
}

/// Tallies by resource and target.
pub type Tallies = [[Tally; TARGETS]; RESOURCES];

/// Judges a method at `origins` of `histories`: one entry per history that was asked anything.
pub fn judge(predictor: &dyn Predictor, histories: &[History], origins: &[Vec<u32>]) -> BTreeMap<String, Tallies> {
    tally(&offline::answers(predictor, histories, origins), histories)
}

/// The same of answers that are there already.
pub fn tally(said: &[Said], histories: &[History]) -> BTreeMap<String, Tallies> {
    let mut by_vm: BTreeMap<String, Tallies> = BTreeMap::new();
    let mut current: Option<(usize, Futures)> = None;
    for one in said {
        let history = &histories[one.history];
        if current.as_ref().is_none_or(|(index, _)| *index != one.history) {
            current = Some((one.history, Futures::of(history)));
        }
        let Some((_, futures)) = &current else { continue };
        let index = (one.slot - history.first) as usize;
        let (truth, now) = (futures.after(index), futures.at(index));
        let tallies = by_vm.entry(history.name.clone()).or_default();
        for resource in Resource::ALL {
            let r = resource as usize;
            for target in (0..TARGETS).filter(|target| !truth[r][*target].is_nan()) {
                let last = if now[r].is_nan() { truth[r][target] } else { now[r] };
                tallies[r][target].add(&one.answer[r][target], truth[r][target], last, resource);
            }
        }
    }
    by_vm
}

/// All vms together.
pub fn pooled(by_vm: &BTreeMap<String, Tallies>) -> Tallies {
    let mut all = Tallies::default();
    for tallies in by_vm.values() {
        for (all, one) in all.as_flattened_mut().iter_mut().zip(tallies.as_flattened()) {
            all.merge(one);
        }
    }
    all
}

/// Names of the resources and of the targets, as tables show them.
pub const RESOURCE_NAMES: [&str; RESOURCES] = ["cpu", "memory", "storage", "network"];

/// Names of the targets, as tables show them.
pub const TARGET_NAMES: [&str; TARGETS] = ["1", "6", "12", "max6", "max12"];

/// The figures of a bundle's card.
pub fn scores(set: &str, tallies: &Tallies) -> Vec<Score> {
    let mut scores = Vec::new();
    for (resource, targets) in RESOURCE_NAMES.iter().zip(tallies) {
        for (target, tally) in TARGET_NAMES.iter().zip(targets).filter(|(_, tally)| tally.number > 0) {
            let number = f64::from(tally.number);
            scores.push(Score {
                set: set.to_owned(),
                resource: (*resource).to_owned(),
                target: (*target).to_owned(),
                mae: tally.absolute / number,
                pinball_90: tally.pinball[2] / number,
                coverage_95: 100.0 * f64::from(tally.covered[3]) / number,
            });
        }
    }
    scores
}

/// Mean pinball loss of CPU and memory over all targets and levels, percent.
pub fn mean_pinball(tallies: &Tallies) -> f64 {
    let (mut sum, mut number) = (0.0, 0.0);
    for tally in tallies[..2].iter().flatten().filter(|tally| tally.number > 0) {
        sum += tally.pinball.iter().sum::<f64>() / f64::from(tally.number);
        number += LEVELS.len() as f64;
    }
    if number > 0.0 { sum / number } else { 0.0 }
}
