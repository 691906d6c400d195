//! The rules about vms that belong together or apart, about exchanges, and about the loss of a host: each broken alone.

use super::*;
use crate::{
    fixture::{Fleet, NOW, host_id, vm_id},
    id::VmId,
    units::Cores,
};

fn operator() -> Motive {
    Motive::Operator { who: "test".into() }
}

fn one(vm: u32, from: &str, to: &str) -> Move {
    Move { vm: vm_id(vm), from: host_id(from), to: host_id(to) }
}

fn relocation(vm: u32, from: &str, to: &str) -> Action {
    Action::Relocate(one(vm, from, to))
}

fn findings(fleet: &Fleet, action: &Action) -> Vec<Finding> {
    check(action, &operator(), &fleet.snapshot, &fleet.forecasts, &fleet.tuning, &[])
}

/// Hosts a and b in rack r1, c and d in r2. Vms 1 and 2 on a, 3 on b.
fn fleet() -> Fleet {
    let mut fleet = Fleet::new(&[("a", &[2.0, 1.0]), ("b", &[2.0]), ("c", &[]), ("d", &[])]);
    for (host, rack) in [("a", "r1"), ("b", "r1"), ("c", "r2"), ("d", "r2")] {
        fleet.inventory(host).fault_domain = Some(rack.into());
    }
    fleet
}

fn bundled(vms: &[u32]) -> Fleet {
    let mut fleet = fleet();
    for vm in vms {
        fleet.record(*vm).labels.affinity.insert("shop".into());
    }
    fleet
}

fn spread(vms: &[u32]) -> Fleet {
    let mut fleet = fleet();
    for vm in vms {
        fleet.record(*vm).labels.spread.insert("db".into());
    }
    fleet
}

fn torn(vm: u32, other: u32, at: &str) -> Finding {
    Finding::TornApart { vm: vm_id(vm), other: vm_id(other), group: "shop".into(), at: host_id(at) }
}

fn shared(vm: u32, other: u32, domain: &str) -> Finding {
    Finding::FaultDomain { vm: vm_id(vm), other: vm_id(other), group: "db".into(), domain: domain.into() }
}

#[test]
fn denies_to_tear_a_bundle_apart() {
    assert_eq!(findings(&bundled(&[1, 2]), &relocation(1, "a", "c")), [torn(1, 2, "a")]);
}

#[test]
fn lets_a_bundle_move_as_one() {
    let moves = vec![one(1, "a", "c"), one(2, "a", "c")];
    assert_eq!(findings(&bundled(&[1, 2]), &Action::Together { moves: moves.clone() }), []);
    assert_eq!(findings(&bundled(&[1, 2]), &Action::Evacuate { host: host_id("a"), moves }), []);
}

#[test]
fn denies_to_send_a_bundle_to_two_hosts() {
    let moves = vec![one(1, "a", "c"), one(2, "a", "d")];
    let found = findings(&bundled(&[1, 2]), &Action::Together { moves });
    assert_eq!(found, [torn(1, 2, "d"), torn(2, 1, "c")]);
}

#[test]
fn a_torn_bundle_may_be_mended_and_not_torn_further() {
    let fleet = bundled(&[1, 3]);
    assert_eq!(findings(&fleet, &relocation(3, "b", "a")), []);
    assert_eq!(findings(&fleet, &relocation(3, "b", "c")), [torn(3, 1, "a")]);
}

#[test]
fn a_bundle_follows_what_is_in_flight_or_was_accepted() {
    let mut fleet = bundled(&[1, 2]);
    let mut guard = Guard::new(&fleet.snapshot, &fleet.forecasts, &fleet.tuning);
    guard.accept(Step::Migrate(one(2, "a", "c")));
    let bounds = |finding: &Finding| !matches!(finding, Finding::Concurrency { .. });
    let mut follow = guard.check(&relocation(1, "a", "c"), &operator());
    follow.retain(bounds);
    assert_eq!(follow, []);
    fleet.fly(2, "c");
    let mut elsewhere = findings(&fleet, &relocation(1, "a", "d"));
    elsewhere.retain(bounds);
    assert_eq!(elsewhere, [torn(1, 2, "c")]);
}

