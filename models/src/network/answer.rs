//! What the network's bare outputs mean: quantiles that rise with their level, relative to the vm's own level and spread.

use ballast_core::forecast::{LEVELS, STEPS};

use crate::features::{Anchors, HIGHS, MEDIANS};

/// What is forecast of each resource: the value at each of [`STEPS`], the maximum over 30 and over 60 minutes.
pub const TARGETS: usize = STEPS.len() + 2;

/// Slots over which the maxima are taken.
pub const MAXIMA: [usize; 2] = [6, 12];

/// Outputs for one target: five of the quantiles' own, a weight for each candidate of the median and of the height, and
/// how far each upper quantile reaches towards that height.
pub const PER_TARGET: usize = LEVELS.len() + MEDIANS + HIGHS + UPPER;

/// Outputs of one head for one vm: targets × [`PER_TARGET`].
pub const OUTPUTS: usize = TARGETS * PER_TARGET;

/// Levels above the median.
const UPPER: usize = 3;

/// Index of the median among the levels.
pub const MEDIAN: usize = 1;

/// Where the parts of a target's outputs begin.
const OF_MEDIANS: usize = LEVELS.len();
const OF_HIGHS: usize = OF_MEDIANS + MEDIANS;
const OF_REACH: usize = OF_HIGHS + HIGHS;

/// What reaching towards the height begins with before anything is learnt: a tenth of the way.
pub const REACH_AT_FIRST: f32 = -2.2;

/// A target's outputs taken apart, with what both directions need.
struct Parts {
    /// Weights of the candidates; they add up to one.
    medians: [f32; MEDIANS],
    highs: [f32; HIGHS],
    /// How far each height is above the median.
    above: [f32; HIGHS],
    weighed: f32,
    median: f32,
    height: f32,
    /// What is left of the way to the height at each upper level.
    left: [f32; UPPER],
}

impl Parts {
    fn of(outputs: &[f32; PER_TARGET], anchors: &Anchors, target: usize) -> Self {
        let medians = softmax::<MEDIANS>(&outputs[OF_MEDIANS..]);
        let highs = softmax::<HIGHS>(&outputs[OF_HIGHS..]);
        let weighed = dot(&medians, &anchors.medians[target]);
        let median = weighed + anchors.spread * outputs[MEDIAN];
        let above = anchors.highs.map(|high| (high - median).max(0.0));
        let height = dot(&highs, &above);
        let mut left = [1.0; UPPER];
        let mut way = 1.0;
        for (left, reach) in left.iter_mut().zip(&outputs[OF_REACH..]) {
            way *= sigmoid(-reach);
            *left = way;
        }
        Self { medians, highs, above, weighed, median, height, left }
    }
}

/// Quantiles of one target on the scale, from the bare outputs y: they cannot cross.
///
/// The median is `m = Σ pⱼ cⱼ + s·y₁`, with p the softmax weights of its candidates and s the spread; below it
/// `q₁₀ = m − s·ζ(y₀)`. Above it every level goes a part of the way to a height `U = Σ wⱼ (hⱼ − m)₊` and some spreads beyond:
/// `q₉₀ = m + f₉₀U + s·ζ(y₂)`, `q₉₅ = m + f₉₅U + s(ζ(y₂) + ζ(y₃))` and so on, with `ζ(y) = ln(1 + eʸ)` and f rising.
pub fn quantiles(outputs: &[f32; PER_TARGET], anchors: &Anchors, target: usize) -> [f32; LEVELS.len()] {
    let parts = Parts::of(outputs, anchors, target);
    let mut beyond = 0.0;
    let mut upper = [0.0; UPPER];
    for ((quantile, left), y) in upper.iter_mut().zip(parts.left).zip(&outputs[2..]) {
        beyond += softplus(*y);
        *quantile = parts.median + (1.0 - left) * parts.height + anchors.spread * beyond;
    }
    let [q90, q95, q99] = upper;
    [parts.median - anchors.spread * softplus(outputs[0]), parts.median, q90, q95, q99]
}

