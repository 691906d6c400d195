//! The example configurations: read by the code that reads a site's own, and true about the defaults.

use std::{collections::BTreeSet, path::Path};

use ballast_agent::config as agent;
use ballast_daemon::config::File;
use ballast_scheduler::config::{Config as SchedulerConfig, Strictness};
use ballast_tests::sources;

fn example(name: &str) -> String {
    std::fs::read_to_string(sources::root().join("systemd").join(name)).unwrap()
}

/// The example with every `#key = value` written out, but for the section [tls] and the keys in `without`.
fn written_out(text: &str, without: &[&str]) -> String {
    let mut section = "";
    let mut lines = Vec::new();
    for line in text.lines() {
        if let Some(bare) = line.strip_prefix('#').filter(|bare| bare.starts_with('[')) {
            section = bare;
        } else if line.starts_with('[') {
            section = line;
        }
        let key = line.strip_prefix('#').and_then(|bare| bare.split_once(" = ")).map(|(key, _)| key);
        let is_key = key.is_some_and(|key| key.chars().all(|c| c.is_ascii_lowercase() || c == '_'));
        let wanted = is_key && section != "[tls]" && !without.contains(&key.unwrap_or_default());
        lines.push(if wanted { &line[1..] } else { line });
    }
    lines.join("\n")
}

fn scheduler(text: &str) -> String {
    let (config, _) = SchedulerConfig::parse(text, Path::new("scheduler.toml"), Strictness::Strict).unwrap();
    config.to_toml().unwrap()
}

#[test]
fn the_scheduler_example_shows_the_real_defaults() {
    let example = example("scheduler.toml");
    let defaults = scheduler("");
    assert_eq!(scheduler(&example), defaults);
    assert_eq!(scheduler(&written_out(&example, &[])), defaults);
}

#[test]
fn the_scheduler_example_shows_every_key() {
    let example = written_out(&example("scheduler.toml"), &[]);
    let shown: BTreeSet<&str> = example.lines().filter_map(|line| line.split_once(" = ")).map(|(key, _)| key).collect();
    let defaults = scheduler("");
    let missing: Vec<&str> = defaults
        .lines()
        .filter_map(|line| line.split_once(" = "))
        .map(|(key, _)| key)
        .filter(|key| !shown.contains(key))
        .collect();
    assert!(missing.is_empty(), "keys without a line in scheduler.toml: {missing:?}");
}

fn agent(text: &str) -> agent::Config {
    let file = File::parse(text, Path::new("agent.toml")).unwrap();
    let machine = agent::Machine {
        name: "kvm1.example.org".into(),
        cores: 62.0,
        memory: ballast_core::units::Bytes::from_mib(250_000),
    };
    agent::Config::from_file(file, &machine, true).unwrap().0
}

#[test]
fn the_agent_example_shows_the_real_defaults() {
    let example = example("agent.toml");
    let defaults = agent("");
    assert_eq!(agent(&example), defaults);
    // Examples of values of a site's own, not defaults.
    let own = [
        "load_watts",
        "asleep_watts",
        "wake_seconds",
        "fall_asleep_seconds",
        "wake_address",
        "fault_domain",
        "site",
        "migration_tls_dir",
        "user",
        "password_file",
        "ca",
        "own_address",
    ];
    assert_eq!(agent(&written_out(&example, &own)), defaults);
}

#[test]
fn the_agent_example_can_be_written_out() {
    agent(&written_out(&example("agent.toml"), &["class"]));
}

#[test]
fn an_agent_and_a_scheduler_of_one_machine_find_each_other() {
    let scheduler = SchedulerConfig::parse("", Path::new("scheduler.toml"), Strictness::Strict).unwrap().0;
    assert_eq!(agent("").scheduler, format!("http://{}", scheduler.listen));
}

#[test]
fn units_and_examples_name_the_same_directories() {
    for (name, data_dir) in [
        ("agent", agent("").data_dir),
        ("scheduler", SchedulerConfig::for_embedding("/", ([127, 0, 0, 1], 0).into()).engine.data_dir),
    ] {
        let unit = example(&format!("ballast-{name}.service"));
        let state = unit.lines().find_map(|line| line.strip_prefix("StateDirectory=")).unwrap();
        if name == "agent" {
            assert_eq!(data_dir, Path::new("/var/lib").join(state));
        }
        assert!(example(&format!("{name}.toml")).contains(&format!("data_dir = \"/var/lib/{state}\"")));
    }
}
