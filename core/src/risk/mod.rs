//! How much a host's vms will ask for together, as a distribution: the sum of normals with a common correlation, assumed or
//! measured.
//!
//! The guard, the objective and the policies all add up vms with this and nothing else. It knows no rule: what is too
//! much is for its callers to say.

mod calibration;
mod class;
mod correlation;
#[cfg(test)]
mod coverage_tests;
mod fleet;
mod host;
mod host_risk;
#[cfg(test)]
mod host_risk_tests;
mod loads;
mod measured;
mod names;
mod priced;
mod promise;
mod trial;
mod vm;

pub use calibration::{Calibration, Kept, Z_MAX};
pub use class::HostClass;
pub use correlation::Correlations;
pub use fleet::{FleetLoad, KnownLoad};
pub use host::HostLoad;
pub use host_risk::{HostRisk, RiskReport};
pub use loads::Asking;
pub use measured::MeasuredRisk;
pub use promise::PROMISED_FOR;
pub use vm::VmLoad;

use crate::{
    forecast::{STEP, STEPS},
    tuning::Tuning,
};

/// Number of moments at which demand is looked at: now, and each forecast step.
pub const MOMENTS: usize = STEPS.len() + 1;

/// How risk is counted.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Risk {
    /// Standard deviations above the mean that count as risk, on hosts for which none were measured.
    pub z: f64,
    /// What those are multiplied with, measured or not: more than one plans more cautiously than need be.
    pub times: f64,
    /// Correlation between the demands of two vms of a host, likewise.
    pub correlation: f64,
    /// Share of the horizon that each moment stands for; they add up to one.
    pub weights: [f64; MOMENTS],
}

impl Risk {
    /// As `tuning` has it.
    pub fn of(tuning: &Tuning) -> Self {
        Self {
            z: tuning.risk_z,
            times: 1.0,
            correlation: tuning.correlation,
            weights: weights(tuning.horizon.as_secs_f64()),
        }
    }

    /// The moments that count: now, and those within the horizon.
    fn moments(&self) -> impl Iterator<Item = usize> {
        (0..MOMENTS).filter(|moment| *moment == 0 || self.weights[*moment] > 0.0)
    }
}

/// Each moment stands for the time that is nearer to it than to any other; the last one for all that is left.
fn weights(horizon: f64) -> [f64; MOMENTS] {
    let moment = |index: usize| match index {
        0 => 0.0,
        step => crate::units::count(STEPS[step - 1]) * STEP.as_secs_f64(),
    };
    std::array::from_fn(|index| {
        let begin = if index == 0 { 0.0 } else { f64::midpoint(moment(index - 1), moment(index)) };
        let end = if index + 1 == MOMENTS { f64::INFINITY } else { f64::midpoint(moment(index), moment(index + 1)) };
        (end.min(horizon) - begin).max(0.0) / horizon
    })
}

/// Expected excess of a normal demand over `capacity`: `E[(D - C)+] = s (φ(k) - k (1 - Φ(k)))` with `k = (C - m) / s`.
/// In the unit of its arguments.
pub fn expected_excess(mean: f64, deviation: f64, capacity: f64) -> f64 {
    /// Beyond so many deviations the tail is taken as nothing (or as everything): it is below 1e-15.
    const FAR: f64 = 8.0;
    let room = capacity - mean;
    if deviation <= 0.0 || room > FAR * deviation {
        return (-room).max(0.0);
    }
    let k = room / deviation;
    if k < -FAR {
        return -room;
    }
    let density = (-k * k / 2.0).exp() / std::f64::consts::TAU.sqrt();
    (deviation * (density - k * upper_tail(k))).max(0.0)
}

/// `1 - Φ(x)` by Abramowitz and Stegun 7.1.26; absolute error below 1.5e-7.
fn upper_tail(x: f64) -> f64 {
    let scaled = x.abs() / std::f64::consts::SQRT_2;
    let t = 1.0 / (1.0 + 0.327_591_1 * scaled);
    let poly =
        t * (0.254_829_592 + t * (-0.284_496_736 + t * (1.421_413_741 + t * (-1.453_152_027 + t * 1.061_405_429))));
    let half = poly * (-scaled * scaled).exp() / 2.0;
    if x >= 0.0 { half } else { 1.0 - half }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn expected_excess_matches_the_tabled_unit_normal_loss() {
        // The unit normal loss function, as tabled for the newsvendor problem.
        for (k, loss) in [(0.0, 0.398_94), (1.0, 0.083_32), (2.0, 0.008_491), (-1.0, 1.083_32)] {
            assert!((expected_excess(0.0, 1.0, k) - loss).abs() < 1e-5, "k = {k}");
        }
    }

    #[test]
    fn a_certain_demand_exceeds_by_exactly_what_is_missing() {
        assert_eq!(expected_excess(5.0, 0.0, 4.0), 1.0);
        assert_eq!(expected_excess(3.0, 0.0, 4.0), 0.0);
    }

    #[test]
    fn the_moments_share_the_whole_horizon() {
        let shares = weights(3600.0);
        assert!((shares.iter().sum::<f64>() - 1.0).abs() < 1e-12);
        assert!((shares[0] - 150.0 / 3600.0).abs() < 1e-12, "{shares:?}");
        assert_eq!(weights(60.0), [1.0, 0.0, 0.0, 0.0]);
    }

    proptest! {
        #[test]
        fn excess_is_never_below_that_of_the_mean_and_grows_with_spread(
            mean in 0.0..100.0f64, deviation in 0.0..30.0f64, more in 0.0..10.0f64, capacity in 0.0..100.0f64,
        ) {
            let excess = expected_excess(mean, deviation, capacity);
            prop_assert!(excess >= (mean - capacity).max(0.0) - 1e-4);
            prop_assert!(expected_excess(mean, deviation + more, capacity) >= excess - 1e-4);
        }
    }
}
