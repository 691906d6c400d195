//! Every number of a training run: what a checkpoint is checked against, and what a bundle's card tells.

use ballast_models::{
    kernel::{cell::CellKind, error::ShapeError},
    network::{OUTPUTS, PER_TARGET, REACH_AT_FIRST, Sizes, Weights},
};
use rand::{RngExt as _, SeedableRng as _};
use rand_pcg::Pcg64Mcg;
use serde::{Deserialize, Serialize};

use crate::{batch::Walk, loss};

/// Numbers of a training run.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Recipe {
    /// Whether the cell is a GRU; an LSTM otherwise.
    pub is_gru: bool,
    /// Units of the cell.
    pub hidden: usize,
    /// Units of a head's hidden layer.
    pub width: usize,
    /// How the series are walked through.
    pub walk: Walk,
    /// Epochs, at most.
    pub epochs: u32,
    /// Epochs without a better loss on the validation set after which training stops; 0 for never.
    pub patience: u32,
    /// Highest learning rate.
    pub rate: f64,
    /// Updates over which the rate rises to its highest.
    pub warm_up: u32,
    /// Weight decay.
    pub decay: f32,
    /// Largest norm of the gradient.
    pub norm_max: f32,
    /// Share of the running mean of the weights that is kept at an update.
    pub average: f32,
    /// Whether the cell stays as it is and only the heads learn.
    pub freezes_cell: bool,
    /// Weights of the loss.
    pub loss: loss::Weights,
    /// Seed of everything that is drawn.
    pub seed: u64,
}

impl Default for Recipe {
    fn default() -> Self {
        Self {
            is_gru: false,
            hidden: 64,
            width: 64,
            walk: Walk { lanes: 128, steps: 48, chunks: 10, stride: 4, forgets: 0.1, shift: 1.0 },
            epochs: 6,
            patience: 0,
            rate: 2e-3,
            warm_up: 200,
            decay: 0.05,
            norm_max: 1.0,
            average: 0.999,
            freezes_cell: false,
            loss: loss::Weights::default(),
            seed: 1,
        }
    }
}

impl Recipe {
    /// Sizes of its network.
    pub fn sizes(&self) -> Sizes {
        let kind = if self.is_gru { CellKind::Gru } else { CellKind::Lstm };
        Sizes { kind, hidden: self.hidden, width: self.width }
    }

    /// Weights to begin with: Xavier's uniform by layer (Glorot and Bengio 2010), the cell's first gate open.
    ///
    /// # Errors
    /// Where a size is 0.
    pub fn first_weights(&self) -> Result<Weights, ShapeError> {
        let mut random = Pcg64Mcg::seed_from_u64(self.seed);
        let mut weights = Weights::zeros(self.sizes())?;
        let shapes = weights.shapes();
        weights.change(|index, tensor| match shapes[index][..] {
            [rows, columns] => {
                // Of the cell, each gate is a layer of its own; an output begins small, so that the first answers are the
                // anchors.
                let fan = if index == 0 { self.hidden } else { columns };
                let scale = if columns == OUTPUTS { 0.1 } else { 1.0 };
                let bound = scale * (6.0 / (rows + fan) as f32).sqrt();
                tensor.iter_mut().for_each(|weight| *weight = random.random_range(-bound..bound));
            }
            // A forget gate that begins open remembers (Jozefowicz et al. 2015).
            _ if index == 1 => tensor[..self.hidden].fill(1.0),
            [OUTPUTS] => {
                for target in tensor.chunks_exact_mut(PER_TARGET) {
                    target[PER_TARGET - 3..].fill(REACH_AT_FIRST);
                }
            }
            _ => {}
        });
        Ok(weights)
    }

    /// The learning rate at an update out of `total`: it rises in a straight line, then falls as a cosine to a fiftieth
    /// (Loshchilov and Hutter 2017).
    pub fn rate_at(&self, update: u32, total: u32) -> f64 {
        let warm_up = self.warm_up.min(total / 4);
        if update < warm_up {
            return self.rate * f64::from(update + 1) / f64::from(warm_up);
        }
        let done = f64::from(update - warm_up) / f64::from(total.saturating_sub(warm_up).max(1));
        let cosine = 0.5 * (1.0 + (std::f64::consts::PI * done.min(1.0)).cos());
        self.rate * (0.02 + 0.98 * cosine)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_rises_and_then_falls_to_a_fiftieth() {
        let recipe = Recipe { rate: 1.0, warm_up: 10, ..Recipe::default() };
        let rates: Vec<f64> = (0..100).map(|update| recipe.rate_at(update, 100)).collect();
        assert!(rates[..10].is_sorted() && (rates[9] - 1.0).abs() < 1e-12);
        assert!(rates[10..].is_sorted_by(|a, b| a >= b) && (rates[99] - 0.02).abs() < 1e-3, "{rates:?}");
    }

    #[test]
    fn the_same_seed_gives_the_same_weights_and_another_one_others() {
        let first = |seed| Recipe { seed, hidden: 4, width: 4, ..Recipe::default() }.first_weights().unwrap();
        assert_eq!(first(1), first(1));
        assert_ne!(first(1), first(2));
    }
}
