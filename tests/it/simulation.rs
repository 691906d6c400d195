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

/// Plays ten seeds; what they do is worth the while.
fn ten_from(first: u64) {
    let reports: Vec<Report> = (first..first + 10).map(keeps_every_promise).collect();
    assert!(reports.iter().map(|report| report.migrations).sum::<u64>() > 20);
    assert!(reports.iter().flat_map(|report| report.faults.values()).sum::<u64>() > 100);
}

#[test]
fn seeds_0_to_9_keep_every_promise() {
    ten_from(0);
}

#[test]
fn seeds_10_to_19_keep_every_promise() {
    ten_from(10);
}

#[test]
fn seeds_20_to_29_keep_every_promise() {
    ten_from(20);
}

#[test]
fn seeds_30_to_39_keep_every_promise() {
    ten_from(30);
}

#[test]
fn seeds_that_once_broke_a_promise_keep_it_now() {
    REGRESSIONS.iter().for_each(|(seed, _)| drop(keeps_every_promise(*seed)));
}

#[test]
fn one_seed_gives_the_same_run_byte_for_byte() {
    for seed in [3, 42] {
        let (first, second) = (keeps_every_promise(seed), keeps_every_promise(seed));
        assert_eq!(first.hash, second.hash, "seed {seed}");
    }
    assert_ne!(keeps_every_promise(4).hash, keeps_every_promise(5).hash);
}
