//! Networks against the greedy policy on cells that nothing was learnt on.

use std::fmt;

use ballast_core::{
    policy::{Ranked, RiskGreedy},
    tuning::Tuning,
};
use ballast_models::policy::{Dqn, Seen, network::Ensemble};
use ballast_sim::score::{
    Pace,
    stats::{self, Paired},
};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::{
    cells::{Cell, Days},
    episode,
};

/// Risk settings of the greedy policy, in multiples of the cell's: it is set against the one that does best.
const GREEDY_LEVELS: [f64; 4] = [1.0, 1.25, 1.5, 2.0];

/// Cells of a trial are not those of training even where a day is shared.
const SEEDS_FROM: u64 = 1 << 40;

/// Cells with what the greedy policy costs on each.
#[derive(Debug)]
pub struct Trial {
    cells: Vec<Cell>,
    greedy: Vec<f64>,
    /// The multiple at which it did best over all of them.
    pub level: f64,
}

/// What networks cost over what the greedy policy at its best setting costs.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// The ratio over all cells.
    pub ratio: f64,
    /// Ends of its 95 % bootstrap interval over the cells.
    pub low: f64,
    /// See `low`.
    pub high: f64,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cost {:.4} ({:.4} to {:.4})", self.ratio, self.low, self.high)
    }
}

impl Trial {
    /// Draws cells from `days` and plays the greedy policy on them at every setting.
    ///
    /// # Errors
    /// Where a cell makes no sense.
    pub fn new(days: &Days, cells: u64) -> anyhow::Result<Self> {
        let cells: Vec<Cell> = (0..cells).map(|index| days.cell(SEEDS_FROM + index)).collect::<anyhow::Result<_>>()?;
        let at = |level: f64| -> Vec<f64> {
            cells.par_iter().map(|cell| last(&episode::costs(&set(cell, level), &mut RiskGreedy, &mut || ()))).collect()
        };
        let all: Vec<(f64, Vec<f64>)> = GREEDY_LEVELS.iter().map(|level| (*level, at(*level))).collect();
        let best = all.into_iter().min_by(|a, b| total(&a.1).total_cmp(&total(&b.1)));
        let (level, greedy) = best.unwrap_or_default();
        Ok(Self { cells, greedy, level })
    }

    /// Plays networks as they would serve, against the greedy policy.
    pub fn play(&self, ensemble: &Ensemble, seen: &Seen) -> Outcome {
        self.against_greedy(&self.costs(ensemble, seen))
    }

    /// What all cells cost under the greedy policy at its best setting.
    pub fn greedy(&self) -> f64 {
        total(&self.greedy)
    }

    /// What a course of every cell costs over the greedy policy's.
    pub fn against_greedy(&self, ours: &[f64]) -> Outcome {
        outcome(ours, &self.greedy)
    }

    /// What each cell costs with networks as they would serve.
    pub fn costs(&self, ensemble: &Ensemble, seen: &Seen) -> Vec<f64> {
        let dqn = Dqn::new(ensemble.clone(), seen.clone());
        self.cells
            .par_iter()
            .map(|cell| last(&episode::costs(cell, &mut Ranked::new(Box::new(dqn.clone())), &mut || ())))
            .collect()
    }
}

fn set(cell: &Cell, level: f64) -> Cell {
    let tuning = Tuning { risk_z: cell.pace.tuning.risk_z * level, ..cell.pace.tuning.clone() };
    Cell { pace: Pace { tuning, ..cell.pace.clone() }, ..cell.clone() }
}

fn last(costs: &[f64]) -> f64 {
    costs.last().copied().unwrap_or(0.0)
}

/// What all cells cost together.
pub fn total(costs: &[f64]) -> f64 {
    costs.iter().sum()
}

/// The ratio of means, with its interval over the cells.
pub fn outcome(ours: &[f64], theirs: &[f64]) -> Outcome {
    let pair = |(cell, (one, other)): (usize, (&f64, &f64))| Paired { day: cell.to_string(), one: *one, other: *other };
    let pairs: Vec<Paired> = ours.iter().zip(theirs).enumerate().map(pair).collect();
    let ratio = stats::contrast(&pairs, 1).and_then(|contrast| contrast.ratio);
    let interval = ratio.and_then(|ratio| ratio.interval).unwrap_or([f64::NAN; 2]);
    Outcome { ratio: ratio.map_or(f64::NAN, |ratio| ratio.value), low: interval[0], high: interval[1] }
}