/// The gradient by the bare outputs from that by the quantiles of [`quantiles`].
pub fn back(
    outputs: &[f32; PER_TARGET],
    anchors: &Anchors,
    target: usize,
    by_quantile: &[f32; LEVELS.len()],
) -> [f32; PER_TARGET] {
    let parts = Parts::of(outputs, anchors, target);
    let [by_low, by_median, upper @ ..] = by_quantile;
    let s = anchors.spread;
    let reached: [f32; UPPER] = parts.left.map(|left| 1.0 - left);
    let by_height = dot(&reached, upper);
    let lost: f32 = parts.highs.iter().zip(parts.above).filter(|(_, above)| *above > 0.0).map(|(w, _)| w).sum();
    let by_m = by_low + by_median + upper.iter().sum::<f32>() - lost * by_height;
    let mut by = [0.0; PER_TARGET];
    by[0] = -s * by_low * sigmoid(outputs[0]);
    by[MEDIAN] = s * by_m;
    for level in 0..UPPER {
        let above: f32 = upper[level..].iter().sum();
        by[2 + level] = s * above * sigmoid(outputs[2 + level]);
        let shares = parts.left[level..].iter().zip(&upper[level..]).map(|(left, by)| left * by).sum::<f32>();
        by[OF_REACH + level] = parts.height * shares * sigmoid(outputs[OF_REACH + level]);
    }
    for candidate in 0..MEDIANS {
        let off = anchors.medians[target][candidate] - parts.weighed;
        by[OF_MEDIANS + candidate] = parts.medians[candidate] * off * by_m;
    }
    for high in 0..HIGHS {
        by[OF_HIGHS + high] = parts.highs[high] * (parts.above[high] - parts.height) * by_height;
    }
    by
}

/// Weights that add up to one, of the first N of `values`.
fn softmax<const N: usize>(values: &[f32]) -> [f32; N] {
    let mut weights: [f32; N] = std::array::from_fn(|index| values.get(index).copied().unwrap_or_default());
    let largest = weights.iter().copied().fold(f32::MIN, f32::max);
    weights.iter_mut().for_each(|weight| *weight = (*weight - largest).exp());
    let sum: f32 = weights.iter().sum();
    weights.map(|weight| weight / sum)
}

fn dot<const N: usize>(one: &[f32; N], other: &[f32; N]) -> f32 {
    one.iter().zip(other).map(|(a, b)| a * b).sum()
}

/// `ln(1 + eʸ)` without overflow.
fn softplus(y: f32) -> f32 {
    y.max(0.0) + (-y.abs()).exp().ln_1p()
}

fn sigmoid(y: f32) -> f32 {
    1.0 / (1.0 + (-y).exp())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn anchors() -> Anchors {
        let medians = [[0.5, 1.0, 1.5, 0.7, 2.0, 0.1]; TARGETS];
        Anchors { base: 1.0, spread: 0.7, medians, highs: [4.0, 3.0, 0.2, 2.5] }
    }

    fn outputs(values: &[f32]) -> [f32; PER_TARGET] {
        std::array::from_fn(|index| values[index])
    }

    #[test]
    fn a_network_that_is_sure_of_a_candidate_says_just_that() {
        let mut y = [0.0; PER_TARGET];
        y[OF_MEDIANS + 4] = 100.0;
        assert_eq!(quantiles(&y, &anchors(), 2)[MEDIAN], 2.0);
    }

    proptest! {
        #[test]
        fn quantiles_never_cross(y in prop::collection::vec(-50.0..50.0f32, PER_TARGET)) {
            let q = quantiles(&outputs(&y), &anchors(), 0);
            prop_assert!(q.is_sorted() && q.iter().all(|value| value.is_finite()), "{q:?}");
        }

        #[test]
        fn the_gradient_is_that_of_finite_differences(
            y in prop::collection::vec(-3.0..3.0f32, PER_TARGET), weights in prop::array::uniform5(-1.0..1.0f32),
        ) {
            const STEP: f32 = 1e-2;
            let (y, anchors) = (outputs(&y), anchors());
            // Where a height is just at the median the slope has a corner.
            let median = quantiles(&y, &anchors, 1)[MEDIAN];
            prop_assume!(anchors.highs.iter().all(|high| (high - median).abs() > 0.05));
            let value = |y: &[f32; PER_TARGET]| -> f32 {
                quantiles(y, &anchors, 1).iter().zip(weights).map(|(q, w)| q * w).sum()
            };
            let gradient = back(&y, &anchors, 1, &weights);
            for index in 0..PER_TARGET {
                let (mut low, mut high) = (y, y);
                (low[index], high[index]) = (y[index] - STEP, y[index] + STEP);
                let slope = (value(&high) - value(&low)) / (2.0 * STEP);
                prop_assert!((slope - gradient[index]).abs() < 5e-3, "{index}: {slope} and {}", gradient[index]);
            }
        }
    }
}
