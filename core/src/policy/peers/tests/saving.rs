//! The peers that switch hosts off: bands, waits, who is emptied, and when somebody is woken.

use super::*;

const FIVE_MINUTES: u64 = 300;

#[test]
fn dpm_leaves_hosts_within_its_band_alone() {
    let mut trial = Trial::new(VmwareDpm::NAME, &[("a", &[4.0, 4.0]), ("b", &[4.0, 4.0, 4.0])]);
    assert!(trial.watch(7200, FIVE_MINUTES).proposals.is_empty());
}

#[test]
fn dpm_empties_the_least_loaded_host_only_after_forty_minutes_and_then_switches_it_off() {
    let mut trial = Trial::new(VmwareDpm::NAME, &[("a", &[4.0]), ("b", &[2.0, 2.0, 2.0])]);
    assert!(trial.watch(2340, 60).proposals.is_empty());
    let advice = trial.wait(60).ask();
    assert_eq!(moves(&advice), [(1, "a".to_owned(), "b".to_owned())]);
    trial.run(2, Duration::from_secs(300));
    assert_eq!(trial.fleet.host("a").power, HostPower::Asleep);
    trial.run(30, Duration::from_secs(300));
    assert_eq!(trial.fleet.awake(), 1);
}

#[test]
fn dpm_powers_a_host_on_after_five_minutes_above_its_band() {
    let mut trial = Trial::new(VmwareDpm::NAME, &[("a", &[3.5; 4]), ("b", &[3.0; 4]), ("c", &[])]);
    trial.fleet.host("c").power = HostPower::Asleep;
    assert!(trial.watch(240, 60).proposals.is_empty());
    assert_eq!(woken(&trial.wait(60).ask()), ["c"]);
}

#[test]
fn dpm_empties_no_host_whose_vms_would_bring_another_above_the_band() {
    let mut trial = Trial::new(VmwareDpm::NAME, &[("a", &[3.5, 3.5]), ("b", &[3.5, 3.5])]);
    // 14 of 16 cores would be 88 %.
    assert!(moves(&trial.watch(7200, FIVE_MINUTES)).is_empty());
}

#[test]
fn ovirt_power_saving_moves_from_the_least_loaded_to_the_most_loaded_host_that_has_room() {
    let hosts: &[(&str, &[f64])] = &[("a", &[1.0]), ("b", &[4.0, 4.0]), ("c", &[4.0, 4.0, 3.9]), ("d", &[4.0])];
    let mut trial = Trial::new(Ovirt::POWER_SAVING, hosts);
    // c would be at 80 %.
    assert_eq!(moves(&trial.watch(120, 60)), [(1, "a".to_owned(), "b".to_owned())]);
}

#[test]
fn ovirt_power_saving_puts_one_empty_host_down_at_a_time() {
    let mut trial = Trial::new(Ovirt::POWER_SAVING, &[("a", &[4.0, 4.0]), ("b", &[]), ("c", &[])]);
    assert_eq!(slept(&trial.ask()).len(), 1);
}

#[test]
fn ovirt_power_saving_leaves_hosts_between_its_thresholds_alone() {
    let mut trial = Trial::new(Ovirt::POWER_SAVING, &[("a", &[4.0]), ("b", &[4.0, 4.0, 3.0])]);
    assert!(trial.watch(3600, 60).proposals.is_empty());
}

#[test]
fn ovirt_power_saving_starts_a_host_where_relief_finds_none() {
    let mut trial = Trial::new(Ovirt::POWER_SAVING, &[("a", &[3.5; 4]), ("b", &[4.0, 4.0, 3.0]), ("c", &[])]);
    trial.fleet.host("c").power = HostPower::Asleep;
    assert_eq!(woken(&trial.watch(120, 60)), ["c"]);
}

#[test]
fn watcher_consolidates_onto_the_most_loaded_host_the_largest_first() {
    let mut trial = Trial::new(WatcherConsolidation::NAME, &[("a", &[1.0, 2.0]), ("b", &[4.0, 4.0]), ("c", &[3.0])]);
    let to_b = |vm: u32, from: &str| (vm, from.to_owned(), "b".to_owned());
    assert_eq!(moves(&trial.ask()), [to_b(2, "a"), to_b(1, "a"), to_b(5, "c")]);
}

#[test]
fn watcher_offloads_the_smallest_first_from_a_host_beyond_its_capacity() {
    let mut trial = Trial::new(WatcherConsolidation::NAME, &[("a", &[4.0, 4.0, 4.0, 3.0, 1.5]), ("b", &[4.0; 3])]);
    assert_eq!(moves(&trial.ask()), [(5, "a".to_owned(), "b".to_owned())]);
}

#[test]
fn watcher_goes_by_the_mean_of_the_hour() {
    let mut trial = Trial::new(WatcherConsolidation::NAME, &[("a", &[2.0; 4]), ("b", &[2.0; 5])]);
    trial.watch(3600, FIVE_MINUTES);
    // A spike now does not make the mean exceed what the other host has left.
    for vm in 5..=9 {
        trial.fleet.vm(vm).sample.as_mut().unwrap().cpu_used = Reading::Measured(crate::units::Cores(4.0));
    }
    trial.fleet.measure();
    let moved = moves(&trial.wait(FIVE_MINUTES).ask());
    assert!(!moved.is_empty() && moved.iter().all(|(_, from, _)| from == "a"), "{moved:?}");
}

#[test]
fn watcher_disables_what_is_left_empty() {
    let mut trial = Trial::new(WatcherConsolidation::NAME, &[("a", &[4.0]), ("b", &[]), ("c", &[])]);
    assert_eq!(slept(&trial.ask()), ["c", "b"]);
}

