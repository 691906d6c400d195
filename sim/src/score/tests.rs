//! What the comparison rests on.

use ballast_core::{
    ewma::EwmaForecaster,
    policy::{LeaveAlone, RiskGreedy},
};

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

/// The figures the demo promises, without daemons: at least a fifth less energy, and no more overload.
#[test]
fn the_risk_aware_policy_saves_a_fifth_and_overloads_no_more() {
    let pace = Pace { period: Duration::from_secs(30), ..Pace::default() };
    for seed in 1..=5 {
        let scenario =
            Scenario::fleet(FleetSize { duration: Duration::from_secs(6 * 3600), ..FleetSize::default() }, seed);
        let scenario = scenario.unwrap();
        let left_alone = baseline(&scenario, seed);
        let ledger = run_policy(&scenario, seed, &pace, &mut EwmaForecaster::default(), &mut RiskGreedy);
        assert!(ledger.energy <= left_alone.energy * 0.8, "seed {seed}: {ledger:?} against {left_alone:?}");
        assert!(ledger.overload_seconds <= left_alone.overload_seconds, "seed {seed}: {ledger:?} {left_alone:?}");
        assert!(ledger.sleeps > 0 && ledger.migrations > 0);
    }
}

#[test]
fn near_their_users_vms_cost_a_hundredth_more_at_most() {
    let file = crate::scenario::file::builtin("qa-service").unwrap().unwrap();
    let scenario = file.build(&crate::scenario::file::Data::default(), None, 1).unwrap();
    let play = |price: f64| {
        let mut pace = file.pace().unwrap().clone();
        // Another fleet would have another caution, and be dearer or cheaper by that.
        pace.tuning.risk_priced = false;
        pace.tuning.proximity.joules_per_core_second_ms = price;
        let ledger = run_policy(&scenario, 1, &pace, &mut EwmaForecaster::default(), &mut RiskGreedy);
        (ledger.energy, ledger.users_rtt_core_seconds / ledger.users_core_seconds)
    };
    let ((anywhere, far), (near, close)) = (play(0.0), play(0.01));
    assert!(close < 0.96 * far, "{close} s where it counts, {far} s where it does not");
    assert!(near < anywhere * 1.01, "{near:?} for {anywhere:?}");
}

#[test]
fn leaving_the_fleet_alone_costs_exactly_the_baseline() {
    let size = FleetSize { hosts: 4, vms: 30, duration: Duration::from_secs(3600) };
    let scenario = Scenario::fleet(size, 1).unwrap();
    let pace = Pace::default();
    let ledger = run_policy(&scenario, 1, &pace, &mut EwmaForecaster::default(), &mut LeaveAlone);
    assert_eq!(ledger, baseline(&scenario, 1));
}

#[test]
fn the_same_seed_is_played_the_same() {
    let size = FleetSize { hosts: 6, vms: 60, duration: Duration::from_secs(2 * 3600) };
    let scenario = Scenario::fleet(size, 2).unwrap();
    let play = || run_policy(&scenario, 2, &Pace::default(), &mut EwmaForecaster::default(), &mut RiskGreedy);
    assert_eq!(play(), play());
}
