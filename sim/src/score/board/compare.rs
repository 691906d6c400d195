//! Means over days and seeds, and paired comparisons with one policy.

use serde::Serialize;

use super::{Board, Timing};
use crate::score::{
    Score,
    figure::{FIGURES, Figure},
    plot::{Curve, Limit, Mark},
    stats::{self, Contrast, Estimate, Paired},
};

/// Figures that are compared, by their name in JSON.
const COMPARED: [&str; 8] = [
    "cost_joules",
    "energy_kwh",
    "unserved_cpu_share",
    "overload_time_share",
    "migrations",
    "esv",
    "mean_user_rtt_ms",
    "start_wait_p95_s",
];

/// Seed of every bootstrap: the same scores give the same intervals.
const SEED: u64 = 1;

/// How a policy compares in one figure.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Comparison {
    /// Which policy.
    pub policy: String,
    /// The policy it is compared with.
    pub against: String,
    /// Which figure, by its name in results.
    pub figure: &'static str,
    /// How.
    #[serde(flatten)]
    pub contrast: Contrast,
}

/// A policy over all its days and seeds.
#[derive(Debug, Clone, PartialEq)]
pub struct Summary {
    /// Which policy, as results name it.
    pub policy: String,
    /// Runs behind it.
    pub runs: usize,
    /// The mean of each of [`FIGURES`]; `None` where it does not apply to every run.
    pub means: Vec<Option<f64>>,
    /// Mean CPU time spent deciding, seconds.
    pub deciding_cpu_s: f64,
}

impl Summary {
    /// The mean of a figure.
    pub fn mean(&self, figure: &Figure) -> Option<f64> {
        let index = FIGURES.iter().position(|other| other.name == figure.name)?;
        self.means[index]
    }
}

/// Each policy but `against` compared with it, figure by figure.
pub(super) fn comparisons(results: &[Score], against: &str) -> Vec<Comparison> {
    let policies = policies(results);
    let others = policies.into_iter().filter(|policy| *policy != against);
    let figures = || COMPARED.iter().filter_map(|name| Figure::named(name));
    others.flat_map(|policy| figures().filter_map(move |figure| compare(results, policy, against, figure))).collect()
}

fn compare(results: &[Score], policy: &str, against: &str, figure: &'static Figure) -> Option<Comparison> {
    let of = |policy: &str| results.iter().filter(move |score| score.policy == policy).collect::<Vec<_>>();
    let pairs = of(policy)
        .into_iter()
        .zip(of(against))
        .map(|(one, other)| Some(Paired { day: group(one), one: (figure.of)(one)?, other: (figure.of)(other)? }));
    let contrast = stats::contrast(&pairs.collect::<Option<Vec<_>>>()?, SEED)?;
    Some(Comparison { policy: policy.to_owned(), against: against.to_owned(), figure: figure.name, contrast })
}

/// What a run is grouped by: its day, or the scenario's only one.
fn group(score: &Score) -> String {
    score.day.clone().unwrap_or_default()
}

/// The policies in the order of the results, each once.
fn policies(results: &[Score]) -> Vec<&str> {
    let mut policies: Vec<&str> = results.iter().map(|score| score.policy.as_str()).collect();
    policies.dedup();
    policies
}

impl Board {
    /// Every policy's means, the cheapest first; ties in the order of the results.
    pub fn summaries(&self) -> Vec<Summary> {
        let mut summaries: Vec<Summary> =
            policies(&self.results).into_iter().map(|policy| self.summary(policy)).collect();
        let cost = FIGURES.iter().position(|figure| figure.name == "cost_joules").unwrap_or(0);
        let rank = |summary: &Summary| summary.means[cost].unwrap_or(f64::INFINITY);
        summaries.sort_by(|a, b| rank(a).total_cmp(&rank(b)));
        summaries
    }

    fn summary(&self, policy: &str) -> Summary {
        let scores: Vec<&Score> = self.results.iter().filter(|score| score.policy == policy).collect();
        let mean = |figure: &Figure| {
            let values: Option<Vec<f64>> = scores.iter().map(|score| (figure.of)(score)).collect();
            values.map(|values| mean_of(&values))
        };
        let timing = self.timing.iter().filter(|timing| timing.policy == policy);
        let deciding: Vec<f64> = timing.map(|timing: &Timing| timing.deciding_cpu_s).collect();
        let means = FIGURES.iter().map(mean).collect();
        Summary { policy: policy.to_owned(), runs: scores.len(), means, deciding_cpu_s: mean_of(&deciding) }
    }

    /// The curves of the frontier: settings of one policy's knob are joined, in the order they were given.
    pub fn curves(&self) -> Vec<Curve> {
        let mut curves: Vec<Curve> = Vec::new();
        for label in policies(&self.results) {
            let (policy, knob) = match label.rsplit_once(['@', '=']) {
                Some((policy, knob)) => (policy, knob.parse().ok()),
                None => (label, None),
            };
            let Some(mark) = self.mark(label, knob) else { continue };
            match curves.last_mut().filter(|curve| curve.policy == policy) {
                Some(curve) => curve.marks.push(mark),
                None => curves.push(Curve { policy: policy.to_owned(), marks: vec![mark] }),
            }
        }
        curves
    }

    fn mark(&self, label: &str, knob: Option<f64>) -> Option<Mark> {
        let of = |figure: fn(&Score) -> f64| -> Option<Estimate> {
            let scores = self.results.iter().filter(|score| score.policy == label);
            stats::estimate(&scores.map(|score| (group(score), figure(score))).collect::<Vec<_>>(), SEED)
        };
        Some(Mark { knob, overload: of(|score| score.overload_time_share)?, energy: of(|score| score.energy_kwh)? })
    }

    /// The limits of the frontier: means over days and seeds.
    pub fn limits(&self) -> Vec<Limit> {
        if self.bounds.is_empty() {
            return Vec::new();
        }
        let limit = |name: &str, energy: fn(&crate::bound::Bounds) -> f64| {
            let energies: Vec<f64> = self.bounds.iter().map(|limits| energy(&limits.bounds)).collect();
            Limit { name: name.into(), energy_kwh: mean_of(&energies) }
        };
        vec![
            limit("fluid bound", |bounds| bounds.fluid_kwh),
            limit("clairvoyant packing", |bounds| bounds.clairvoyant_kwh),
        ]
    }
}

/// Zero of nothing.
fn mean_of(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / ballast_core::units::count(values.len().max(1))
}
