//! A power curve corrected by what a meter said.
//!
//! Each reading says by how much the curve is off at its load. What is off is averaged at the two points next to the load, taken
//! over straight lines where nothing was read between two points, and as it is beyond the outermost; where power would then fall as
//! load rises, neighbours are pooled (isotonic regression by pooling adjacent violators, Barlow et al. 1972).

use super::{POINTS, PowerCurve};
use crate::units::Watts;

/// Readings without which nothing is corrected.
const READINGS: u64 = 100;

/// Weight of readings from which a point counts as read: fewer are an accident.
const WEIGHT: f64 = 5.0;

/// Readings of one kind of host.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct CurveFit {
    /// At each point: weight of the readings, and the weighted sum of what the curve is off.
    off: [(f64, f64); POINTS],
    readings: u64,
}

impl CurveFit {
    /// Takes a reading at `load`, a share of the host's CPU; what is no number, or no load, is left out.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // Between 0 and 10.
    pub fn observe(&mut self, curve: &PowerCurve, load: f64, watts: Watts) {
        if !(0.0..=1.0).contains(&load) || !watts.is_sane() {
            return;
        }
        let off = (watts - curve.at(load)).get();
        let position = load * 10.0;
        let below = (position.floor() as usize).min(POINTS - 2);
        let above = position - crate::units::count(below);
        for (point, weight) in [(below, 1.0 - above), (below + 1, above)] {
            self.off[point].0 += weight;
            self.off[point].1 += weight * off;
        }
        self.readings += 1;
    }

    /// How many readings there are.
    pub fn readings(&self) -> u64 {
        self.readings
    }

    /// `curve` as corrected; `None` where there are too few readings to say.
    pub fn corrected(&self, curve: &PowerCurve) -> Option<PowerCurve> {
        if self.readings < READINGS {
            return None;
        }
        let off = self.spread_out()?;
        let raw: Vec<(f64, f64)> = (0..POINTS)
            .map(|point| ((curve.points[point].get() + off[point]).max(0.0), self.off[point].0.max(f64::EPSILON)))
            .collect();
        let points: [f64; POINTS] = rising(&raw).try_into().ok()?;
        let asleep = Watts(curve.asleep.get().min(points[0]));
        PowerCurve::new(points.map(Watts), asleep, curve.wake, curve.fall_asleep).ok()
    }

    /// What the curve is off at every point; `None` where no point was read.
    fn spread_out(&self) -> Option<[f64; POINTS]> {
        let read = |point: &usize| self.off[*point].0 >= WEIGHT;
        let mean = |point: usize| self.off[point].1 / self.off[point].0;
        let known: Vec<usize> = (0..POINTS).filter(read).collect();
        let (first, last) = (*known.first()?, *known.last()?);
        Some(std::array::from_fn(|point| {
            let below = known.iter().rev().find(|known| **known <= point).copied().unwrap_or(first);
            let above = known.iter().find(|known| **known >= point).copied().unwrap_or(last);
            if below >= above {
                return mean(below);
            }
            let share = crate::units::count(point - below) / crate::units::count(above - below);
            mean(below) + share * (mean(above) - mean(below))
        }))
    }
}

/// The non-falling values nearest to those given with their weights.
fn rising(values: &[(f64, f64)]) -> Vec<f64> {
    // Pools of neighbours: mean, weight, how many.
    let mut pools: Vec<(f64, f64, usize)> = Vec::with_capacity(values.len());
    for (value, weight) in values {
        let mut pool = (*value, *weight, 1);
        while let Some(before) = pools.last().copied().filter(|before| before.0 > pool.0) {
            pools.pop();
            let weight = before.1 + pool.1;
            pool = ((before.0 * before.1 + pool.0 * pool.1) / weight, weight, before.2 + pool.2);
        }
        pools.push(pool);
    }
    pools.into_iter().flat_map(|(value, _, many)| std::iter::repeat_n(value, many)).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn fit(curve: &PowerCurve, readings: impl IntoIterator<Item = (f64, f64)>) -> CurveFit {
        let mut fit = CurveFit::default();
        readings.into_iter().for_each(|(load, watts)| fit.observe(curve, load, Watts(watts)));
        fit
    }

    fn loads() -> impl Iterator<Item = f64> {
        (0..=1000_u32).map(|step| f64::from(step) / 1000.0)
    }

    #[test]
    fn a_meter_that_reads_another_curve_corrects_this_one() {
        let (ours, true_one) = (PowerCurve::epyc_7742(), PowerCurve::xeon_platinum_8180());
        let corrected = fit(&ours, loads().map(|load| (load, true_one.at(load).get()))).corrected(&ours).unwrap();
        let worst = loads().map(|load| (corrected.at(load) - true_one.at(load)).get().abs()).fold(0.0, f64::max);
        // Half of the jump between no load and a tenth of it is smoothed away; it was off by 243 W.
        assert!(worst < 12.5, "off by {worst} W at most");
    }

    #[test]
    fn where_nothing_was_read_the_nearest_reading_counts() {
        let curve = PowerCurve::ml110_g5();
        let near_a_third = (0..200).map(|step| 0.3 + f64::from(step % 10) * 1e-3);
        let corrected = fit(&curve, near_a_third.map(|load| (load, curve.at(load).get() + 20.0))).corrected(&curve);
        let corrected = corrected.unwrap();
        assert!((corrected.peak() - curve.peak()).get() > 19.9 && (corrected.idle() - curve.idle()).get() > 19.9);
    }

    #[test]
    fn few_readings_and_readings_that_make_no_sense_correct_nothing() {
        let curve = PowerCurve::ml110_g5();
        assert_eq!(fit(&curve, (0..99).map(|_| (0.5, 200.0))).corrected(&curve), None);
        let senseless = fit(&curve, (0..500).flat_map(|_| [(1.5, 200.0), (f64::NAN, 100.0), (0.5, f64::INFINITY)]));
        assert_eq!((senseless.readings(), senseless.corrected(&curve)), (0, None));
    }

    proptest! {
        #[test]
        fn whatever_is_read_the_curve_never_falls(readings in prop::collection::vec((0.0..1.0f64, 0.0..1e4f64), 100..300)) {
            let curve = PowerCurve::epyc_7742();
            let corrected = fit(&curve, readings).corrected(&curve);
            prop_assert!(corrected.is_some_and(|curve| curve.points().is_sorted()));
        }
    }
}
