//! One test per rule of the fleet's state.

use std::time::Duration;

use super::fixtures::*;
use crate::{
    command::Order,
    id::Generation,
    outcome::Ending,
    sample::VmState::{Incoming, Paused, Running, ShutOff},
    snapshot::{Doubt, Event, HostMode, HostPower},
    units::Cores,
};

fn two_hosts() -> Stage {
    Stage::with(&[inventory("a", &[(1, Running)]), inventory("b", &[])])
}

fn place(stage: &Stage, number: u128) -> Option<String> {
    stage.snapshot().vms.get(&vm(number)).map(|vm| vm.host.to_string())
}

fn locked(stage: &Stage) -> bool {
    stage.snapshot().vms[&vm(1)].locked_by.is_some()
}

fn power(stage: &Stage, name: &str) -> HostPower {
    stage.snapshot().hosts[&host(name)].power
}

fn doubts(stage: &Stage, name: &str) -> Vec<Doubt> {
    stage.snapshot().hosts[&host(name)].doubts.clone()
}

#[test]
fn an_incomplete_inventory_never_removes_a_vm() {
    let mut stage = two_hosts();
    for _ in 0..5 {
        let blind = crate::inventory::Inventory { complete: false, ..inventory("a", &[]) };
        stage.event(Event::Inventory { inventory: Box::new(blind) });
    }
    assert_eq!(place(&stage, 1).as_deref(), Some("a"));
    assert_eq!(doubts(&stage, "a"), [Doubt::InventoryIncomplete]);
}

#[test]
fn a_vm_is_gone_at_the_second_complete_inventory_without_it() {
    let mut stage = two_hosts();
    stage.lists("a", &[]);
    let frozen = stage.snapshot().vms[&vm(1)].frozen.clone();
    assert_eq!(frozen.as_deref(), Some("a no longer lists it; its next inventory will tell"));
    stage.lists("a", &[]);
    assert_eq!(place(&stage, 1), None);
}

#[test]
fn a_vm_that_comes_back_counts_its_absence_anew() {
    let mut stage = two_hosts();
    stage.lists("a", &[]);
    stage.lists("a", &[(1, Running)]);
    stage.lists("a", &[]);
    assert_eq!(place(&stage, 1).as_deref(), Some("a"));
}

#[test]
fn a_vm_that_runs_on_two_hosts_is_frozen_and_both_are_doubted() {
    let mut stage = two_hosts();
    stage.lists("b", &[(1, Running)]);
    let duplicate = |other| vec![Doubt::DuplicateVm { vm: vm(1), other: host(other) }];
    assert_eq!(doubts(&stage, "a"), duplicate("b"));
    assert_eq!(doubts(&stage, "b"), duplicate("a"));
    assert_eq!(stage.snapshot().vms[&vm(1)].frozen.as_deref(), Some("claimed to run on a and on b"));
    stage.lists("a", &[]);
    assert_eq!(doubts(&stage, "a"), []);
    assert_eq!(place(&stage, 1).as_deref(), Some("b"));
}

#[test]
fn a_shut_off_definition_elsewhere_is_no_second_copy() {
    let mut stage = two_hosts();
    stage.lists("b", &[(1, ShutOff)]);
    assert!(stage.snapshot().vms[&vm(1)].frozen.is_none());
    assert_eq!(place(&stage, 1).as_deref(), Some("a"));
}

#[test]
fn a_vm_that_somebody_else_moved_is_followed_and_rests() {
    let mut stage = two_hosts();
    let before = stage.snapshot().vms[&vm(1)].generation;
    stage.lists("a", &[(1, Paused)]);
    stage.lists("b", &[(1, Running)]);
    stage.lists("a", &[]);
    let view = stage.snapshot().vms[&vm(1)].clone();
    assert_eq!((view.host, view.generation), (host("b"), Generation(before.0 + 1)));
    assert_eq!((view.last_moved_at, view.frozen), (Some(stage.now), None));
}

