//! What the greedy policy does with bundles, exchanges, drains and N+1.

use super::*;
use crate::{
    decide::decide,
    decision::{Decision, Step, Trigger},
    fixture::{Fleet, host_id, vm_id},
    proposal::{Action, Motive, Move},
    snapshot::{HostMode, HostPower},
    units::Bytes,
};

fn round(fleet: &Fleet) -> Decision {
    decide(&fleet.input(Trigger::Round), &mut RiskGreedy)
}

fn moves(decision: &Decision) -> Vec<(Move, bool)> {
    let moved = |step: &Step| if let Step::Migrate(one) = step { Some(one.clone()) } else { None };
    let steps = decision.chosen.steps.iter();
    steps.filter_map(|planned| Some((moved(&planned.step)?, planned.part_of.is_some()))).collect()
}

fn one(vm: u32, from: &str, to: &str) -> Move {
    Move { vm: vm_id(vm), from: host_id(from), to: host_id(to) }
}

fn bundle(fleet: &mut Fleet, vms: &[u32]) {
    for vm in vms {
        fleet.record(*vm).labels.affinity.insert("shop".into());
    }
}

#[test]
fn relief_takes_a_bundle_as_one() {
    let mut fleet = Fleet::new(&[("a", &[3.6, 3.6, 3.6, 3.8]), ("b", &[3.0])]);
    (1..=2).for_each(|vm| fleet.record(vm).labels.immovable = true);
    bundle(&mut fleet, &[3, 4]);
    let expected = [(one(3, "a", "b"), true), (one(4, "a", "b"), true)];
    assert_eq!(moves(&round(&fleet)), expected);
}

#[test]
fn a_bundle_with_an_immovable_vm_stays() {
    let mut fleet = Fleet::new(&[("a", &[3.6, 3.6, 3.6, 3.6]), ("b", &[3.0])]);
    (1..=2).for_each(|vm| fleet.record(vm).labels.immovable = true);
    bundle(&mut fleet, &[2, 3, 4]);
    assert_eq!(moves(&round(&fleet)), []);
}

#[test]
fn a_torn_bundle_is_put_together_where_most_of_it_is() {
    let mut fleet = Fleet::new(&[("a", &[6.0]), ("b", &[1.0, 6.0])]);
    fleet.record(1).memory_max = Bytes::from_gib(8);
    bundle(&mut fleet, &[1, 2]);
    let decision = round(&fleet);
    assert_eq!(moves(&decision), [(one(2, "b", "a"), false)]);
    assert_eq!(decision.chosen.steps[0].motive, Motive::Bundle { group: "shop".into() });
}

/// Hosts x and y of 64 GiB that are short of CPU and of memory, and z with `free` GiB left.
fn tight(free: u64) -> Fleet {
    let mut fleet = Fleet::new(&[("x", &[8.0, 6.0]), ("y", &[2.0, 4.0]), ("z", &[2.0])]);
    for (vm, gib) in [(1, 40), (2, 20), (3, 30), (4, 20), (5, 64 - free)] {
        fleet.record(vm).memory_max = Bytes::from_gib(gib);
        fleet.record(vm).vcpus = 8;
        fleet.record(vm).labels.immovable = [2, 4, 5].contains(&vm);
    }
    fleet
}

#[test]
fn an_exchange_without_room_begins_with_one_vm_taken_aside() {
    let decision = round(&tight(32));
    assert_eq!(moves(&decision), [(one(3, "y", "z"), true)]);
    let swap = Action::Swap([one(1, "x", "y"), one(3, "y", "x")]);
    assert_eq!(decision.chosen.steps[0].part_of, Some(swap));
    let mut fleet = tight(32);
    fleet.obey(&decision, std::time::Duration::from_secs(60));
    assert_eq!(moves(&round(&fleet)), [(one(1, "x", "y"), false)]);
}

#[test]
fn an_exchange_that_no_order_makes_safe_is_not_proposed_and_told() {
    let decision = round(&tight(16));
    assert_eq!((moves(&decision), decision.denied.len()), (vec![], 0));
    assert!(decision.notes.iter().any(|note| note.contains("neither has room to go first")), "{:?}", decision.notes);
}

#[test]
fn a_drain_is_spread_and_not_stacked() {
    let mut fleet = Fleet::new(&[("a", &[1.0; 6]), ("b", &[3.0]), ("c", &[2.0]), ("d", &[2.0])]);
    fleet.host("a").mode = HostMode::Draining;
    for _ in 0..8 {
        let decision = round(&fleet);
        fleet.obey(&decision, std::time::Duration::from_secs(61));
    }
    let on = |host: &str| fleet.snapshot.vms.values().filter(|vm| vm.host == host_id(host)).count();
    assert_eq!((on("a"), on("b") + on("c") + on("d")), (0, 9));
    assert!([on("b"), on("c"), on("d")].iter().all(|vms| (2..=4).contains(vms)));
}

#[test]
fn hosts_are_kept_and_woken_for_the_loss_of_one() {
    let mut fleet = Fleet::new(&[("a", &[2.0]), ("b", &[2.0]), ("c", &[])]);
    (1..=2).for_each(|vm| fleet.record(vm).memory_max = Bytes::from_gib(40));
    fleet.tuning.n_plus_one = true;
    assert_eq!(round(&fleet).chosen.steps, []);
    fleet.host("c").power = HostPower::Asleep;
    let decision = round(&fleet);
    assert!(matches!(decision.chosen.steps[0].motive, Motive::Spare { .. }), "{decision:?}");
    fleet.tuning.n_plus_one = false;
    assert_eq!(round(&fleet).chosen.steps, []);
}

#[test]
fn a_host_to_which_a_vm_is_sent_is_not_emptied_in_the_same_round() {
    let mut fleet = Fleet::new(&[("a", &[2.0, 2.0]), ("b", &[2.0, 2.0]), ("c", &[1.0])]);
    (1..=5).for_each(|vm| fleet.record(vm).memory_max = Bytes::from_gib(14));
    let decision = round(&fleet);
    assert_eq!(moves(&decision).len(), 1, "{:?}", decision.chosen);
}
