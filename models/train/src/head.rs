//! The head of one resource forward and back.

use ballast_models::{
    features::{Anchors, BASE, CONTEXT, LEVEL_UNIT, context},
    kernel::{
        dense::{Dense, DenseGradients, DenseTape},
        error::ShapeError,
        threads::Threads,
    },
    network::{HeadWeights, OUTPUTS, TARGETS},
    scale::{RESOURCES, Resource},
};
use rand::{Rng as _, SeedableRng as _};
use rand_pcg::Pcg64Mcg;
use rayon::prelude::*;

use crate::{
    data::Set,
    loss::{self, loss},
};

/// What is learnt from one slot of one lane.
#[derive(Debug, Clone, Copy)]
pub struct Sample {
    /// Which lane.
    pub lane: usize,
    /// Step of the chunk.
    pub step: usize,
    /// Index of the series.
    pub series: usize,
    /// Index of its slot.
    pub index: usize,
    /// How far each resource is moved on the scale.
    pub shift: [f32; RESOURCES],
}

/// What a sample holds of one resource, moved as the sample says.
#[derive(Debug, Clone, Copy)]
pub struct Row {
    /// What the head gets besides the cell's state.
    pub context: [f32; CONTEXT],
    /// What answers are relative to.
    pub anchors: Anchors,
    /// What came.
    pub truth: [f32; TARGETS],
    /// Weight of its loss.
    pub weight: f32,
}

impl Row {
    /// The row of `sample` in `set`.
    pub fn of(set: &Set, sample: &Sample, resource: Resource) -> Self {
        let series = &set.series[sample.series];
        let (r, shift) = (resource as usize, sample.shift[resource as usize]);
        let mut context = context(&series.own(sample.index, resource), &series.common[sample.index]);
        context[BASE] += shift * LEVEL_UNIT;
        Self {
            context,
            anchors: series.anchors[sample.index][r].moved(shift),
            truth: series.futures.after(sample.index)[r]
                .map(|wanted| if wanted.is_nan() { wanted } else { (wanted + shift).max(0.0) }),
            weight: series.weight,
        }
    }
}

/// One head with its tapes and gradients.
#[derive(Debug)]
pub struct HeadLearner {
    resource: Resource,
    hidden: Layer,
    output: Layer,
}

/// One layer.
#[derive(Debug)]
struct Layer {
    dense: Dense,
    tape: DenseTape,
    by: DenseGradients,
}

impl HeadLearner {
    /// Begins with `weights`.
    pub fn new(resource: Resource, weights: &HeadWeights) -> Self {
        let layer =
            |weights| Layer { dense: Dense::new(weights), tape: DenseTape::new(), by: DenseGradients::zeros(weights) };
        Self { resource, hidden: layer(&weights.hidden), output: layer(&weights.output) }
    }

    /// Takes new weights.
    ///
    /// # Errors
    /// Where they are of another size.
    pub fn load(&mut self, weights: &HeadWeights) -> Result<(), ShapeError> {
        self.hidden.dense.load(&weights.hidden)?;
        self.output.dense.load(&weights.output)
    }

    /// The gradients of the last chunk.
    pub fn gradients(&mut self) -> [&mut [f32]; 4] {
        let (hidden, output) = (&mut self.hidden.by, &mut self.output.by);
        [&mut hidden.weights, &mut hidden.bias, &mut output.weights, &mut output.bias]
    }

