//! Yesterday again: what a fleet recorded, through the same decision path.

use std::path::PathBuf;

use ballast_core::decision::Mode;
use ballast_scheduler::replay::{Format, ReplaySettings, replay};
use ballast_tests::fleet::{SimFleet, vm};

/// A minute of an overloaded fleet, recorded by a scheduler that may not act.
async fn recording() -> (SimFleet, PathBuf) {
    let vms = [vm("busy-1", 0, 3.9), vm("busy-2", 0, 3.9), vm("calm", 1, 0.5)];
    let mut fleet = SimFleet::start(Mode::Recommend, 2, &vms).await.unwrap();
    fleet.trusted().await.unwrap();
    fleet.until(60, |_| false).await;
    fleet.logs.expect("No link to the scheduler");
    fleet.scheduler.stop().await.unwrap();
    let telemetry = fleet.scheduler_dir().join("telemetry");
    (fleet, telemetry)
}

fn replayed(log: &std::path::Path, seed: u64) -> String {
    replayed_by("risk-greedy", log, seed)
}

fn replayed_by(policy: &str, log: &std::path::Path, seed: u64) -> String {
    let mut settings = ReplaySettings::new(policy);
    settings.seed = seed;
    settings.period = std::time::Duration::from_secs(1);
    settings.round_interval = std::time::Duration::from_secs(10);
    let mut out = Vec::new();
    replay(&[log.to_path_buf()], &settings, Format::Text, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

#[tokio::test]
async fn the_same_log_and_seed_give_the_same_bytes() {
    let (_fleet, log) = recording().await;
    let first = replayed(&log, 1);
    assert!(first.contains("kvm1"), "nothing was decided:\n{first}");
    assert_eq!(first, replayed(&log, 1));
}

#[tokio::test]
async fn the_learned_policy_is_replayed_as_any_other() {
    let (_fleet, log) = recording().await;
    let said = replayed_by("dqn", &log, 1);
    assert!(said.contains("kvm1"), "nothing was decided:\n{said}");
    assert_eq!(said, replayed_by("dqn", &log, 1));
}

#[tokio::test]
async fn what_a_fleet_recorded_can_be_trained_on() {
    let (fleet, log) = recording().await;
    let (table, hosts) = (fleet.scheduler_dir().join("history.csv"), fleet.scheduler_dir().join("hosts.json"));
    let args = ballast::history::HistoryArgs { files: vec![log], out: Some(table.clone()), hosts: Some(hosts.clone()) };
    ballast::history::run(&args, &mut Vec::new()).unwrap();
    let text = std::fs::read_to_string(&table).unwrap();
    let histories = ballast_sim::trace::history::csv("history.csv", &text, &std::collections::BTreeMap::new()).unwrap();
    assert_eq!(histories.len(), 3);
    let busiest = histories.iter().flat_map(|history| &history.slots).map(|slot| slot.cpu).fold(0.0, f32::max);
    assert!((0.4..=1.01).contains(&busiest), "a share of its vcpus: {busiest}");
    assert!(histories.iter().all(|history| history.shape.memory_mib.is_some() && !history.slots[0].memory.is_nan()));
    let hosts = ballast_sim::trace::hosts::parse("hosts.json", &std::fs::read_to_string(&hosts).unwrap()).unwrap();
    assert!(!hosts.is_empty() && hosts.iter().all(|host| host.host.as_str().starts_with("kvm")), "{hosts:?}");
}

#[tokio::test]
async fn a_malformed_telemetry_log_is_refused_with_file_and_place() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("0000000000000001.seg");
    std::fs::write(&file, "this is no telemetry log, whatever its name says\n".repeat(9)).unwrap();
    let settings = ReplaySettings::new("risk-greedy");
    let error = replay(&[file], &settings, Format::Text, &mut Vec::new()).unwrap_err().to_string();
    assert!(error.contains("0000000000000001.seg"), "{error}");
}

#[tokio::test]
async fn a_log_whose_header_was_changed_is_refused_with_file_and_place() {
    let (_fleet, log) = recording().await;
    let mut files: Vec<_> = std::fs::read_dir(&log).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let mut bytes = std::fs::read(&files[0]).unwrap();
    bytes[20] ^= 0x40;
    std::fs::write(&files[0], bytes).unwrap();
    let settings = ReplaySettings::new("risk-greedy");
    let error = replay(&[log], &settings, Format::Text, &mut Vec::new()).unwrap_err().to_string();
    let name = files[0].file_name().unwrap().to_string_lossy().into_owned();
    assert!(error.contains(&name), "{error}");
}
