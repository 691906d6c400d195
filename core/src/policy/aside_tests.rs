//! Who steps aside so that a host can be emptied, and when nobody does.

use std::time::Duration;

use super::*;
use crate::{
    decide::decide,
    decision::{Decision, Step, Trigger},
    fixture::{Fleet, host_id, vm_id},
    proposal::{Motive, Move},
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

/// Memory is what is short: vm 1 on a takes 32 GiB, b and c have 20 left each, and vm 3 on b takes 16. The others stay where
/// they are.
fn crowded() -> Fleet {
    let mut fleet = Fleet::new(&[("a", &[0.5]), ("b", &[3.0, 0.5]), ("c", &[3.0])]);
    for (vm, gib) in [(1, 32), (2, 28), (3, 16), (4, 44)] {
        fleet.record(vm).memory_max = Bytes::from_gib(gib);
    }
    [2, 4].iter().for_each(|vm| fleet.record(*vm).labels.immovable = true);
    fleet
}

#[test]
fn a_vm_steps_aside_and_the_next_round_empties_the_host() {
    let mut fleet = crowded();
    let decision = round(&fleet);
    assert_eq!(steps(&decision), [moved(3, "b", "c")]);
    let motive = &decision.chosen.steps[0].motive;
    assert!(
        matches!(motive, Motive::Room { host, gain } if *host == host_id("a") && gain.get() > 1000.0),
        "{motive:?}"
    );
    fleet.obey(&decision, Duration::from_secs(60));
    let next = round(&fleet);
    assert_eq!(steps(&next), [moved(1, "a", "b")]);
}

#[test]
fn a_vm_that_rests_does_not_step_aside() {
    let mut fleet = crowded();
    let lately = fleet.snapshot.taken_at.before(Duration::from_secs(120));
    fleet.vm(3).last_moved_at = Some(lately);
    assert_eq!(steps(&round(&fleet)), []);
}

#[test]
fn nobody_steps_aside_where_two_would_have_to() {
    let mut fleet = crowded();
    fleet.record(1).memory_max = Bytes::from_gib(40);
    assert_eq!(steps(&round(&fleet)), []);
}

#[test]
fn nobody_steps_aside_where_emptying_the_host_does_not_pay() {
    let mut fleet = crowded();
    fleet.tuning.min_gain_joules = 1e9;
    assert_eq!(steps(&round(&fleet)), []);
}