    /// Forward and back for `samples`, whose h is `h`; adds the gradient by it to `by_h` and returns the sum of the losses.
    ///
    /// # Errors
    /// Where sizes do not fit: an error of this program.
    pub fn learn(
        &mut self,
        set: &Set,
        samples: &[Sample],
        h: &[f32],
        (weights, forgetting): (&loss::Weights, Forgetting),
        by_h: &mut [f32],
    ) -> Result<f64, ShapeError> {
        self.hidden.by.clear();
        self.output.by.clear();
        let (units, width) = (h.len() / samples.len().max(1), self.hidden.dense.outputs());
        let mut low = self.joined(set, samples, h, units, |_, _| {}, forgetting);
        let mut hidden = vec![0.0; samples.len() * width];
        self.hidden.dense.forward_train(&low, &mut hidden, &mut self.hidden.tape, Threads::Pool)?;
        let forget = |sample: &Sample, values: &mut [f32]| forgetting.apply(sample, 1, values);
        let mut high = self.joined(set, samples, &hidden, width, forget, forgetting);
        let mut outputs = vec![0.0; samples.len() * OUTPUTS];
        self.output.dense.forward_train(&high, &mut outputs, &mut self.output.tape, Threads::Pool)?;
        let (sum, by_outputs) = self.losses(set, samples, &outputs, weights);
        let output = &mut self.output;
        output.dense.backward(&mut output.tape, &by_outputs, &mut output.by, Some(&mut high), Threads::Pool)?;
        let rows = hidden.par_chunks_mut(width).zip(high.par_chunks(width + CONTEXT)).zip(samples);
        rows.for_each(|((hidden, high), sample)| {
            hidden.copy_from_slice(&high[..width]);
            forget(sample, hidden);
        });
        let lower = &mut self.hidden;
        lower.dense.backward(&mut lower.tape, &hidden, &mut lower.by, Some(&mut low), Threads::Pool)?;
        for (by_h, low) in by_h.chunks_exact_mut(units).zip(low.chunks_exact(units + CONTEXT)) {
            by_h.iter_mut().zip(low).for_each(|(by_h, low)| *by_h += low);
        }
        Ok(sum)
    }

    /// A layer's input per sample: `below`, `[samples][width]`, and the context.
    fn joined(
        &self,
        set: &Set,
        samples: &[Sample],
        below: &[f32],
        width: usize,
        forget: impl Fn(&Sample, &mut [f32]) + Sync,
        forgetting: Forgetting,
    ) -> Vec<f32> {
        let row = width + CONTEXT;
        let mut joined = vec![0.0; samples.len() * row];
        joined.par_chunks_mut(row).zip(samples).zip(below.par_chunks(width)).for_each(|((joined, sample), below)| {
            let (low, context) = joined.split_at_mut(width);
            low.copy_from_slice(below);
            forget(sample, low);
            context.copy_from_slice(&Row::of(set, sample, self.resource).context);
            forgetting.apply(sample, 0, context);
        });
        joined
    }

    fn losses(&self, set: &Set, samples: &[Sample], outputs: &[f32], weights: &loss::Weights) -> (f64, Vec<f32>) {
        let mut by_outputs = vec![0.0; outputs.len()];
        let share = 1.0 / samples.len().max(1) as f32;
        let one = |(sample, (outputs, by)): (&Sample, (&[f32], &mut [f32]))| -> f32 {
            let (Some(outputs), Some(by)) = (outputs.first_chunk(), by.first_chunk_mut()) else { return 0.0 };
            let row = Row::of(set, sample, self.resource);
            let share = share * row.weight;
            row.weight * loss(outputs, &row.anchors, &row.truth, (self.resource, weights), share, by)
        };
        let rows = outputs.par_chunks(OUTPUTS).zip(by_outputs.par_chunks_mut(OUTPUTS));
        // Collected first and then added in order: the same sum on any number of threads.
        let losses: Vec<f32> = samples.par_iter().zip(rows).map(one).collect();
        (losses.iter().map(|loss| f64::from(*loss)).sum(), by_outputs)
    }
}

/// What the head does without in one chunk, so that it leans on no single value (dropout, Srivastava et al. 2014).
#[derive(Debug, Clone, Copy)]
pub struct Forgetting {
    /// Seed of the chunk.
    pub seed: u64,
    /// Share of the values set to zero; the others make up for them.
    pub share: f32,
}

impl Forgetting {
    /// Forgets the same values of the same sample and part at every call.
    pub fn apply(&self, sample: &Sample, part: u64, values: &mut [f32]) {
        if self.share <= 0.0 {
            return;
        }
        let place = ((sample.lane * 4096 + sample.step) as u64) << 1 | part;
        let mut random = Pcg64Mcg::seed_from_u64(self.seed ^ place.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of 256")]
        let limit = (self.share * 256.0) as u32;
        let scale = 1.0 / (1.0 - self.share);
        for four in values.chunks_mut(4) {
            let drawn = random.next_u32();
            for (index, value) in four.iter_mut().enumerate() {
                *value *= if drawn >> (8 * index) & 0xff < limit { 0.0 } else { scale };
            }
        }
    }
}
