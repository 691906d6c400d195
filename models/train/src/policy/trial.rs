//! Networks against the greedy policy on cells that nothing was learnt on.

use std::fmt;

use ballast_core::{
    policy::{Ranked, RiskGreedy},
    tuning::Tuning,
};
use ballast_models::policy::{Dqn, Seen, network::Ensemble};
use ballast_sim::score::Pace;
use rand::{RngExt as _, SeedableRng as _};
use rand_pcg::Pcg64;
use rayon::prelude::*;

use super::{
    cells::{Cell, Days},
    episode,
};

/// Risk settings of the greedy policy, in multiples of the cell's: it is set against the one that does best.
const GREEDY_LEVELS: [f64; 4] = [1.0, 1.25, 1.5, 2.0];

/// Cells of a trial are not those of training even where a day is shared.
const SEEDS_FROM: u64 = 1 << 40;

/// Draws of the bootstrap.
const DRAWS: usize = 1000;

/// Cells with what the greedy policy costs on each.
#[derive(Debug)]
pub struct Trial {
    cells: Vec<Cell>,
    greedy: Vec<f64>,
    /// The multiple at which it did best over all of them.
    pub level: f64,
}

/// What networks cost over what the greedy policy at its best setting costs.
#[derive(Debug, Clone, Copy, PartialEq)]
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
        write!(f, "cost {:.4} ({:.4} to {:.4}) of the greedy's", self.ratio, self.low, self.high)
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

    /// Plays networks as they would serve.
    pub fn play(&self, ensemble: &Ensemble, seen: &Seen) -> Outcome {
        let dqn = Dqn::new(ensemble.clone(), seen.clone());
        let costs: Vec<f64> = self
            .cells
            .par_iter()
            .map(|cell| last(&episode::costs(cell, &mut Ranked::new(Box::new(dqn.clone())), &mut || ())))
            .collect();
        outcome(&costs, &self.greedy)
    }
}

fn set(cell: &Cell, level: f64) -> Cell {
    let tuning = Tuning { risk_z: cell.pace.tuning.risk_z * level, ..cell.pace.tuning.clone() };
    Cell { pace: Pace { tuning, ..cell.pace.clone() }, ..cell.clone() }
}

fn last(costs: &[f64]) -> f64 {
    costs.last().copied().unwrap_or(0.0)
}

fn total(costs: &[f64]) -> f64 {
    costs.iter().sum()
}

/// The ratio of sums, with its interval over the cells.
fn outcome(ours: &[f64], theirs: &[f64]) -> Outcome {
    let ratio = |pick: &mut dyn FnMut(usize) -> usize| {
        let picked: Vec<usize> = (0..ours.len()).map(pick).collect();
        let sum = |costs: &[f64]| picked.iter().map(|index| costs[*index]).sum::<f64>();
        sum(ours) / sum(theirs).max(f64::MIN_POSITIVE)
    };
    let mut rng = Pcg64::seed_from_u64(1);
    let mut drawn: Vec<f64> = (0..DRAWS).map(|_| ratio(&mut |_| rng.random_range(0..ours.len()))).collect();
    drawn.sort_by(f64::total_cmp);
    Outcome { ratio: ratio(&mut |index| index), low: drawn[DRAWS / 40], high: drawn[DRAWS - 1 - DRAWS / 40] }
}
