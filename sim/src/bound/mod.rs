//! The distance to the limit: what no placement could have done better, and what perfect knowledge would have done.
//!
//! For the scoreboard, which prints every score beside them, and for tests. Pure: a scenario and a seed give the same figures.
//! From the weakest to the strongest:
//!
//! - **fluid**: vms as a liquid of CPU and memory, poured over fractions of hosts ([`cover`] has the problem and its solution);
//! - **integer**: the same with whole hosts, and vms of more than half a host that cannot be cut ([`rows`], [`whole`]);
//! - **clairvoyant**: no bound, but a packing that exists ([`clairvoyant`]).
//!
//! A bound is on serving *all* the demand within capacity, at every moment, without moving, waking or waiting costing
//! anything. A policy that leaves demand unserved can need less; its unserved share stands beside its energy. Vms that have not
//! arrived or are gone want nothing. Hosts that lost their power neither carry nor draw anything while they have. Demand
//! or memory beyond the whole fleet's is left out.

mod clairvoyant;
mod class;
mod cover;
mod looks;
mod oracle;
mod rows;
mod whole;

#[cfg(test)]
mod tests;

use ballast_core::units::Watts;
use serde::Serialize;

pub use oracle::Oracle;

use crate::scenario::Scenario;
use clairvoyant::Packer;
use class::{Class, Classes};
use cover::{Cover, Problem, Row, dot};
use looks::Period;

/// The limits of one run of a scenario. Energies are of the whole fleet, sleeping hosts included, over the whole run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Bounds {
    /// Least energy with vms that can be cut and fractions of hosts, kWh.
    pub fluid_kwh: f64,
    /// Least energy with whole hosts, kWh; never below `fluid_kwh`.
    pub integer_kwh: f64,
    /// Energy of first-fit decreasing with the true demand and free moves, kWh.
    pub clairvoyant_kwh: f64,
    /// Hosts awake at the fluid bound, on average over time.
    pub fluid_mean_awake_hosts: f64,
    /// Hosts awake in the clairvoyant packing, on average over time.
    pub clairvoyant_mean_awake_hosts: f64,
    /// Time that vms found no room in the clairvoyant packing, vm-hours; its energy is without them.
    pub clairvoyant_unplaced_h: f64,
    /// CPU demand beyond that of the whole fleet, which no bound counts, core-hours.
    pub beyond_fleet_core_h: f64,
}

/// All limits of the run of `scenario` with `seed`. Takes time in proportion to the vms, and for the clairvoyant packing to
/// vms times the logarithm of hosts.
pub fn bounds(scenario: &Scenario, seed: u64) -> Bounds {
    let classes = Classes::of(scenario);
    let packer = Packer::new(scenario, &classes);
    let mut sums = Bounds::default();
    for period in looks::periods(scenario, seed) {
        let step = Step::of(scenario, &classes, &period);
        let fluid = step.fluid();
        let packing = packer.pack(&period);
        let integer = step.integer(&period, &fluid);
        let kwh = |watts: f64| Watts(watts).over(ballast_core::units::seconds(period.seconds)).kwh();
        let hours = period.seconds / 3600.0;
        sums.fluid_kwh += kwh(step.asleep + fluid.watts);
        sums.integer_kwh += kwh(step.asleep + integer);
        sums.clairvoyant_kwh += kwh(packing.watts);
        sums.fluid_mean_awake_hosts += fluid.awake.iter().sum::<f64>() * period.seconds;
        sums.clairvoyant_mean_awake_hosts += packing.awake * period.seconds;
        sums.clairvoyant_unplaced_h += packing.unplaced * hours;
        sums.beyond_fleet_core_h += step.beyond * hours;
    }
    sums.over(scenario.duration().as_secs_f64())
}

/// The fluid bound alone, kWh: what a fleet of any size can afford at any time.
pub fn fluid_kwh(scenario: &Scenario, seed: u64) -> f64 {
    let classes = Classes::of(scenario);
    let joules = looks::periods(scenario, seed).map(|period| {
        let step = Step::of(scenario, &classes, &period);
        (step.asleep + step.fluid().watts) * period.seconds
    });
    ballast_core::units::Joules(joules.sum()).kwh()
}

impl Bounds {
    /// Makes means over `seconds` of what was summed.
    fn over(mut self, seconds: f64) -> Self {
        if seconds > 0.0 {
            self.fluid_mean_awake_hosts /= seconds;
            self.clairvoyant_mean_awake_hosts /= seconds;
        }
        self
    }
}

/// What is asked of the fleet in one period.
#[derive(Debug, Clone)]
struct Step<'a> {
    classes: &'a [Class],
    /// Hosts of each class that have power.
    hosts: Vec<f64>,
    /// CPU demand within the fleet's capacity, and beyond it, cores.
    cores: f64,
    beyond: f64,
    memory: Row,
    /// Power of all hosts asleep, watts.
    asleep: f64,
}

impl<'a> Step<'a> {
    fn of(scenario: &Scenario, classes: &'a Classes, period: &Period) -> Self {
        let hosts = classes.counts(scenario, period.at);
        let per_host = |value: fn(&Class) -> f64| classes.all.iter().map(value).collect::<Vec<f64>>();
        let capacity = dot(&per_host(|class| class.cores), &hosts);
        let wanted: f64 = period.wishes.iter().map(|wish| wish.cores).sum();
        let needed = period.wishes.iter().map(|wish| wish.memory * wish.share).sum();
        Self {
            classes: &classes.all,
            cores: wanted.min(capacity),
            beyond: (wanted - capacity).max(0.0),
            memory: Row { supply: per_host(|class| class.memory), needed }.clamped(&hosts),
            asleep: dot(&per_host(|class| class.asleep), &hosts),
            hosts,
        }
    }

    fn fluid(&self) -> Cover {
        self.cover(&self.memory)
    }

    fn cover(&self, row: &Row) -> Cover {
        let low = vec![0.0; self.hosts.len()];
        let problem = Problem { classes: self.classes, low: &low, high: &self.hosts, cores: self.cores, row };
        // Demand and rows are clamped to what the fleet has, so that it always suffices.
        problem.solve().unwrap_or_else(|| Cover { watts: 0.0, awake: low.clone() })
    }

    /// Every row is a bound of its own; the one that asks most is solved with whole hosts.
    fn integer(&self, period: &Period, fluid: &Cover) -> f64 {
        let mut hardest = (fluid.watts, self.memory.clone());
        for row in self.rows(period) {
            let watts = self.cover(&row).watts;
            if watts > hardest.0 {
                hardest = (watts, row);
            }
        }
        let whole = whole::least_watts(self.classes, &self.hosts, self.cores, &hardest.1);
        whole.map_or(hardest.0, |watts| watts.max(hardest.0))
    }

    /// What whole vms ask for: one host at least, and what the dual-feasible functions of either resource say. Vms that are
    /// there for a part of the period only do not count.
    fn rows(&self, period: &Period) -> Vec<Row> {
        let there = period.wishes.iter().filter(|wish| wish.share >= 1.0);
        let needed = if there.clone().next().is_some() { 1.0 } else { 0.0 };
        let mut all = vec![Row { supply: vec![1.0; self.classes.len()], needed }];
        let cores: Vec<f64> = self.classes.iter().map(|class| class.cores).collect();
        all.extend(rows::rows(there.clone().map(|wish| wish.cores), &cores));
        all.extend(rows::rows(there.map(|wish| wish.memory), &self.memory.supply));
        all.into_iter().map(|row| row.clamped(&self.hosts)).collect()
    }
}
