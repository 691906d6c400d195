//! Power of a host as a function of its load: the SPECpower way, eleven points and straight lines between.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::units::{Joules, Watts};

mod fit;
mod hull;

pub use fit::CurveFit;
pub use hull::{HullSegment, LowerHull};

/// Number of points of a curve: active idle, then 10 % to 100 % load.
pub const POINTS: usize = 11;

/// The names that [`PowerCurve::of_class`] knows.
pub const CLASSES: [&str; 3] = ["epyc-7742", "xeon-platinum-8180", "ml110-g5"];

/// Why a curve is refused.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum InvalidCurve {
    /// A point is not a finite number of at least zero.
    #[error("power at {load_percent} % load is {watts} W: a finite number of at least 0 is needed")]
    Point {
        /// Load of the point.
        load_percent: usize,
        /// What was given.
        watts: f64,
    },
    /// Power falls as load rises.
    #[error("power falls from {before} W to {after} W at {load_percent} % load: a curve must not fall")]
    Falls {
        /// Load of the lower point.
        load_percent: usize,
        /// Power at the load below.
        before: f64,
        /// Power at this load.
        after: f64,
    },
    /// More power asleep than awake.
    #[error("asleep {asleep} W is above idle {idle} W: sleeping would cost energy")]
    Asleep {
        /// Power asleep.
        asleep: f64,
        /// Power idle.
        idle: f64,
    },
}

/// Power model of one class of host.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PowerCurve {
    /// Power at 0 %, 10 % … 100 % load.
    points: [Watts; POINTS],
    /// Power asleep.
    asleep: Watts,
    /// Time from the wake order until the host carries load again.
    wake: Duration,
    /// Time from the sleep order until the host draws its sleeping power.
    fall_asleep: Duration,
}

impl PowerCurve {
    /// Takes a curve.
    ///
    /// # Errors
    /// [`InvalidCurve`] when a point is not a number, the curve falls, or sleeping costs more than idling.
    pub fn new(
        points: [Watts; POINTS],
        asleep: Watts,
        wake: Duration,
        fall_asleep: Duration,
    ) -> Result<Self, InvalidCurve> {
        for (index, point) in points.iter().enumerate() {
            if !point.is_sane() {
                return Err(InvalidCurve::Point { load_percent: index * 10, watts: point.get() });
            }
        }
        for (index, pair) in points.windows(2).enumerate() {
            if pair[1] < pair[0] {
                let load_percent = (index + 1) * 10;
                return Err(InvalidCurve::Falls { load_percent, before: pair[0].get(), after: pair[1].get() });
            }
        }
        if !asleep.is_sane() || asleep > points[0] {
            return Err(InvalidCurve::Asleep { asleep: asleep.get(), idle: points[0].get() });
        }
        Ok(Self { points, asleep, wake, fall_asleep })
    }

    /// Dell 2U with two Xeon Platinum 8180 (published SPECpower_ssj2008 result); sleep figures are suspend-to-RAM
    /// orders of magnitude, to be replaced by the site's own.
    pub fn xeon_platinum_8180() -> Self {
        Self::literal([52.3, 128.9, 147.0, 170.0, 195.0, 224.0, 255.0, 292.0, 344.0, 408.0, 457.0], 6.0)
    }

    /// ASUS 1U with one EPYC 7742 (published SPECpower_ssj2008 result).
    pub fn epyc_7742() -> Self {
        Self::literal([51.4, 100.4, 109.0, 120.0, 131.0, 149.0, 161.0, 175.0, 189.0, 201.0, 214.0], 5.0)
    }

    /// HP ProLiant ML110 G5 with a Xeon 3075 (published SPECpower_ssj2008 result, 2011).
    pub fn ml110_g5() -> Self {
        Self::literal([93.7, 97.0, 101.0, 105.0, 110.0, 116.0, 121.0, 125.0, 129.0, 133.0, 135.0], 4.0)
    }

    /// The curve of a class; `None` for a name that is not among [`CLASSES`].
    pub fn of_class(name: &str) -> Option<Self> {
        match name {
            "epyc-7742" => Some(Self::epyc_7742()),
            "xeon-platinum-8180" => Some(Self::xeon_platinum_8180()),
            "ml110-g5" => Some(Self::ml110_g5()),
            _ => None,
        }
    }

    fn literal(watts: [f64; POINTS], asleep: f64) -> Self {
        Self {
            points: watts.map(Watts),
            asleep: Watts(asleep),
            wake: Duration::from_secs(30),
            fall_asleep: Duration::from_secs(15),
        }
    }

    /// Power at `utilisation`, 0 to 1; what lies outside is taken as the nearer end.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    pub fn at(&self, utilisation: f64) -> Watts {
        let position = utilisation.clamp(0.0, 1.0) * 10.0;
        if position.is_nan() {
            return self.points[0];
        }
        let below = (position.floor() as usize).min(POINTS - 2);
        let (low, high) = (self.points[below], self.points[below + 1]);
        low + (high - low) * (position - position.floor().min(9.0))
    }

    /// Power at no load.
    pub fn idle(&self) -> Watts {
        self.points[0]
    }

    /// Power at full load.
    pub fn peak(&self) -> Watts {
        self.points[POINTS - 1]
    }

    /// Power asleep.
    pub fn asleep(&self) -> Watts {
        self.asleep
    }

    /// Time from the wake order until the host carries load again.
    pub fn wake_time(&self) -> Duration {
        self.wake
    }

    /// Time from the sleep order until the host draws its sleeping power.
    pub fn fall_asleep_time(&self) -> Duration {
        self.fall_asleep
    }

    /// The eleven points.
    pub fn points(&self) -> &[Watts; POINTS] {
        &self.points
    }

    /// How long a host must stay asleep before sleeping has paid: energy of falling asleep and waking beyond what
    /// idling would have cost, over what sleeping saves per second. The transitions are taken at peak power
    /// (the boot measurements in the literature lie at 0.7 to 0.9 of it), so the figure errs towards staying awake.
    pub fn break_even(&self) -> Duration {
        let saved = self.idle() - self.asleep;
        if saved.get() <= 0.0 {
            return Duration::MAX;
        }
        crate::units::seconds(self.cycle_energy().get() / saved.get())
    }

    /// Energy that one sleep and one wake cost.
    pub fn cycle_energy(&self) -> Joules {
        self.peak().over(self.wake + self.fall_asleep)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn power_follows_the_points_and_straight_lines_between() {
        let curve = PowerCurve::epyc_7742();
        assert_eq!(curve.at(0.0), Watts(51.4));
        assert_eq!(curve.at(1.0), Watts(214.0));
        assert!((curve.at(0.25).get() - 114.5).abs() < 1e-9);
        assert_eq!(curve.at(-1.0), curve.idle());
        assert_eq!(curve.at(7.0), curve.peak());
        assert_eq!(curve.at(f64::NAN), curve.idle());
    }

    #[test]
    fn a_falling_curve_is_refused_with_its_place() {
        let mut points = *PowerCurve::ml110_g5().points();
        points[4] = Watts(10.0);
        let error = PowerCurve::new(points, Watts(1.0), Duration::ZERO, Duration::ZERO).unwrap_err();
        assert_eq!(error.to_string(), "power falls from 105 W to 10 W at 40 % load: a curve must not fall");
    }
}
