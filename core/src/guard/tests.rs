//! Every rule of the guard has a test that breaks it and nothing else.

use std::time::Duration;

use super::*;
use crate::{
    fixture::{Fleet, NOW, host_id, vm_id},
    inventory::{CpuNeed, Obstacle, SleepSupport},
    sample::VmState,
    snapshot::HostMode,
    units::Bytes,
};

fn operator() -> Motive {
    Motive::Operator { who: "test".into() }
}

fn consolidation() -> Motive {
    Motive::Consolidation { host: host_id("a") }
}

fn relocation(vm: u32, from: &str, to: &str) -> Action {
    Action::Relocate(Move { vm: vm_id(vm), from: host_id(from), to: host_id(to) })
}

fn sleep(host: &str) -> Action {
    Action::Sleep { host: host_id(host) }
}

fn wake(host: &str) -> Action {
    Action::Wake { host: host_id(host) }
}

/// Hosts a, b, c; vm 1 on a uses 2 cores, vm 2 on b uses 2.
fn fleet() -> Fleet {
    Fleet::new(&[("a", &[2.0]), ("b", &[2.0]), ("c", &[])])
}

fn findings(fleet: &Fleet, action: &Action, motive: &Motive) -> Vec<Finding> {
    check(action, motive, &fleet.snapshot, &fleet.forecasts, &fleet.tuning, &[])
}

/// The findings about moving vm 1 from a to b after `change`.
fn after(change: impl FnOnce(&mut Fleet)) -> Vec<Finding> {
    let mut fleet = fleet();
    change(&mut fleet);
    findings(&fleet, &relocation(1, "a", "b"), &operator())
}

macro_rules! denies {
    ($name:ident, $findings:expr, $pattern:pat) => {
        #[test]
        fn $name() {
            let findings: Vec<Finding> = $findings;
            assert!(matches!(findings.as_slice(), [$pattern]), "{findings:?}");
        }
    };
}

#[test]
fn lets_a_sound_move_pass() {
    assert_eq!(after(|_| ()), vec![]);
}

denies!(denies_an_unknown_vm, findings(&fleet(), &relocation(9, "a", "b"), &operator()), Finding::UnknownVm { .. });
denies!(denies_an_unknown_host, findings(&fleet(), &relocation(1, "a", "x"), &operator()), Finding::UnknownHost { .. });
denies!(
    denies_a_vm_that_is_elsewhere,
    findings(&fleet(), &relocation(1, "c", "b"), &operator()),
    Finding::NotThere { .. }
);
denies!(
    denies_a_move_to_where_the_vm_is,
    findings(&fleet(), &relocation(1, "a", "a"), &operator()),
    Finding::SameHost { .. }
);
denies!(denies_a_paused_vm, after(|fleet| fleet.record(1).state = VmState::Paused), Finding::NotRunning { .. });
denies!(
    denies_a_doubtful_source,
    after(|fleet| fleet.host("a").doubts = vec![Doubt::HypervisorAway]),
    Finding::Doubtful { .. }
);
denies!(
    denies_a_doubtful_target,
    after(|fleet| fleet.host("b").doubts = vec![Doubt::HypervisorAway]),
    Finding::Doubtful { .. }
);
denies!(
    denies_a_target_that_sleeps,
    after(|fleet| fleet.host("b").power = HostPower::Asleep),
    Finding::NotAwake { .. }
);
denies!(
    denies_a_target_being_drained,
    after(|fleet| fleet.host("b").mode = HostMode::Draining),
    Finding::BeingDrained { .. }
);
denies!(
    denies_a_pinned_vm,
    after(|fleet| fleet.record(1).labels.pinned_to = [host_id("a")].into()),
    Finding::Pinned { .. }
);
denies!(denies_an_immovable_vm, after(|fleet| fleet.record(1).labels.immovable = true), Finding::Immovable { .. });
denies!(
    denies_a_missing_cpu_model,
    after(|fleet| fleet.record(1).cpu = CpuNeed::Model("Z".into())),
    Finding::CpuModel { .. }
);
denies!(
    denies_another_cpu_for_a_passed_through_one,
    after(|fleet| fleet.record(1).cpu = CpuNeed::SameAs("Z".into())),
    Finding::CpuModel { .. }
);
denies!(denies_a_missing_network, after(|fleet| fleet.inventory("b").networks.clear()), Finding::Network { .. });
denies!(denies_an_unreachable_storage, after(|fleet| fleet.inventory("b").storages.clear()), Finding::Storage { .. });
denies!(
    denies_a_vm_with_an_obstacle,
    after(|fleet| fleet.record(1).obstacles = vec![Obstacle::LocalDisk("vda".into())]),
    Finding::Obstructed { .. }
);
denies!(denies_a_vm_that_libvirt_works_on, after(|fleet| fleet.record(1).busy = true), Finding::HypervisorBusy { .. });
denies!(
    denies_a_frozen_vm,
    after(|fleet| fleet.vm(1).frozen = Some("two hosts claim it".into())),
    Finding::Frozen { .. }
);
denies!(denies_a_vm_that_moved_lately, after(|fleet| fleet.vm(1).last_moved_at = Some(NOW)), Finding::CoolDown { .. });

