//! Every number a decision depends on, with the reason for its default.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::proximity::Proximity;

/// One value that is out of its range.
#[derive(Debug, Clone, PartialEq, Error)]
#[error("{field} = {value}: {expected}")]
pub struct InvalidTuning {
    /// Name of the field.
    pub field: &'static str,
    /// What was given.
    pub value: String,
    /// What would have been accepted.
    pub expected: &'static str,
}

/// Rest of a vm after a move that even need (an overloaded or a drained host) does not break: a move that fails at once
/// would otherwise be ordered again at once, for ever.
pub const LEAST_REST: Duration = Duration::from_secs(60);

/// The numbers of the decision core. Shares are of a host's capacity, 0 to 1.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Tuning {
    /// CPU load above which a host is relieved. 0.85: between oVirt's 75 % and XO's 90 %, Nutanix' figure.
    pub cpu_limit: f64,
    /// CPU load at the risk quantile up to which consolidation fills a host. DPM's upper mark is 0.81.
    pub cpu_fill_limit: f64,
    /// How many standard deviations of a host's summed demand count as risk; 2 gave 2.5 % overloaded time on PlanetLab.
    pub risk_z: f64,
    /// Share of promises that may be broken: five minutes of a host in which its vms ask for more than they were reckoned with.
    /// Where it is set the deviations that count as risk, and the correlation of vms, are measured, and `risk_z` and
    /// `correlation` are only what measuring begins with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub overload_share_max: Option<f64>,
    /// Whether what each caution would have cost by the demand that came is reckoned all the time, and the cheapest taken:
    /// `risk_z` is only where that begins then. `overload_share_max` goes before it.
    pub risk_priced: bool,
    /// Correlation between the demands of two vms of a host: the share of the summed deviations that does not pool.
    pub correlation: f64,
    /// Memory promised to vms over memory a host has. 1: never over-committed.
    pub memory_ratio: f64,
    /// How far ahead energy and overload are counted.
    #[serde(with = "secs")]
    pub horizon: Duration,
    /// Time above the limit before relief acts: shorter peaks are left to pass.
    #[serde(with = "secs")]
    pub relief_after: Duration,
    /// How much of the deviations that count as risk relief minds: a host is filled with an eye on the hour to come and relieved
    /// with an eye on the next five minutes, so that what lies between the two keeps vms still. 1: all of it. With 0.75 the same
    /// energy and overload take a quarter fewer moves on PlanetLab (docs/policy.md).
    pub relief_share: f64,
    /// Rest of a vm after a move; relief of an overloaded host may break it. Half an hour keeps what was packed in a hurry as it
    /// is: with ten minutes every scenario costs as much or less, by up to 2.4 %, and as many vms move or fewer (docs/policy.md).
    #[serde(with = "secs")]
    pub vm_cool_down: Duration,
    /// Time between two changes of a host's power state.
    #[serde(with = "secs")]
    pub power_dwell: Duration,
    /// Empty time before a host may sleep: long enough for several complete inventories to agree. Two minutes cost 1.1 % more on
    /// PlanetLab and no fewer wakes on any scenario.
    #[serde(with = "secs")]
    pub sleep_after: Duration,
    /// Hosts that stay awake at least.
    pub min_awake: usize,
    /// Hosts put to sleep in one round at most: a mistake of a round costs so many wakes.
    pub sleeps_per_round: usize,
    /// Hosts' worth of spare capacity kept awake beyond the forecast.
    pub spare_hosts: usize,
    /// Whether the awake hosts must bear the loss of any one of them before another may sleep. Off: vms of a lost host
    /// start again elsewhere once one has been woken, which costs minutes; a fleet that restarts them by itself wants it on.
    pub n_plus_one: bool,
    /// Migrations out of one host at a time.
    pub moves_out_per_host: usize,
    /// Migrations into one host at a time.
    pub moves_in_per_host: usize,
    /// Migrations in the fleet at a time.
    pub moves_in_fleet: usize,
    /// Age of a host's newest sample at which it is neither source nor target, in sampling periods.
    pub silent_periods: u32,
    /// Share of silent hosts above which nothing is moved: the fault may be the scheduler's own.
    pub silent_share_max: f64,
    /// Price of one core-second of unserved demand, in joules. A core draws 2 to 10 W; a hundred times that says that
    /// slowing a vm down is never worth the energy.
    pub overload_joules_per_core_second: f64,
    /// Share of its CPU a vm loses while it is copied (Voorsluys et al. 2009 measured about 10 %).
    pub migration_slowdown: f64,
    /// Gain below which a consolidation is not worth the disturbance, in joules.
    pub min_gain_joules: f64,
    /// Price of a second that a vm waits for a host to wake before it can start, in joules. Nothing unless set: then room is kept
    /// awake for such as came within the last day, where that is worth its energy.
    pub waiting_joules_per_second: f64,
    /// Where users are, and what it is worth to be near them. Nothing unless set.
    #[serde(skip_serializing_if = "is_unset")]
    pub proximity: Proximity,
}