#[test]
fn hsqueeze_empties_the_host_with_the_fewest_vms_whatever_cpu_they_use() {
    let mut trial = Trial::new(GanetiHsqueeze::NAME, &[("a", &[4.0, 4.0, 4.0]), ("b", &[4.0, 4.0])]);
    let moved = moves(&trial.ask());
    assert_eq!(moved.len(), 2, "{moved:?}");
    assert!(moved.iter().all(|(_, from, to)| from == "b" && to == "a"), "{moved:?}");
}

#[test]
fn hsqueeze_keeps_room_for_twice_the_standard_vm() {
    // 15 vms of 4 GiB and one of 4 GiB more fill 64 GiB to the brim.
    let mut trial = Trial::new(GanetiHsqueeze::NAME, &[("a", &[0.1; 15]), ("b", &[0.1])]);
    assert!(moves(&trial.ask()).is_empty());
    trial.fleet.record(16).memory_max = Bytes::from_gib(3);
    for vm in 1..=15 {
        trial.fleet.record(vm).vcpus = 2;
    }
    assert_eq!(moves(&trial.ask()), [(16, "b".to_owned(), "a".to_owned())]);
}

#[test]
fn hsqueeze_powers_a_standby_host_on_when_one_is_full() {
    let mut trial = Trial::new(GanetiHsqueeze::NAME, &[("a", &[0.1; 16]), ("b", &[])]);
    trial.fleet.host("b").power = HostPower::Asleep;
    assert_eq!(woken(&trial.ask()), ["b"]);
}

#[test]
fn first_fit_takes_the_first_by_name_and_best_fit_the_tightest() {
    let hosts: &[(&str, &[f64])] = &[("a", &[4.0, 2.0]), ("b", &[4.0, 4.0, 2.0]), ("c", &[1.0])];
    let mut first = Trial::new(Packing::FIRST_FIT, hosts);
    assert_eq!(moves(&first.ask())[0], (6, "c".to_owned(), "a".to_owned()));
    let mut best = Trial::new(Packing::BEST_FIT, hosts);
    assert_eq!(moves(&best.ask())[0], (6, "c".to_owned(), "b".to_owned()));
}

#[test]
fn a_repack_keeps_what_fits_and_takes_off_only_what_is_too_much() {
    for name in [Packing::FIRST_FIT, Packing::BEST_FIT, Packing::GAMMA_ROBUST] {
        let mut trial = Trial::new(name, &[("a", &[4.0, 4.0, 4.0, 4.0, 1.0, 0.3]), ("b", &[4.0, 4.0, 4.0])]);
        // 1.3 cores too much: the vm of four is the smallest that takes them off alone.
        let moved = moves(&trial.ask());
        assert_eq!(moved.len(), 1, "{name}: {moved:?}");
        assert_eq!((&*moved[0].1, &*moved[0].2), ("a", "b"));
    }
}

#[test]
fn packing_sleeps_what_it_has_emptied_and_wakes_when_nothing_fits() {
    for name in [Packing::FIRST_FIT, Packing::BEST_FIT, Packing::GAMMA_ROBUST] {
        let mut trial = Trial::new(name, &[("a", &[2.0]), ("b", &[3.0]), ("c", &[1.0])]);
        trial.run(4, Duration::from_secs(300));
        assert_eq!(trial.fleet.awake(), 1, "{name}");
        let mut full = Trial::new(name, &[("a", &[4.0, 4.0, 4.0, 4.0, 1.0]), ("b", &[])]);
        full.fleet.host("b").power = HostPower::Asleep;
        assert_eq!(woken(&full.ask()), ["b"], "{name}");
    }
}

#[test]
fn the_robust_rule_leaves_room_for_the_largest_radii_only() {
    // Five vms of 1.0 that may want 1.0 more: centres 5, with Γ = 2 room for 7 is needed.
    let empties = |name: &str, cores: f64| {
        let mut trial = Trial::new(name, &[("a", &[1.0; 3]), ("b", &[1.0; 2])]);
        trial.fleet.forecast(2.0);
        for host in ["a", "b"] {
            trial.fleet.inventory(host).cpu_capacity = crate::units::Cores(cores);
        }
        !moves(&trial.ask()).is_empty()
    };
    assert!(empties("gamma-robust-2", 7.0) && !empties("gamma-robust-2", 6.9));
    assert!(!empties("gamma-robust", 8.9) && empties("gamma-robust", 9.0));
    assert!(empties(Packing::FIRST_FIT, 5.0));
}

#[test]
fn rl_dc_learns_to_let_idle_hosts_sleep() {
    let mut trial = Trial::new(RlDc::NAME, &[("a", &[3.0, 3.0]), ("b", &[]), ("c", &[]), ("d", &[]), ("e", &[])]);
    let mut awake = Vec::new();
    for _ in 0..400 {
        trial.run(1, Duration::from_secs(300));
        awake.push(trial.fleet.awake());
    }
    let mean = |rounds: &[usize]| crate::units::count(rounds.iter().sum()) / crate::units::count(rounds.len());
    assert!(mean(&awake[300..]) < 2.5, "{awake:?}");
    assert!(mean(&awake[300..]) < mean(&awake[..20]), "{awake:?}");
}

#[test]
fn rl_dc_relieves_an_overloaded_host() {
    let mut trial = Trial::new(RlDc::NAME, &[("a", &[4.0, 4.0, 4.0, 4.0, 1.0]), ("b", &[1.0])]);
    assert!(moves(&trial.ask()).contains(&(5, "a".to_owned(), "b".to_owned())));
}