#[test]
fn denies_second_migration_of_same_vm() {
    let mut fleet = fleet();
    fleet.tuning.moves_out_per_host = 4;
    fleet.fly(1, "c");
    let found = findings(&fleet, &relocation(1, "a", "b"), &operator());
    assert!(matches!(found.as_slice(), [Finding::Locked { .. }]), "{found:?}");
}

#[test]
fn denies_a_vm_that_was_accepted_elsewhere_this_round() {
    let mut fleet = fleet();
    fleet.tuning.moves_out_per_host = 4;
    let before = [Move { vm: vm_id(1), from: host_id("a"), to: host_id("c") }];
    let action = relocation(1, "a", "b");
    let found = check(&action, &operator(), &fleet.snapshot, &fleet.forecasts, &fleet.tuning, &before);
    assert!(matches!(found.as_slice(), [Finding::MovedTwice { .. }]), "{found:?}");
}

#[test]
fn denies_a_target_whose_cpu_would_be_over_the_limit_now() {
    let mut fleet = Fleet::new(&[("a", &[4.0]), ("b", &[4.0, 4.0, 4.0])]);
    fleet.forecast(1.0);
    for forecast in fleet.forecasts.vms.values_mut() {
        *forecast = crate::fixture::forecast_of(1.0, 1.0);
    }
    let found = findings(&fleet, &relocation(1, "a", "b"), &operator());
    // The horizon begins now, so both rules speak.
    assert!(matches!(found.as_slice(), [Finding::CpuNow { .. }, Finding::CpuAhead { .. }]), "{found:?}");
}

#[test]
fn denies_a_target_whose_cpu_would_be_over_the_limit_ahead() {
    let mut fleet = Fleet::new(&[("a", &[2.0]), ("b", &[3.0, 3.0, 3.0])]);
    fleet.forecast(1.7);
    let found = findings(&fleet, &relocation(1, "a", "b"), &operator());
    assert!(matches!(found.as_slice(), [Finding::CpuAhead { .. }]), "{found:?}");
}

#[test]
fn consolidation_leaves_more_cpu_free_than_relief_does() {
    let fleet = Fleet::new(&[("a", &[1.0]), ("b", &[3.0, 3.0, 3.0, 3.0])]);
    let action = relocation(1, "a", "b");
    assert_eq!(findings(&fleet, &action, &operator()), vec![]);
    let found = findings(&fleet, &action, &consolidation());
    assert!(matches!(found.as_slice(), [Finding::CpuNow { .. }, Finding::CpuAhead { .. }]), "{found:?}");
}

#[test]
fn counts_memory_that_vms_may_grow_to_on_both_ends_of_a_flight() {
    let mut fleet = Fleet::new(&[("a", &[1.0]), ("b", &[1.0]), ("c", &[1.0])]);
    fleet.tuning.moves_in_per_host = 2;
    fleet.record(1).memory_max = Bytes::from_gib(20);
    fleet.record(2).memory_max = Bytes::from_gib(20);
    fleet.record(3).memory_max = Bytes::from_gib(30);
    assert_eq!(findings(&fleet, &relocation(1, "a", "b"), &operator()), vec![]);
    fleet.fly(3, "b");
    let found = findings(&fleet, &relocation(1, "a", "b"), &operator());
    let Some(Finding::Memory { would_be, limit, .. }) = found.first() else { panic!("{found:?}") };
    assert_eq!((*would_be, *limit), (Bytes::from_gib(70), Bytes::from_gib(64)));
}

#[test]
fn lets_an_over_committed_host_be_a_source() {
    let mut fleet = fleet();
    fleet.record(1).memory_max = Bytes::from_gib(40);
    fleet.add_vm(3, "a", 1.0);
    fleet.record(3).memory_max = Bytes::from_gib(40);
    assert_eq!(findings(&fleet, &relocation(1, "a", "b"), &operator()), vec![]);
}

/// After vm 1 was found to write more than a copy carries.
fn busy(motive: &Motive) -> Vec<Finding> {
    let mut fleet = fleet();
    fleet.vm(1).sample.as_mut().unwrap().dirty_rate = crate::sample::Reading::Measured(crate::units::BytesPerSec(9e9));
    findings(&fleet, &relocation(1, "a", "b"), motive)
}

