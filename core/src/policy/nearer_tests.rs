//! What the greedy policy does with vms whose users are far away.

use std::time::Duration;

use super::*;
use crate::{
    decide::decide,
    decision::{Decision, Step, Trigger},
    fixture::{Fleet, host_id, vm_id},
    proposal::{Motive, Move},
    snapshot::HostPower,
};

fn round(fleet: &Fleet) -> Decision {
    decide(&fleet.input(Trigger::Round), &mut RiskGreedy)
}

fn steps(decision: &Decision) -> Vec<Step> {
    decision.chosen.steps.iter().map(|planned| planned.step.clone()).collect()
}

/// Two hosts too loaded to be emptied, one at each site; vm 1 serves users at the other site than its own, a is in the west.
fn astray(price: f64) -> Fleet {
    let mut fleet = Fleet::new(&[("a", &[2.0, 6.0]), ("b", &[6.0])]);
    (1..=3).for_each(|vm| fleet.record(vm).vcpus = 16);
    fleet.inventory("a").site = Some("west".into());
    fleet.inventory("b").site = Some("east".into());
    fleet.record(1).labels.users = Some("easterners".into());
    let proximity = &mut fleet.tuning.proximity;
    proximity.joules_per_core_second_ms = price;
    for (site, rtt) in [("west", 90.0), ("east", 10.0)] {
        proximity.rtt_ms.entry(site.into()).or_default().insert("easterners".into(), rtt);
    }
    fleet
}

fn to_the_east() -> Step {
    Step::Migrate(Move { vm: vm_id(1), from: host_id("a"), to: host_id("b") })
}

#[test]
fn a_vm_goes_nearer_to_its_users_and_then_all_is_well() {
    let mut fleet = astray(0.05);
    let decision = round(&fleet);
    assert_eq!(steps(&decision), [to_the_east()]);
    let chosen = &decision.chosen.steps[0];
    assert_eq!(chosen.motive, Motive::Nearer { users: "easterners".into(), from_ms: 90.0, to_ms: 10.0 });
    fleet.obey(&decision, Duration::from_secs(4000));
    assert_eq!(steps(&round(&fleet)), []);
}

#[test]
fn distance_without_a_price_moves_nobody() {
    assert_eq!(steps(&round(&astray(0.0))), []);
}

#[test]
fn a_distance_that_is_worth_less_than_the_disturbance_moves_nobody() {
    // 2 cores × 3600 s × 80 ms × 0.001 J: 576 J of 1,000.
    assert_eq!(steps(&round(&astray(0.001))), []);
}

#[test]
fn nobody_goes_near_a_host_that_has_no_room() {
    let mut fleet = astray(0.05);
    fleet.add_vm(9, "b", 6.0);
    fleet.record(9).vcpus = 16;
    fleet.measure();
    assert_eq!(steps(&round(&fleet)), []);
}

#[test]
fn no_host_is_woken_for_distance_alone() {
    let mut fleet = astray(0.05);
    fleet.snapshot.vms.remove(&vm_id(3));
    fleet.host("b").power = HostPower::Asleep;
    fleet.measure();
    assert_eq!(steps(&round(&fleet)), []);
}

#[test]
fn a_host_is_emptied_onto_the_one_that_is_nearer_to_its_users() {
    let emptied = |price: f64| {
        let mut fleet = Fleet::new(&[("a", &[1.0]), ("b", &[3.0]), ("c", &[4.0])]);
        for (host, site) in [("a", "west"), ("b", "west"), ("c", "east")] {
            fleet.inventory(host).site = Some(site.into());
        }
        (1..=3).for_each(|vm| fleet.record(vm).vcpus = 16);
        for (vm, users) in [(1, "west"), (2, "west"), (3, "east")] {
            fleet.record(vm).labels.users = Some(users.into());
        }
        let proximity = &mut fleet.tuning.proximity;
        proximity.joules_per_core_second_ms = price;
        proximity.rtt_ms.insert("west".into(), [("west".into(), 10.0), ("east".into(), 90.0)].into());
        proximity.rtt_ms.insert("east".into(), [("west".into(), 90.0), ("east".into(), 10.0)].into());
        fleet
    };
    let target = |fleet: &Fleet| match &steps(&round(fleet))[0] {
        Step::Migrate(one) => one.to.clone(),
        other => panic!("{other:?}"),
    };
    assert_eq!(target(&emptied(0.0)), host_id("c"), "the fullest");
    assert_eq!(target(&emptied(0.05)), host_id("b"), "the nearest");
}
