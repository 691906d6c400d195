//! The demo as a whole, small: real scheduler, real agents, real gRPC on loopback.

use clap::Parser;

use super::*;
use crate::args::{Args, Command};

fn demo(line: &str) -> DemoArgs {
    let args = Args::try_parse_from(format!("ballast demo {line}").split_whitespace()).unwrap();
    let Command::Demo(demo) = args.command else { panic!("another command") };
    demo
}

async fn shown(line: &str) -> String {
    let mut out = Vec::new();
    run(&demo(line), Output::Table, &mut out).await.unwrap();
    String::from_utf8(out).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_small_fleet_is_consolidated_and_the_object_says_so() {
    let text = shown("--hosts 6 --vms 40 --hours 1 --json").await;
    assert_eq!(text.trim().lines().count(), 1, "one object and nothing else: {text}");
    let object: serde_json::Value = serde_json::from_str(&text).unwrap();
    let number = |name: &str| object[name].as_f64().unwrap_or_else(|| panic!("no number {name} in {object}"));
    assert!(number("energy_joules") < number("baseline_energy_joules"));
    assert!(number("overload_seconds") <= number("baseline_overload_seconds"));
    assert!(number("migrations") >= 1.0 && number("sleeps") >= 1.0);
    assert_eq!((number("seed"), number("hosts"), number("vms")), (1.0, 6.0, 40.0));
    assert_eq!(number("fleet_seconds"), 3600.0);
}

/// What happens is decided by seed and telemetry, not by how fast this machine is or what else it does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_seed_tells_the_same_story() {
    let story = |text: String| -> Vec<String> {
        text.lines()
            .filter(|line| line.starts_with(|c: char| c.is_ascii_digit()) && line[2..].starts_with(':'))
            .map(str::to_owned)
            .collect()
    };
    let (one, two) = (
        story(shown("--hosts 5 --vms 40 --hours 0.5 --no-tui").await),
        story(shown("--hosts 5 --vms 40 --hours 0.5 --no-tui").await),
    );
    assert!(one.len() > 5, "{one:?}");
    assert_eq!(one, two);
}

#[tokio::test]
async fn what_makes_no_sense_is_refused_by_name() {
    for (line, complaint) in [
        ("--hours 0", "--hours 0"),
        ("--speed -1", "--speed -1"),
        ("--period 61", "--period 61"),
        ("--hosts 0", "hosts = 0"),
        ("--hosts 1 --vms 5000", "5000 vms do not fit"),
    ] {
        let line = line.replace("--speed -1", "--speed=-1");
        let error = run(&demo(&line), Output::Table, &mut Vec::new()).await.unwrap_err();
        assert!(error.to_string().contains(complaint), "{line}: {error}");
    }
}
