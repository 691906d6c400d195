//! Every reader of foreign bytes on its seeds, on the kept corpus, and on mutations of both: the same ones in every run.
//!
//! Bounded, so that it is part of every run of the tests; docs/reliability.md says how to go on for longer.

use std::time::Duration;

use ballast_daemon::clock::Clock;
use ballast_tests::fuzz::{self, Target};
use mutatis::Session;

/// Mutations of each target's inputs.
const MUTATIONS: u64 = 3_000;
/// Most time that one input may take, on a busy machine and without optimisation.
const HANG: Duration = Duration::from_secs(10);
/// Time for one target, reached only where its inputs are large: the rest is left to longer runs.
const SPAN: Duration = Duration::from_secs(4);

/// Gives bytes to a target; where it panics or takes too long, the bytes are shown so that they can be kept.
fn give(target: &Target, bytes: &[u8], clock: &Clock) {
    let began = clock.elapsed();
    let outcome = std::panic::catch_unwind(|| (target.read)(bytes));
    let took = clock.elapsed() - began;
    if outcome.is_err() || took > HANG {
        let file = std::env::temp_dir().join(format!("ballast-fuzz-{}", target.name));
        std::fs::write(&file, bytes).unwrap();
        panic!("{} failed after {took:?} on what is now in {}: keep it in tests/corpus", target.name, file.display());
    }
}

#[track_caller]
fn reads_anything(name: &str) {
    let (target, clock) = (fuzz::target(name).unwrap(), Clock::system());
    let inputs = [(target.seeds)().unwrap(), target.corpus().unwrap()].concat();
    assert!(!inputs.is_empty(), "nothing to begin from");
    inputs.iter().for_each(|bytes| give(&target, bytes, &clock));
    let (mut session, began, mut played) = (Session::new().seed(1), clock.elapsed(), 0);
    while played < MUTATIONS && clock.elapsed() - began < SPAN {
        let mut bytes = inputs[usize::try_from(played).unwrap() % inputs.len()].clone();
        for _ in 0..=(played / inputs.len() as u64) % 6 {
            session.mutate(&mut bytes).unwrap();
        }
        give(&target, &bytes, &clock);
        played += 1;
    }
    println!("{name}: {} inputs kept, {played} mutations", inputs.len());
}

macro_rules! targets {
    ($($test:ident: $name:literal),* $(,)?) => {
        $(#[test] fn $test() { reads_anything($name); })*

        #[test]
        fn every_reader_is_given_anything() {
            let listed = [$($name),*];
            let forgotten: Vec<&str> = fuzz::TARGETS.iter().map(|it| it.name).filter(|it| !listed.contains(it)).collect();
            assert!(forgotten.is_empty(), "targets without a test: {forgotten:?}");
        }
    };
}

targets! {
    what_agents_say_is_understood_or_refused: "agent_message",
    what_schedulers_say_is_understood_or_refused: "scheduler_message",
    wake_addresses_are_understood_or_refused: "wake_address",
    certificates_are_understood_or_refused: "certificate",
    segments_are_read_to_where_they_are_whole: "segment",
    blocks_are_unpacked_or_refused: "segment_blocks",
    records_of_the_telemetry_log_are_understood_or_refused: "telemetry_record",
    records_of_the_journal_are_understood_or_refused: "journal_record",
    bundles_are_understood_or_refused: "bundle",
    configurations_of_the_scheduler_are_understood_or_refused: "scheduler_toml",
    configurations_of_the_agent_are_understood_or_refused: "agent_toml",
    scenarios_are_understood_or_refused: "scenario_toml",
    fleets_in_files_are_planned_for_or_refused: "plan_json",
    recordings_are_understood_or_refused: "trace",
    packed_files_are_unpacked_or_refused: "packed_text",
}