#[test]
fn a_bundle_larger_than_a_bound_waits_until_nothing_else_runs() {
    let mut fleet = bundled(&[1, 2]);
    let together = Action::Together { moves: vec![one(1, "a", "c"), one(2, "a", "c")] };
    assert_eq!((fleet.tuning.moves_out_per_host, findings(&fleet, &together)), (1, vec![]));
    fleet.fly(3, "c");
    let found = findings(&fleet, &together);
    assert_eq!(found, [Finding::Concurrency { host: Some(host_id("c")), limit: 1 }]);
}

#[test]
fn denies_a_second_member_in_a_fault_domain() {
    assert_eq!(findings(&spread(&[1, 3]), &relocation(1, "a", "c")), []);
    let mut fleet = spread(&[1, 3]);
    fleet.vm(3).host = host_id("d");
    assert_eq!(findings(&fleet, &relocation(1, "a", "c")), [shared(1, 3, "r2")]);
}

#[test]
fn a_vm_may_move_within_its_own_fault_domain() {
    let mut fleet = spread(&[1, 3]);
    fleet.vm(3).host = host_id("c");
    assert_eq!(findings(&fleet, &relocation(1, "a", "b")), []);
}

#[test]
fn a_host_without_a_fault_domain_fails_alone() {
    let mut fleet = spread(&[1, 3]);
    ["a", "b", "c", "d"].iter().for_each(|host| fleet.inventory(host).fault_domain = None);
    assert_eq!(findings(&fleet, &relocation(1, "a", "c")), []);
    assert_eq!(findings(&fleet, &relocation(1, "a", "b")), [shared(1, 3, "b")]);
}

#[test]
fn fault_domains_are_kept_within_one_plan_and_in_flight() {
    let fleet = spread(&[1, 3]);
    let accepted = [one(3, "b", "d")];
    let found =
        check(&relocation(1, "a", "c"), &operator(), &fleet.snapshot, &fleet.forecasts, &fleet.tuning, &accepted);
    assert_eq!(found, [shared(1, 3, "r2")]);
    let mut fleet = spread(&[1, 3]);
    fleet.fly(3, "d");
    assert_eq!(findings(&fleet, &relocation(1, "a", "c")), [shared(1, 3, "r2")]);
    let both = Action::Evacuate { host: host_id("a"), moves: vec![one(1, "a", "c"), one(2, "a", "d")] };
    assert_eq!(findings(&spread(&[1, 2]), &both), [shared(1, 2, "r2"), shared(2, 1, "r2")]);
}

/// Hosts x and y of 64 GiB: vm 1 of 40 on x, vm 2 of 30 on y, and z with `free` GiB left.
fn tight(free: u64) -> Fleet {
    let mut fleet = Fleet::new(&[("x", &[8.0]), ("y", &[2.0]), ("z", &[1.0])]);
    for (vm, gib) in [(1, 40), (2, 30), (3, 64 - free)] {
        fleet.record(vm).memory_max = Bytes::from_gib(gib);
        fleet.record(vm).vcpus = 16;
    }
    fleet
}

fn exchange() -> [Move; 2] {
    [one(1, "x", "y"), one(2, "y", "x")]
}

#[test]
fn an_exchange_is_judged_by_its_outcome() {
    assert_eq!(findings(&tight(30), &Action::Swap(exchange())), []);
    assert!(matches!(findings(&tight(30), &relocation(1, "x", "y"))[..], [Finding::Memory { .. }]));
    let mut fleet = tight(30);
    fleet.inventory("x").memory_capacity = Bytes::from_gib(20);
    assert!(matches!(findings(&fleet, &Action::Swap(exchange()))[..], [Finding::Memory { .. }]));
}

#[test]
fn an_exchange_of_rivals_is_no_rivalry() {
    let mut fleet = tight(30);
    for vm in [1, 2] {
        fleet.record(vm).labels.anti_affinity.insert("web".into());
        fleet.record(vm).labels.spread.insert("web".into());
    }
    assert_eq!(findings(&fleet, &Action::Swap(exchange())), []);
}

#[test]
fn denies_an_exchange_that_is_none() {
    let crooked = [one(1, "x", "y"), one(2, "y", "z")];
    let found = findings(&tight(64), &Action::Swap(crooked));
    assert!(found.contains(&Finding::NoExchange { vm: vm_id(1), other: vm_id(2) }), "{found:?}");
}

