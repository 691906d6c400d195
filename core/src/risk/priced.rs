//! How cautious is cheapest: the deviations that, had hosts been filled by them, would have cost least by the demand that came.
//!
//! A caution that is fixed is wrong on most fleets: where many steady vms share large hosts none at all is cheapest, and where
//! tenants rise together within seconds six deviations are (docs/policy.md has the figures). What each would have cost is told
//! by [`super::trial`]; this adds it up, lets it fade, and leans on where the operator begins while little is known.
//!
//! A trial leaves a host that is too full as it is, and a fleet does not: relief takes vms away from it. Of what was foretold of
//! the hosts as they were, some share really came; that share of what is foretold of fuller ones counts.

use serde::{Deserialize, Serialize};

use crate::{
    risk::trial::{Costs, LEVELS},
    tuning::Tuning,
};

/// Steps after which what was seen counts half: a week, so that what happens on Mondays is not forgotten by Sunday.
const HALF_LIFE: f64 = 2016.0;

/// Share of the fleet's cost that each deviation away from where the operator begins is taken to cost, for
/// [`STEPS_ASSUMED`]. About what a deviation more of caution costs in idle hosts.
const ASSUMED: f64 = 0.05;

/// Steps that what is assumed is worth: an hour. On four PlanetLab days and in the scenarios that come with ballast a quarter of an hour
/// costs as much, four hours up to two per cent more.
const STEPS_ASSUMED: f64 = 12.0;

/// What each caution would have cost so far; kept across restarts.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Priced {
    /// Watts by level, summed over steps that fade; empty before the first.
    idle: Vec<f64>,
    /// Cores unserved likewise, if nobody had done anything about it.
    unserved: Vec<f64>,
    /// The same of hosts as they were, and what came.
    foretold: f64,
    came: f64,
    /// Weight of all steps.
    steps: f64,
}

impl Priced {
    /// Takes what a second of a step would have cost.
    pub(super) fn observe(&mut self, costs: &Costs) {
        if !self.is_known() {
            let nothing = vec![0.0; LEVELS.len()];
            *self = Self { idle: nothing.clone(), unserved: nothing, ..Self::default() };
        }
        let kept = (-1.0 / HALF_LIFE).exp2();
        let take = |all: &mut f64, one: f64| *all = *all * kept + one;
        self.idle.iter_mut().zip(costs.idle).for_each(|(all, one)| take(all, one));
        self.unserved.iter_mut().zip(costs.unserved).for_each(|(all, one)| take(all, one));
        take(&mut self.foretold, costs.foretold);
        take(&mut self.came, costs.came);
        take(&mut self.steps, 1.0);
    }

    /// The caution that would have cost least, in standard deviations; where nothing is known the operator's.
    pub(super) fn z(&self, tuning: &Tuning) -> f64 {
        let (start, price) = (tuning.risk_z, tuning.overload_joules_per_core_second);
        if !self.is_known() {
            return start;
        }
        let idle = self.idle.iter().copied().fold(f64::INFINITY, f64::min) / self.steps;
        let assumed = STEPS_ASSUMED * ASSUMED * idle;
        let share = self.share(assumed / price.max(f64::MIN_POSITIVE));
        let costs = self.idle.iter().zip(&self.unserved).map(|(idle, unserved)| idle + price * share * unserved);
        let priced = LEVELS.iter().zip(costs).map(|(z, cost)| (*z, cost + assumed * (z - start).abs()));
        priced.min_by(|a, b| a.1.total_cmp(&b.1)).map_or(start, |(z, _)| z)
    }

    /// The share of what was foretold that came, taken to be all of it for the first `assumed` cores.
    fn share(&self, assumed: f64) -> f64 {
        let share = (self.came + assumed) / (self.foretold + assumed);
        if share.is_finite() { share.clamp(0.0, 1.0) } else { 1.0 }
    }

    /// A state that was read back may be anything, and of another version with other levels.
    fn is_known(&self) -> bool {
        let is_sane = |values: &[f64]| values.iter().all(|value| value.is_finite() && *value >= 0.0);
        let is_whole = |values: &Vec<f64>| values.len() == LEVELS.len() && is_sane(values);
        is_whole(&self.idle) && is_whole(&self.unserved) && is_sane(&[self.foretold, self.came]) && self.steps >= 1.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A step whose cost is least at `best`.
    fn step(best: f64) -> Costs {
        Costs { idle: LEVELS.map(|z| 1000.0 * (1.0 + 0.1 * (z - best).abs())), ..Costs::default() }
    }

    /// A step in which whoever is less cautious than four deviations leaves a thousand cores unserved.
    fn storm(came: f64) -> Costs {
        let unserved = LEVELS.map(|z| if z < 4.0 { 1000.0 } else { 0.0 });
        Costs { unserved, foretold: 1000.0, came, ..step(0.5) }
    }

    fn tuning() -> Tuning {
        Tuning { risk_z: 2.0, ..Tuning::default() }
    }

    fn after(steps: &[Costs]) -> Priced {
        let mut priced = Priced::default();
        steps.iter().for_each(|step| priced.observe(step));
        priced
    }

    #[test]
    fn without_a_step_it_is_what_the_operator_says() {
        assert_eq!(Priced::default().z(&tuning()), 2.0);
    }

    #[test]
    fn the_cheapest_wins_once_it_has_been_so_for_longer_than_is_assumed() {
        let priced = |steps| after(&vec![step(0.5); steps]).z(&tuning());
        assert_eq!((priced(6), priced(7)), (2.0, 0.5));
    }

    #[test]
    fn one_step_that_was_dear_outweighs_a_day_that_was_not() {
        let mut priced = after(&[step(0.5); 288]);
        priced.observe(&storm(1000.0));
        assert_eq!(priced.z(&tuning()), 4.0);
        (0..4 * 2016).for_each(|_| priced.observe(&step(0.5)));
        assert_eq!(priced.z(&tuning()), 0.5, "a month later it is forgotten");
    }

    #[test]
    fn what_relief_takes_care_of_needs_no_caution() {
        let mut priced = after(&[step(0.5); 288]);
        priced.observe(&storm(10.0));
        assert_eq!(priced.z(&tuning()), 0.5);
    }

    #[test]
    fn what_another_version_kept_is_begun_anew() {
        for kept in [
            r#"{"idle":[1.0],"unserved":[2.0],"foretold":0.0,"came":0.0,"steps":9.0}"#,
            r#"{"idle":[],"unserved":[],"foretold":0.0,"came":0.0,"steps":0.0}"#,
        ] {
            let mut priced: Priced = serde_json::from_str(kept).unwrap();
            assert_eq!(priced.z(&tuning()), 2.0, "{kept}");
            (0..20).for_each(|_| priced.observe(&step(1.0)));
            assert_eq!(priced.z(&tuning()), 1.0, "{kept}");
        }
    }
}
