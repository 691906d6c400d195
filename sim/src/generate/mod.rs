//! Demand that nobody recorded: made from a seed, for what recordings lack (sub-minute bursts, correlated tenants, requests,
//! arrivals).
//!
//! Every function is pure: the same specification and seed give the same bytes, and another vm's day never depends on how
//! many vms there are. Scenario files ask for these; nothing here knows a host.

pub mod arrivals;
pub mod bursty;
pub mod diurnal;
mod draws;
pub mod qa;
pub mod storm;
pub mod tenants;

use std::time::Duration;

pub use arrivals::{ArrivalSpec, arrivals};
pub use bursty::{Bursty, bursty};
pub use diurnal::{Diurnal, diurnal};
pub use qa::{QaSpec, Question, qa};
pub use storm::{Storm, StormSpec, storm};
pub use tenants::{Tenants, tenants};

pub(crate) use draws::Draws;

use crate::trace::{Series, Slot, google};

/// The grid a series is made on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grid {
    /// Length of one slot.
    pub slot: Duration,
    /// How many.
    pub slots: usize,
    /// Seconds after midnight at which the first begins.
    pub midnight_s: u32,
}

impl Grid {
    /// The grid that covers `span` from `midnight_s` seconds after midnight, with one slot more for the line to the next.
    pub fn covering(span: Duration, slot: Duration, midnight_s: u32) -> Self {
        let slots = span.as_nanos().div_ceil(slot.as_nanos().max(1));
        Self { slot, slots: usize::try_from(slots).unwrap_or(usize::MAX - 1).max(1) + 1, midnight_s }
    }

    /// Hour of the day, with fraction, in which a slot begins; it goes on beyond 24.
    pub(crate) fn hour(&self, slot: usize) -> f64 {
        (f64::from(self.midnight_s) + ballast_core::units::count(slot) * self.slot.as_secs_f64()) / 3600.0
    }

    /// Slots of `span`, with fraction.
    pub(crate) fn slots_of(&self, span: Duration) -> f64 {
        span.as_secs_f64() / self.slot.as_secs_f64()
    }
}

/// A series of CPU shares, 0 to 1: memory follows CPU slowly (between `memory.0` and `memory.1` of what the vm may use, over
/// about an hour), storage and network at once.
#[allow(clippy::cast_possible_truncation)] // Shares need no more than single precision.
fn series(name: String, grid: Grid, memory: (f64, f64), shares: impl Iterator<Item = f64>) -> Series {
    let keep = (-grid.slot.as_secs_f64() / 3600.0).exp();
    let mut slow: Option<f64> = None;
    let slot = |share: f64| -> Slot {
        let share = share.clamp(0.0, 1.0);
        let level = slow.map_or(share, |slow| slow * keep + share * (1.0 - keep));
        slow = Some(level);
        google::slot(share as f32, (memory.0 + (memory.1 - memory.0) * level) as f32)
    };
    Series { name, slot: grid.slot, slots: shares.map(slot).collect() }
}

/// How loud a slow, stationary disturbance is: an autoregressive process of mean 0 and deviation 1 whose memory fades over
/// `span`.
pub(crate) struct Wander {
    draws: Draws,
    keep: f64,
    value: f64,
}

impl Wander {
    pub(crate) fn new(draws: Draws, grid: Grid, span: Duration) -> Self {
        let keep = (-grid.slot.as_secs_f64() / span.as_secs_f64().max(1e-9)).exp();
        let value = draws.normal(0);
        Self { draws, keep, value }
    }

    /// The value in the slot, which must be asked for in rising order from 0.
    pub(crate) fn at(&mut self, slot: usize) -> f64 {
        if slot > 0 {
            let fresh = self.draws.normal(slot as u64);
            self.value = self.value * self.keep + fresh * (1.0 - self.keep * self.keep).sqrt();
        }
        self.value
    }
}

#[cfg(test)]
pub(crate) mod testing {
    use super::*;

    /// A day in slots of five minutes from midnight.
    pub(crate) const DAY: Grid = Grid { slot: Duration::from_secs(300), slots: 288, midnight_s: 0 };

    pub(crate) fn cpu(series: &Series) -> Vec<f64> {
        series.slots.iter().map(|slot| f64::from(slot.cpu)).collect()
    }

    pub(crate) fn mean(values: &[f64]) -> f64 {
        values.iter().sum::<f64>() / ballast_core::units::count(values.len())
    }

    /// Pearson's correlation.
    pub(crate) fn correlation(a: &[f64], b: &[f64]) -> f64 {
        let (ma, mb) = (mean(a), mean(b));
        let sum = |f: &dyn Fn(f64, f64) -> f64| a.iter().zip(b).map(|(x, y)| f(x - ma, y - mb)).sum::<f64>();
        sum(&|x, y| x * y) / (sum(&|x, _| x * x) * sum(&|_, y| y * y)).sqrt()
    }
}

#[cfg(test)]
mod tests {
    use super::{testing::DAY, *};

    #[test]
    fn a_wander_has_mean_zero_and_deviation_one_and_remembers() {
        let values: Vec<f64> = (0..40)
            .flat_map(|vm| {
                let mut wander = Wander::new(Draws::new(7, vm), DAY, Duration::from_secs(1800));
                (0..288).map(move |slot| wander.at(slot)).collect::<Vec<_>>()
            })
            .collect();
        let mean = testing::mean(&values);
        let variance = testing::mean(&values.iter().map(|value| (value - mean).powi(2)).collect::<Vec<_>>());
        assert!(mean.abs() < 0.1 && (variance - 1.0).abs() < 0.1, "{mean} {variance}");
        assert!(testing::correlation(&values[..11_519], &values[1..]) > 0.7);
    }

    #[test]
    fn a_grid_covers_its_span_and_one_slot_more() {
        let grid = Grid::covering(Duration::from_secs(25), Duration::from_secs(10), 3600);
        assert_eq!((grid.slots, grid.hour(0)), (4, 1.0));
    }
}
