//! A fixed set of seeds of the deterministic simulation, and every seed that once broke a promise.
//!
//! `ballast-tests simulate` plays as many as there is time for; docs/reliability.md says what is promised and counted.

use ballast_tests::simulation::{Options, Report, play, regressions::REGRESSIONS};

fn keeps_every_promise(seed: u64) -> Report {
    let report = play(seed, &Options::default()).unwrap();
    let again = format!("again: cargo run -p ballast-tests --bin ballast-tests -- simulate --seeds {seed} --trace");
    assert!(report.broken.is_empty(), "seed {seed}: {:#?}\n{again}", report.broken);
    report
}

/// Plays five seeds; what they do is worth the while.
fn five_from(first: u64) {
    let reports: Vec<Report> = (first..first + 5).map(keeps_every_promise).collect();
    assert!(reports.iter().map(|report| report.migrations).sum::<u64>() > 10);
    assert!(reports.iter().flat_map(|report| report.faults.values()).sum::<u64>() > 50);
}

#[test]
fn seeds_0_to_4_keep_every_promise() {
    five_from(0);
}

#[test]
fn seeds_5_to_9_keep_every_promise() {
    five_from(5);
}

#[test]
fn seeds_10_to_14_keep_every_promise() {
    five_from(10);
}

#[test]
fn seeds_15_to_19_keep_every_promise() {
    five_from(15);
}

#[test]
fn seeds_that_once_broke_a_promise_keep_it_now() {
    REGRESSIONS.iter().for_each(|(seed, _)| drop(keeps_every_promise(*seed)));
}

#[test]
fn one_seed_gives_the_same_run_byte_for_byte() {
    let (first, second, other) = (keeps_every_promise(42), keeps_every_promise(42), keeps_every_promise(43));
    assert_eq!(first.hash, second.hash);
    assert_ne!(first.hash, other.hash);
}