#[test]
fn a_vm_in_flight_is_locked_on_its_source_and_counts_on_both_ends() {
    let mut stage = two_hosts();
    stage.event(migrate(7, 1, "a", "b"));
    stage.lists("b", &[(1, Incoming)]);
    stage.lists("b", &[(1, Running)]);
    let snapshot = stage.snapshot();
    assert_eq!(snapshot.vms[&vm(1)].locked_by, Some(id(7)));
    assert_eq!(snapshot.vms[&vm(1)].host, host("a"));
    assert_eq!((&snapshot.in_flight[0].source, &snapshot.in_flight[0].destination), (&host("a"), &host("b")));
    assert!(doubts(&stage, "a").is_empty() && doubts(&stage, "b").is_empty(), "the move explains both claims");
}

#[test]
fn the_lock_opens_when_the_destination_shows_the_vm_and_the_source_does_not() {
    let mut stage = two_hosts();
    let before = stage.snapshot().vms[&vm(1)].generation;
    stage.event(migrate(7, 1, "a", "b"));
    stage.event(ended(7, Ending::Completed));
    assert!(locked(&stage), "the word of the agent alone is not enough");
    stage.lists("b", &[(1, Running)]);
    assert!(locked(&stage), "the source still shows it");
    stage.wait(2);
    stage.lists("a", &[(1, ShutOff)]);
    let view = stage.snapshot().vms[&vm(1)].clone();
    assert_eq!((view.host, view.locked_by, view.frozen), (host("b"), None, None));
    assert_eq!(view.generation, Generation(before.0 + 1), "one placement was confirmed, once");
    assert_eq!(view.last_moved_at, Some(stage.now));
    assert!(stage.snapshot().in_flight.is_empty());
}

#[test]
fn inventories_that_came_before_the_outcome_open_the_lock_with_it() {
    let mut stage = two_hosts();
    stage.event(migrate(7, 1, "a", "b"));
    stage.lists("b", &[(1, Running)]);
    stage.lists("a", &[]);
    assert!(locked(&stage), "the order has not ended");
    stage.event(ended(7, Ending::Completed));
    assert!(!locked(&stage));
    assert_eq!(place(&stage, 1).as_deref(), Some("b"));
}

#[test]
fn a_failed_move_unlocks_at_the_source_even_if_the_destination_is_dead() {
    let mut stage = two_hosts();
    stage.event(migrate(7, 1, "a", "b"));
    stage.lists("b", &[(1, Incoming)]);
    stage.disconnect("b");
    stage.event(ended(7, failed()));
    assert!(!locked(&stage));
    let view = stage.snapshot().vms[&vm(1)].clone();
    assert_eq!((view.host, view.last_moved_at), (host("a"), Some(stage.now)));
}

#[test]
fn a_failed_move_that_both_hosts_claim_stays_locked_and_is_doubted() {
    let mut stage = two_hosts();
    stage.event(migrate(7, 1, "a", "b"));
    stage.lists("b", &[(1, Running)]);
    stage.event(ended(7, failed()));
    assert!(locked(&stage));
    assert_eq!(doubts(&stage, "b").len(), 1);
}

#[test]
fn completed_and_still_on_both_hosts_is_a_second_copy_at_the_second_inventory() {
    let mut stage = two_hosts();
    stage.event(migrate(7, 1, "a", "b"));
    stage.lists("b", &[(1, Running)]);
    stage.event(ended(7, Ending::Completed));
    stage.lists("a", &[(1, Running)]);
    assert!(doubts(&stage, "a").is_empty());
    stage.lists("a", &[(1, Running)]);
    assert_eq!(doubts(&stage, "a").len(), 1);
    assert!(locked(&stage));
}

#[test]
fn completed_but_nowhere_else_is_believed_to_the_inventories() {
    let mut stage = two_hosts();
    let before = stage.snapshot().vms[&vm(1)].generation;
    stage.event(migrate(7, 1, "a", "b"));
    stage.event(ended(7, Ending::Completed));
    stage.lists("a", &[(1, Running)]);
    stage.lists("b", &[]);
    assert!(locked(&stage));
    stage.lists("a", &[(1, Running)]);
    assert!(!locked(&stage));
    let view = stage.snapshot().vms[&vm(1)].clone();
    assert_eq!(view.host, host("a"));
    assert_eq!(view.generation, Generation(before.0 + 1), "its agent counts one more placement too");
}

