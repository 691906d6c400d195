//! Gradient-boosted trees on the same features as the network's heads: the strongest thing that forecasters of tables use
//! (quantile boosting, as LightGBM's). One ensemble per resource, target and level.
//!
//! Trees are grown for the median, .9 and .95 alone. The levels .1 and .99 stand off from the median and from .95 by what those
//! were off by on vms that took no part in the fitting: a hundredth of the rows is too few to grow trees on.

use anyhow::anyhow;
use ballast_core::forecast::LEVELS;
use ballast_models::{
    features::{Anchors, CONTEXT},
    network::TARGETS,
    predictor::{Answer, Known, Predictor, consistent},
    scale::{RESOURCES, Resource},
};
use perpetual::{Matrix, PerpetualBooster, objective::Objective};
use rayon::prelude::*;

use super::{
    residuals::{Unit, quantile},
    rows::{Row, context, known},
};

/// How hard the trees try: perpetual's only number to choose.
const BUDGET: f32 = 0.5;

/// Bins that a feature's values are sorted into: more of them made no tree better.
const BINS: u16 = 64;

/// Memory of one ensemble in GB. Without a limit perpetual takes most of what the machine has, and how far its trees grow
/// depends on how much that is.
const MEMORY_GB: f32 = 0.15;

/// Index of the first level that trees are grown for; .9 and .95 follow it.
const FIRST_GROWN: usize = 1;

/// How many there are.
const GROWN: usize = 3;

/// Trees for one resource and target.
#[derive(Clone)]
struct Ensembles {
    levels: [PerpetualBooster; GROWN],
    /// What level .1 is below the median, and .99 above .95.
    beyond: [f32; 2],
}

/// The grown trees; none for a resource that was never seen.
#[derive(Clone)]
pub struct Boosting {
    ensembles: [[Option<Ensembles>; TARGETS]; RESOURCES],
}

impl std::fmt::Debug for Boosting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let trees = self.ensembles.as_flattened().iter().flatten();
        let trees: usize = trees.flat_map(|one| &one.levels).map(|one| one.get_prediction_trees().len()).sum();
        f.debug_struct("Boosting").field("trees", &trees).finish_non_exhaustive()
    }
}

impl Boosting {
    /// Grows trees on `rows`, at most so many for one resource, target and level.
    ///
    /// # Errors
    /// Where perpetual refuses.
    pub fn fit(rows: &[Row], trees_max: usize, seed: u64) -> anyhow::Result<Self> {
        let each =
            |index: usize| Ensembles::fit(rows, (Resource::ALL[index / TARGETS], index % TARGETS), trees_max, seed);
        let all: anyhow::Result<Vec<_>> = (0..RESOURCES * TARGETS).into_par_iter().map(each).collect();
        let mut boosting = Self { ensembles: Default::default() };
        for (place, ensembles) in boosting.ensembles.as_flattened_mut().iter_mut().zip(all?) {
            *place = ensembles;
        }
        Ok(boosting)
    }
}

impl Ensembles {
    fn fit(
        rows: &[Row],
        (resource, target): (Resource, usize),
        trees_max: usize,
        seed: u64,
    ) -> anyhow::Result<Option<Self>> {
        let (check, fitted): (Vec<_>, Vec<_>) = known(rows, resource, target).partition(|(row, _)| row.is_check);
        if fitted.is_empty() {
            return Ok(None);
        }
        let wanted = |rows: &[(&Row, f32)]| -> Vec<f64> {
            let of = |(row, came): &(&Row, f32)| Unit::Relative.of(*came, &row.encoded.anchors[resource as usize]);
            rows.iter().map(of).map(f64::from).collect()
        };
        let table = columns(fitted.iter().map(|(row, _)| context(&row.encoded, resource)));
        let matrix = Matrix::new(&table, fitted.len(), CONTEXT);
        let weights: Vec<f64> = fitted.iter().map(|(row, _)| f64::from(row.weight(resource))).collect();
        let sought = (wanted(&fitted), weights);
        let levels = [0, 1, 2].map(|index| grown(&matrix, &sought, LEVELS[FIRST_GROWN + index], trees_max, seed));
        let [median, high, higher] = levels;
        let levels = [median?, high?, higher?];
        let table = columns(check.iter().map(|(row, _)| context(&row.encoded, resource)));
        let matrix = Matrix::new(&table, check.len(), CONTEXT);
        let off = |level: usize, quantile_of: f64| {
            let said = levels[level].predict(&matrix, false);
            #[expect(clippy::cast_possible_truncation, reason = "relative values are of the order of one")]
            let mut off: Vec<f32> = wanted(&check).iter().zip(said).map(|(came, said)| (came - said) as f32).collect();
            off.sort_by(f32::total_cmp);
            quantile(&off, quantile_of)
        };
        let beyond = [off(0, LEVELS[0]).min(0.0), off(GROWN - 1, LEVELS[LEVELS.len() - 1]).max(0.0)];
        Ok(Some(Self { levels, beyond }))
    }

