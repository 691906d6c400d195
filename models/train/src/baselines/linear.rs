//! One linear rule per resource and target for all vms, fitted by least squares: an autoregression over the own window, with the
//! anchors beside it, relative to the window's median (as NLinear, Zeng et al. 2023, is relative to its last value).
//!
//! Everything is on the scale, so a doubling counts the same for an idle vm and a busy one. Quantiles are the rule's number and
//! what it was off by in training, in units of the vm's spread.

use anyhow::Context as _;
use ballast_models::{
    features::{Anchors, Encoded, HIGHS, MEDIANS},
    network::TARGETS,
    past::WINDOW,
    predictor::{Answer, Known, Predictor, consistent},
    scale::{RESOURCES, Resource},
};
use linfa_linalg::cholesky::SolveCInplace as _;
use ndarray::Array2;
use rayon::prelude::*;

use super::{
    residuals::{AllResiduals, Unit, residuals, spread_out},
    rows::{Row, known, window},
};

/// Values that the rule weighs: the window, the anchors' candidates, the spread, and one for what is always there.
const INPUTS: usize = WINDOW + MEDIANS + HIGHS + 2;

/// Share by which every value's own sum of squares is raised: neighbouring slots are nearly the same, and without it their
/// weights are large and of opposite sign.
const RIDGE: f64 = 1e-3;

/// Weights of one rule.
type Rule = [f32; INPUTS];

/// The fitted rules.
#[derive(Debug, Clone)]
pub struct Linear {
    rules: [[Rule; TARGETS]; RESOURCES],
    residuals: AllResiduals,
}

impl Linear {
    /// Fits to `rows`.
    ///
    /// # Errors
    /// Where the equations cannot be solved.
    pub fn fit(rows: &[Row]) -> anyhow::Result<Self> {
        let mut linear = Self { rules: [[[0.0; INPUTS]; TARGETS]; RESOURCES], residuals: AllResiduals::default() };
        for resource in Resource::ALL {
            let fitted: anyhow::Result<Vec<Rule>> =
                (0..TARGETS).into_par_iter().map(|target| fit(rows, resource, target)).collect();
            for (target, rule) in fitted?.into_iter().enumerate() {
                let off = known(rows, resource, target).filter(|(row, _)| row.is_check).map(|(row, came)| {
                    let anchors = &row.encoded.anchors[resource as usize];
                    Unit::Spread.of(came, anchors) - said(&rule, &of_row(row, resource, target), anchors)
                });
                linear.residuals[resource as usize][target] = residuals(off.collect());
                linear.rules[resource as usize][target] = rule;
            }
        }
        Ok(linear)
    }
}

/// A rule's number, in units of the spread.
fn said(rule: &Rule, inputs: &[f32; INPUTS], anchors: &Anchors) -> f32 {
    rule.iter().zip(inputs).map(|(weight, input)| weight * input).sum::<f32>() / anchors.spread
}

fn of_row(row: &Row, resource: Resource, target: usize) -> [f32; INPUTS] {
    inputs(&row.window[resource as usize], &row.encoded, resource, target)
}

fn inputs(window: &[f32; WINDOW], encoded: &Encoded, resource: Resource, target: usize) -> [f32; INPUTS] {
    let anchors = &encoded.anchors[resource as usize];
    let seen = window.iter().chain(&anchors.medians[target]).chain(&anchors.highs);
    let mut inputs = [1.0; INPUTS];
    for (input, value) in inputs.iter_mut().zip(seen) {
        *input = value - anchors.base;
    }
    inputs[INPUTS - 2] = anchors.spread;
    inputs
}

/// Least squares by the normal equations.
fn fit(rows: &[Row], resource: Resource, target: usize) -> anyhow::Result<Rule> {
    let mut squares = Array2::<f64>::zeros((INPUTS, INPUTS));
    let mut products = Array2::<f64>::zeros((INPUTS, 1));
    for (row, came) in known(rows, resource, target).filter(|(row, _)| !row.is_check) {
        let inputs = of_row(row, resource, target).map(f64::from);
        let wanted = f64::from(came - row.encoded.anchors[resource as usize].base);
        for (one, value) in inputs.iter().enumerate() {
            products[[one, 0]] += value * wanted;
            for (other, with) in inputs[..=one].iter().enumerate() {
                squares[[one, other]] += value * with;
            }
        }
    }
    for one in 0..INPUTS {
        // What is always zero has no weight, and one above the diagonal keeps the equations solvable.
        squares[[one, one]] = squares[[one, one]].mul_add(1.0 + RIDGE, 1e-9);
        for other in 0..one {
            squares[[other, one]] = squares[[one, other]];
        }
    }
    let solved = squares.solvec_into(products).with_context(|| format!("{resource:?}, target {target}"))?;
    #[expect(clippy::cast_possible_truncation, reason = "weights are of the order of one")]
    Ok(std::array::from_fn(|index| solved[[index, 0]] as f32))
}

impl Predictor for Linear {
    fn name(&self) -> &'static str {
        "linear"
    }

    fn predict(&self, known: &[Known<'_>], _states: &[f32], answers: &mut [Answer]) {
        for (known, answer) in known.iter().zip(answers) {
            for resource in Resource::ALL {
                let (r, anchors) = (resource as usize, &known.encoded.anchors[resource as usize]);
                let window = window(known.past, resource, anchors.base);
                for (target, place) in answer[r].iter_mut().enumerate() {
                    let value =
                        said(&self.rules[r][target], &inputs(&window, known.encoded, resource, target), anchors);
                    *place = spread_out(value, &self.residuals[r][target], Unit::Spread, resource, anchors);
                }
            }
            consistent(answer);
        }
    }
}