#[test]
fn an_unresolved_move_stays_frozen_until_both_inventories_agree() {
    let mut stage = two_hosts();
    stage.event(migrate(7, 1, "a", "b"));
    stage.event(ended(7, unresolved()));
    let frozen = stage.snapshot().vms[&vm(1)].frozen.clone();
    assert_eq!(frozen.as_deref(), Some("outcome of 1-7 is unresolved: nobody answers"));
    stage.lists("a", &[(1, Running)]);
    assert!(locked(&stage), "the destination has not spoken");
    stage.lists("b", &[]);
    assert!(!locked(&stage));
    assert_eq!(place(&stage, 1).as_deref(), Some("a"));
}

#[test]
fn a_vm_deleted_while_it_moved_is_forgotten_when_both_hosts_say_so() {
    let mut stage = two_hosts();
    stage.event(migrate(7, 1, "a", "b"));
    stage.event(ended(7, Ending::VmGone));
    stage.lists("a", &[]);
    assert!(locked(&stage));
    stage.lists("b", &[]);
    stage.lists("a", &[]);
    assert_eq!(place(&stage, 1), None);
    assert!(stage.snapshot().in_flight.is_empty());
}

#[test]
fn a_vm_is_not_gone_while_a_host_that_may_have_started_it_anew_is_not_linked() {
    let mut stage = two_hosts();
    stage.event(migrate(7, 1, "a", "b"));
    stage.event(ended(7, Ending::VmGone));
    stage.lists("a", &[]);
    stage.disconnect("a");
    stage.lists("b", &[]);
    assert!(locked(&stage), "what the source said is as old as its link");
    stage.connect(inventory("a", &[(1, Running)]));
    stage.lists("b", &[]);
    assert_eq!(place(&stage, 1).as_deref(), Some("a"));
    assert!(!locked(&stage));
}

#[test]
fn a_vm_that_returns_after_its_removal_has_a_later_generation() {
    let mut stage = two_hosts();
    let before = stage.snapshot().vms[&vm(1)].generation;
    stage.lists("a", &[]);
    stage.lists("a", &[]);
    stage.lists("a", &[(1, Running)]);
    assert!(stage.snapshot().vms[&vm(1)].generation > before);
}

fn asleep() -> Stage {
    let mut stage = two_hosts();
    stage.event(ordered(1, "b", Order::Sleep));
    assert_eq!(power(&stage, "b"), HostPower::FallingAsleep);
    stage.event(ended(1, Ending::Completed));
    stage.disconnect("b");
    stage.wait(100);
    assert_eq!(power(&stage, "b"), HostPower::Asleep);
    stage
}

fn wake(stage: &mut Stage, number: u64) {
    stage.event(ordered(number, "a", Order::Wake { target: host("b"), address: None }));
    stage.event(ended(number, Ending::Completed));
}

#[test]
fn a_sleeping_host_is_rightly_silent_and_no_target() {
    let mut stage = asleep();
    stage.wait(3600);
    let view = stage.snapshot().hosts[&host("b")].clone();
    assert_eq!(view.doubts, []);
    assert!(!view.is_eligible_target());
}

#[test]
fn a_host_that_disconnects_while_falling_asleep_is_asleep() {
    let mut stage = two_hosts();
    stage.event(ordered(1, "b", Order::Sleep));
    stage.disconnect("b");
    assert_eq!(power(&stage, "b"), HostPower::Asleep);
    stage.event(ended(1, failed()));
    assert_eq!(power(&stage, "b"), HostPower::Awake, "it did not sleep: it is merely gone");
    assert_eq!(doubts(&stage, "b"), [Doubt::Disconnected]);
}

