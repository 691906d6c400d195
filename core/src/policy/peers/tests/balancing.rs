//! The peers that even out load, and CloudStack's that gathers it: thresholds, holds, margins, and who goes where.

use super::*;
use crate::proposal::Motive;

/// Vms of one core each on two hosts.
fn two(name: &str, a: usize, b: usize) -> Trial {
    Trial::new(name, &[("a", &vec![1.0; a]), ("b", &vec![1.0; b])])
}

#[test]
fn drs_leaves_a_deviation_below_its_target_alone() {
    // Two hosts: the target is 0.2 / sqrt(2) = 0.141; 9 against 6 of 16 cores deviate by 0.094.
    assert!(two(VmwareDrs::NAME, 9, 6).ask().proposals.is_empty());
}

#[test]
fn drs_moves_until_the_deviation_is_at_its_target() {
    let mut trial = two(VmwareDrs::NAME, 12, 0);
    let moved = moves(&trial.ask());
    // 12 to 0 deviates by 0.375 in both resources, 8 to 4 by 0.125: four moves.
    assert_eq!(moved.len(), 4, "{moved:?}");
    assert!(moved.iter().all(|(_, from, to)| from == "a" && to == "b"));
}

#[test]
fn drs_says_what_spread_a_move_is_for() {
    let advice = two(VmwareDrs::NAME, 12, 0).ask();
    let Motive::Balance { from_spread, to_spread } = advice.proposals[0].motive else { panic!("{advice:?}") };
    assert!((from_spread - 0.375).abs() < 1e-9 && to_spread < from_spread, "{from_spread} {to_spread}");
}

#[test]
fn ovirt_waits_two_minutes_and_then_moves_one_small_vm_to_the_least_loaded_host() {
    let hosts: &[(&str, &[f64])] = &[("a", &[4.0, 4.0, 3.5, 1.0]), ("b", &[4.0]), ("c", &[2.0])];
    let mut trial = Trial::new(Ovirt::EVENLY_DISTRIBUTED, hosts);
    assert!(trial.ask().proposals.is_empty());
    assert!(trial.wait(60).ask().proposals.is_empty());
    assert_eq!(moves(&trial.wait(60).ask()), [(4, "a".to_owned(), "c".to_owned())]);
}

#[test]
fn ovirt_moves_one_vm_a_minute_however_often_it_is_asked() {
    let mut trial = Trial::new(Ovirt::EVENLY_DISTRIBUTED, &[("a", &[3.9; 4]), ("b", &[])]);
    trial.watch(120, 60);
    assert!(trial.wait(10).ask().proposals.is_empty());
    assert_eq!(moves(&trial.wait(50).ask()).len(), 1);
}

#[test]
fn ovirt_evenly_distributed_finds_no_target_at_sixty_percent() {
    let mut trial = Trial::new(Ovirt::EVENLY_DISTRIBUTED, &[("a", &[4.0, 4.0, 4.0, 0.5]), ("b", &[4.0, 4.0, 2.0])]);
    assert!(trial.watch(600, 60).proposals.is_empty());
}

#[test]
fn watcher_stabilizes_only_beyond_its_threshold() {
    // 9 against 7 cores of 16, and as many vms of 4 GiB of 64: both deviate by 0.0625, below 0.1.
    assert!(two(WatcherStabilization::NAME, 9, 7).ask().proposals.is_empty());
    let moved = moves(&two(WatcherStabilization::NAME, 12, 4).ask());
    assert!(!moved.is_empty() && moved.iter().all(|(_, from, _)| from == "a"), "{moved:?}");
}

#[test]
fn watcher_stops_when_one_deviation_is_below_its_threshold() {
    // 12 against 4 deviates by 0.25; three moves make it 9 against 7.
    assert_eq!(moves(&two(WatcherStabilization::NAME, 12, 4).ask()).len(), 3);
}

#[test]
fn watchers_hosts_are_drawn_by_the_seed() {
    let hosts: &[(&str, &[f64])] = &[("a", &[1.0; 12]), ("b", &[]), ("c", &[]), ("d", &[])];
    let drawn = |seed: u64| {
        let mut trial = Trial::new(WatcherStabilization::NAME, hosts);
        moves(&trial.policy.propose(crate::policy::View { seed, ..trial.fleet.view() }))
    };
    assert_eq!(drawn(1), drawn(1));
    assert!((2..12).any(|seed| drawn(seed) != drawn(1)));
}

