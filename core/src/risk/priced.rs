//! How cautious is cheapest: the deviations that, had hosts been filled by them, would have cost least by the demand that came.
//!
//! A caution that is fixed is wrong on most fleets: where many steady vms share large hosts none at all is cheapest, and where
//! tenants rise together within seconds six deviations are (docs/policy.md has the figures). What each would have cost is told
//! by [`super::trial`]; this adds it up, lets it fade, and leans on where the operator begins while little is known.

use serde::{Deserialize, Serialize};

use crate::risk::trial::{Costs, LEVELS};

/// Steps after which what was seen counts half: a week, so that what happens on Mondays is not forgotten by Sunday.
const HALF_LIFE: f64 = 2016.0;

/// Share of the fleet's cost that each deviation away from where the operator begins is taken to cost, for
/// [`STEPS_ASSUMED`]. About what a deviation more of caution costs in idle hosts.
const ASSUMED: f64 = 0.05;

/// Steps that this assumption is worth: an hour. On four PlanetLab days and in four of the scenarios that come with ballast a quarter of
/// an hour costs as much but for one (1.4 % more), four hours up to 2.2 % more.
const STEPS_ASSUMED: f64 = 12.0;

/// What each caution would have cost so far; kept across restarts.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Priced {
    /// Joules a second by level, summed over steps that fade; empty before the first.
    costs: Vec<f64>,
    /// Weight of all steps.
    steps: f64,
}

impl Priced {
    /// Takes what a second of a step would have cost at each level.
    pub(super) fn observe(&mut self, costs: &Costs) {
        if !self.is_known() {
            *self = Self { costs: vec![0.0; LEVELS.len()], steps: 0.0 };
        }
        let kept = (-1.0 / HALF_LIFE).exp2();
        self.steps = self.steps * kept + 1.0;
        for (all, one) in self.costs.iter_mut().zip(costs) {
            *all = *all * kept + one;
        }
    }

    /// The caution that would have cost least, in standard deviations; `start` where nothing is known.
    pub(super) fn z(&self, start: f64) -> f64 {
        if !self.is_known() {
            return start;
        }
        let typical = self.costs.iter().copied().fold(f64::INFINITY, f64::min) / self.steps;
        let leaning = |z: f64| STEPS_ASSUMED * ASSUMED * typical * (z - start).abs();
        let priced = LEVELS.iter().zip(&self.costs).map(|(z, cost)| (*z, cost + leaning(*z)));
        priced.min_by(|a, b| a.1.total_cmp(&b.1)).map_or(start, |(z, _)| z)
    }

    /// A state that was read back may be anything, and of another version with other levels.
    fn is_known(&self) -> bool {
        let is_sane = |value: &f64| value.is_finite() && *value >= 0.0;
        self.costs.len() == LEVELS.len() && self.costs.iter().all(is_sane) && self.steps >= 1.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A step whose cost is least at `best`.
    fn step(best: f64) -> Costs {
        LEVELS.map(|z| 1000.0 * (1.0 + 0.1 * (z - best).abs()))
    }

    #[test]
    fn without_a_step_it_is_what_the_operator_says() {
        assert_eq!(Priced::default().z(1.7), 1.7);
    }

    #[test]
    fn the_cheapest_wins_once_it_has_been_so_for_longer_than_is_assumed() {
        let mut priced = Priced::default();
        let mut steps = 0;
        while priced.z(2.0) == 2.0 {
            priced.observe(&step(0.5));
            steps += 1;
        }
        assert_eq!((priced.z(2.0), steps), (0.5, 7));
    }

    #[test]
    fn one_step_that_was_dear_outweighs_a_day_that_was_not() {
        let mut priced = Priced::default();
        for _ in 0..288 {
            priced.observe(&step(0.5));
        }
        priced.observe(&LEVELS.map(|z| if z < 4.0 { 500_000.0 } else { 1000.0 }));
        assert_eq!(priced.z(2.0), 4.0);
        for _ in 0..4 * 2016 {
            priced.observe(&step(0.5));
        }
        assert_eq!(priced.z(2.0), 0.5, "a month later it is forgotten");
    }

    #[test]
    fn what_another_version_kept_is_begun_anew() {
        for kept in [r#"{"costs":[1.0,2.0],"steps":9.0}"#, r#"{"costs":[],"steps":0.0}"#] {
            let mut priced: Priced = serde_json::from_str(kept).unwrap();
            assert_eq!(priced.z(2.0), 2.0, "{kept}");
            (0..20).for_each(|_| priced.observe(&step(1.0)));
            assert_eq!(priced.z(2.0), 1.0, "{kept}");
        }
    }
}