#[test]
fn a_step_of_an_exchange_needs_its_memory_now() {
    let fleet = tight(30);
    let guard = Guard::new(&fleet.snapshot, &fleet.forecasts, &fleet.tuning);
    let part_of = Some(Action::Swap(exchange()));
    let planned = |one: Move| Planned {
        step: Step::Migrate(one),
        motive: operator(),
        expected: crate::proposal::Expectation::default(),
        part_of: part_of.clone(),
    };
    let early = guard.check_planned(&planned(one(1, "x", "y")));
    assert!(matches!(early[..], [Finding::Memory { .. }]), "{early:?}");
    assert_eq!(guard.check_planned(&planned(one(2, "y", "z"))), []);
}

#[test]
fn the_footing_names_hosts_that_could_take_one_aside() {
    let fleet = tight(30);
    let footing = Guard::new(&fleet.snapshot, &fleet.forecasts, &fleet.tuning).footing(&exchange(), &operator());
    assert_eq!(footing.free, [Bytes::from_gib(34), Bytes::from_gib(24)]);
    assert_eq!(footing.parking, [vec![], vec![(host_id("z"), Bytes::from_gib(30))]]);
}

/// Three hosts that sleep, with one vm each; `n_plus_one` set.
fn thin(cores: f64, gib: u64) -> Fleet {
    let mut fleet = Fleet::new(&[("a", &[cores]), ("b", &[cores]), ("c", &[])]);
    for vm in [1, 2] {
        fleet.record(vm).memory_max = Bytes::from_gib(gib);
        fleet.record(vm).vcpus = 16;
    }
    fleet.tuning.n_plus_one = true;
    fleet
}

fn sleep_of_c(fleet: &Fleet) -> Vec<Finding> {
    findings(fleet, &Action::Sleep { host: host_id("c") })
}

#[test]
fn a_host_may_sleep_where_the_loss_of_another_is_borne() {
    assert_eq!(sleep_of_c(&thin(4.0, 8)), []);
}

#[test]
fn denies_a_sleep_after_which_no_loss_is_borne_cpu_wise() {
    let found = sleep_of_c(&thin(8.0, 8));
    let [Finding::Loss { cores_wanted, cores_left, .. }] = found[..] else { panic!("{found:?}") };
    assert_eq!((cores_wanted, cores_left), (Cores(16.0), Cores(16.0 * 0.85)));
    let mut fleet = thin(8.0, 8);
    fleet.tuning.n_plus_one = false;
    assert_eq!(sleep_of_c(&fleet), []);
}

#[test]
fn denies_a_sleep_after_which_no_loss_is_borne_memory_wise() {
    let found = sleep_of_c(&thin(1.0, 40));
    let [Finding::Loss { memory_wanted, memory_left, .. }] = found[..] else { panic!("{found:?}") };
    assert_eq!((memory_wanted, memory_left), (Bytes::from_gib(80), Bytes::from_gib(64)));
}

#[test]
fn labels_are_comfort_and_order_is_not() {
    let mut fleet = bundled(&[1, 2]);
    fleet.vm(1).last_moved_at = Some(NOW);
    let found = findings(&fleet, &relocation(1, "a", "c"));
    assert!(found.len() == 2 && found.iter().all(Finding::can_be_overridden), "{found:?}");
    let (vm, other): (VmId, VmId) = (vm_id(1), vm_id(2));
    assert!(!Finding::NoSafeOrder { vm, other, short: Bytes::ZERO }.can_be_overridden());
}

#[test]
fn a_host_to_which_a_move_was_accepted_is_not_emptied_for_its_sleep() {
    let fleet = Fleet::new(&[("a", &[1.0]), ("b", &[1.0]), ("c", &[1.0])]);
    let empty_a = Action::Evacuate { host: host_id("a"), moves: vec![one(1, "a", "c")] };
    let motive = Motive::Consolidation { host: host_id("a") };
    let check =
        |accepted: &[Move]| check(&empty_a, &motive, &fleet.snapshot, &fleet.forecasts, &fleet.tuning, accepted);
    assert_eq!(check(&[]), []);
    assert_eq!(check(&[one(2, "b", "a")]), [Finding::NotEmpty { host: host_id("a"), vms: 1 }]);
}