fn is_unset(proximity: &Proximity) -> bool {
    *proximity == Proximity::default()
}

impl Default for Tuning {
    fn default() -> Self {
        Self {
            cpu_limit: 0.85,
            cpu_fill_limit: 0.80,
            risk_z: 2.0,
            overload_share_max: None,
            risk_priced: true,
            correlation: 0.1,
            memory_ratio: 1.0,
            horizon: Duration::from_secs(3600),
            relief_after: Duration::from_secs(15),
            relief_share: 0.75,
            vm_cool_down: Duration::from_secs(10 * 60),
            power_dwell: Duration::from_secs(10 * 60),
            sleep_after: Duration::from_secs(30),
            min_awake: 1,
            sleeps_per_round: 16,
            spare_hosts: 0,
            n_plus_one: false,
            moves_out_per_host: 1,
            moves_in_per_host: 1,
            moves_in_fleet: 4,
            silent_periods: 3,
            silent_share_max: 0.3,
            overload_joules_per_core_second: 500.0,
            migration_slowdown: 0.1,
            min_gain_joules: 1000.0,
            waiting_joules_per_second: 0.0,
            proximity: Proximity::default(),
        }
    }
}

impl Tuning {
    /// Whether promises to hosts are made and judged.
    pub fn measures_risk(&self) -> bool {
        self.risk_priced || self.overload_share_max.is_some()
    }

    /// Every value that is out of its range; empty where all are well.
    pub fn problems(&self) -> Vec<InvalidTuning> {
        let mut problems = Vec::new();
        let mut share = |field, value: f64, low: f64, high: f64, expected| {
            if !(low..=high).contains(&value) {
                problems.push(InvalidTuning { field, value: value.to_string(), expected });
            }
        };
        share("cpu_limit", self.cpu_limit, 0.05, 1.0, "a share from 0.05 to 1 is needed");
        share("cpu_fill_limit", self.cpu_fill_limit, 0.05, 1.0, "a share from 0.05 to 1 is needed");
        share("risk_z", self.risk_z, 0.0, 10.0, "a number from 0 to 10 is needed");
        if let Some(allowed) = self.overload_share_max {
            share("overload_share_max", allowed, 0.0005, 0.5, "a share from 0.0005 to 0.5 is needed");
        }
        share("relief_share", self.relief_share, 0.0, 1.0, "a share from 0 to 1 is needed");
        share("correlation", self.correlation, 0.0, 1.0, "a number from 0 to 1 is needed");
        share("memory_ratio", self.memory_ratio, 0.1, 10.0, "a ratio from 0.1 to 10 is needed");
        share("silent_share_max", self.silent_share_max, 0.0, 1.0, "a share from 0 to 1 is needed");
        share("migration_slowdown", self.migration_slowdown, 0.0, 1.0, "a share from 0 to 1 is needed");
        share("min_gain_joules", self.min_gain_joules, 0.0, 1e12, "joules from 0 to 1e12 are needed");
        let waiting = self.waiting_joules_per_second;
        share("waiting_joules_per_second", waiting, 0.0, 1e9, "joules from 0 to 1e9 are needed");
        let distance = self.proximity.joules_per_core_second_ms;
        share("proximity.joules_per_core_second_ms", distance, 0.0, 1e6, "joules from 0 to 1e6 are needed");
        let price = self.overload_joules_per_core_second;
        share("overload_joules_per_core_second", price, 0.0, 1e9, "joules from 0 to 1e9 are needed");
        let horizon = self.horizon.as_secs_f64();
        share("horizon", horizon, 60.0, 86_400.0, "from 60 to 86400 seconds are needed");
        let mut at_least_one = |field, value: usize| {
            if value == 0 {
                problems.push(InvalidTuning { field, value: "0".into(), expected: "at least 1 is needed" });
            }
        };
        at_least_one("moves_out_per_host", self.moves_out_per_host);
        at_least_one("moves_in_per_host", self.moves_in_per_host);
        at_least_one("moves_in_fleet", self.moves_in_fleet);
        at_least_one("sleeps_per_round", self.sleeps_per_round);
        at_least_one("silent_periods", self.silent_periods as usize);
        if let Some(value) = self.proximity.wrong_rtt() {
            let expected = "milliseconds from 0 to 10000 are needed";
            problems.push(InvalidTuning { field: "proximity.rtt_ms", value, expected });
        }
        if self.cpu_fill_limit > self.cpu_limit {
            problems.push(InvalidTuning {
                field: "cpu_fill_limit",
                value: self.cpu_fill_limit.to_string(),
                expected: "at most cpu_limit is needed, or consolidation would cause relief",
            });
        }
        problems
    }
}

/// Durations as seconds in configuration files.
mod secs {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(span: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(span.as_secs_f64())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        let seconds = f64::deserialize(deserializer)?;
        Duration::try_from_secs_f64(seconds).map_err(|_| {
            serde::de::Error::custom(format!("{seconds} seconds: a finite number of at least 0 is needed"))
        })
    }
}