    /// Quantiles on the scale per row.
    fn say(&self, matrix: &Matrix<'_, f64>, anchors: &[&Anchors]) -> Vec<[f32; LEVELS.len()]> {
        let [median, high, higher] = self.levels.each_ref().map(|level| level.predict(matrix, false));
        let rows = median.into_iter().zip(high).zip(higher).zip(anchors);
        rows.map(|(((median, high), higher), anchors)| {
            #[expect(clippy::cast_possible_truncation, reason = "relative values are of the order of one")]
            let [median, high, higher] = [median as f32, high as f32, higher as f32];
            let relative = [median + self.beyond[0], median, high, higher, higher + self.beyond[1]];
            relative.map(|value| Unit::Relative.scaled(value, anchors))
        })
        .collect()
    }
}

/// Rows as perpetual wants them: column after column.
fn columns(rows: impl ExactSizeIterator<Item = [f32; CONTEXT]>) -> Vec<f64> {
    let number = rows.len();
    let mut table = vec![0.0; number * CONTEXT];
    for (row, values) in rows.enumerate() {
        for (column, value) in values.into_iter().enumerate() {
            table[column * number + row] = f64::from(value);
        }
    }
    table
}

fn grown(
    matrix: &Matrix<'_, f64>,
    (wanted, weights): &(Vec<f64>, Vec<f64>),
    level: f64,
    trees_max: usize,
    seed: u64,
) -> anyhow::Result<PerpetualBooster> {
    // One thread each: there are many ensembles, and perpetual makes a pool of its own for every one.
    let mut booster = PerpetualBooster::default()
        .set_objective(Objective::QuantileLoss { quantile: Some(level) })
        .set_budget(BUDGET)
        .set_iteration_limit(Some(trees_max))
        .set_max_bin(BINS)
        .set_memory_limit(Some(MEMORY_GB))
        .set_num_threads(Some(1))
        .set_seed(seed);
    booster.fit(matrix, wanted, Some(weights), None).map_err(|error| anyhow!("trees for level {level}: {error}"))?;
    Ok(booster)
}

impl Predictor for Boosting {
    fn name(&self) -> &'static str {
        "boosting"
    }

    fn predict(&self, known: &[Known<'_>], _states: &[f32], answers: &mut [Answer]) {
        for resource in Resource::ALL {
            // What was never seen of a vm stays at its anchor: there is nothing to decide by.
            let (seen, unseen): (Vec<usize>, Vec<usize>) =
                (0..known.len()).partition(|row| known[*row].past.track(resource).values() > 0);
            let table = columns(seen.iter().map(|row| context(known[*row].encoded, resource)));
            let matrix = Matrix::new(&table, seen.len(), CONTEXT);
            let anchors: Vec<_> = seen.iter().map(|row| &known[*row].encoded.anchors[resource as usize]).collect();
            for (target, ensembles) in self.ensembles[resource as usize].iter().enumerate() {
                let base = |row: usize| [known[row].encoded.anchors[resource as usize].base; LEVELS.len()];
                unseen.iter().for_each(|row| answers[*row][resource as usize][target] = base(*row));
                let said = ensembles.as_ref().filter(|_| !seen.is_empty()).map(|one| one.say(&matrix, &anchors));
                for (index, row) in seen.iter().enumerate() {
                    answers[*row][resource as usize][target] =
                        said.as_ref().map_or_else(|| base(*row), |said| said[index]);
                }
            }
        }
        answers.iter_mut().for_each(consistent);
    }
}
