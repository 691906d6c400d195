//! How long each decision took: what a scheduler has to keep up with is the longest of many, not their sum.

use std::time::Duration;

use serde::Serialize;

use crate::score::stats::percentile;

/// CPU time of every decision of a run, in order.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Cycles(Vec<Duration>);

impl Cycles {
    /// One that took so long.
    pub fn one(took: Duration) -> Self {
        Self(vec![took])
    }

    /// Another one took so long.
    pub fn add(&mut self, took: Duration) {
        self.0.push(took);
    }

    /// All of them together.
    pub fn total(&self) -> Duration {
        self.0.iter().sum()
    }

    /// What they come to.
    pub fn figures(&self) -> CycleFigures {
        let millis: Vec<f64> = self.0.iter().map(|took| took.as_secs_f64() * 1e3).collect();
        let decisions = millis.len();
        let mean_ms = millis.iter().sum::<f64>() / ballast_core::units::count(decisions.max(1));
        let most = millis.iter().copied().fold(0.0, f64::max);
        CycleFigures {
            decisions,
            decision_mean_ms: mean_ms,
            decision_p99_ms: percentile(millis, 0.99),
            decision_max_ms: most,
        }
    }
}

/// How often was decided, and how long that took.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct CycleFigures {
    /// Decisions: rounds, those that came early, and looks at overloaded hosts.
    pub decisions: usize,
    /// CPU time of one on average, milliseconds.
    pub decision_mean_ms: f64,
    /// CPU time that 99 of 100 took no longer than, milliseconds.
    pub decision_p99_ms: f64,
    /// CPU time of the longest, milliseconds.
    pub decision_max_ms: f64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_those_of_the_decisions() {
        let mut cycles = Cycles::default();
        (1..=200).for_each(|millis| cycles.add(Duration::from_millis(millis)));
        let figures = cycles.figures();
        assert_eq!((figures.decisions, figures.decision_mean_ms, figures.decision_max_ms), (200, 100.5, 200.0));
        assert!((197.0..=199.0).contains(&figures.decision_p99_ms), "{figures:?}");
        assert_eq!(cycles.total(), Duration::from_millis(20_100));
    }

    #[test]
    fn of_no_decisions_nothing_is_said() {
        assert_eq!(Cycles::default().figures(), CycleFigures::default());
    }
}
