//! One chunk forward and back in burn's operations: the path of GPUs, and what the kernel's gradients are checked against.

use ballast_core::forecast::LEVELS;
use ballast_models::{
    features::{HIGHS, INPUTS, MEDIANS},
    network::{MEDIAN, PER_TARGET, TARGETS, Weights},
    reference::Reference,
    scale::Resource,
};
use burn::tensor::{Device, Tensor, TensorData, activation::softmax, activation::softplus};

use crate::{
    batch::{Chunk, Walk},
    burn_rows::Rows,
    data::Set,
    head::Forgetting,
    learner::{Learnt, inputs, samples},
    loss,
};

/// Levels above the median.
const UPPER: usize = LEVELS.len() - 2;

/// Highest value of the scale at which percents are reckoned, as in [`loss`].
const PERCENT_FROM: f64 = loss::PERCENT_FROM as f64;

/// Works out gradients on one of burn's devices.
#[derive(Debug)]
pub struct BurnLearner {
    module: Reference,
    device: Device,
    state: (Tensor<2>, Tensor<2>),
    walk: Walk,
    weights: loss::Weights,
}

impl BurnLearner {
    /// Begins with `weights` on `device`.
    pub fn new(weights: &Weights, device: &Device, walk: Walk, by: loss::Weights) -> Self {
        let zero = || Tensor::<2>::zeros([walk.lanes, weights.sizes().hidden], device);
        let module = Reference::new(weights, &device.clone().autodiff());
        Self { module, device: device.clone(), state: (zero(), zero()), walk, weights: by }
    }

    /// Takes new weights.
    pub fn load(&mut self, weights: &Weights) {
        self.module = Reference::new(weights, &self.device.clone().autodiff());
    }

    /// Forward and back through `chunk`: the loss, and the gradients of the mean loss as [`Weights::tensors`] come.
    ///
    /// # Errors
    /// Where burn hands back something that is no f32 tensor.
    pub fn chunk(&mut self, set: &Set, chunk: &Chunk, seed: u64) -> anyhow::Result<(Learnt, Vec<Vec<f32>>)> {
        let tracked = self.device.clone().autodiff();
        let samples = samples(set, chunk, &self.walk);
        let (h, c) = (self.kept(chunk, self.state.0.clone()), self.kept(chunk, self.state.1.clone()));
        let (steps, lanes) = (self.walk.steps, self.walk.lanes);
        let data = TensorData::new(inputs(set, chunk, &self.walk), [steps, lanes, INPUTS]);
        let x = Tensor::<3>::from_data(data, &tracked).swap_dims(0, 1);
        let (all, (h, c)) = self.module.cell(&x, (on(h, &tracked), on(c, &tracked)));
        self.state = (h.detach().inner(), c.detach().inner());
        let units = all.dims()[2];
        // Rows of [lanes, steps, units], lane by lane.
        let rows: Vec<i32> =
            samples.iter().map(|s| i32::try_from(s.lane * steps + s.step)).collect::<Result<_, _>>()?;
        let number = rows.len();
        let rows = Tensor::<1, burn::tensor::Int>::from_data(TensorData::new(rows, [number]), &tracked);
        let h = all.reshape([lanes * steps, units]).select(0, rows);
        let forgetting = Forgetting { seed, share: self.walk.forgets };
        let rows = Rows::of(set, &samples, (self.module.width(), forgetting, self.weights.next), &tracked);
        let parts = Resource::ALL.into_iter().zip(&rows).map(|(resource, rows)| self.part(resource, rows, h.clone()));
        let sum = parts.fold(Tensor::<1>::zeros([1], &tracked), |sum, part| sum + part);
        let mean = sum.clone() / (number.max(1) as f64);
        let gradients = burn::optim::GradientsParams::from_grads(mean.backward(), &self.module);
        let gradients = self.module.gradients(&gradients).map_err(|error| anyhow::anyhow!(error))?;
        // Read last: whoever reads waits for all that the device was told to do before.
        let loss: f64 = sum.into_data().iter::<f64>().sum();
        Ok((Learnt { loss, samples: number }, gradients))
    }

