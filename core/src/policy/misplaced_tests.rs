//! What the greedy policy does with vms that are where their labels do not let them be.

use std::time::Duration;

use super::*;
use crate::{
    decide::decide,
    decision::{Decision, Step, Trigger},
    fixture::{Fleet, host_id, vm_id},
    proposal::{Motive, Move},
    snapshot::HostPower,
    units::Bytes,
};

fn round(fleet: &Fleet) -> Decision {
    decide(&fleet.input(Trigger::Round), &mut RiskGreedy)
}

fn steps(decision: &Decision) -> Vec<Step> {
    decision.chosen.steps.iter().map(|planned| planned.step.clone()).collect()
}

fn moved(vm: u32, from: &str, to: &str) -> Step {
    Step::Migrate(Move { vm: vm_id(vm), from: host_id(from), to: host_id(to) })
}

/// Hosts so loaded that nothing else moves, with vms 1 and 2 (the larger) together on a.
fn crowded(label: impl Fn(&mut Fleet, u32)) -> Fleet {
    let mut fleet = Fleet::new(&[("a", &[5.0, 5.0]), ("b", &[8.0]), ("c", &[10.0])]);
    (1..=4).for_each(|vm| fleet.record(vm).vcpus = 16);
    fleet.record(2).memory_max = Bytes::from_gib(8);
    (1..=2).for_each(|vm| label(&mut fleet, vm));
    fleet
}

fn rivals(fleet: &mut Fleet, vm: u32) {
    fleet.record(vm).labels.anti_affinity.insert("db".into());
}

#[test]
fn of_two_rivals_on_a_host_the_smaller_goes_and_then_all_is_well() {
    let mut fleet = crowded(rivals);
    let decision = round(&fleet);
    assert_eq!(steps(&decision), [moved(1, "a", "b")]);
    assert_eq!(decision.chosen.steps[0].motive, Motive::Apart { group: "db".into(), place: "a".into() });
    fleet.obey(&decision, Duration::from_secs(4000));
    assert_eq!(steps(&round(&fleet)), []);
}

#[test]
fn a_rival_that_cannot_move_stays_and_the_other_goes() {
    let mut fleet = crowded(rivals);
    fleet.record(1).labels.immovable = true;
    assert_eq!(steps(&round(&fleet)), [moved(2, "a", "b")]);
}

#[test]
fn a_rival_whose_copy_would_not_end_stays_and_the_other_goes() {
    let mut fleet = crowded(rivals);
    (1..=2).for_each(|vm| fleet.record(vm).memory_max = Bytes::from_gib(10 + 10 * u64::from(vm)));
    let sample = fleet.vm(1).sample.as_mut().unwrap();
    sample.memory_resident = crate::sample::Reading::Measured(Bytes::from_gib(20));
    sample.dirty_rate = crate::sample::Reading::Measured(crate::units::BytesPerSec(9e9));
    assert_eq!(steps(&round(&fleet)), [moved(2, "a", "b")]);
}

#[test]
fn copies_in_one_fault_domain_are_spread() {
    let mut fleet = Fleet::new(&[("a", &[6.0]), ("b", &[6.0]), ("c", &[6.0])]);
    for (host, rack) in [("a", "r1"), ("b", "r1"), ("c", "r2")] {
        fleet.inventory(host).fault_domain = Some(rack.into());
    }
    (1..=2).for_each(|vm| {
        fleet.record(vm).labels.spread.insert("db".into());
    });
    let decision = round(&fleet);
    assert_eq!(steps(&decision), [moved(1, "a", "c")]);
    assert_eq!(decision.chosen.steps[0].motive, Motive::Apart { group: "db".into(), place: "r1".into() });
}

#[test]
fn a_vm_off_its_pins_goes_where_they_say() {
    let mut fleet = crowded(|fleet, vm| {
        fleet.record(vm).labels.pinned_to = [host_id(if vm == 1 { "b" } else { "a" })].into();
    });
    let decision = round(&fleet);
    assert_eq!(steps(&decision), [moved(1, "a", "b")]);
    assert_eq!(decision.chosen.steps[0].motive, Motive::Pin { host: host_id("a") });
    fleet.vm(1).last_moved_at = Some(crate::fixture::NOW);
    assert_eq!(steps(&round(&fleet)), [], "one that has just moved rests");
}

#[test]
fn where_only_a_sleeping_host_may_take_it_that_is_woken() {
    let mut fleet = crowded(rivals);
    (3..=4).for_each(|vm| rivals(&mut fleet, vm));
    fleet.snapshot.hosts.insert(host_id("d"), fleet.snapshot.hosts[&host_id("a")].clone());
    fleet.inventory("d").host = host_id("d");
    fleet.host("d").sample = None;
    fleet.host("d").power = HostPower::Asleep;
    let decision = round(&fleet);
    let woken = steps(&decision);
    assert!(matches!(woken.as_slice(), [Step::Wake { host, .. }] if *host == host_id("d")), "{decision:#?}");
}

#[test]
fn where_nobody_may_take_it_it_stays_and_that_is_told() {
    let mut fleet = crowded(rivals);
    (3..=4).for_each(|vm| rivals(&mut fleet, vm));
    let decision = round(&fleet);
    assert_eq!(steps(&decision), []);
    assert!(decision.notes.iter().any(|note| note.contains("has room for vm")), "{:?}", decision.notes);
}