#[test]
fn hbal_takes_the_steepest_move_first_and_ends_lower() {
    let mut trial = Trial::new(GanetiHbal::NAME, &[("a", &[4.0, 0.5, 2.0]), ("b", &[]), ("c", &[])]);
    let advice = trial.ask();
    assert_eq!(moves(&advice)[0].0, 1, "{:?}", moves(&advice));
    let falls = |one: &crate::proposal::Proposal| matches!(one.motive, Motive::Balance { from_spread, to_spread } if to_spread < from_spread);
    assert!(advice.proposals.iter().all(falls));
}

#[test]
fn hbal_leaves_small_gains_alone_once_the_score_is_small() {
    // One vm of 0.1 cores more: a score of a few thousandths, of which no move takes a hundredth.
    let mut trial = Trial::new(GanetiHbal::NAME, &[("a", &[1.0, 1.1]), ("b", &[1.0, 1.0])]);
    assert!(trial.ask().proposals.is_empty());
}

#[test]
fn hbal_never_sleeps_on_a_vcpu_ratio_above_four() {
    // 16 vms of 4 vCPUs are four per core of 16: nothing more goes there though CPU is idle.
    let mut trial = Trial::new(GanetiHbal::NAME, &[("a", &[0.1; 16]), ("b", &[0.1; 16])]);
    for vm in 1..=32 {
        trial.fleet.record(vm).memory_max = Bytes::from_gib(1);
    }
    assert!(trial.ask().proposals.is_empty());
}

#[test]
fn proxmox_waits_until_the_imbalance_has_held_and_moves_one() {
    let mut trial = two(ProxmoxDlb::NAME, 8, 2);
    assert!(trial.ask().proposals.is_empty());
    assert!(trial.wait(10).ask().proposals.is_empty());
    assert_eq!(moves(&trial.wait(20).ask()).len(), 1);
    assert!(trial.wait(10).ask().proposals.is_empty(), "the hold begins anew after a move");
}

#[test]
fn proxmox_tolerates_an_imbalance_of_three_tenths() {
    // 8 against 5: deviation 1.5 over mean 6.5 is 0.23.
    assert!(two(ProxmoxDlb::NAME, 8, 5).watch(120, 10).proposals.is_empty());
}

#[test]
fn proxmox_ignores_a_short_spike_and_begins_nothing_while_a_migration_runs() {
    let mut trial = two(ProxmoxDlb::NAME, 8, 2);
    trial.ask();
    let calm = two(ProxmoxDlb::NAME, 5, 5).fleet.snapshot;
    let spiky = std::mem::replace(&mut trial.fleet.snapshot, calm);
    trial.wait(20).ask();
    trial.fleet.snapshot = spiky;
    assert!(trial.wait(30).ask().proposals.is_empty(), "the imbalance was gone in between");
    trial.fleet.fly(1, "b");
    assert!(trial.watch(120, 10).proposals.is_empty());
}

#[test]
fn proxmox_leaves_alone_what_no_move_makes_a_tenth_better() {
    let mut trial = Trial::new(ProxmoxDlb::NAME, &[("a", &[4.0]), ("b", &[])]);
    let advice = trial.watch(120, 10);
    assert!(advice.proposals.is_empty() && advice.notes[0].contains("no move takes a tenth off it"), "{advice:?}");
}

#[test]
fn opposite_overload_of_cpu_and_memory_is_balance_to_proxmox() {
    // One host is short of CPU, the other of memory: the mean of both shares is the same.
    let mut trial = Trial::new(ProxmoxDlb::NAME, &[("a", &[4.0, 4.0, 4.0]), ("b", &[0.5, 0.5, 0.5])]);
    for vm in 4..=6 {
        trial.fleet.record(vm).memory_max = Bytes::from_gib(18);
    }
    assert!(trial.watch(120, 10).proposals.is_empty());
}

#[test]
fn cloudstack_balanced_needs_an_imbalance_above_six_tenths() {
    // Allocated memory: 12 against 4 is 0.5, 13 against 3 is 0.625 of the mean.
    assert!(two(CloudStack::BALANCED, 12, 4).ask().proposals.is_empty());
    assert_eq!(moves(&two(CloudStack::BALANCED, 13, 3).ask()), [(1, "a".to_owned(), "b".to_owned())]);
}