    /// The state without that of lanes that begin anew.
    fn kept(&self, chunk: &Chunk, state: Tensor<2>) -> Tensor<2> {
        let keep: Vec<f32> =
            chunk.places.iter().map(|place| if place.is_none_or(|place| place.begins) { 0.0 } else { 1.0 }).collect();
        let lanes = keep.len();
        state * Tensor::<2>::from_data(TensorData::new(keep, [lanes, 1]), &self.device)
    }

    /// The loss of one resource, summed over the samples and their targets.
    fn part(&self, resource: Resource, rows: &Rows, h: Tensor<2>) -> Tensor<1> {
        let outputs = self.module.head(resource, h, rows.context.clone(), rows.kept.clone());
        let samples = outputs.dims()[0];
        // All targets at once: a GPU is slowed down by the number of operations, not by their size.
        let bare = outputs.reshape([samples * TARGETS, PER_TARGET]);
        let quantiles = quantiles(&bare, rows.medians.clone(), rows.highs.clone(), &rows.spread);
        (self.pinball(&quantiles, &rows.wanted, resource) * rows.weight.clone()).sum()
    }

    /// Loss per row, `[rows, 1]`.
    fn pinball(&self, quantiles: &[Tensor<2>], wanted: &Tensor<2>, resource: Resource) -> Tensor<2> {
        let mut sum = wanted.zeros_like();
        for (index, (quantile, level)) in quantiles.iter().zip(LEVELS).enumerate() {
            let weight = if index == MEDIAN { f64::from(self.weights.median) } else { 1.0 };
            let rho = |over: Tensor<2>| (over.clone() * level).max_pair(over * (level - 1.0)) * weight;
            let scaled = rho(wanted.clone() - quantile.clone());
            sum = sum
                + if resource.is_share() {
                    let percents = rho(percent(wanted.clone()) - percent(quantile.clone()));
                    percents * f64::from(self.weights.percent) + scaled * f64::from(self.weights.relative)
                } else {
                    scaled * f64::from(self.weights.traffic)
                };
        }
        let off = quantiles[MEDIAN].clone() - wanted.clone();
        sum + off.clone() * off * (0.5 * f64::from(self.weights.squares))
    }
}

fn on(state: Tensor<2>, device: &Device) -> Tensor<2> {
    state.to_device(device)
}

/// As `loss::percent`.
fn percent(scaled: Tensor<2>) -> Tensor<2> {
    let inside = scaled.clone().clamp_max(PERCENT_FROM);
    let sinh = (inside.clone().exp() - inside.clone().neg().exp()) / 2.0;
    sinh + (scaled - inside) * PERCENT_FROM.cosh()
}

/// As [`ballast_models::network::quantiles`], of many rows: one tensor `[rows, 1]` per level.
fn quantiles(bare: &Tensor<2>, medians: Tensor<2>, highs: Tensor<2>, spread: &Tensor<2>) -> Vec<Tensor<2>> {
    let part = |from: usize, columns: usize| bare.clone().narrow(1, from, columns);
    let weighed = (softmax(part(LEVELS.len(), MEDIANS), 1) * medians).sum_dim(1);
    let median = weighed + spread.clone() * part(MEDIAN, 1);
    let weights = softmax(part(LEVELS.len() + MEDIANS, HIGHS), 1);
    let height = (weights * (highs - median.clone()).clamp_min(0.0)).sum_dim(1);
    let low = median.clone() - spread.clone() * softplus(part(0, 1), 1.0);
    let mut all = vec![low, median.clone()];
    let mut left = spread.ones_like();
    let mut beyond = spread.zeros_like();
    for level in 0..UPPER {
        let reach = part(LEVELS.len() + MEDIANS + HIGHS + level, 1);
        left = left * burn::tensor::activation::sigmoid(reach.neg());
        beyond = beyond + softplus(part(2 + level, 1), 1.0);
        let reached = left.clone().neg() + 1.0;
        all.push(median.clone() + reached * height.clone() + spread.clone() * beyond.clone());
    }
    all
}
