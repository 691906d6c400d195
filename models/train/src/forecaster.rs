//! Training of the forecaster on the CPU.

use ballast_models::{
    kernel::error::ShapeError,
    network::{OUTPUTS, PER_TARGET, REACH_AT_FIRST, Sizes, Weights},
};
use rand::{RngExt as _, SeedableRng as _};
use rand_pcg::Pcg64Mcg;

use crate::{
    batch::{Walk, epoch},
    data::Set,
    learner::Learner,
    loss,
    optimizer::Optimizer,
};

/// Numbers of a training run.
#[derive(Debug, Clone, Copy)]
pub struct Recipe {
    /// Sizes of the network.
    pub sizes: Sizes,
    /// How the series are walked through.
    pub walk: Walk,
    /// Epochs.
    pub epochs: u32,
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
    /// Weights of the loss.
    pub loss: loss::Weights,
    /// Seed of everything that is drawn.
    pub seed: u64,
}

/// Weights to begin with: Xavier's uniform by layer, the cell's forget gate open.
///
/// # Errors
/// Where a size is 0.
pub fn begin(sizes: Sizes, seed: u64) -> Result<Weights, ShapeError> {
    let mut random = Pcg64Mcg::seed_from_u64(seed);
    let mut weights = Weights::zeros(sizes)?;
    let shapes = weights.shapes();
    weights.change(|index, tensor| match shapes[index][..] {
        [rows, columns] => {
            // Of the cell, each gate is a layer of its own; an output begins small, so that the first answers are the anchors.
            let fan = if index == 0 { sizes.hidden } else { columns };
            let scale = if columns == OUTPUTS { 0.1 } else { 1.0 };
            let bound = scale * (6.0 / (rows + fan) as f32).sqrt();
            tensor.iter_mut().for_each(|weight| *weight = random.random_range(-bound..bound));
        }
        _ if index == 1 => tensor[..sizes.hidden].fill(1.0),
        [OUTPUTS] => {
            for target in tensor.chunks_exact_mut(PER_TARGET) {
                target[PER_TARGET - 3..].fill(REACH_AT_FIRST);
            }
        }
        _ => {}
    });
    Ok(weights)
}

/// What an epoch came to.
#[derive(Debug, Clone, Copy)]
pub struct Progress {
    /// Which epoch, from 1.
    pub epoch: u32,
    /// Mean loss over its slots.
    pub loss: f64,
    /// The learning rate at its end.
    pub rate: f64,
    /// Slots walked through.
    pub slots: usize,
}

/// Trains; `after` is called with the averaged weights after each epoch and says whether to go on.
///
/// # Errors
/// Where burn or the kernel refuse: errors of this program.
pub fn train(
    set: &Set,
    recipe: &Recipe,
    mut weights: Weights,
    mut after: impl FnMut(&Progress, &Weights) -> bool,
) -> anyhow::Result<Weights> {
    let mut learner = Learner::new(&weights, recipe.walk, recipe.loss);
    let mut optimizer = Optimizer::new(&weights, recipe.decay);
    let mut average = weights.clone();
    let mut update = 0_u32;
    let mut random = Pcg64Mcg::seed_from_u64(recipe.seed);
    for number in 1..=recipe.epochs {
        let chunks = epoch(set, &recipe.walk, random.random());
        let total = recipe.epochs * u32::try_from(chunks.len())?;
        let mut progress = Progress { epoch: number, loss: 0.0, rate: 0.0, slots: 0 };
        let mut samples = 0;
        for chunk in &chunks {
            let learnt = learner.chunk(set, chunk, random.random())?;
            (progress.loss, samples) = (progress.loss + learnt.loss, samples + learnt.samples);
            progress.slots += chunk.places.iter().flatten().count() * recipe.walk.steps;
            progress.rate = rate(recipe, update, total);
            let mut gradients = learner.gradients();
            clip(&mut gradients, recipe.norm_max);
            optimizer.step(progress.rate, &gradients, |_| false, &mut weights)?;
            learner.load(&weights)?;
            update += 1;
            follow(&mut average, &weights, recipe.average, update);
        }
        progress.loss /= samples.max(1) as f64;
        if !after(&progress, &average) {
            break;
        }
    }
    Ok(average)
}

/// Rises in a straight line, then falls as a cosine to a fiftieth (Loshchilov and Hutter 2017).
fn rate(recipe: &Recipe, update: u32, total: u32) -> f64 {
    if update < recipe.warm_up {
        return recipe.rate * f64::from(update + 1) / f64::from(recipe.warm_up);
    }
    let done = f64::from(update - recipe.warm_up) / f64::from(total.saturating_sub(recipe.warm_up).max(1));
    let cosine = 0.5 * (1.0 + (std::f64::consts::PI * done.min(1.0)).cos());
    recipe.rate * (0.02 + 0.98 * cosine)
}

/// Shortens the gradient to `norm_max`, all tensors together (Pascanu et al. 2013).
fn clip(gradients: &mut [&mut [f32]], norm_max: f32) {
    let squares: f64 = gradients.iter().flat_map(|tensor| tensor.iter()).map(|g| f64::from(*g) * f64::from(*g)).sum();
    let norm = squares.sqrt();
    if norm > f64::from(norm_max) {
        let factor = (f64::from(norm_max) / norm) as f32;
        gradients.iter_mut().for_each(|tensor| tensor.iter_mut().for_each(|g| *g *= factor));
    }
}

/// The running mean of the weights, which forecasts better than any of them (Polyak and Juditsky 1992).
fn follow(average: &mut Weights, weights: &Weights, kept: f32, update: u32) {
    // While there are few, each counts as much as any before it.
    let kept = kept.min(update as f32 / (update as f32 + 9.0));
    let newest = weights.tensors();
    average.change(|index, tensor| {
        for (mean, new) in tensor.iter_mut().zip(newest[index]) {
            *mean += (1.0 - kept) * (new - *mean);
        }
    });
}