#[test]
fn a_woken_host_is_awake_when_it_connects_and_trusted_when_it_reports() {
    let mut stage = asleep();
    wake(&mut stage, 2);
    assert_eq!(power(&stage, "b"), HostPower::Waking);
    stage.wait(20);
    stage.connect(inventory("b", &[]));
    assert_eq!(power(&stage, "b"), HostPower::Awake);
    assert!(matches!(doubts(&stage, "b")[..], [Doubt::Silent { .. }]));
    stage.batch(batch("b", 0.5, &[]));
    assert_eq!(doubts(&stage, "b"), []);
    assert_eq!(stage.snapshot().hosts[&host("b")].empty_for, Duration::ZERO, "it is not to fall asleep at once");
}

#[test]
fn a_wake_in_vain_can_be_tried_again() {
    let mut stage = asleep();
    wake(&mut stage, 2);
    stage.wait(151);
    assert_eq!(power(&stage, "b"), HostPower::Asleep);
    assert_eq!(doubts(&stage, "b"), [Doubt::WakeFailed { waited: Duration::from_secs(150) }]);
    wake(&mut stage, 3);
    assert_eq!(power(&stage, "b"), HostPower::Waking);
    assert_eq!(doubts(&stage, "b"), []);
}

#[test]
fn a_host_that_goes_on_reporting_does_not_sleep() {
    let mut stage = two_hosts();
    stage.event(ordered(1, "b", Order::Sleep));
    stage.event(ended(1, Ending::Completed));
    stage.batch(batch("b", 0.5, &[]));
    assert_eq!(power(&stage, "b"), HostPower::Asleep, "that was sent while it fell asleep");
    stage.wait(200);
    stage.batch(batch("b", 0.5, &[]));
    assert_eq!(power(&stage, "b"), HostPower::Awake);
}

#[test]
fn silence_is_counted_from_receipt() {
    let mut stage = two_hosts();
    stage.wait(15);
    assert_eq!(doubts(&stage, "a"), []);
    stage.wait(1);
    assert_eq!(doubts(&stage, "a"), [Doubt::Silent { age: Duration::from_secs(16) }]);
}

#[test]
fn a_host_without_a_link_or_a_hypervisor_is_doubted() {
    let mut stage = two_hosts();
    let mut blind = batch("a", 1.0, &[]);
    blind.sample.agent.hypervisor_connected = false;
    stage.batch(blind);
    assert_eq!(doubts(&stage, "a"), [Doubt::HypervisorAway]);
    stage.disconnect("b");
    assert_eq!(doubts(&stage, "b"), [Doubt::Disconnected]);
}

#[test]
fn an_old_boots_goodbye_does_not_close_the_new_link() {
    let mut stage = two_hosts();
    stage.connect(crate::inventory::Inventory { boot: boot(2), ..inventory("b", &[]) });
    stage.disconnect("b");
    assert!(!doubts(&stage, "b").contains(&Doubt::Disconnected));
}

/// For how long a host has been awake, as the scheduler knows it.
fn awake_for(stage: &Stage, name: &str) -> Duration {
    stage.now.since(stage.snapshot().hosts[&host(name)].power_since)
}

#[test]
fn a_host_first_heard_of_has_been_awake_for_as_long_as_it_has_been_up() {
    let mut stage = Stage::new();
    stage.connect(crate::inventory::Inventory { up_for: Duration::from_secs(900), ..inventory("a", &[]) });
    stage.connect(inventory("b", &[]));
    assert_eq!((awake_for(&stage, "a"), awake_for(&stage, "b")), (Duration::from_secs(900), Duration::ZERO));
}

#[test]
fn a_host_that_has_booted_anew_has_not_been_awake_for_longer_than_that() {
    let mut stage = two_hosts();
    stage.wait(3600);
    let booted = crate::inventory::Inventory { boot: boot(2), up_for: Duration::from_secs(40), ..inventory("b", &[]) };
    stage.connect(booted);
    assert_eq!(awake_for(&stage, "b"), Duration::from_secs(40));
}

