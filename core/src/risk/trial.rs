//! What other cautions would have cost: a host as it would be, had it been filled with more or fewer of the same vms.
//!
//! What vms ask for does not depend on where they run, so that this can be said without having tried it. A host that is filled
//! to `z` deviations holds `s` times what it holds now; its energy then serves `s` times as much, so that of the fleet's energy
//! the part of these vms is `1 / s` of its own, and whatever of `s` times their demand exceeds it goes unserved. The
//! newsvendor's problem (Edgeworth 1888; Arrow, Harris and Marschak 1951), with what really came in place of a distribution.

use crate::{
    risk::{HostLoad, Risk},
    snapshot::HostView,
    tuning::Tuning,
};

/// Cautions that are compared, in standard deviations above the mean: close together below two, where most fleets are best
/// served.
pub(super) const LEVELS: [f64; 16] =
    [0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 5.0, 6.0, 8.0, 10.0];

/// What a second would have cost at each level, in joules.
pub(super) type Costs = [f64; LEVELS.len()];

/// Most that a host is taken to be filled further: beyond that it is too empty to tell of a full one.
const SCALE_MAX: f64 = 4.0;

/// One host for one step.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Trial {
    capacity: f64,
    /// What it draws more than asleep though it does nothing, in watts.
    idle: f64,
    /// How many times its vms would be on it, by level.
    scales: [f64; LEVELS.len()],
    /// Core-looks of demand beyond the capacity so far, by level.
    excess: [f64; LEVELS.len()],
    looks: u32,
}

impl Trial {
    /// A host that is filled by `load`; `None` where that says nothing of a fuller one.
    pub(super) fn of(host: &HostView, load: &HostLoad, risk: &Risk, tuning: &Tuning) -> Option<Self> {
        let room = (load.capacity * tuning.cpu_fill_limit).get() - load.base.get();
        let memory = load.memory_capacity.scale(tuning.memory_ratio).ratio_of(load.memory);
        let power = &host.inventory.power;
        let idle = (power.idle() - power.asleep()).get();
        let is_told = room > 0.0 && idle > 0.0 && memory > 0.0 && load.mean_at(1) > 0.0;
        let scale = |z: f64| load.scale_to(room, z, risk).min(memory).min(SCALE_MAX);
        is_told.then(|| Self {
            capacity: load.capacity.get(),
            idle,
            scales: LEVELS.map(scale),
            excess: [0.0; LEVELS.len()],
            looks: 0,
        })
    }

    /// Takes what the vms ask for at one moment, and what the host itself uses, in cores.
    pub(super) fn look(&mut self, base: f64, demand: f64) {
        self.looks += 1;
        for (excess, scale) in self.excess.iter_mut().zip(self.scales) {
            *excess += (base + scale * demand - self.capacity).max(0.0);
        }
    }

    /// What a second at each level has cost, in joules, where a core-second that goes unserved has `price`; `None` where
    /// nothing was seen.
    pub(super) fn cost(&self, price: f64) -> Option<Costs> {
        let looks = f64::from(self.looks);
        let at = |level: usize| (self.idle + price * self.excess[level] / looks) / self.scales[level];
        (self.looks > 0).then(|| std::array::from_fn(at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        fixture::{Fleet, forecast_of, host_id, vm_id},
        risk::FleetLoad,
    };

    /// A host with four vms that ask for two cores each, give or take `spread` of that.
    fn fleet(spread: f64) -> Fleet {
        let mut fleet = Fleet::new(&[("a", &[2.0; 4])]);
        let forecast = forecast_of(2.0, 2.0 * (1.0 + spread));
        fleet.forecasts.vms.extend((1..=4).map(|vm| (vm_id(vm), forecast)));
        fleet
    }

    fn trial(fleet: &Fleet) -> (HostLoad, Trial) {
        let load = *FleetLoad::of(&fleet.snapshot, &fleet.forecasts).host(&host_id("a")).unwrap();
        let host = &fleet.snapshot.hosts[&host_id("a")];
        (load, Trial::of(host, &load, &Risk::of(&fleet.tuning), &fleet.tuning).unwrap())
    }

    #[test]
    fn a_host_that_is_as_full_as_the_caution_allows_would_hold_what_it_holds() {
        let fleet = fleet(0.5);
        let (load, _) = trial(&fleet);
        let risk = Risk::of(&fleet.tuning);
        for z in LEVELS {
            let room = load.ahead(&Risk { z, ..risk }) - load.base;
            let scale = load.scale_to(room.get(), z, &risk);
            assert!((scale - 1.0).abs() < 1e-9, "{z}: {scale}");
        }
    }

    #[test]
    fn the_more_cautious_the_emptier_a_host_and_the_dearer_where_demand_comes_as_foretold() {
        let (_, mut trial) = trial(&fleet(0.5));
        trial.look(0.0, 8.0);
        let costs = trial.cost(500.0).unwrap();
        assert!(trial.scales.is_sorted_by(|a, b| a >= b), "{:?}", trial.scales);
        assert!(costs.is_sorted() && costs[0] < costs[LEVELS.len() - 1], "{costs:?}");
    }

    #[test]
    fn demand_that_a_fuller_host_would_not_serve_has_its_price() {
        let (_, mut trial) = trial(&fleet(0.5));
        // Twice as much as was foretold: the host as it is would be full.
        trial.look(0.0, 16.0);
        let (costs, free) = (trial.cost(500.0).unwrap(), trial.cost(0.0).unwrap());
        assert!(costs[0] > free[0] + 500.0, "{costs:?} {free:?}");
        assert_eq!(costs[LEVELS.len() - 1], free[LEVELS.len() - 1], "who is that cautious serves it");
    }

    #[test]
    fn where_memory_is_full_no_caution_is_cheaper_than_another_until_cpu_binds() {
        let mut fleet = fleet(0.1);
        fleet.inventory("a").memory_capacity = trial(&fleet).0.memory;
        let (_, mut trial) = trial(&fleet);
        trial.look(0.0, 8.0);
        let costs = trial.cost(500.0).unwrap();
        assert_eq!((trial.scales[0], costs[0]), (1.0, costs[5]), "{costs:?}");
    }

    #[test]
    fn what_was_not_seen_costs_nothing_that_could_be_said() {
        assert_eq!(trial(&fleet(0.5)).1.cost(500.0), None);
    }
}
