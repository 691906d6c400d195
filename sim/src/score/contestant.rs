//! Who plays: a policy with what it knows of the future, how often it decides, and the numbers it decides by.
//!
//! ballast's own policy plays with the scenario's numbers. A peer plays on its own terms: its period, its bounds on
//! migrations, none of ballast's rules of comfort, and no forecasts but the last value (the robust rule excepted, which needs
//! an interval). The textbook's rules decide at every round and move as many vms as they like, as in the benchmark.

use std::{collections::BTreeMap, time::Duration};

use ballast_core::{
    ewma::EwmaForecaster,
    forecast::{Forecaster, VmForecast},
    id::VmId,
    policy::{
        LeaveAlone, Policy, RiskGreedy, peers,
        textbook::{self, UnknownRule},
    },
    sample::VmSample,
    tuning::Tuning,
    units::{Cores, Timestamp},
};

use super::Pace;
use crate::{bound::Oracle, scenario::Scenario};

/// The risk-aware greedy with forecasts that come true: what is lost to not knowing.
pub const ORACLE_GREEDY: &str = "oracle-greedy";

/// More migrations and sleeps than any round has.
const UNLIMITED: usize = 100_000;

/// A policy, ready to play.
pub struct Contestant {
    /// The policy.
    pub policy: Box<dyn Policy>,
    /// What it is told of the future.
    pub forecaster: Box<dyn Forecaster>,
    /// How often it decides, by which numbers.
    pub pace: Pace,
}

impl std::fmt::Debug for Contestant {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Contestant")
            .field("policy", &self.policy.name())
            .field("pace", &self.pace)
            .finish_non_exhaustive()
    }
}

/// Whether a policy has a risk knob.
pub fn has_risk_knob(name: &str) -> bool {
    name == RiskGreedy::NAME
}

/// The names of all contestants; any parameters of the textbook's rules go besides.
pub fn names() -> Vec<String> {
    let own = [RiskGreedy::NAME, LeaveAlone::NAME, ORACLE_GREEDY];
    let rules = ["thr-mmt-0.8", "iqr-mmt-1.5", "mad-mmt-2.5", "lr-mmt-1.2", "lrr-mmt-1.2"];
    let fixed = rules.iter().map(|rule| format!("{rule}+fix"));
    let named = own.iter().chain(&rules).chain(&peers::NAMES).map(|name| (*name).to_owned());
    named.chain(fixed).collect()
}

/// Where the risk knob of a policy that has one is set to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Knob {
    /// Fixed: standard deviations of a host's summed demand.
    Deviations(f64),
    /// Measured: the share of promises that may be broken.
    Share(f64),
}

impl std::fmt::Display for Knob {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Deviations(z) => write!(f, "@{z}"),
            Self::Share(alpha) => write!(f, "@alpha={alpha}"),
        }
    }
}

/// The contestant of that name on `scenario` in the run with `seed`; `knob` is set on a policy that has one.
///
/// # Errors
/// [`UnknownRule`] for a name that nobody has.
pub fn contestant(
    name: &str,
    scenario: &Scenario,
    seed: u64,
    pace: &Pace,
    knob: Option<Knob>,
) -> Result<Contestant, UnknownRule> {
    let with = |risk_z, overload_share_max| {
        let tuning = Tuning { risk_z, overload_share_max, risk_priced: false, ..pace.tuning.clone() };
        Pace { tuning, ..pace.clone() }
    };
    let usual = pace.tuning.risk_z;
    let own = match knob {
        None => pace.clone(),
        Some(Knob::Deviations(z)) => with(z, None),
        Some(Knob::Share(alpha)) => with(usual, Some(alpha)),
    };
    Ok(match name {
        RiskGreedy::NAME => {
            Contestant { policy: Box::new(RiskGreedy), forecaster: Box::new(EwmaForecaster::default()), pace: own }
        }
        ORACLE_GREEDY => Contestant {
            policy: Box::new(RiskGreedy),
            forecaster: Box::new(Oracle::new(scenario, seed)),
            pace: with(0.0, None),
        },
        LeaveAlone::NAME => {
            let pace = with(usual, None);
            Contestant { policy: Box::new(LeaveAlone), forecaster: Box::new(LastValue::default()), pace }
        }
        _ => match peers::Paced::by_name(name) {
            Some(peer) => peer_of(name, peer, pace),
            None => textbook_of(textbook::by_name(name)?, pace),
        },
    })
}

fn peer_of(name: &str, peer: peers::Paced, pace: &Pace) -> Contestant {
    let robust = name.starts_with("gamma-robust");
    let forecaster: Box<dyn Forecaster> =
        if robust { Box::new(EwmaForecaster::default()) } else { Box::new(LastValue::default()) };
    // Peers that decide every few seconds are asked as often as there are samples.
    let tuning = Tuning { sleeps_per_round: UNLIMITED, ..peers::terms(name) };
    let pace = Pace { round: pace.period, acts_between: false, tuning, ..pace.clone() };
    Contestant { policy: Box::new(peer), forecaster, pace }
}

fn textbook_of(rule: textbook::Textbook, pace: &Pace) -> Contestant {
    let tuning = Tuning {
        cpu_limit: 1.0,
        cpu_fill_limit: 1.0,
        risk_z: 0.0,
        risk_priced: false,
        vm_cool_down: Duration::ZERO,
        power_dwell: Duration::ZERO,
        sleep_after: Duration::ZERO,
        moves_out_per_host: UNLIMITED,
        moves_in_per_host: UNLIMITED,
        moves_in_fleet: UNLIMITED,
        sleeps_per_round: UNLIMITED,
        min_gain_joules: 0.0,
        ..Tuning::default()
    };
    let pace = Pace { acts_between: false, tuning, ..pace.clone() };
    Contestant { policy: Box::new(rule), forecaster: Box::new(LastValue::default()), pace }
}

/// Says that every vm will go on as it was last seen, and is sure of it.
#[derive(Debug, Clone, Default)]
struct LastValue(BTreeMap<VmId, f64>);

impl Forecaster for LastValue {
    fn name(&self) -> &'static str {
        "last-value"
    }

    fn observe(&mut self, sample: &VmSample) {
        if let Some(cpu) = sample.cpu_used.value().filter(|cpu| cpu.is_sane()) {
            self.0.insert(sample.vm, cpu.get());
        }
    }

    fn forget(&mut self, vm: VmId) {
        self.0.remove(&vm);
    }

    fn forecast(&self, vm: VmId, _now: Timestamp) -> Option<VmForecast> {
        self.0.get(&vm).map(|cpu| VmForecast::steady(Cores(*cpu)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::FleetSize;

    #[test]
    fn every_name_is_a_contestant_and_no_other() {
        let size = FleetSize { hosts: 2, vms: 4, duration: Duration::from_secs(600) };
        let scenario = Scenario::fleet(size, 1).unwrap();
        for name in names() {
            let one = contestant(&name, &scenario, 1, &Pace::default(), Some(Knob::Share(0.01))).unwrap();
            assert!(one.pace.tuning.problems().is_empty(), "{name}");
        }
        assert!(contestant("nobody", &scenario, 1, &Pace::default(), None).is_err());
    }
}
