//! The benchmark on the cuts that are shipped. The figures were worked out by this code in the state in which it gave
//! those of `CloudSim` 3.0.3 on the whole days, digit for digit; they hold it there.

use super::*;
use crate::trace::planetlab;

fn play(day: &Day, name: &str, quirks: Quirks) -> Report {
    run(day, &name.parse().unwrap(), &quirks, 1)
}

fn shipped(index: usize) -> Day {
    planetlab::shipped().unwrap().swap_remove(index)
}

fn figures(report: &Report) -> (String, u64, String, String, u64, usize) {
    let digits = |number: f64, digits: usize| format!("{number:.digits$}");
    let (kwh, slatah, pdm) = (digits(report.kwh, 6), digits(report.slatah, 8), digits(report.pdm, 8));
    (kwh, report.migrations, slatah, pdm, report.shutdowns, report.vms_left)
}

/// Kilowatt hours, migrations, SLATAH, PDM, shutdowns and vms left.
type Figures = (&'static str, u64, &'static str, &'static str, u64, usize);

#[track_caller]
fn golden(index: usize, expected: &[(&str, Figures)]) {
    let day = shipped(index);
    for (name, (kwh, migrations, slatah, pdm, shutdowns, left)) in expected {
        let expected = ((*kwh).into(), *migrations, (*slatah).into(), (*pdm).into(), *shutdowns, *left);
        assert_eq!(figures(&play(&day, name, Quirks::default())), expected, "{name}");
    }
}

#[test]
fn the_first_shipped_day_comes_to_the_figures_of_the_exact_run() {
    golden(
        0,
        &[
            ("npa", ("2410.802800", 0, "0.00000000", "0.00000000", 788, 22)),
            ("dvfs", ("27.951116", 0, "0.00000000", "0.00000000", 788, 22)),
            ("thr-mmt", ("9.544532", 567, "0.01858728", "0.00042163", 931, 22)),
            ("iqr-mmt", ("8.745400", 779, "0.02553789", "0.00064329", 966, 22)),
            ("mad-mmt", ("8.517798", 715, "0.02408177", "0.00057866", 958, 22)),
            ("lr-mmt", ("8.784952", 114, "0.00539525", "0.00007996", 807, 22)),
            ("lrr-mmt", ("8.784952", 114, "0.00539525", "0.00007996", 807, 22)),
            ("lr-mc", ("8.520873", 195, "0.00984298", "0.00015114", 828, 22)),
            ("lr-mu", ("8.792289", 431, "0.02107810", "0.00025160", 877, 22)),
            ("lr-mmt+v301", ("8.588066", 103, "0.00221866", "0.00006389", 809, 22)),
            ("lr-mmt+fix", ("8.649471", 114, "0.05728587", "0.00007531", 801, 22)),
        ],
    );
}

#[test]
fn the_second_shipped_day_comes_to_the_figures_of_the_exact_run() {
    golden(
        1,
        &[
            ("dvfs", ("29.988035", 0, "0.00000000", "0.00000000", 788, 15)),
            ("thr-mmt", ("6.077735", 1243, "0.03683558", "0.00143111", 1005, 15)),
            ("iqr-mmt", ("5.771044", 935, "0.03236455", "0.00110309", 974, 15)),
            ("mad-mmt", ("5.529528", 1047, "0.03555861", "0.00123886", 980, 15)),
            ("lr-mmt", ("4.901056", 416, "0.02988106", "0.00032982", 886, 15)),
            ("lr-mc", ("4.691568", 320, "0.03858301", "0.00040560", 861, 15)),
            ("lr-mu", ("5.208460", 648, "0.04790684", "0.00054395", 914, 15)),
            ("lr-mmt+v301", ("4.239864", 327, "0.01265559", "0.00028784", 845, 15)),
            ("lr-mmt+fix", ("4.340748", 284, "0.02739488", "0.00020285", 829, 15)),
        ],
    );
}

#[test]
fn kept_vms_are_all_there_at_the_end() {
    let day = shipped(0);
    let (original, kept) = (play(&day, "lr-mmt", Quirks::default()), Quirks { keep: true, ..Quirks::default() });
    assert_eq!(original.vms_left, 22);
    assert_eq!(play(&day, "lr-mmt", kept).vms_left, 40);
    assert!(play(&day, "dvfs", kept).kwh > play(&day, "dvfs", Quirks::default()).kwh);
}

#[test]
fn memory_is_heeded_only_where_it_is_said_to_exist() {
    let day = shipped(0);
    assert!(play(&day, "lr-mmt", Quirks::default()).ram_max_mb > 4096);
    for ram in [4096, 8192] {
        let report = play(&day, "lr-mmt", Quirks { ram: Some(ram), ..Quirks::default() });
        assert!(report.ram_max_mb <= ram && report.migrations > 0, "{report:?}");
    }
}

#[test]
fn what_arriving_vms_book_changes_nothing_but_the_time_in_violation() {
    let day = shipped(1);
    let original = play(&day, "lr-mmt", Quirks::default());
    let fixed = play(&day, "lr-mmt", Quirks { slafix: true, ..Quirks::default() });
    assert!(fixed.slatah < original.slatah / 2.0, "{fixed:?}");
    let Report { slatah, slatah_by_host, slav, esv, .. } = original;
    assert_eq!(Report { slatah, slatah_by_host, slav, esv, ..fixed }, original);
}

#[test]
fn waking_that_costs_wakes_less() {
    let (day, idle) = (shipped(1), Quirks { idle: true, ..Quirks::default() });
    let (original, fixed) = (play(&day, "lr-mmt", Quirks::default()), play(&day, "lr-mmt", idle));
    assert!(fixed.kwh < original.kwh && fixed.shutdowns < original.shutdowns, "{original:?} {fixed:?}");
}

#[test]
fn a_quirk_in_the_name_of_a_rule_is_the_same_as_one_that_is_set() {
    let (day, none) = (shipped(1), Quirks::default());
    let pairs = [
        ("lr-mmt+fix", Quirks { idle: true, ..none }),
        ("lr-mmt+excl", Quirks { excl: true, ..none }),
        ("lr-mmt+wls", Quirks { wls: true, ..none }),
        ("lr-mmt+v30", Quirks { v30: true, ..none }),
        ("lr-mmt+v301", Quirks { v30: true, wls: true, ..none }),
    ];
    let original = figures(&play(&day, "lr-mmt", none));
    for (name, quirks) in pairs {
        let (named, set) = (figures(&play(&day, name, none)), figures(&play(&day, "lr-mmt", quirks)));
        assert_eq!(named, set, "{name}");
        assert_ne!(named, original, "{name}");
    }
}

#[test]
fn the_same_seed_draws_the_same_lots() {
    let (day, rule) = (shipped(1), "lr-rs-1.2".parse().unwrap());
    let play = |seed| run(&day, &rule, &Quirks::default(), seed);
    assert_eq!(play(1), play(1));
    assert_ne!(play(1), play(2));
}

#[test]
fn a_vm_that_fits_nowhere_is_left_out() {
    let report = play(&shipped(0), "lr-mmt", Quirks { ram: Some(1000), keep: true, ..Quirks::default() });
    assert_eq!((report.vms, report.vms_left), (40, 20), "half of the kinds have 1740 MB");
}