#[test]
fn an_absurd_reading_is_forgotten_after_clean_batches() {
    let mut stage = two_hosts();
    let absurd = vec!["cpu_used = NaN".to_owned(), "power = -1".to_owned()];
    stage.event(Event::Batch { batch: Box::new(batch("a", 1.0, &[])), absurd });
    assert_eq!(doubts(&stage, "a"), [Doubt::Absurd { what: "cpu_used = NaN (and 1 more)".into() }]);
    stage.batch(batch("a", 1.0, &[]));
    stage.batch(batch("a", 1.0, &[]));
    assert_eq!(doubts(&stage, "a").len(), 1);
    stage.batch(batch("a", 1.0, &[]));
    assert_eq!(doubts(&stage, "a"), []);
}

#[test]
fn samples_are_taken_only_from_the_host_that_holds_the_vm() {
    let mut stage = two_hosts();
    stage.batch(batch("b", 1.0, &[(1, 9.0)]));
    assert_eq!(stage.snapshot().vms[&vm(1)].sample, None);
    stage.batch(batch("a", 1.0, &[(1, 1.5)]));
    assert_eq!(stage.snapshot().vms[&vm(1)].cpu_used(), Some(Cores(1.5)));
}

#[test]
fn a_batch_of_another_boot_is_set_aside_and_said() {
    let mut stage = two_hosts();
    let stale = crate::sample::Batch { boot: boot(9), ..batch("a", 9.9, &[]) };
    let notes = stage.fleet.apply(&Event::Batch { batch: Box::new(stale), absurd: vec![] }, stage.now);
    assert_eq!(notes.len(), 1);
    assert_eq!(stage.snapshot().hosts[&host("a")].sample.unwrap().cpu_used.value(), Some(Cores(1.0)));
}

#[test]
fn overload_is_timed_without_a_break() {
    let mut stage = two_hosts();
    let overloaded = |stage: &Stage| stage.snapshot().hosts[&host("a")].overloaded_for;
    stage.batch(batch("a", 8.6, &[]));
    stage.wait(10);
    stage.batch(batch("a", 9.0, &[]));
    assert_eq!(overloaded(&stage), Duration::from_secs(10));
    stage.batch(batch("a", 8.5, &[]));
    assert_eq!(overloaded(&stage), Duration::ZERO);
}

#[test]
fn a_host_is_empty_only_without_vms_and_moves() {
    let mut stage = two_hosts();
    let empty = |stage: &Stage| stage.snapshot().hosts[&host("b")].empty_for;
    stage.wait(10);
    assert_eq!(empty(&stage), Duration::from_secs(10));
    stage.event(migrate(7, 1, "a", "b"));
    assert_eq!(empty(&stage), Duration::ZERO);
    stage.event(ended(7, failed()));
    stage.wait(3);
    assert_eq!(empty(&stage), Duration::from_secs(3));
}

#[test]
fn a_host_is_empty_from_the_moment_its_last_vm_has_left_whoever_tells_it_last() {
    for source_first in [true, false] {
        let mut stage = two_hosts();
        stage.event(migrate(7, 1, "a", "b"));
        stage.event(ended(7, Ending::Completed));
        let tell = |stage: &mut Stage, source: bool| match source {
            true => stage.lists("a", &[]),
            false => stage.lists("b", &[(1, Running)]),
        };
        tell(&mut stage, source_first);
        tell(&mut stage, !source_first);
        stage.wait(3);
        assert_eq!(stage.snapshot().hosts[&host("a")].empty_for, Duration::from_secs(3), "{source_first}");
    }
}

#[test]
fn what_is_known_of_an_arrived_vm_does_not_depend_on_whether_inventory_or_sample_comes_first() {
    for inventory_first in [true, false] {
        let mut stage = two_hosts();
        stage.event(migrate(7, 1, "a", "b"));
        stage.event(ended(7, Ending::Completed));
        let mut there = batch("b", 2.0, &[(1, 1.5)]);
        there.vms[0].state = Running;
        if !inventory_first {
            stage.batch(there.clone());
        }
        stage.lists("a", &[]);
        stage.lists("b", &[(1, Running)]);
        if inventory_first {
            stage.batch(there);
        }
        assert_eq!(stage.snapshot().vms[&vm(1)].cpu_used(), Some(Cores(1.5)), "{inventory_first}");
    }
}

