//! A vm with office hours: a smooth day between a low and a high level, and a slow disturbance of its own.

use std::{f64::consts::TAU, time::Duration};

use super::{Draws, Grid, Wander, series};
use crate::trace::Series;

/// How long the disturbance lasts: half an hour, the time over which most of the Bitbrains vms' CPU forgets itself.
const DISTURBANCE: Duration = Duration::from_secs(1800);

/// A vm with office hours.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Diurnal {
    /// CPU share at the quietest hour.
    pub low: f64,
    /// CPU share at the busiest.
    pub high: f64,
    /// The busiest hour, 0 to 24.
    pub peak_h: f64,
    /// Deviation of the disturbance, as a share of the level.
    pub noise: f64,
    /// Hours by which a vm's busiest hour may lie off the fleet's, either way.
    pub spread_h: f64,
}

/// The demand of the vm with number `vm`.
pub fn diurnal(spec: &Diurnal, vm: u64, grid: Grid, seed: u64) -> Series {
    let draws = Draws::new(seed, vm);
    let peak = spec.peak_h + spec.spread_h * (2.0 * draws.unit(0) - 1.0);
    let mut wander = Wander::new(draws.part(1), grid, DISTURBANCE);
    let share = |slot| level(spec, peak, grid.hour(slot)) * (1.0 + spec.noise * wander.at(slot));
    series(format!("diurnal-{vm:04}"), grid, (0.4, 0.7), (0..grid.slots).map(share))
}

/// The level at an hour, without disturbance.
fn level(spec: &Diurnal, peak: f64, hour: f64) -> f64 {
    let day = 0.5 + 0.5 * (TAU * (hour - peak) / 24.0).cos();
    spec.low + (spec.high - spec.low) * day
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::generate::testing::{DAY, cpu, mean};

    proptest! {
        #[test]
        fn a_day_stays_in_bounds_and_has_the_mean_of_low_and_high(
            low in 0.02..0.2f64, more in 0.1..0.4f64, peak_h in 0.0..24.0f64, seed in any::<u64>()
        ) {
            let spec = Diurnal { low, high: low + more, peak_h, noise: 0.15, spread_h: 1.0 };
            let all: Vec<Vec<f64>> = (0..20).map(|vm| cpu(&diurnal(&spec, vm, DAY, seed))).collect();
            prop_assert!(all.iter().flatten().all(|share| (0.0..=1.0).contains(share)));
            let fleet = mean(&all.concat());
            prop_assert!((fleet / (low + more / 2.0) - 1.0).abs() < 0.08, "{fleet}");
            let near = |hour: f64, slot: usize| (DAY.hour(slot) - hour.rem_euclid(24.0)).abs() < 0.5;
            let at = |hour: f64| {
                let slots: Vec<usize> = (0..288).filter(|slot| near(hour, *slot)).collect();
                mean(&all.iter().flat_map(|day| slots.iter().map(|slot| day[*slot])).collect::<Vec<_>>())
            };
            prop_assert!(at(peak_h) > at(peak_h + 12.0));
        }
    }

    #[test]
    fn the_same_seed_gives_the_same_day_and_another_another() {
        let spec = Diurnal { low: 0.1, high: 0.6, peak_h: 14.0, noise: 0.1, spread_h: 1.0 };
        assert_eq!(diurnal(&spec, 3, DAY, 1), diurnal(&spec, 3, DAY, 1));
        assert_ne!(diurnal(&spec, 3, DAY, 1), diurnal(&spec, 3, DAY, 2));
        assert_ne!(cpu(&diurnal(&spec, 3, DAY, 1)), cpu(&diurnal(&spec, 4, DAY, 1)));
    }
}
