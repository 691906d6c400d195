//! What the samples of a chunk hold, on one of burn's devices.

use ballast_models::{
    features::{CONTEXT, HIGHS, MEDIANS},
    network::TARGETS,
    scale::{RESOURCES, Resource},
};
use burn::tensor::{Device, Tensor, TensorData};
use rayon::prelude::*;

use crate::{
    data::Set,
    head::{Forgetting, Row, Sample},
};

/// Columns of what a target holds.
const PER_TARGET: usize = MEDIANS + HIGHS + 3;

/// What the samples hold of one resource.
#[derive(Debug)]
pub struct Rows {
    /// What the head gets besides h, `[samples, CONTEXT]`.
    pub context: Tensor<2>,
    /// What the hidden layer's values are multiplied with, `[samples, width]`.
    pub kept: Tensor<2>,
    /// Medians that the answer is weighed from, `[samples × TARGETS, MEDIANS]`, as are those below.
    pub medians: Tensor<2>,
    /// Heights that the upper quantiles reach for.
    pub highs: Tensor<2>,
    /// Unit of the answers.
    pub spread: Tensor<2>,
    /// What came; 0 where that is not known.
    pub wanted: Tensor<2>,
    /// Weight of the loss; 0 where it is not known what came.
    pub weight: Tensor<2>,
}

impl Rows {
    /// The rows of `samples` by resource, for hidden layers of `width` and with so much weight on the `next` slot. They travel
    /// to the device in two pieces: a GPU waits for the number of transfers, not for their size.
    pub fn of(
        set: &Set,
        samples: &[Sample],
        (width, forgetting, next): (usize, Forgetting, f32),
        device: &Device,
    ) -> Vec<Self> {
        let (row, targets) = (CONTEXT + width, TARGETS * PER_TARGET);
        let mut inputs = vec![0.0; RESOURCES * samples.len() * row];
        let mut wanted = vec![0.0; RESOURCES * samples.len() * targets];
        let pairs: Vec<(Resource, &Sample)> = Resource::ALL
            .into_iter()
            .flat_map(|resource| samples.iter().map(move |sample| (resource, sample)))
            .collect();
        let places = inputs.par_chunks_exact_mut(row).zip(wanted.par_chunks_exact_mut(targets));
        places.zip(&pairs).for_each(|((inputs, wanted), (resource, sample))| {
            let row = Row::of(set, sample, *resource);
            write_inputs(inputs, &row, sample, forgetting);
            write_targets(wanted, &row, next);
        });
        let tensor = |values: Vec<f32>, columns: usize| {
            let rows = values.len() / columns;
            Tensor::<2>::from_data(TensorData::new(values, [rows, columns]), device)
        };
        let (inputs, wanted) = (tensor(inputs, row), tensor(wanted, PER_TARGET));
        let part = |all: &Tensor<2>, resource: usize| {
            let rows = all.dims()[0] / RESOURCES;
            all.clone().narrow(0, resource * rows, rows)
        };
        (0..RESOURCES).map(|resource| Self::cut(&part(&inputs, resource), &part(&wanted, resource))).collect()
    }

    /// Takes apart what [`write_inputs`] and [`write_targets`] wrote.
    fn cut(inputs: &Tensor<2>, wanted: &Tensor<2>) -> Self {
        let width = inputs.dims()[1] - CONTEXT;
        let of_target = |from: usize, columns: usize| wanted.clone().narrow(1, from, columns);
        Self {
            context: inputs.clone().narrow(1, 0, CONTEXT),
            kept: inputs.clone().narrow(1, CONTEXT, width),
            medians: of_target(0, MEDIANS),
            highs: of_target(MEDIANS, HIGHS),
            spread: of_target(MEDIANS + HIGHS, 1),
            wanted: of_target(MEDIANS + HIGHS + 1, 1),
            weight: of_target(MEDIANS + HIGHS + 2, 1),
        }
    }
}

fn write_inputs(values: &mut [f32], row: &Row, sample: &Sample, forgetting: Forgetting) {
    let (context, kept) = values.split_at_mut(CONTEXT);
    context.copy_from_slice(&row.context);
    forgetting.apply(sample, 0, context);
    kept.fill(1.0);
    forgetting.apply(sample, 1, kept);
}

fn write_targets(values: &mut [f32], row: &Row, next: f32) {
    for (target, values) in values.chunks_exact_mut(PER_TARGET).enumerate() {
        let (medians, rest) = values.split_at_mut(MEDIANS);
        let (highs, rest) = rest.split_at_mut(HIGHS);
        medians.copy_from_slice(&row.anchors.medians[target]);
        highs.copy_from_slice(&row.anchors.highs);
        let weight = row.weight * if target == 0 { next } else { 1.0 };
        let wanted = row.truth[target];
        let (wanted, weight) = if wanted.is_nan() { (0.0, 0.0) } else { (wanted, weight) };
        rest.copy_from_slice(&[row.anchors.spread, wanted, weight]);
    }
}
