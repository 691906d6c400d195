//! Bad days of those who write files: every mistake told at once, each by name.

use std::path::Path;

use ballast_agent::config as agent;
use ballast_daemon::config::File;
use ballast_scheduler::config::{Config, Strictness};
use ballast_sim::trace;

#[test]
fn a_scheduler_config_with_three_mistakes_names_all_three() {
    let text = "[scheduler]\nlisten = \"nowhere\"\nperiod_seconds = -1\n[tuning]\ncpu_limit = 7.0\n";
    let error = Config::parse(text, Path::new("scheduler.toml"), Strictness::Strict).unwrap_err().to_string();
    for named in ["scheduler.listen", "scheduler.period_seconds", "tuning.cpu_limit", "-1", "7"] {
        assert!(error.contains(named), "{named} is not in: {error}");
    }
}

#[test]
fn an_agent_config_with_three_mistakes_names_all_three() {
    let text = "[agent]\nscheduler = \"nowhere\"\nperiod_seconds = 1000\n[host]\ncpu_cores = -2.0\n";
    let file = File::parse(text, Path::new("agent.toml")).unwrap();
    let error = agent::Config::from_file(file, &agent::Machine::here(), true).unwrap_err().to_string();
    for named in ["agent.scheduler", "agent.period_seconds", "host.cpu_cores", "1000", "-2"] {
        assert!(error.contains(named), "{named} is not in: {error}");
    }
}

#[test]
fn a_scheduler_config_that_is_no_toml_is_refused_with_its_place() {
    let error = Config::parse("[scheduler\n", Path::new("scheduler.toml"), Strictness::Strict).unwrap_err().to_string();
    assert!(error.contains("scheduler.toml") && error.contains("line 1"), "{error}");
}

#[test]
fn a_malformed_trace_is_refused_with_its_place() {
    for text in ["not a trace at all", "", "1;2;3\nx;y;z\n", "\0\0\0"] {
        let error = trace::google::parse("day.csv", text).expect_err("a trace that is none");
        assert!(error.to_string().contains("day.csv"), "{error}");
    }
}
