//! The loss: what each quantile of each target gets wrong, in the units in which it hurts.
//!
//! Pinball loss, `ρ_τ(y − q) = max(τ(y − q), (τ − 1)(y − q))` (Koenker and Bassett 1978). CPU and memory count in percent of the
//! vm's capacity, so that a busy vm matters as much as it weighs, plus a share on the scale, so that an idle vm is not
//! ignored; storage and network count on the scale alone.

use ballast_core::forecast::LEVELS;
use ballast_models::{
    features::Anchors,
    network::{MEDIAN, OUTPUTS, PER_TARGET, TARGETS, back, quantiles},
    scale::{RESOURCES, Resource},
};

use serde::{Deserialize, Serialize};

/// What really came, on the scale; NaN where it is not known.
pub type Truth = [[f32; TARGETS]; RESOURCES];

/// Weights of the parts of the loss.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Weights {
    /// Of a percent of CPU or memory.
    pub percent: f32,
    /// Of CPU and memory on the scale.
    pub relative: f32,
    /// Of storage and network on the scale.
    pub traffic: f32,
    /// Of the median, relative to the other levels.
    pub median: f32,
    /// Of the next step, relative to the other targets: its errors are the smallest, and would count least.
    pub next: f32,
    /// Of half the square of what the median is off by on the scale. Where nothing else counts the mean is learnt in the
    /// median's place, as most published forecasters do it.
    #[serde(default)]
    pub squares: f32,
}

impl Default for Weights {
    fn default() -> Self {
        Self { percent: 1.0, relative: 0.5, traffic: 0.1, median: 2.0, next: 2.0, squares: 0.0 }
    }
}

/// Adds the gradient by one resource's bare outputs to `gradient`, times `share`; returns the loss.
pub fn loss(
    outputs: &[f32; OUTPUTS],
    anchors: &Anchors,
    truth: &[f32; TARGETS],
    (resource, weights): (Resource, &Weights),
    share: f32,
    gradient: &mut [f32; OUTPUTS],
) -> f32 {
    let mut sum = 0.0;
    let ((bare, _), (by, _)) = (outputs.as_chunks::<PER_TARGET>(), gradient.as_chunks_mut::<PER_TARGET>());
    for (target, ((bare, by), wanted)) in bare.iter().zip(by).zip(truth).enumerate() {
        if wanted.is_nan() {
            continue;
        }
        let (part, by_quantile) = pinballs(&quantiles(bare, anchors, target), *wanted, resource, weights);
        let weight = if target == 0 { weights.next } else { 1.0 };
        sum += weight * part;
        for (sum, by) in by.iter_mut().zip(back(bare, anchors, target, &by_quantile)) {
            *sum += weight * share * by;
        }
    }
    sum
}

fn pinballs(
    quantiles: &[f32; LEVELS.len()],
    wanted: f32,
    resource: Resource,
    weights: &Weights,
) -> (f32, [f32; LEVELS.len()]) {
    let mut sum = 0.0;
    let mut by_quantile = [0.0; LEVELS.len()];
    for ((quantile, by), level) in quantiles.iter().zip(&mut by_quantile).zip(LEVELS) {
        #[expect(clippy::cast_possible_truncation, reason = "levels have two digits")]
        let level = level as f32;
        let weight = if level == 0.5 { weights.median } else { 1.0 };
        let slope = weight * if wanted > *quantile { -level } else { 1.0 - level };
        if resource.is_share() {
            let (q, y) = (percent(*quantile), percent(wanted));
            sum += weights.percent * slope * (q - y) + weights.relative * slope * (quantile - wanted);
            *by = slope * (weights.percent * steepness(*quantile) + weights.relative);
        } else {
            sum += weights.traffic * slope * (quantile - wanted);
            *by = slope * weights.traffic;
        }
    }
    let off = quantiles[MEDIAN] - wanted;
    by_quantile[MEDIAN] += weights.squares * off;
    (sum + 0.5 * weights.squares * off * off, by_quantile)
}

/// Highest value at which percents are reckoned: a network that is far off must not answer with infinity.
pub const PERCENT_FROM: f32 = 6.5;

fn percent(scaled: f32) -> f32 {
    // Beyond 330 % it goes on as a straight line.
    let inside = scaled.min(PERCENT_FROM);
    inside.sinh() + (scaled - inside) * PERCENT_FROM.cosh()
}

fn steepness(scaled: f32) -> f32 {
    scaled.min(PERCENT_FROM).cosh()
}
