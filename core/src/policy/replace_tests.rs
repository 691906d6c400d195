//! When an efficient host takes another's place, and when it does not.

use std::time::Duration;

use super::*;
use crate::{
    decide::decide,
    decision::{Decision, Step, Trigger},
    fixture::{Fleet, host_id},
    power::PowerCurve,
    proposal::{Action, Motive},
    snapshot::HostPower,
};

fn round(fleet: &Fleet) -> Decision {
    decide(&fleet.input(Trigger::Round), &mut RiskGreedy)
}

fn steps(decision: &Decision) -> Vec<Step> {
    decision.chosen.steps.iter().map(|planned| planned.step.clone()).collect()
}

/// Two old hosts whose vms do not fit on one of them, and a modern one without vms.
fn aged(power: HostPower) -> Fleet {
    let mut fleet = Fleet::new(&[("modern", &[]), ("old1", &[2.0; 3]), ("old2", &[2.0; 2])]);
    ["old1", "old2"].iter().for_each(|name| fleet.inventory(name).power = PowerCurve::xeon_platinum_8180());
    ["old1", "old2"].iter().for_each(|name| fleet.inventory(name).cpu_capacity = crate::units::Cores(8.0));
    fleet.host("modern").power = power;
    fleet
}

#[test]
fn an_efficient_host_is_woken_in_the_place_of_two() {
    let decision = round(&aged(HostPower::Asleep));
    assert_eq!(steps(&decision), [Step::Wake { host: host_id("modern"), by: host_id("old1") }]);
    let planned = &decision.chosen.steps[0];
    assert!(matches!(&planned.motive, Motive::Replacement { hosts } if hosts.len() == 2), "{:?}", planned.motive);
    assert!(planned.expected.gain.get() > 1000.0, "{:?}", planned.expected);
}

#[test]
fn once_it_is_up_the_others_are_emptied_onto_it_and_sleep() {
    let mut fleet = aged(HostPower::Asleep);
    for _ in 0..40 {
        let decision = round(&fleet);
        fleet.obey(&decision, Duration::from_secs(60));
    }
    assert!(fleet.snapshot.vms.values().all(|vm| vm.host == host_id("modern")));
    assert_eq!(fleet.awake(), 1);
    assert_eq!(fleet.host("modern").power, HostPower::Awake);
}

#[test]
fn an_efficient_host_that_is_awake_and_empty_is_used_rather_than_sent_to_sleep() {
    let advice = RiskGreedy.propose(aged(HostPower::Awake).view());
    let emptied = |one: &&crate::proposal::Proposal| matches!(one.action, Action::Evacuate { .. });
    let slept = |one: &&crate::proposal::Proposal| matches!(one.action, Action::Sleep { .. });
    assert_eq!(advice.proposals.iter().filter(emptied).count(), 2, "{advice:?}");
    assert_eq!(advice.proposals.iter().filter(slept).count(), 0, "{advice:?}");
}

#[test]
fn nothing_is_woken_while_another_host_is_on_its_way() {
    let mut fleet = aged(HostPower::Asleep);
    let other = fleet.host("modern").clone();
    fleet.snapshot.hosts.insert(host_id("other"), other);
    fleet.inventory("other").host = host_id("other");
    fleet.host("other").power = HostPower::Waking;
    assert_eq!(steps(&round(&fleet)), []);
}

#[test]
fn a_host_of_the_same_kind_is_not_woken_in_the_place_of_one() {
    let mut fleet = Fleet::new(&[("a", &[]), ("b", &[2.5; 3])]);
    fleet.host("a").power = HostPower::Asleep;
    assert_eq!(steps(&round(&fleet)), []);
}

#[test]
fn nothing_is_replaced_where_it_gains_less_than_it_disturbs() {
    let mut fleet = aged(HostPower::Asleep);
    fleet.tuning.min_gain_joules = 1e9;
    assert_eq!(steps(&round(&fleet)), []);
}

#[test]
fn a_host_with_a_vm_that_must_stay_is_not_replaced() {
    let mut fleet = aged(HostPower::Asleep);
    [1, 4].iter().for_each(|vm| fleet.record(*vm).labels.immovable = true);
    assert_eq!(steps(&round(&fleet)), []);
}

#[test]
fn a_host_that_takes_long_to_wake_is_not_worth_it() {
    let mut fleet = aged(HostPower::Asleep);
    let curve = PowerCurve::epyc_7742();
    let slow = PowerCurve::new(*curve.points(), curve.asleep(), Duration::from_secs(3500), Duration::from_secs(15));
    fleet.inventory("modern").power = slow.unwrap();
    assert_eq!(steps(&round(&fleet)), []);
}
