//! Support-vector regression with a Gaussian kernel on the same features as the network's heads (Drucker et al. 1997): the
//! method that studies of vm forecasting compare with. It costs the square of its rows, so it has few of them, drawn as often
//! as an error in them would cost.
//!
//! It says one number; the quantiles are that and what it was off by on vms that it was not fitted to, in units of the spread.

use anyhow::Context as _;
use ballast_core::forecast::LEVELS;
use ballast_models::{
    features::CONTEXT,
    network::TARGETS,
    predictor::{Answer, Known, Predictor, consistent},
    scale::{RESOURCES, Resource},
};
use linfa::{DatasetBase, traits::Fit as _};
use linfa_svm::Svm;
use ndarray::{Array1, Array2, ArrayView1};
use rand::{RngExt as _, SeedableRng as _};
use rand_pcg::Pcg64Mcg;
use rayon::prelude::*;

use super::{
    residuals::{Residuals, Unit, residuals, spread_out},
    rows::{Row, known},
};

/// Width of the kernel `exp(-|x - x'|² / width)`: the mean square of the distance of two standardised rows.
const WIDTH: f64 = 2.0 * CONTEXT as f64;

/// What an error costs, relative to a bent rule.
const COST: f64 = 1.0;

/// Errors below this cost nothing, in units of the spread.
const TOLERANCE: f64 = 0.1;

/// When the solver has come near enough.
const NEAR: f64 = 1e-2;

/// Rows that residuals are seen from.
const CHECKED_MAX: usize = 4000;

/// One regression; none for a resource that was never seen.
#[derive(Debug, Clone)]
struct Regression {
    standard: Standard,
    svm: Svm<f64, f64>,
    residuals: Residuals,
}

/// Mean and deviation of each feature.
#[derive(Debug, Clone)]
struct Standard {
    mean: [f64; CONTEXT],
    deviation: [f64; CONTEXT],
}

/// The fitted regressions.
#[derive(Debug, Clone)]
pub struct Svr {
    regressions: [[Option<Regression>; TARGETS]; RESOURCES],
}

impl Svr {
    /// Fits to about `each` of `rows`, for each resource and target.
    ///
    /// # Errors
    /// Where linfa refuses.
    pub fn fit(rows: &[Row], each: usize, seed: u64) -> anyhow::Result<Self> {
        let one = |index: usize| Regression::fit(rows, (Resource::ALL[index / TARGETS], index % TARGETS), each, seed);
        let all: anyhow::Result<Vec<_>> = (0..RESOURCES * TARGETS).into_par_iter().map(one).collect();
        let mut svr = Self { regressions: Default::default() };
        for (place, regression) in svr.regressions.as_flattened_mut().iter_mut().zip(all?) {
            *place = regression;
        }
        Ok(svr)
    }
}

impl Regression {
    fn fit(
        rows: &[Row],
        (resource, target): (Resource, usize),
        each: usize,
        seed: u64,
    ) -> anyhow::Result<Option<Self>> {
        let fitted = costly(known(rows, resource, target).filter(|(row, _)| !row.is_check), resource, each, seed);
        if fitted.is_empty() {
            return Ok(None);
        }
        let inputs: Vec<[f32; CONTEXT]> = fitted.iter().map(|(row, _)| row.encoded.context(resource)).collect();
        let relative =
            |row: &Row, came: f32| f64::from(Unit::Relative.of(came, &row.encoded.anchors[resource as usize]));
        let standard = Standard::of(&inputs);
        let table = inputs.iter().flat_map(|input| standard.apply(input)).collect();
        let table = Array2::from_shape_vec((inputs.len(), CONTEXT), table).context("a row per input")?;
        let wanted: Array1<f64> = fitted.iter().map(|(row, came)| relative(row, *came)).collect();
        let params = Svm::<f64, f64>::params().c_svr(COST, Some(TOLERANCE)).gaussian_kernel(WIDTH).eps(NEAR);
        let svm = params.fit(&DatasetBase::new(table, wanted)).context("support-vector regression")?;
        let mut regression = Self { standard, svm, residuals: Residuals::default() };
        let check: Vec<_> = known(rows, resource, target).filter(|(row, _)| row.is_check).collect();
        let stride = check.len().div_ceil(CHECKED_MAX).max(1);
        let off = check.into_iter().step_by(stride).map(|(row, came)| {
            #[expect(clippy::cast_possible_truncation, reason = "relative values are of the order of one")]
            let came = relative(row, came) as f32;
            came - regression.say(&row.encoded.context(resource))
        });
        regression.residuals = residuals(off.collect());
        Ok(Some(regression))
    }

    /// The number, relative to the vm's own window.
    #[expect(clippy::cast_possible_truncation, reason = "relative values are of the order of one")]
    fn say(&self, inputs: &[f32; CONTEXT]) -> f32 {
        let inputs = self.standard.apply(inputs);
        (self.svm.weighted_sum(&ArrayView1::from(&inputs[..])) - self.svm.rho) as f32
    }
}

/// About `wanted` of the rows, with a chance in proportion to what an error would cost, none more than once.
fn costly<'a>(
    rows: impl Iterator<Item = (&'a Row, f32)> + Clone,
    resource: Resource,
    wanted: usize,
    seed: u64,
) -> Vec<(&'a Row, f32)> {
    let all: f32 = rows.clone().map(|(row, _)| row.weight(resource)).sum();
    let mut random = Pcg64Mcg::seed_from_u64(seed);
    let share = wanted as f32 / all.max(f32::MIN_POSITIVE);
    rows.filter(|(row, _)| random.random::<f32>() < share * row.weight(resource)).collect()
}

impl Standard {
    fn of(inputs: &[[f32; CONTEXT]]) -> Self {
        let number = inputs.len() as f64;
        let mean = |index: usize| inputs.iter().map(|input| f64::from(input[index])).sum::<f64>() / number;
        let mean: [f64; CONTEXT] = std::array::from_fn(mean);
        let square = |input: &[f32; CONTEXT], index: usize| (f64::from(input[index]) - mean[index]).powi(2);
        let squares = |index: usize| inputs.iter().map(|input| square(input, index)).sum::<f64>();
        // A feature that never changes says nothing, whatever it is divided by.
        let deviation = std::array::from_fn(|index| (squares(index) / number).sqrt().max(1e-3));
        Self { mean, deviation }
    }

    fn apply(&self, input: &[f32; CONTEXT]) -> [f64; CONTEXT] {
        std::array::from_fn(|index| (f64::from(input[index]) - self.mean[index]) / self.deviation[index])
    }
}

impl Predictor for Svr {
    fn name(&self) -> &'static str {
        "svr"
    }

    fn predict(&self, known: &[Known<'_>], _states: &[f32], answers: &mut [Answer]) {
        for (known, answer) in known.iter().zip(answers) {
            for resource in Resource::ALL {
                let anchors = &known.encoded.anchors[resource as usize];
                // What was never seen of a vm stays at its anchor: there is nothing to weigh.
                let is_seen = known.past.track(resource).values() > 0;
                let inputs = known.encoded.context(resource);
                for (target, regression) in self.regressions[resource as usize].iter().enumerate() {
                    answer[resource as usize][target] = match regression.as_ref().filter(|_| is_seen) {
                        Some(one) => spread_out(one.say(&inputs), &one.residuals, Unit::Relative, resource, anchors),
                        None => [anchors.base; LEVELS.len()],
                    };
                }
            }
            consistent(answer);
        }
    }
}