#[test]
fn cloudstack_condensed_gathers_until_the_imbalance_is_four_tenths_and_switches_nothing_off() {
    let mut trial = two(CloudStack::CONDENSED, 5, 4);
    let advice = trial.ask();
    // 5 to 4 is 0.11, 6 to 3 is 0.33, 7 to 2 is 0.56.
    assert_eq!(moves(&advice).len(), 2, "{:?}", moves(&advice));
    assert!(moves(&advice).iter().all(|(_, from, to)| from == "b" && to == "a"));
    assert!(slept(&advice).is_empty());
}

#[test]
fn cloudstack_moves_fifty_vms_at_most() {
    let full: &[f64] = &[0.1; 16];
    let mut hosts = vec![("a", full), ("b", full), ("c", full), ("d", full), ("e", full), ("f", full), ("g", full)];
    let empty = ["h", "i", "j", "k", "l", "m", "n", "o", "p", "q", "r", "s", "t", "u"];
    hosts.extend(empty.map(|name| (name, &[][..])));
    let mut trial = Trial::new(CloudStack::BALANCED, &hosts);
    let moved = moves(&trial.ask()).len();
    assert!((1..=50).contains(&moved), "{moved}");
}

#[test]
fn proxlb_tolerates_ten_points_and_then_moves_the_smallest_from_the_fullest_to_the_emptiest() {
    // Memory promised: 4 GiB of 64 are 6.25 points; one vm more is within ten points, two are not.
    assert!(two(ProxlbUsage::NAME, 5, 4).ask().proposals.is_empty());
    let mut trial = two(ProxlbUsage::NAME, 6, 4);
    let small = Reading::Measured(Bytes::from_gib(1));
    trial.fleet.vm(3).sample.as_mut().unwrap().memory_used = small;
    assert_eq!(moves(&trial.ask())[0], (3, "a".to_owned(), "b".to_owned()));
}

#[test]
fn proxlb_does_not_stir_a_fleet_by_its_cpu() {
    assert!(Trial::new(ProxlbUsage::NAME, &[("a", &[4.0; 4]), ("b", &[0.1; 4])]).ask().proposals.is_empty());
}

fn steal(trial: &mut Trial, vm: u32, share: f64) {
    trial.fleet.vm(vm).sample.as_mut().unwrap().steal = Reading::Measured(Ratio(share));
}

fn press(trial: &mut Trial, host: &str, share: f64) {
    let pressure = &mut trial.fleet.host(host).sample.as_mut().unwrap().pressure;
    pressure.cpu_some = Reading::Measured(Ratio(share));
}

#[test]
fn proxlb_moves_the_vm_under_most_pressure_to_the_host_under_least_once_an_hour() {
    let mut trial = Trial::new(ProxlbPsi::NAME, &[("a", &[3.0, 3.0]), ("b", &[1.0]), ("c", &[1.0])]);
    [("a", 0.3), ("b", 0.2), ("c", 0.1)].into_iter().for_each(|(host, share)| press(&mut trial, host, share));
    steal(&mut trial, 1, 0.02);
    steal(&mut trial, 2, 0.05);
    assert_eq!(moves(&trial.ask()), [(2, "a".to_owned(), "c".to_owned())]);
    assert!(trial.watch(3540, 60).proposals.is_empty());
    assert_eq!(trial.wait(60).ask().proposals.len(), 1);
}

#[test]
fn proxlb_leaves_a_fleet_without_pressure_alone() {
    let mut trial = Trial::new(ProxlbPsi::NAME, &[("a", &[3.0, 3.0]), ("b", &[])]);
    steal(&mut trial, 1, 0.0015);
    assert!(trial.watch(7200, 300).proposals.is_empty());
}

#[test]
fn proxlb_takes_a_host_it_cannot_read_for_no_refuge() {
    let mut trial = Trial::new(ProxlbPsi::NAME, &[("a", &[3.0, 3.0]), ("b", &[]), ("c", &[])]);
    steal(&mut trial, 1, 0.05);
    press(&mut trial, "a", 0.3);
    press(&mut trial, "c", 0.2);
    assert_eq!(moves(&trial.ask()), [(1, "a".to_owned(), "c".to_owned())]);
}