denies!(
    denies_an_operators_copy_that_would_not_end_and_lets_him_set_that_aside,
    busy(&operator()).into_iter().filter(Finding::can_be_overridden).collect(),
    Finding::WritesTooMuch { calm_at: None, .. }
);
denies!(
    denies_a_drains_copy_that_would_not_end,
    busy(&Motive::Drain { host: host_id("a") }),
    Finding::WritesTooMuch { .. }
);

#[test]
fn leaves_it_to_relief_to_take_a_vm_whose_copy_may_not_end() {
    let relief = Motive::Overload { host: host_id("a"), load: 1.0, limit: 0.85 };
    assert_eq!(busy(&relief), vec![]);
}

#[test]
fn denies_two_of_a_group_on_one_host() {
    let mut fleet = fleet();
    for vm in [1, 2] {
        fleet.record(vm).labels.anti_affinity.insert("db".into());
    }
    let found = findings(&fleet, &relocation(1, "a", "b"), &operator());
    assert!(matches!(found.as_slice(), [Finding::AntiAffinity { .. }]), "{found:?}");
}

#[test]
fn sees_a_group_member_that_was_accepted_before() {
    let mut fleet = fleet();
    fleet.tuning.moves_in_per_host = 2;
    for vm in [1, 2] {
        fleet.record(vm).labels.anti_affinity.insert("db".into());
    }
    let before = [Move { vm: vm_id(2), from: host_id("b"), to: host_id("c") }];
    let action = relocation(1, "a", "c");
    let found = check(&action, &operator(), &fleet.snapshot, &fleet.forecasts, &fleet.tuning, &before);
    assert!(matches!(found.as_slice(), [Finding::AntiAffinity { .. }]), "{found:?}");
}

#[test]
fn bounds_moves_out_of_a_host_into_a_host_and_in_the_fleet() {
    let mut fleet = fleet();
    fleet.add_vm(3, "a", 1.0);
    fleet.fly(3, "b");
    fleet.tuning.moves_in_fleet = 1;
    let found = findings(&fleet, &relocation(1, "a", "b"), &operator());
    let hosts: Vec<_> = found.iter().map(|one| matches!(one, Finding::Concurrency { host: Some(_), .. })).collect();
    assert_eq!(hosts, [true, true, false], "{found:?}");
}

#[test]
fn relief_of_a_host_that_is_over_its_limit_breaks_the_rest_of_a_vm() {
    let mut fleet = Fleet::new(&[("a", &[4.0, 4.0, 4.0, 4.0]), ("b", &[])]);
    fleet.vm(1).last_moved_at = Some(NOW.before(crate::tuning::LEAST_REST));
    let relief = Motive::Overload { host: host_id("a"), load: 1.0, limit: 0.85 };
    assert_eq!(findings(&fleet, &relocation(1, "a", "b"), &relief), vec![]);
}

#[test]
fn a_move_that_failed_just_now_is_not_repeated_at_once_even_for_relief() {
    let mut fleet = Fleet::new(&[("a", &[4.0, 4.0, 4.0, 4.0]), ("b", &[])]);
    fleet.vm(1).last_moved_at = Some(NOW);
    let relief = Motive::Overload { host: host_id("a"), load: 1.0, limit: 0.85 };
    let found = findings(&fleet, &relocation(1, "a", "b"), &relief);
    assert!(matches!(found.as_slice(), [Finding::CoolDown { .. }]), "{found:?}");
}

#[test]
fn a_claim_of_overload_that_is_not_so_breaks_nothing() {
    let mut fleet = fleet();
    fleet.vm(1).last_moved_at = Some(NOW);
    let claim = Motive::Overload { host: host_id("a"), load: 1.0, limit: 0.85 };
    let found = findings(&fleet, &relocation(1, "a", "b"), &claim);
    assert!(matches!(found.as_slice(), [Finding::CoolDown { .. }]), "{found:?}");
}

#[test]
fn silence_of_many_hosts_stops_everything_and_of_one_does_not() {
    let silent = Doubt::Silent { age: Duration::from_secs(60) };
    let mut fleet = Fleet::new(&[("a", &[2.0]), ("b", &[]), ("c", &[]), ("d", &[])]);
    fleet.host("c").doubts = vec![silent.clone()];
    assert_eq!(findings(&fleet, &relocation(1, "a", "b"), &operator()), vec![]);
    fleet.host("d").doubts = vec![silent];
    let found = findings(&fleet, &relocation(1, "a", "b"), &operator());
    assert!(matches!(found.as_slice(), [Finding::FleetSilent { silent: 2, of: 4 }]), "{found:?}");
}

