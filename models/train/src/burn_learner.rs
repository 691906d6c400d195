//! One chunk forward and back in burn's operations: the path of GPUs, and what the kernel's gradients are checked against.

use ballast_core::forecast::LEVELS;
use ballast_models::{
    features::{CONTEXT, HIGHS, INPUTS, MEDIANS},
    network::{MEDIAN, PER_TARGET, TARGETS, Weights},
    reference::Reference,
    scale::Resource,
};
use burn::tensor::{Device, Tensor, TensorData, activation::softmax, activation::softplus};

use crate::{
    batch::{Chunk, Walk},
    data::Set,
    head::{Forgetting, Row, Sample},
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
        let mut sum: Option<Tensor<1>> = None;
        for resource in Resource::ALL {
            let part = self.part(set, &samples, resource, (h.clone(), forgetting), &tracked);
            sum = Some(sum.map_or_else(|| part.clone(), |sum| sum + part.clone()));
        }
        let sum = sum.unwrap_or_else(|| Tensor::zeros([1], &tracked));
        let loss: f64 = sum.clone().into_data().iter::<f64>().sum();
        let mean = sum / (number.max(1) as f64);
        let gradients = burn::optim::GradientsParams::from_grads(mean.backward(), &self.module);
        let gradients = self.module.gradients(&gradients).map_err(|error| anyhow::anyhow!(error))?;
        Ok((Learnt { loss, samples: number }, gradients))
    }

    /// The state without that of lanes that begin anew.
    fn kept(&self, chunk: &Chunk, state: Tensor<2>) -> Tensor<2> {
        let keep: Vec<f32> =
            chunk.places.iter().map(|place| if place.is_none_or(|place| place.begins) { 0.0 } else { 1.0 }).collect();
        let lanes = keep.len();
        state * Tensor::<2>::from_data(TensorData::new(keep, [lanes, 1]), &self.device)
    }

    /// The loss of one resource, summed over the samples.
    fn part(
        &self,
        set: &Set,
        samples: &[Sample],
        resource: Resource,
        (h, forgetting): (Tensor<2>, Forgetting),
        device: &Device,
    ) -> Tensor<1> {
        let width = self.module.width();
        let rows = Rows::of(set, samples, resource, forgetting, width);
        let number = samples.len();
        let tensor = |values: &[f32], columns: usize| {
            Tensor::<2>::from_data(TensorData::new(values.to_vec(), [number, columns]), device)
        };
        let outputs = self.module.head(resource, h, tensor(&rows.context, CONTEXT), tensor(&rows.kept, width));
        let (spread, weight) = (tensor(&rows.spread, 1), tensor(&rows.weight, 1));
        let highs = tensor(&rows.highs, HIGHS);
        let mut sum = Tensor::<1>::zeros([1], device);
        for target in 0..TARGETS {
            let bare = outputs.clone().narrow(1, target * PER_TARGET, PER_TARGET);
            let medians = tensor(&rows.medians[target], MEDIANS);
            let quantiles = quantiles(&bare, medians, highs.clone(), &spread);
            let (wanted, known) = (tensor(&rows.wanted[target], 1), tensor(&rows.known[target], 1));
            let loss = self.pinball(&quantiles, &wanted, resource) * known * weight.clone();
            let of_target = if target == 0 { f64::from(self.weights.next) } else { 1.0 };
            sum = sum + loss.sum() * of_target;
        }
        sum
    }

    /// Loss per sample, `[samples, 1]`.
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

/// As [`ballast_models::network::quantiles`], of many samples: one tensor `[samples, 1]` per level.
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

/// What the samples hold, gathered row by row.
struct Rows {
    context: Vec<f32>,
    /// What the hidden layer's values are multiplied with.
    kept: Vec<f32>,
    spread: Vec<f32>,
    weight: Vec<f32>,
    highs: Vec<f32>,
    medians: Vec<Vec<f32>>,
    wanted: Vec<Vec<f32>>,
    known: Vec<Vec<f32>>,
}

impl Rows {
    fn of(set: &Set, samples: &[Sample], resource: Resource, forgetting: Forgetting, width: usize) -> Self {
        let empty = || vec![Vec::new(); TARGETS];
        let mut rows = Self {
            context: Vec::with_capacity(samples.len() * CONTEXT),
            kept: vec![1.0; samples.len() * width],
            spread: Vec::new(),
            weight: Vec::new(),
            highs: Vec::new(),
            medians: empty(),
            wanted: empty(),
            known: empty(),
        };
        for sample in samples {
            let mut row = Row::of(set, sample, resource);
            forgetting.apply(sample, 0, &mut row.context);
            rows.context.extend_from_slice(&row.context);
            rows.spread.push(row.anchors.spread);
            rows.weight.push(row.weight);
            rows.highs.extend_from_slice(&row.anchors.highs);
            for (target, wanted) in row.truth.into_iter().enumerate() {
                rows.medians[target].extend_from_slice(&row.anchors.medians[target]);
                rows.known[target].push(if wanted.is_nan() { 0.0 } else { 1.0 });
                rows.wanted[target].push(if wanted.is_nan() { 0.0 } else { wanted });
            }
        }
        for (sample, kept) in samples.iter().zip(rows.kept.chunks_exact_mut(width)) {
            forgetting.apply(sample, 1, kept);
        }
        rows
    }
}
