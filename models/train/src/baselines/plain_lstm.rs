//! The LSTM as the paper has it: the levels of the channels go in, slot after slot, and the mean of what comes is learnt by least
//! squares. No summary of the vm's own past, no time, no size; whatever it is to know it has to remember.
//!
//! It is ballast's own network, trained by the same trainer, with all of that taken from it: what is left is the recurrent cell
//! and a layer above it. Its quantiles are the mean and what it was off by in training, the same for every vm.

use ballast_core::history::{CHANNELS, History};
use ballast_models::{
    features::{COMMON, Encoded, OWN},
    kernel::threads::Threads,
    network::{MEDIAN, Network, TARGETS},
    offline,
    predictor::{Answer, Known, Predictor, consistent},
    scale::{RESOURCES, Resource},
};
use rand::{RngExt as _, SeedableRng as _};
use rand_pcg::Pcg64Mcg;
use rayon::prelude::*;

use super::{
    Material,
    residuals::{AllResiduals, Unit, residuals, spread_out},
};
use crate::{
    batch::Walk,
    data::{Futures, NO_ANCHORS, Series, Set},
    device::Device,
    engine::Engine,
    loss,
    recipe::Recipe,
    training,
};

/// How it is trained.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LstmEffort {
    /// Units of the cell, and of the layer above it.
    pub sizes: (usize, usize),
    /// Epochs.
    pub epochs: u32,
    /// Slots that it is trained on, drawn as one stretch of every history.
    pub slots_max: usize,
}

impl Default for LstmEffort {
    fn default() -> Self {
        // The sizes are those of the forecaster that is compared with it.
        Self { sizes: (64, 64), epochs: 4, slots_max: 1_500_000 }
    }
}

/// How often it is asked in training for what it is off by, in slots.
const EVERY: usize = 61;

/// The trained network and what it was off by.
#[derive(Debug, Clone)]
pub struct PlainLstm {
    network: Network,
    residuals: AllResiduals,
}

impl PlainLstm {
    /// Trains it.
    ///
    /// # Errors
    /// Where burn or the kernel refuse: errors of this program.
    pub fn fit(material: Material<'_>, effort: &LstmEffort, seed: u64) -> anyhow::Result<Self> {
        let stretches = stretches(material, effort.slots_max, seed);
        let series = |(weight, history): &(f32, History)| Series::of_levels(history, *weight);
        let set = Set { series: stretches.par_iter().map(series).collect() };
        let recipe = recipe(effort, seed);
        let mut run = training::Training::begin(recipe, recipe.first_weights()?);
        let mut engine = Engine::new(&run.progress().weights, &[Device::Cpu], recipe.walk, recipe.loss)?;
        while !run.is_over() {
            run.epoch(&set, &mut engine, |_| {}, |_| None)?;
        }
        drop(set);
        let mut plain = Self { network: Network::new(run.result(), Threads::One), residuals: AllResiduals::default() };
        let histories: Vec<History> = stretches.into_iter().map(|(_, history)| history).collect();
        plain.residuals = plain.off(&histories);
        Ok(plain)
    }

    /// What it is off by.
    fn off(&self, histories: &[History]) -> AllResiduals {
        let slots = |history: &History| (history.first..).take(history.slots.len()).step_by(EVERY).collect();
        let origins: Vec<Vec<u32>> = histories.iter().map(slots).collect();
        let mut off: [[Vec<f32>; TARGETS]; RESOURCES] = Default::default();
        let futures: Vec<Futures> = histories.par_iter().map(Futures::of).collect();
        for said in offline::answers(self, histories, &origins) {
            let index = usize::try_from(said.slot - histories[said.history].first).unwrap_or(usize::MAX);
            let truth = futures[said.history].after(index);
            for (resource, target) in (0..RESOURCES * TARGETS).map(|index| (index / TARGETS, index % TARGETS)) {
                let came = truth[resource][target];
                if !came.is_nan() {
                    off[resource][target].push(came - said.answer[resource][target][MEDIAN]);
                }
            }
        }
        off.map(|targets| targets.map(residuals))
    }
}

fn recipe(effort: &LstmEffort, seed: u64) -> Recipe {
    let (hidden, width) = effort.sizes;
    let usual = Recipe::default();
    Recipe {
        hidden,
        width,
        walk: Walk { forgets: 0.0, shift: 0.0, ..usual.walk },
        epochs: effort.epochs,
        loss: loss::Weights { percent: 0.0, relative: 0.0, traffic: 0.0, median: 0.0, next: 1.0, squares: 1.0 },
        seed,
        ..usual
    }
}

/// One stretch of every history, all together about as many slots as there may be.
fn stretches(material: Material<'_>, slots_max: usize, seed: u64) -> Vec<(f32, History)> {
    let mut random = Pcg64Mcg::seed_from_u64(seed);
    let all: usize = material.weighed().map(|(_, history)| history.slots.len()).sum();
    let mut stretches = Vec::new();
    for (weight, history) in material.weighed() {
        let length = history.slots.len();
        let keep = if all > slots_max { (length * slots_max / all).max(1) } else { length };
        let begin = random.random_range(0..=length - keep);
        let first = history.first + u32::try_from(begin).unwrap_or(u32::MAX);
        let slots = history.slots[begin..begin + keep].to_vec();
        stretches.push((weight, History { first, slots, ..named(history) }));
    }
    stretches
}

fn named(history: &History) -> History {
    History { name: history.name.clone(), shape: history.shape, first: 0, slots: Vec::new() }
}

/// A past without all that the paper's network does not get.
fn blind(encoded: &Encoded) -> Encoded {
    let mut blind =
        Encoded { inputs: encoded.inputs, own: [[0.0; OWN]; RESOURCES], common: [0.0; COMMON], anchors: NO_ANCHORS };
    // The levels come first.
    blind.inputs[CHANNELS..].fill(0.0);
    blind
}

impl Predictor for PlainLstm {
    fn name(&self) -> &'static str {
        "plain-lstm"
    }

    fn state_len(&self) -> usize {
        self.network.state_len()
    }

    fn advance(&self, encoded: &[Encoded], states: &mut [f32]) {
        let blind: Vec<Encoded> = encoded.iter().map(blind).collect();
        self.network.advance(&blind, states);
    }

    fn predict(&self, known: &[Known<'_>], states: &[f32], answers: &mut [Answer]) {
        let blind: Vec<Encoded> = known.iter().map(|known| blind(known.encoded)).collect();
        let blinded: Vec<Known<'_>> =
            known.iter().zip(&blind).map(|(known, encoded)| Known { past: known.past, encoded }).collect();
        self.network.predict(&blinded, states, answers);
        for answer in answers {
            for resource in Resource::ALL {
                for (quantiles, residuals) in
                    answer[resource as usize].iter_mut().zip(&self.residuals[resource as usize])
                {
                    *quantiles = spread_out(quantiles[MEDIAN], residuals, Unit::Scale, resource, &NO_ANCHORS[0]);
                }
            }
            consistent(answer);
        }
    }
}