#[test]
fn an_evacuation_that_leaves_a_vm_behind_is_denied() {
    let mut fleet = fleet();
    fleet.add_vm(3, "a", 1.0);
    let moves = vec![Move { vm: vm_id(1), from: host_id("a"), to: host_id("b") }];
    let action = Action::Evacuate { host: host_id("a"), moves };
    let found = findings(&fleet, &action, &consolidation());
    assert!(matches!(found.as_slice(), [Finding::NotEmpty { vms: 1, .. }]), "{found:?}");
    fleet.fly(3, "c");
    assert_eq!(findings(&fleet, &action, &consolidation()), vec![]);
}

/// The findings about putting c to sleep after `change`.
fn asleep_after(change: impl FnOnce(&mut Fleet)) -> Vec<Finding> {
    let mut fleet = fleet();
    change(&mut fleet);
    findings(&fleet, &sleep("c"), &operator())
}

#[test]
fn lets_an_empty_host_sleep() {
    assert_eq!(asleep_after(|_| ()), vec![]);
}

denies!(denies_sleep_to_a_host_with_a_vm, findings(&fleet(), &sleep("a"), &operator()), Finding::NotEmpty { .. });
denies!(denies_sleep_to_a_host_that_awaits_a_vm, asleep_after(|fleet| fleet.fly(1, "c")), Finding::NotEmpty { .. });
denies!(
    denies_sleep_to_a_host_that_cannot,
    asleep_after(|fleet| fleet.inventory("c").sleep = SleepSupport::None),
    Finding::CannotSleep { .. }
);
denies!(
    denies_sleep_right_after_waking,
    asleep_after(|fleet| fleet.host("c").power_since = NOW),
    Finding::PowerDwell { .. }
);
denies!(
    denies_sleep_below_the_least_number_awake,
    asleep_after(|fleet| fleet.tuning.min_awake = 3),
    Finding::Reserve { awake: 2, needed: 3 }
);
denies!(
    denies_sleep_that_leaves_no_spare,
    asleep_after(|fleet| fleet.tuning.spare_hosts = 2),
    Finding::Reserve { awake: 2, needed: 3 }
);
denies!(
    denies_sleep_to_a_doubtful_host,
    asleep_after(|fleet| fleet.host("c").doubts = vec![Doubt::HypervisorAway]),
    Finding::Doubtful { .. }
);
denies!(
    denies_sleep_to_a_drained_host,
    asleep_after(|fleet| fleet.host("c").mode = HostMode::Draining),
    Finding::BeingDrained { .. }
);
denies!(
    denies_sleep_to_a_host_that_sleeps,
    asleep_after(|fleet| fleet.host("c").power = HostPower::Asleep),
    Finding::NotAwake { .. }
);
denies!(denies_waking_a_host_that_is_awake, findings(&fleet(), &wake("c"), &operator()), Finding::NotAsleep { .. });
denies!(denies_waking_an_unknown_host, findings(&fleet(), &wake("x"), &operator()), Finding::UnknownHost { .. });
denies!(denies_sleep_to_an_unknown_host, findings(&fleet(), &sleep("x"), &operator()), Finding::UnknownHost { .. });

#[test]
fn denies_waking_where_nobody_can_send_the_order() {
    let mut fleet = Fleet::new(&[("a", &[]), ("b", &[])]);
    fleet.host("a").power = HostPower::Asleep;
    fleet.host("b").doubts = vec![Doubt::HypervisorAway];
    let found = findings(&fleet, &wake("a"), &operator());
    assert!(matches!(found.as_slice(), [Finding::NobodyToWakeIt { .. }]), "{found:?}");
}

#[test]
fn need_wakes_a_host_that_fell_asleep_just_now_and_comfort_does_not() {
    let mut fleet = fleet();
    (fleet.host("c").power, fleet.host("c").power_since) = (HostPower::Asleep, NOW);
    assert_eq!(findings(&fleet, &wake("c"), &Motive::Shortage { cores_short: 1.0 }), vec![]);
    let found = findings(&fleet, &wake("c"), &Motive::Drain { host: host_id("a") });
    assert!(matches!(found.as_slice(), [Finding::PowerDwell { .. }]), "{found:?}");
}

#[test]
fn a_host_accepted_to_sleep_is_no_target_and_wakes_nobody() {
    let fleet = fleet();
    let mut guard = Guard::new(&fleet.snapshot, &fleet.forecasts, &fleet.tuning);
    guard.accept(Step::Sleep { host: host_id("c") });
    let found = guard.check(&relocation(1, "a", "c"), &operator());
    assert!(matches!(found.as_slice(), [Finding::NotAwake { .. }]), "{found:?}");
    assert_eq!(guard.waker_of(&host_id("a")), Some(&host_id("b")));
}