#[test]
fn what_a_vm_used_that_came_or_left_is_not_taken_for_the_hosts_own_use() {
    let mut stage = Stage::new();
    stage.connect(inventory("a", &[(1, Running), (2, Running)]));
    let base = |stage: &Stage| stage.snapshot().hosts[&host("a")].base.get();
    stage.batch(batch("a", 3.5, &[(1, 1.0), (2, 2.0)]));
    stage.batch(batch("a", 3.5, &[(1, 1.0), (2, 2.0)]));
    assert!((base(&stage) - 0.5).abs() < 1e-9, "{}", base(&stage));
    // Half of the time vm 2 was still there; then what vm 3 uses is not known yet.
    stage.batch(batch("a", 2.5, &[(1, 1.0)]));
    let mut arrived = batch("a", 4.5, &[(1, 1.0), (3, 3.0)]);
    arrived.vms[1].cpu_used = crate::sample::Reading::Missing;
    arrived.vms[1].state = Running;
    stage.batch(arrived.clone());
    stage.batch(arrived);
    assert!((base(&stage) - 0.5).abs() < 1e-9, "{}", base(&stage));
    stage.batch(batch("a", 5.0, &[(1, 1.0), (3, 3.0)]));
    assert!((base(&stage) - 1.0).abs() < 1e-9, "{}", base(&stage));
}

#[test]
fn a_rest_that_began_before_this_start_goes_on() {
    let mut stage = Stage::new();
    let ago = |seconds| stage.now.before(Duration::from_secs(seconds));
    let moved = [(vm(1), ago(9)), (vm(2), ago(8))];
    stage.event(Event::Moved { vm: vm(1), at: moved[0].1 });
    stage.connect(inventory("a", &[(1, Running), (2, Running)]));
    stage.event(Event::Moved { vm: vm(2), at: moved[1].1 });
    for (vm, at) in moved {
        assert_eq!(stage.snapshot().vms[&vm].last_moved_at, Some(at));
    }
}

#[test]
fn a_wish_for_a_host_waits_for_it_to_connect() {
    let mut stage = Stage::new();
    stage.event(Event::HostMode { host: host("a"), mode: HostMode::Draining });
    stage.connect(inventory("a", &[]));
    assert_eq!(stage.snapshot().hosts[&host("a")].mode, HostMode::Draining);
}

/// How many vms the snapshot has as come lately.
fn newcomers(stage: &Stage) -> f64 {
    use crate::newcomers::Room;
    let (newcomers, hour) = (stage.snapshot().newcomers, std::time::Duration::from_secs(3600));
    let wake = std::time::Duration::from_secs(1);
    // Without any room every vm that came waits for one second.
    newcomers.waiting(&Room::default(), wake, hour, stage.now)
}

#[test]
fn a_vm_that_is_started_is_a_newcomer_and_one_that_was_there_or_moves_is_none() {
    let mut stage = two_hosts();
    assert_eq!(newcomers(&stage), 0.0, "they were there when their host was first heard of");
    stage.lists("b", &[(2, Running), (3, crate::sample::VmState::ShutOff)]);
    assert_eq!(newcomers(&stage), 1.0);
    stage.lists("b", &[(2, Running), (3, Running)]);
    assert_eq!(newcomers(&stage), 2.0, "one that was shut off is started");
    stage.event(migrate(7, 1, "a", "b"));
    stage.lists("a", &[]);
    stage.lists("b", &[(1, Running), (2, Running), (3, Running)]);
    assert_eq!(newcomers(&stage), 2.0, "one of ours moved");
    stage.event(ended(7, Ending::Completed));
    stage.lists("b", &[(2, Running), (3, Running)]);
    stage.lists("a", &[(1, Running)]);
    assert_eq!(newcomers(&stage), 2.0, "somebody moved it back");
}
