//! A vm that works in bursts: busy and idle spans in turn, both with heavy tails, so that bursts come on every time-scale
//! (Willinger et al. 1997 showed that such sources add up to the self-similar load of real systems).

use std::time::Duration;

use super::{Draws, Grid, draws::pareto_mean, series};
use crate::trace::Series;

/// Longest span, in shortest ones: a month-long burst would be another vm.
const LONGEST: f64 = 100.0;

/// A vm that works in bursts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bursty {
    /// CPU share between bursts.
    pub idle: f64,
    /// CPU share in bursts.
    pub busy: f64,
    /// Shortest burst.
    pub busy_least: Duration,
    /// Shortest pause.
    pub idle_least: Duration,
    /// Exponent of the spans' tails, 1.05 to 3; below 2 the variance of uncut spans is infinite. 1.5 is usual.
    pub alpha: f64,
}

impl Bursty {
    /// Share of the time it is busy in the long run.
    pub fn busy_share(&self) -> f64 {
        let mean = |least: Duration| pareto_mean(least.as_secs_f64(), self.alpha, least.as_secs_f64() * LONGEST);
        mean(self.busy_least) / (mean(self.busy_least) + mean(self.idle_least))
    }
}

/// The demand of the vm with number `vm`. A slot holds the mean of what happens within it.
pub fn bursty(spec: &Bursty, vm: u64, grid: Grid, seed: u64) -> Series {
    let mut spans = Spans::new(spec, Draws::new(seed, vm), grid);
    let share = |slot| spec.idle + (spec.busy - spec.idle) * spans.busy_share_of(slot);
    series(format!("bursty-{vm:04}"), grid, (0.3, 0.8), (0..grid.slots).map(share))
}

/// Busy and idle spans in turn.
struct Spans<'a> {
    spec: &'a Bursty,
    draws: Draws,
    grid: Grid,
    number: u64,
    is_busy: bool,
    /// End of the present span, in slots.
    end: f64,
}

impl<'a> Spans<'a> {
    /// Begins somewhere within a span, so that the vms of a fleet do not begin together.
    fn new(spec: &'a Bursty, draws: Draws, grid: Grid) -> Self {
        let is_busy = draws.part(1).unit(0) < spec.busy_share();
        let mut spans = Self { spec, draws, grid, number: 0, is_busy, end: 0.0 };
        spans.end = spans.length() * draws.part(1).unit(1);
        spans
    }

    fn length(&self) -> f64 {
        let least = if self.is_busy { self.spec.busy_least } else { self.spec.idle_least };
        let least = self.grid.slots_of(least).max(1e-6);
        self.draws.pareto(self.number, least, self.spec.alpha, least * LONGEST)
    }

    /// Share of a slot in which it is busy; slots must be asked for in rising order.
    fn busy_share_of(&mut self, slot: usize) -> f64 {
        let (mut from, to) = (ballast_core::units::count(slot), ballast_core::units::count(slot + 1));
        let mut busy = 0.0;
        while from < to {
            let until = self.end.min(to);
            if self.is_busy {
                busy += (until - from).max(0.0);
            }
            from = until.max(from);
            if self.end <= to {
                self.number += 1;
                self.is_busy = !self.is_busy;
                self.end += self.length();
            }
        }
        busy
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::generate::testing::{DAY, cpu, mean};

    fn spec(busy: f64, busy_s: u64, idle_s: u64) -> Bursty {
        let (busy_least, idle_least) = (Duration::from_secs(busy_s), Duration::from_secs(idle_s));
        Bursty { idle: 0.03, busy, busy_least, idle_least, alpha: 1.5 }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn bursts_lie_between_idle_and_busy_and_fill_their_share(
            busy in 0.3..1.0f64, busy_s in 30..600u64, idle_s in 60..900u64, seed in any::<u64>()
        ) {
            let spec = spec(busy, busy_s, idle_s);
            let all: Vec<f64> = (0..150).flat_map(|vm| cpu(&bursty(&spec, vm, DAY, seed))).collect();
            prop_assert!(all.iter().all(|share| (0.0299..=busy + 1e-6).contains(share)));
            let share = (mean(&all) - 0.03) / (busy - 0.03);
            prop_assert!((share - spec.busy_share()).abs() < 0.05, "{share} {}", spec.busy_share());
        }
    }

    #[test]
    fn the_same_seed_gives_the_same_bursts() {
        let spec = spec(0.9, 120, 600);
        assert_eq!(bursty(&spec, 1, DAY, 5), bursty(&spec, 1, DAY, 5));
        assert_ne!(cpu(&bursty(&spec, 1, DAY, 5)), cpu(&bursty(&spec, 2, DAY, 5)));
    }
}
