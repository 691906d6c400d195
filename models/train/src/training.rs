//! A training run, epoch by epoch, that can be set down after any of them and taken up again with the same result.

use ballast_models::network::Weights;
use rand::{RngExt as _, SeedableRng as _};
use rand_pcg::Pcg64Mcg;
use serde::{Deserialize, Serialize};

use crate::{batch, data::Set, engine::Engine, optimizer::Optimizer, recipe::Recipe};

/// A run in progress.
#[derive(Debug)]
pub struct Training {
    recipe: Recipe,
    optimizer: Optimizer,
    pub(crate) progress: Progress,
}

/// Where a run stands; with the optimiser's state it is all that a checkpoint has to hold.
#[derive(Debug, Clone, PartialEq)]
pub struct Progress {
    /// Weights after the last update.
    pub weights: Weights,
    /// Their running mean, which is what is judged and kept.
    pub average: Weights,
    /// Best mean so far, and its loss on the validation set.
    pub best: Option<(Weights, f64)>,
    /// Updates so far.
    pub update: u32,
    /// One entry per epoch that is over.
    pub epochs: Vec<Epoch>,
}

/// What an epoch came to.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Epoch {
    /// Which one, from 1.
    pub number: u32,
    /// Mean loss over what was learnt from.
    pub loss: f64,
    /// Loss on the validation set, where there is one.
    pub validation: Option<f64>,
    /// The learning rate at its end.
    pub rate: f64,
    /// Slots walked through.
    pub slots: usize,
}

/// How far an epoch is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Step {
    /// Which epoch, from 1.
    pub epoch: u32,
    /// Chunks done, and all of them.
    pub chunks: (usize, usize),
    /// Mean loss of the epoch so far.
    pub loss: f64,
    /// The learning rate.
    pub rate: f64,
    /// Slots walked through in this epoch.
    pub slots: usize,
}

impl Training {
    /// Begins with `weights`.
    pub fn begin(recipe: Recipe, weights: Weights) -> Self {
        let optimizer = Optimizer::new(&weights, recipe.decay);
        let progress = Progress { average: weights.clone(), weights, best: None, update: 0, epochs: Vec::new() };
        Self { recipe, optimizer, progress }
    }

    /// Goes on from where a run stood.
    ///
    /// # Errors
    /// Where the optimiser's state is none.
    pub fn go_on(recipe: Recipe, progress: Progress, optimizer: Vec<u8>) -> anyhow::Result<Self> {
        let optimizer = Optimizer::new(&progress.weights, recipe.decay).restore(optimizer)?;
        Ok(Self { recipe, optimizer, progress })
    }

    /// The optimiser's state.
    ///
    /// # Errors
    /// Where burn cannot write it.
    pub fn optimizer(&self) -> anyhow::Result<Vec<u8>> {
        self.optimizer.to_bytes()
    }

    /// The numbers of the run.
    pub fn recipe(&self) -> &Recipe {
        &self.recipe
    }

    /// Where it stands.
    pub fn progress(&self) -> &Progress {
        &self.progress
    }

    /// Whether there is nothing more to do: all epochs are over, or patience is.
    pub fn is_over(&self) -> bool {
        let epochs = &self.progress.epochs;
        let done = u32::try_from(epochs.len()).unwrap_or(u32::MAX);
        let losses: Vec<f64> = epochs.iter().filter_map(|epoch| epoch.validation).collect();
        let best = losses.iter().enumerate().min_by(|a, b| a.1.total_cmp(b.1)).map_or(0, |(index, _)| index);
        let patience = self.recipe.patience as usize;
        done >= self.recipe.epochs || (patience > 0 && losses.len() > best + patience)
    }

    /// The weights to keep: the best where a validation set told, the last mean otherwise.
    pub fn result(&self) -> &Weights {
        self.progress.best.as_ref().map_or(&self.progress.average, |(weights, _)| weights)
    }

    /// Walks through `set` once; `watch` is told how it goes, `validate` gives the loss of the running mean.
    ///
    /// # Errors
    /// Where burn or the kernel refuse: errors of this program.
    pub fn epoch(
        &mut self,
        set: &Set,
        engine: &mut Engine,
        mut watch: impl FnMut(&Step),
        validate: impl FnOnce(&Weights) -> Option<f64>,
    ) -> anyhow::Result<Epoch> {
        let number = u32::try_from(self.progress.epochs.len())? + 1;
        // Each epoch has a seed of its own, so that one can be begun anew without those before.
        let mut random = Pcg64Mcg::seed_from_u64(self.recipe.seed ^ (u64::from(number) << 32));
        let chunks = batch::epoch(set, &self.recipe.walk, random.random());
        let total = self.recipe.epochs * u32::try_from(chunks.len())?;
        engine.load(&self.progress.weights)?;
        let (mut loss, mut samples) = (0.0, 0_usize);
        let mut step = Step { epoch: number, chunks: (0, chunks.len()), loss: 0.0, rate: 0.0, slots: 0 };
        for chunk in &chunks {
            let (learnt, gradients) = engine.chunk(set, chunk, random.random())?;
            (loss, samples) = (loss + learnt.loss, samples + learnt.samples);
            step.rate = self.recipe.rate_at(self.progress.update, total);
            self.update(step.rate, gradients)?;
            engine.load(&self.progress.weights)?;
            step.chunks.0 += 1;
            step.slots += chunk.places.iter().flatten().count() * self.recipe.walk.steps;
            step.loss = loss / samples.max(1) as f64;
            watch(&step);
        }
        anyhow::ensure!(
            step.loss.is_finite(),
            "the loss of epoch {number} is {}: the learning rate is too high",
            step.loss
        );
        let validation = validate(&self.progress.average);
        let better = |loss: f64| self.progress.best.as_ref().is_none_or(|(_, best)| loss < *best);
        if let Some(loss) = validation.filter(|loss| better(*loss)) {
            self.progress.best = Some((self.progress.average.clone(), loss));
        }
        let epoch = Epoch { number, loss: step.loss, validation, rate: step.rate, slots: step.slots };
        self.progress.epochs.push(epoch);
        Ok(epoch)
    }

    fn update(&mut self, rate: f64, mut gradients: Vec<Vec<f32>>) -> anyhow::Result<()> {
        clip(&mut gradients, self.recipe.norm_max);
        // The cell's tensors come first.
        let frozen = |index: usize| self.recipe.freezes_cell && index < 2;
        let progress = &mut self.progress;
        self.optimizer.step(rate, gradients, frozen, &mut progress.weights)?;
        progress.update += 1;
        follow(&mut progress.average, &progress.weights, self.recipe.average, progress.update);
        Ok(())
    }
}

/// Shortens the gradient to `norm_max`, all tensors together (Pascanu et al. 2013).
fn clip(gradients: &mut [Vec<f32>], norm_max: f32) {
    let squares: f64 = gradients.iter().flatten().map(|g| f64::from(*g) * f64::from(*g)).sum();
    let norm = squares.sqrt();
    if norm > f64::from(norm_max) {
        #[expect(clippy::cast_possible_truncation, reason = "a factor below one")]
        let factor = (f64::from(norm_max) / norm) as f32;
        gradients.iter_mut().flatten().for_each(|g| *g *= factor);
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
