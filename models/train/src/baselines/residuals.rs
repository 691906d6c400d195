//! From one number to a forecast: what a method was off by in training, the same for every vm, in units of the vm's own spread.

use ballast_core::forecast::LEVELS;
use ballast_models::{
    features::Anchors,
    network::TARGETS,
    scale::{RESOURCES, Resource, SCALED_MAX},
};

/// In which units a method's number and what it was off by are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Those of the scale.
    Scale,
    /// The spread of the vm's own window, from its median.
    Spread,
    /// The same, linear near the median and logarithmic far away: as the features are.
    Relative,
}

impl Unit {
    /// A value of the scale in this unit.
    pub fn of(self, scaled: f32, anchors: &Anchors) -> f32 {
        match self {
            Self::Scale => scaled,
            Self::Spread => (scaled - anchors.base) / anchors.spread,
            Self::Relative => ((scaled - anchors.base) / anchors.spread).asinh(),
        }
    }

    /// Back to the scale.
    pub fn scaled(self, value: f32, anchors: &Anchors) -> f32 {
        match self {
            Self::Scale => value,
            Self::Spread => anchors.base + anchors.spread * value,
            Self::Relative => anchors.base + anchors.spread * value.sinh(),
        }
    }
}

/// What to add to a method's number for each level.
pub type Residuals = [f32; LEVELS.len()];

/// Residuals of every resource and target.
pub type AllResiduals = [[Residuals; TARGETS]; RESOURCES];

/// From all that was off.
pub fn residuals(mut off: Vec<f32>) -> Residuals {
    off.sort_by(f32::total_cmp);
    LEVELS.map(|level| quantile(&off, level))
}

/// The quantile of sorted values, in a straight line between its neighbours; 0 where there are none.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a share of the length, and a rest below one"
)]
pub fn quantile(sorted: &[f32], level: f64) -> f32 {
    let Some(top) = sorted.len().checked_sub(1) else { return 0.0 };
    let place = level * top as f64;
    let (below, rest) = (sorted[place as usize], place.fract() as f32);
    let above = sorted[(place as usize + 1).min(top)];
    below + rest * (above - below)
}

/// The quantiles on the scale for a method's number. What is off in units of a small spread explodes on the way back to the
/// scale, so nothing is more than all there is.
pub fn spread_out(
    value: f32,
    residuals: &Residuals,
    unit: Unit,
    resource: Resource,
    anchors: &Anchors,
) -> [f32; LEVELS.len()] {
    let ceiling = ceiling(resource, anchors);
    residuals.map(|residual| unit.scaled(value + residual, anchors).min(ceiling))
}

/// The most that can be: all of a share, or what it has been where that is more.
fn ceiling(resource: Resource, anchors: &Anchors) -> f32 {
    let all = if resource.is_share() { resource.scaled(1.0) } else { SCALED_MAX };
    anchors.highs.iter().copied().fold(all, f32::max)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_there_and_back_change_nothing() {
        let anchors = Anchors { base: 2.0, spread: 0.3, ..Anchors::default() };
        for unit in [Unit::Scale, Unit::Spread, Unit::Relative] {
            let back = unit.scaled(unit.of(3.7, &anchors), &anchors);
            assert!((back - 3.7).abs() < 1e-5, "{unit:?}: {back}");
        }
    }

    #[test]
    fn nothing_is_more_than_all_there_is_or_has_been() {
        let anchors = Anchors { base: 2.0, spread: 0.3, ..Anchors::default() };
        let busier = Anchors { highs: [8.0; 4], ..anchors };
        let top = |anchors| spread_out(20.0, &[0.0; LEVELS.len()], Unit::Relative, Resource::Cpu, anchors)[0];
        assert_eq!([top(&anchors), top(&busier)], [Resource::Cpu.scaled(1.0), 8.0]);
    }

    #[test]
    fn a_tenth_of_what_was_off_lies_below_the_first_level() {
        let off: Vec<f32> = (0..=1000).map(|n| n as f32 / 1000.0).rev().collect();
        let found = residuals(off);
        assert!(found.iter().zip(LEVELS).all(|(found, level)| (f64::from(*found) - level).abs() < 1e-6), "{found:?}");
        assert_eq!(residuals(Vec::new()), [0.0; LEVELS.len()]);
    }
}
