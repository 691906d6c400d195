//! Gradient-boosted trees on the same features as the network's heads: one model per resource and target for the pinball losses of
//! all levels, as XGBoost has them (crate `hessboost`), stopped where more trees no longer help on vms that it is not fitted to.
//!
//! What they answer with is relative to the vm's own window, as the features are: trees cannot say more than they have seen.

use std::num::NonZeroUsize;

use anyhow::Context as _;
use ballast_core::forecast::LEVELS;
use ballast_models::{
    features::{CONTEXT, Encoded, HIGHS, MEDIANS},
    network::TARGETS,
    predictor::{Answer, Known, Predictor, consistent},
    scale::{RESOURCES, Resource},
};
use hessboost::{
    objective::Quantiles,
    prelude::{BoostedModel, DMatrix, Iterations, Objective, Trainer, TrainingParams, TreeMethod},
};

use super::{
    residuals::Unit,
    rows::{Row, known},
};

/// What a tree may ask: the head's values, and what the network's answer is weighed from.
const INPUTS: usize = CONTEXT + MEDIANS + HIGHS;

/// Depth of a tree.
const DEPTH: usize = 6;

/// Share of a tree's answer that counts.
const STEP: f64 = 0.05;

/// Shares of the rows and of the features that a tree sees.
const ROWS_SHARE: f64 = 0.7;
const FEATURES_SHARE: f64 = 0.5;

/// Rows without which nothing is said apart, in rows of the mean weight.
const LEAF_WEIGHT: f64 = 5.0;

/// Trees that may come without anything gained before it ends.
const PATIENCE: NonZeroUsize = NonZeroUsize::new(30).expect("above zero");

/// Most that a row counts for, in rows of a vm that is as usual: one burst must not be the whole of what is learnt.
const BURST_WEIGHT_MAX: f32 = 50.0;

/// The fitted trees; none where a resource was never seen.
#[derive(Debug)]
pub struct Trees {
    models: [[Option<BoostedModel>; TARGETS]; RESOURCES],
}

impl Trees {
    /// Fits at most `trees_max` trees per level to `rows`.
    ///
    /// # Errors
    /// Where hessboost refuses.
    pub fn fit(rows: &[Row], trees_max: usize, seed: u64) -> anyhow::Result<Self> {
        let mut trees = Self { models: Default::default() };
        for resource in Resource::ALL {
            for target in 0..TARGETS {
                trees.models[resource as usize][target] = fit(rows, resource, target, trees_max, seed)
                    .with_context(|| format!("boosted trees for {resource:?}, target {target}"))?;
            }
        }
        Ok(trees)
    }
}

fn fit(
    rows: &[Row],
    resource: Resource,
    target: usize,
    trees_max: usize,
    seed: u64,
) -> anyhow::Result<Option<BoostedModel>> {
    let [fitted, check] = [false, true]
        .map(|is_check| known(rows, resource, target).filter(|(row, _)| row.is_check == is_check).collect::<Vec<_>>());
    if fitted.is_empty() {
        return Ok(None);
    }
    let params = TrainingParams::builder()
        .objective(Objective::Quantile(Quantiles::new(LEVELS)?))
        .tree_method(TreeMethod::Hist)
        .max_depth(DEPTH)
        .eta(STEP)
        .subsample(ROWS_SHARE)
        .colsample_bytree(FEATURES_SHARE)
        .min_child_weight(LEAF_WEIGHT)
        .seed(seed)
        .build()?;
    let table = table(&fitted, resource, target)?;
    if check.is_empty() {
        return Ok(Some(Trainer::new(&params, &table, trees_max).train()?.model));
    }
    let unseen = self::table(&check, resource, target)?;
    let trainer = Trainer::new(&params, &table, trees_max).eval(&unseen, "unseen").early_stopping_rounds(PATIENCE);
    Ok(Some(trainer.train()?.model))
}

/// Rows as hessboost takes them: what came is relative to the own window, and an error counts for what it costs there.
fn table(rows: &[(&Row, f32)], resource: Resource, target: usize) -> anyhow::Result<DMatrix> {
    let relative = |row: &Row, came: f32| Unit::Relative.of(came, &row.encoded.anchors[resource as usize]);
    let weight = |row: &Row, came: f32| row.weight(resource) * relative(row, came).cosh().min(BURST_WEIGHT_MAX);
    let wanted: Vec<f32> = rows.iter().map(|(row, came)| relative(row, *came)).collect();
    let weights: Vec<f32> = rows.iter().map(|(row, came)| weight(row, *came)).collect();
    let mean = (weights.iter().sum::<f32>() / rows.len() as f32).max(f32::MIN_POSITIVE);
    let weights: Vec<f32> = weights.into_iter().map(|weight| weight / mean).collect();
    let inputs: Vec<_> = rows.iter().map(|(row, _)| inputs(&row.encoded, resource, target)).collect();
    Ok(DMatrix::from_dense(inputs.as_flattened(), rows.len(), INPUTS)?.with_labels(&wanted)?.with_weights(&weights)?)
}

/// What is asked of one moment.
fn inputs(encoded: &Encoded, resource: Resource, target: usize) -> [f32; INPUTS] {
    let anchors = &encoded.anchors[resource as usize];
    let candidates =
        anchors.medians[target].iter().chain(&anchors.highs).map(|value| Unit::Relative.of(*value, anchors));
    let mut inputs = [0.0; INPUTS];
    for (input, value) in inputs.iter_mut().zip(encoded.context(resource).into_iter().chain(candidates)) {
        *input = value;
    }
    inputs
}

impl Predictor for Trees {
    fn name(&self) -> &'static str {
        "trees"
    }

    fn predict(&self, known: &[Known<'_>], _states: &[f32], answers: &mut [Answer]) {
        for resource in Resource::ALL {
            for (target, model) in self.models[resource as usize].iter().enumerate() {
                say(model.as_ref(), known, resource, target, answers);
            }
        }
        answers.iter_mut().for_each(consistent);
    }
}

#[allow(clippy::expect_used)] // hessboost refuses only a table of another shape than it was fitted to.
fn say(model: Option<&BoostedModel>, known: &[Known<'_>], resource: Resource, target: usize, answers: &mut [Answer]) {
    // What was never seen of a vm stays at its anchor: there is nothing to weigh.
    let seen = |one: &&Known<'_>| one.past.track(resource).values() > 0;
    let inputs: Vec<_> = known.iter().filter(seen).map(|one| inputs(one.encoded, resource, target)).collect();
    let said = model.filter(|_| !inputs.is_empty()).map(|model| {
        let table = DMatrix::from_dense(inputs.as_flattened(), inputs.len(), INPUTS);
        let said = table.and_then(|table| model.predict(&table, Iterations::Best));
        said.expect("a table of the shape that it was fitted to")
    });
    let mut said = said.iter().flat_map(|said| said.rows());
    for (one, answer) in known.iter().zip(answers) {
        let anchors = &one.encoded.anchors[resource as usize];
        let place = &mut answer[resource as usize][target];
        *place = [anchors.base; LEVELS.len()];
        if seen(&one)
            && let Some(said) = said.next()
        {
            *place = std::array::from_fn(|level| Unit::Relative.scaled(said[level], anchors));
        }
    }
}
