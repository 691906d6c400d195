//! The largest convex line that lies nowhere above a power curve: what a lower bound on energy may count with.
//!
//! A measured curve is not convex (the first tenth of load often costs most), and a bound that took it as it is would not be
//! one: many hosts at different loads can then need less than the curve at their mean load. The bounds of the simulator use
//! this; nothing that decides does.

use super::{POINTS, PowerCurve};
use crate::units::{Watts, count};

/// A stretch of the hull with one slope.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct HullSegment {
    /// Utilisation at which it begins, 0 to 1.
    pub from: f64,
    /// Utilisation at which it ends, 0 to 1.
    pub to: f64,
    /// Watts for each unit of utilisation.
    pub slope: f64,
}

/// The convex minorant of a curve from some least utilisation up to 1. Slopes rise from segment to segment.
#[derive(Debug, Clone, PartialEq)]
pub struct LowerHull {
    least: Watts,
    segments: Vec<HullSegment>,
}

impl LowerHull {
    /// Power at the least utilisation.
    pub fn least(&self) -> Watts {
        self.least
    }

    /// Its segments, in order; none where it covers a single point.
    pub fn segments(&self) -> &[HullSegment] {
        &self.segments
    }

    /// Power at `utilisation`; what lies outside is taken as the nearer end.
    pub fn at(&self, utilisation: f64) -> Watts {
        let climbed = |segment: &HullSegment| segment.slope * (utilisation.min(segment.to) - segment.from).max(0.0);
        self.least + Watts(self.segments.iter().map(climbed).sum())
    }
}

impl PowerCurve {
    /// Its convex minorant over all loads.
    pub fn lower_hull(&self) -> LowerHull {
        self.lower_hull_from(0.0)
    }

    /// Its convex minorant from utilisation `least` on: for a host whose own work never lets it go below.
    pub fn lower_hull_from(&self, least: f64) -> LowerHull {
        let least = if least.is_nan() { 0.0 } else { least.clamp(0.0, 1.0) };
        let begin = (least, self.at(least).get());
        let above =
            (0..POINTS).map(|index| (count(index) / 10.0, self.points[index].get())).filter(|(u, _)| *u > least);
        let corners = lower_corners(std::iter::once(begin).chain(above));
        let segment =
            |pair: &[(f64, f64)]| HullSegment { from: pair[0].0, to: pair[1].0, slope: slope(pair[0], pair[1]) };
        LowerHull { least: Watts(begin.1), segments: corners.windows(2).map(segment).collect() }
    }
}

fn slope(a: (f64, f64), b: (f64, f64)) -> f64 {
    (b.1 - a.1) / (b.0 - a.0)
}

/// The lower half of the convex hull of points given from left to right (Andrew's monotone chain, 1979).
fn lower_corners(points: impl Iterator<Item = (f64, f64)>) -> Vec<(f64, f64)> {
    let mut corners: Vec<(f64, f64)> = Vec::with_capacity(POINTS);
    for point in points {
        while let [.., before, last] = corners[..] {
            if slope(before, last) < slope(last, point) {
                break;
            }
            corners.pop();
        }
        corners.push(point);
    }
    corners
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    /// Any curve that is not refused: eleven rises, asleep at nothing.
    fn curves() -> impl Strategy<Value = PowerCurve> {
        prop::collection::vec(0.0..80.0f64, POINTS).prop_map(|rises| {
            let mut watts = 0.0;
            let points: Vec<Watts> = rises
                .iter()
                .map(|rise| {
                    Watts({
                        watts += rise;
                        watts
                    })
                })
                .collect();
            PowerCurve::new(points.try_into().unwrap(), Watts::ZERO, Duration::ZERO, Duration::ZERO).unwrap()
        })
    }

    fn hull_is_sound(curve: &PowerCurve, least: f64) -> Result<(), TestCaseError> {
        let hull = curve.lower_hull_from(least);
        for step in 0..=1000 {
            let at = least + (1.0 - least) * f64::from(step) / 1000.0;
            prop_assert!(hull.at(at).get() <= curve.at(at).get() + 1e-9, "{curve:?} at {at}");
        }
        prop_assert!(
            hull.segments().windows(2).all(|pair| pair[0].slope < pair[1].slope && pair[0].to == pair[1].from)
        );
        prop_assert!((hull.at(1.0) - curve.peak()).get().abs() < 1e-9 && hull.least() == curve.at(least));
        Ok(())
    }

    proptest! {
        #[test]
        fn the_hull_is_convex_touches_both_ends_and_lies_nowhere_above(curve in curves(), least in 0.0..0.99f64) {
            hull_is_sound(&curve, least)?;
        }
    }

    #[test]
    fn the_hulls_of_the_shipped_curves_lie_nowhere_above_them() {
        for curve in [PowerCurve::xeon_platinum_8180(), PowerCurve::epyc_7742(), PowerCurve::ml110_g5()] {
            hull_is_sound(&curve, 0.0).unwrap();
        }
    }

    #[test]
    fn a_first_step_that_costs_most_is_cut_off() {
        let hull = PowerCurve::epyc_7742().lower_hull();
        assert!(hull.at(0.1) < PowerCurve::epyc_7742().at(0.1) - Watts(20.0));
        assert_eq!(hull.segments()[0].from, 0.0);
    }

    #[test]
    fn a_curve_convex_already_keeps_all_its_points() {
        let points: [Watts; POINTS] = std::array::from_fn(|index| Watts(count(index * index)));
        let curve = PowerCurve::new(points, Watts::ZERO, Duration::ZERO, Duration::ZERO).unwrap();
        assert_eq!(curve.lower_hull().segments().len(), POINTS - 1);
        assert!(curve.lower_hull_from(1.0).segments().is_empty());
    }
}
