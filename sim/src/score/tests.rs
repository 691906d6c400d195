//! What the comparison rests on.

use super::*;
use crate::scenario::FleetSize;

#[test]
fn a_fleet_left_alone_is_lightly_loaded_and_hot_in_places() {
    for seed in 1..=5 {
        let scenario = Scenario::fleet(FleetSize::default(), seed).unwrap();
        let ledger = baseline(&scenario, seed);
        let capacity: f64 = scenario.hosts().iter().map(|host| host.cpu_capacity.get()).sum();
        let load = ledger.demand_core_seconds / scenario.duration().as_secs_f64() / capacity;
        assert!((0.1..0.35).contains(&load), "seed {seed}: load {load}");
        let hot = ledger.overload_seconds / ledger.awake_host_seconds;
        assert!((0.001..0.03).contains(&hot), "seed {seed}: {hot} of the time above capacity");
        assert_eq!((ledger.migrations, ledger.sleeps), (0, 0));
    }
}
